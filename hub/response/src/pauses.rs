//! The pauses of the organization, an OU, an account or a rule. Pure.
//!
//! In a paused scope Firebreak begins no automatic response: plans wait for approval. A
//! response in progress is finished, because half a containment is worse than a whole
//! one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use firebreak_model::resource::AccountId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use firebreak_model::organization::Place;

/// What a pause covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PauseScope {
    /// Everywhere.
    Organization,
    /// In an OU and below, or under the root, by id.
    Unit(String),
    /// In one account.
    Account(AccountId),
    /// For one rule: `<attach>/<rule>`, or its name in every document.
    Rule(String),
}

impl fmt::Display for PauseScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization => formatter.write_str("organization"),
            Self::Unit(id) => write!(formatter, "ou:{id}"),
            Self::Account(id) => write!(formatter, "account:{id}"),
            Self::Rule(rule) => write!(formatter, "rule:{rule}"),
        }
    }
}

/// A text that is no scope of a pause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pause scope: `organization`, `ou:<id>`, `account:<id>` or `rule:<name>`")]
pub struct PauseScopeError(String);

impl FromStr for PauseScope {
    type Err = PauseScopeError;

    fn from_str(text: &str) -> Result<Self, PauseScopeError> {
        let wrong = || PauseScopeError(text.to_owned());
        if text == "organization" {
            return Ok(Self::Organization);
        }
        match text.split_once(':').ok_or_else(wrong)? {
            ("ou", id) if id.starts_with("ou-") || id.starts_with("r-") => {
                Ok(Self::Unit(id.to_owned()))
            }
            ("account", id) => Ok(Self::Account(id.parse().map_err(|_| wrong())?)),
            ("rule", rule) if !rule.is_empty() => Ok(Self::Rule(rule.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for PauseScope {
    type Error = PauseScopeError;

    fn try_from(text: String) -> Result<Self, PauseScopeError> {
        text.parse()
    }
}

impl From<PauseScope> for String {
    fn from(scope: PauseScope) -> String {
        scope.to_string()
    }
}

impl PauseScope {
    fn covers(&self, place: &Place, rule: Option<&str>) -> bool {
        match self {
            Self::Organization => true,
            Self::Unit(id) => place.ou_path.ids().any(|above| above == id),
            Self::Account(id) => place.account == *id,
            Self::Rule(named) => rule.is_some_and(|rule| {
                rule == named || rule.split_once('/').is_some_and(|(_, name)| name == named)
            }),
        }
    }
}

/// Who paused, when, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The caller's ARN.
    pub by: String,
    pub at: Timestamp,
    /// When it ends; without it the pause lasts until unpaused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(pub BTreeMap<PauseScope, Pause>);

impl Pauses {
    /// The widest pause that covers a place and a rule at `now`.
    pub fn paused(
        &self,
        place: &Place,
        rule: Option<&str>,
        now: Timestamp,
    ) -> Option<(&PauseScope, &Pause)> {
        let holds = |pause: &Pause| pause.until.is_none_or(|until| until > now);
        self.0.iter().find(|(scope, pause)| holds(pause) && scope.covers(place, rule))
    }
}

/// Describes a pause for people.
pub fn describe(scope: &PauseScope, pause: &Pause) -> String {
    let until = pause.until.map_or_else(
        || "until unpaused".to_owned(),
        |until| format!("until {}", until.strftime("%Y-%m-%d %H:%M:%SZ")),
    );
    let why = pause.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("the pause of {scope} by {} {until}{why}", pause.by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_in_effect_in_its_scope_and_below_until_its_time() {
        let place = Place {
            account: "222222222222".parse().unwrap(),
            ou_path: "r-fb01/ou-fb01-prod1111".parse().unwrap(),
        };
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let check = |scope: &str, until: Option<&str>, expected: bool| {
            let until = until.map(|it| it.parse().unwrap());
            let pause = Pause { by: "alice".to_owned(), at: now, until, reason: None };
            let pauses = Pauses(BTreeMap::from([(scope.parse().unwrap(), pause)]));
            let found = pauses.paused(&place, Some("r-fb01/leaked-keys"), now);
            assert_eq!(found.is_some(), expected, "{scope} {until:?}");
        };
        check("organization", None, true);
        check("organization", Some("2026-01-01T12:00:01Z"), true);
        check("organization", Some("2026-01-01T12:00:00Z"), false);
        check("ou:r-fb01", None, true);
        check("ou:ou-fb01-prod1111", None, true);
        check("ou:ou-fb01-sandbox1", None, false);
        check("account:222222222222", None, true);
        check("account:333333333333", None, false);
        check("rule:leaked-keys", None, true);
        check("rule:r-fb01/leaked-keys", None, true);
        check("rule:ou-fb01-prod1111/leaked-keys", None, false);
        check("rule:other", None, false);
        let pause = Pause { by: "alice".to_owned(), at: now, until: None, reason: None };
        let scope = "rule:block-ips".parse().unwrap();
        let pauses = Pauses(BTreeMap::from([(scope, pause)]));
        assert!(pauses.paused(&place, Some("r-fb01/block-ips"), now).is_some());
    }

    #[test]
    fn a_written_scope_parses_as_the_same_scope() {
        for text in ["organization", "ou:ou-fb01-prod1111", "account:222222222222", "rule:x"] {
            assert_eq!(text.parse::<PauseScope>().unwrap().to_string(), text);
        }
        for text in ["", "org", "ou:prod", "account:12", "rule:"] {
            assert!(text.parse::<PauseScope>().is_err(), "{text}");
        }
    }
}
