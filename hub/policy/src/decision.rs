//! What policy says for one target, with the reason.

use std::sync::Arc;

use serde::Serialize;

use super::actions::ActionCall;
use super::budget::BudgetRef;
use super::document::{Approve, Mode};
use super::window::Window;

/// How a decision came out. All but `Follow` mean that nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyOutcome {
    /// Do what the mode says with the actions.
    Follow,
    /// Nothing: the finding was generated for trying things out.
    Sample,
    /// Nothing: the finding is archived or suppressed at its source.
    Archived,
    /// Nothing: no document is attached to the account or above it.
    NoDocument,
    /// Nothing: no rule matches.
    NoRule,
    /// Nothing: the mode is off, by the rule or by a ceiling.
    Off,
    /// Nothing: no action of the rule acts on such a target.
    NoAction,
    /// Refused: a protection holds.
    Protected,
    /// Refused: a document that governs the target cannot be read.
    Broken,
    /// Refused: the answer depends on tags that are not known.
    TagsUnknown,
    /// Refused: principals are protected, and whose credentials these are is
    /// not known.
    PrincipalUnknown,
    /// Refused: the place is another account's than the target's.
    WrongPlace,
}

impl PolicyOutcome {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Follow,
        Self::Sample,
        Self::Archived,
        Self::NoDocument,
        Self::NoRule,
        Self::Off,
        Self::NoAction,
        Self::Protected,
        Self::Broken,
        Self::TagsUnknown,
        Self::PrincipalUnknown,
        Self::WrongPlace,
    ];

    /// The word in tests of policies and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Sample => "sample",
            Self::Archived => "archived",
            Self::NoDocument => "no-document",
            Self::NoRule => "no-rule",
            Self::Off => "off",
            Self::NoAction => "no-action",
            Self::Protected => "protected",
            Self::Broken => "broken",
            Self::TagsUnknown => "tags-unknown",
            Self::PrincipalUnknown => "principal-unknown",
            Self::WrongPlace => "wrong-place",
        }
    }
}

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(Default))]
pub struct RuleRef {
    /// Where its document is attached.
    pub document: String,
    /// The file that the document came from.
    pub file: String,
    /// Its name.
    pub rule: String,
}

/// A ceiling, a protection or a broken document that changed the outcome, or
/// would have if the mode were stronger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guardrail {
    /// Where its document is attached.
    pub document: String,
    /// What it did, in a sentence.
    pub effect: String,
}

/// An action of the rule that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub action: String,
    /// Why, in a sentence.
    pub why: String,
}

/// What policy says for one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// How it came out.
    pub outcome: PolicyOutcome,
    /// Why nothing is done or it is refused, in a sentence; empty for `Follow`.
    pub why: String,
    /// How far, after all ceilings; `off` unless the outcome is `Follow`.
    pub mode: Mode,
    /// The actions that fit the target, in the rule's order. They are carried
    /// out only if [`Decision::acts`] says so.
    pub actions: Vec<ActionCall>,
    /// Actions of the rule that do not fit the target.
    pub left_out: Vec<LeftOut>,
    /// The rule that decided, where one did.
    pub rule: Option<Arc<RuleRef>>,
    /// Every guardrail that played a part.
    pub guardrails: Vec<Guardrail>,
    /// The budgets of every document on the way that acting would draw on,
    /// the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetRef>,
    /// How approval goes, where the mode is or becomes approve.
    pub approve: Approve,
    /// After which time the containment is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Window>,
    /// Whether the finding is to be confirmed with its service before anything
    /// is changed: so unless the rule says otherwise.
    pub confirm: bool,
}

impl Decision {
    pub(super) fn without_rule(outcome: PolicyOutcome, why: impl Into<String>) -> Self {
        Self {
            outcome,
            why: why.into(),
            mode: Mode::Off,
            actions: Vec::new(),
            left_out: Vec::new(),
            rule: None,
            guardrails: Vec::new(),
            budgets: Vec::new(),
            approve: Approve::default(),
            expires: None,
            confirm: true,
        }
    }

    /// Lowers the mode, if it is stronger, and says by what.
    pub fn lower(&mut self, mode: Mode, by: &str, why: &str) {
        if mode < self.mode {
            let effect = format!("{why} lowers {} to {}", self.mode.name(), mode.name());
            self.guardrails.push(Guardrail { document: by.to_owned(), effect });
            self.mode = mode;
        }
    }

    /// Makes a decision that would overdraw a budget ask a person.
    pub fn overdraw(&mut self, spent: &BudgetRef) {
        let why = format!("the budget of {}, {}, is spent and", spent.document, spent.budget);
        self.lower(Mode::Approve, &spent.document, &why);
    }

    /// Turns the decision into one under which nothing is changed.
    pub(super) fn stop(&mut self, outcome: PolicyOutcome, why: impl Into<String>) {
        self.outcome = outcome;
        self.why = why.into();
        self.mode = Mode::Off;
    }

    /// Whether something is to be changed, now or once approved.
    pub fn acts(&self) -> bool {
        self.outcome == PolicyOutcome::Follow
            && matches!(self.mode, Mode::Approve | Mode::Auto)
            && !self.actions.is_empty()
    }

    /// Whether acting is forbidden by a guardrail or by what cannot be known.
    pub fn is_refused(&self) -> bool {
        match self.outcome {
            PolicyOutcome::Protected
            | PolicyOutcome::Broken
            | PolicyOutcome::TagsUnknown
            | PolicyOutcome::PrincipalUnknown
            | PolicyOutcome::WrongPlace => true,
            PolicyOutcome::Follow
            | PolicyOutcome::Sample
            | PolicyOutcome::Archived
            | PolicyOutcome::NoDocument
            | PolicyOutcome::NoRule
            | PolicyOutcome::Off
            | PolicyOutcome::NoAction => false,
        }
    }

    /// Whether knowing the tags would change it.
    pub fn depends_on_tags(&self) -> bool {
        self.outcome == PolicyOutcome::TagsUnknown
    }

    /// Under what a response is kept: the rule that decided, or the guardrail
    /// that refused before any did. `None` where nothing is to be recorded.
    pub fn rule_key(&self) -> Option<String> {
        if self.outcome != PolicyOutcome::Follow && !self.is_refused() {
            return None;
        }
        Some(match (self.rule.as_deref(), self.guardrails.last()) {
            (Some(RuleRef { document, rule, .. }), _) => format!("{document}/{rule}"),
            (None, Some(guardrail)) => format!("{}/guardrail", guardrail.document),
            (None, None) => "guardrail".to_owned(),
        })
    }

    /// The reason, in a sentence.
    pub fn reason(&self) -> String {
        let Some(RuleRef { document, rule, .. }) = self.rule.as_deref() else {
            return self.why.clone();
        };
        if self.outcome != PolicyOutcome::Follow {
            return self.why.clone();
        }
        let actions: Vec<&str> = self.actions.iter().map(|it| it.name.as_str()).collect();
        let actions = if actions.is_empty() { "no action".into() } else { actions.join(", ") };
        let says = format!("rule `{rule}` of {document} says {}: {actions}", self.mode.name());
        let guardrails = self.guardrails.iter().map(|guardrail| guardrail.effect.as_str());
        std::iter::once(says.as_str()).chain(guardrails).collect::<Vec<_>>().join("; ")
    }
}
