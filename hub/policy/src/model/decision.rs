//! What policy says for one target, with the reason.

use std::sync::Arc;

use serde::Serialize;

use super::action_call::ActionCall;
use super::budget::BudgetRef;
use super::mode::Mode;
use super::rule::{Approve, RuleRef};
use super::window::Window;

/// The outcome of a decision. All but `Follow` mean that nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyOutcome {
    /// The mode says what is done with the actions.
    Follow,
    /// Ignored: the finding is a sample.
    Sample,
    /// Ignored: the finding is archived or suppressed at its source.
    Archived,
    /// Ignored: no document is attached to the account or above it.
    NoDocument,
    /// Ignored: no rule matches.
    NoRule,
    /// Ignored: the mode is off, by the rule or by a ceiling.
    Off,
    /// Ignored: no action of the rule acts on a target of this type.
    NoAction,
    /// Refused: the target is protected.
    Protected,
    /// Refused: a document that governs the target cannot be read.
    Broken,
    /// Refused: the decision depends on tags that are not known.
    TagsUnknown,
    /// Refused: principals are protected, and the target's principal is not known.
    PrincipalUnknown,
    /// Refused: the place is not that of the target's account.
    WrongPlace,
}

impl PolicyOutcome {
    /// All outcomes.
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

/// A ceiling, a protection, a budget or a broken document that changed the decision,
/// or would change it in a stronger mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guardrail {
    /// The attach point of its document.
    pub document: String,
    /// Its effect, in a sentence.
    pub effect: String,
}

/// An action of the rule that is not executed on this target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub action: String,
    /// The reason, in a sentence.
    pub why: String,
}

/// What policy says for one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    pub outcome: PolicyOutcome,
    /// The reason for any other outcome than `Follow`, in a sentence.
    pub why: String,
    /// The mode after all ceilings; `off` unless the outcome is `Follow`.
    pub mode: Mode,
    /// The actions for targets of this type, in the rule's order. They are executed only
    /// if [`Decision::acts`] says so.
    pub actions: Vec<ActionCall>,
    /// The other actions of the rule.
    pub left_out: Vec<LeftOut>,
    /// The rule that decided, if a rule matched.
    pub rule: Option<Arc<RuleRef>>,
    /// Every guardrail that changed the decision.
    pub guardrails: Vec<Guardrail>,
    /// The budgets that the actions draw on, of every document from the account up to the
    /// root.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetRef>,
    /// How approval goes, where the mode is `approve` or is lowered to it.
    pub approve: Approve,
    /// The containment is undone after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Window>,
    /// Whether the finding has to be confirmed with its service before the first change.
    pub confirm: bool,
}

impl Decision {
    pub(crate) fn without_rule(outcome: PolicyOutcome, why: impl Into<String>) -> Self {
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

    /// Lowers a stronger mode, and records the guardrail. `why` is the subject of the
    /// sentence, such as `the ceiling of r-ab12`.
    pub fn lower(&mut self, mode: Mode, by: &str, why: &str) {
        if mode < self.mode {
            let effect = format!("{why} lowers {} to {}", self.mode.name(), mode.name());
            self.guardrails.push(Guardrail { document: by.to_owned(), effect });
            self.mode = mode;
        }
    }

    /// Lowers the mode to `approve` because a budget is spent.
    pub fn lower_for_spent_budget(&mut self, spent: &BudgetRef) {
        let why = format!("the budget of {}, {}, is spent and", spent.document, spent.budget);
        self.lower(Mode::Approve, &spent.document, &why);
    }

    /// Changes the outcome to one under which nothing is changed.
    pub(crate) fn stop(&mut self, outcome: PolicyOutcome, why: impl Into<String>) {
        self.outcome = outcome;
        self.why = why.into();
        self.mode = Mode::Off;
    }

    /// Whether actions are executed, now or once approved.
    pub fn acts(&self) -> bool {
        self.outcome == PolicyOutcome::Follow
            && matches!(self.mode, Mode::Approve | Mode::Auto)
            && !self.actions.is_empty()
    }

    /// Whether a guardrail, or something that is not known, forbids to act.
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

    /// Whether the tags, if they were known, could change it.
    pub fn depends_on_tags(&self) -> bool {
        self.outcome == PolicyOutcome::TagsUnknown
    }

    /// The key under which a response is recorded: the rule that decided, or the guardrail
    /// that refused before a rule did. `None` where nothing is recorded.
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
        let names = |if_residual: bool| -> Vec<&str> {
            let of = self.actions.iter().filter(|it| it.if_residual == if_residual);
            of.map(|it| it.name.as_str()).collect()
        };
        let actions = match (names(false).as_slice(), names(true).as_slice()) {
            ([], []) => "no action".to_owned(),
            (actions, []) => actions.join(", "),
            (actions, further) => {
                format!(
                    "{}, and if something stays open {}",
                    actions.join(", "),
                    further.join(", ")
                )
            }
        };
        let mode = self.mode.name();
        let rule = format!("rule `{rule}` of {document} is in mode {mode}: {actions}");
        let guardrails = self.guardrails.iter().map(|guardrail| guardrail.effect.as_str());
        std::iter::once(rule.as_str()).chain(guardrails).collect::<Vec<_>>().join("; ")
    }
}
