//! Whether a rule matches a target, and why it does not.

use std::fmt;

use firebreak_event_pattern::{Event, PatternMatch};
use serde::Serialize;

use super::context::Context;
use crate::model::Rule;

/// Why a rule does not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleMismatch {
    /// The first field that does not match; empty where no single element of an array
    /// matches all fields.
    FailsAt(String),
    /// Its `except` matches.
    Excepted,
}

impl fmt::Display for RuleMismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailsAt(field) => write!(formatter, "`{field}` does not match"),
            Self::Excepted => formatter.write_str("`except` matches"),
        }
    }
}

impl Rule {
    /// Whether it matches; unknown where that depends on unknown tags.
    pub(crate) fn evaluate(&self, context: &Context<'_>) -> PatternMatch {
        let event = || Event::Object(context);
        let when = self.when.as_ref().map_or(PatternMatch::Yes, |it| it.evaluate(event()));
        if when == PatternMatch::No {
            return PatternMatch::No;
        }
        match self.except.as_ref().map_or(PatternMatch::No, |it| it.evaluate(event())) {
            PatternMatch::No => when,
            PatternMatch::Yes => PatternMatch::No,
            PatternMatch::Unknown => PatternMatch::Unknown,
        }
    }

    /// The reason for a rule that does not match.
    pub(crate) fn mismatch(&self, context: &Context<'_>) -> RuleMismatch {
        let field = self.when.as_ref().and_then(|when| when.mismatch(Event::Object(context)));
        field.map_or(RuleMismatch::Excepted, RuleMismatch::FailsAt)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::tests::support::{finding, instance, place, policy};
    use crate::{PolicyOutcome, Tags};

    #[test]
    fn a_rule_does_not_match_its_exceptions() {
        let policy = policy(&["attach: r-ab12
rules:
  - name: all-but-the-lab
    except: { tags: { team: [lab] } }
    mode: auto
    then: [isolate-instance]
  - { name: rest, mode: observe }
"]);
        let (target, place) = (instance(), place());
        let explain = |tags| policy.explain(&finding(&target), &target, &place, &tags);
        let decided = |tags| {
            let decision = explain(tags).decision;
            (decision.outcome, decision.rule.map(|rule| rule.rule.clone()).unwrap_or_default())
        };
        let team = |name: &str| Tags::Known(BTreeMap::from([("team".to_owned(), name.to_owned())]));
        let unknown = Tags::Unknown { reason: "the call was denied".to_owned() };
        assert_eq!(decided(team("web")), (PolicyOutcome::Follow, "all-but-the-lab".to_owned()));
        assert_eq!(decided(team("lab")), (PolicyOutcome::Follow, "rest".to_owned()));
        assert_eq!(decided(unknown).0, PolicyOutcome::TagsUnknown);
        let walk = explain(team("lab")).to_string();
        assert!(walk.contains("✗ all-but-the-lab: `except` matches"), "{walk}");
    }
}
