//! What policy says for one target, with the reason.

use serde::Serialize;

use super::document::{ActionCall, Mode};

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// Where its document is attached.
    pub document: String,
    /// The file that the document came from.
    pub file: String,
    /// Its name.
    pub rule: String,
}

/// A guardrail that changed the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guardrail {
    /// Where its document is attached.
    pub document: String,
    /// What it did, in a sentence.
    pub effect: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "why")]
pub enum Outcome {
    /// What the mode and the actions say.
    Follow,
    /// Nothing; why.
    Nothing(String),
    /// A guardrail, or what cannot be known, forbids to act; why.
    Refused(String),
    /// Refused because it depends on tags that are not known; why.
    TagsUnknown(String),
}

/// What policy says for one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// What is to be done.
    pub outcome: Outcome,
    /// How far, after all ceilings.
    pub mode: Mode,
    /// The actions that fit the target, in the rule's order.
    pub actions: Vec<ActionCall>,
    /// Actions of the rule that do not act on this type of target.
    pub not_applicable: Vec<String>,
    /// The rule that decided, where one did.
    pub rule: Option<RuleRef>,
    /// Every guardrail that changed the outcome.
    pub guardrails: Vec<Guardrail>,
}

impl Decision {
    pub(super) fn nothing(why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Nothing(why.into()),
            mode: Mode::Off,
            actions: Vec::new(),
            not_applicable: Vec::new(),
            rule: None,
            guardrails: Vec::new(),
        }
    }

    /// Whether something is to be changed, now or once approved.
    pub fn acts(&self) -> bool {
        self.outcome == Outcome::Follow
            && matches!(self.mode, Mode::Approve | Mode::Auto)
            && !self.actions.is_empty()
    }

    /// Whether acting is forbidden by a guardrail or by what cannot be known.
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(_) | Outcome::TagsUnknown(_))
    }

    /// Whether knowing the tags would change it.
    pub fn depends_on_tags(&self) -> bool {
        matches!(self.outcome, Outcome::TagsUnknown(_))
    }

    /// Under what a response is kept: the rule that decided, or the guardrail
    /// that refused before any did. `None` where nothing is to be recorded.
    pub fn rule_key(&self) -> Option<String> {
        match (&self.outcome, &self.rule, self.guardrails.last()) {
            (Outcome::Nothing(_), ..) => None,
            (_, Some(RuleRef { document, rule, .. }), _) => Some(format!("{document}/{rule}")),
            (_, None, Some(guardrail)) => Some(format!("{}/guardrail", guardrail.document)),
            (_, None, None) => Some("guardrail".to_owned()),
        }
    }

    /// The reason, in a sentence.
    pub fn reason(&self) -> String {
        let guardrails: String =
            self.guardrails.iter().map(|it| format!("; {}", it.effect)).collect();
        match (&self.outcome, &self.rule) {
            (Outcome::Nothing(why) | Outcome::Refused(why) | Outcome::TagsUnknown(why), _) => {
                why.clone()
            }
            (Outcome::Follow, Some(RuleRef { document, rule, .. })) => {
                let actions: Vec<&str> = self.actions.iter().map(|it| it.name.as_str()).collect();
                let actions =
                    if actions.is_empty() { "nothing".into() } else { actions.join(", ") };
                let mode = self.mode.name();
                format!("rule `{rule}` of {document} says {mode}: {actions}{guardrails}")
            }
            (Outcome::Follow, None) => "no rule".to_owned(),
        }
    }
}
