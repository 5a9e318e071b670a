//! A policy document that was read and checked, and the form it is stored in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use firebreak_model::resource::AccountId;

use super::actions::ActionCall;
use super::arn::ArnPattern;
use super::budget::Budget;
use super::decision::RuleRef;
use super::diagnostics::read_document;
use super::window::Window;
use firebreak_event_pattern::{Glob, Pattern};
use firebreak_model::action::ActionCatalog;

/// How far a rule goes. Each mode is stronger than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(Default))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing, and no record.
    #[cfg_attr(test, default)]
    Off,
    /// Record what would have been decided.
    Observe,
    /// Record the plan and wait for a person.
    Approve,
    /// Act at once.
    Auto,
}

impl Mode {
    /// All modes, the weakest first.
    pub const ALL: [Self; 4] = [Self::Off, Self::Observe, Self::Approve, Self::Auto];

    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// Whether rules above a document are looked at where none of its own matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extends {
    /// They are.
    #[default]
    Parent,
    /// They are not. Ceilings, protections and budgets above hold all the same.
    None,
}

impl Extends {
    pub(super) const ALL: [Self; 2] = [Self::Parent, Self::None];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::None => "none",
        }
    }
}

/// What happens to a plan that nobody approved in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// The request is sent again, and the plan waits on.
    #[default]
    Notify,
    /// It is carried out.
    Act,
    /// It is dropped.
    Deny,
}

impl Otherwise {
    pub(super) const ALL: [Self; 3] = [Self::Notify, Self::Act, Self::Deny];

    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Act => "act",
            Self::Deny => "deny",
        }
    }
}

/// How approval of a plan goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Approve {
    /// How long the plan waits; without one, for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Window>,
    /// What happens then.
    pub otherwise: Otherwise,
    /// Who approves, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
}

/// A policy document, attached to one point of the organization's tree.
#[derive(Clone, Debug)]
pub struct Document {
    /// The root, OU or account that it is attached to.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    /// The strongest mode allowed here and below.
    pub ceiling: Option<Mode>,
    pub(super) protect: Protect,
    pub(super) budgets: Vec<Budget>,
    pub(super) extends: Extends,
    pub(super) rules: Vec<Rule>,
    /// The document as it was written, comments and all: what is stored.
    pub(super) text: String,
}

/// What is never touched at a document's point and below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Protect {
    /// Each set protects what has all of its tags.
    pub(super) tags: Vec<Vec<(String, Glob)>>,
    pub(super) principals: Vec<ArnPattern>,
    pub(super) resources: Vec<ArnPattern>,
    pub(super) accounts: Vec<AccountId>,
}

/// One rule.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Rule {
    /// Its name and its document's, shared with every decision that it makes.
    pub(super) reference: Arc<RuleRef>,
    /// `None` matches everything.
    pub(super) when: Option<Pattern>,
    pub(super) mode: Mode,
    pub(super) then: Vec<Then>,
    pub(super) approve: Approve,
    pub(super) expires: Option<Window>,
    pub(super) confirm: bool,
}

/// An action of a rule, with the target types that it acts on.
#[derive(Clone, Debug)]
pub(super) struct Then {
    pub(super) call: ActionCall,
    /// Shared by all rules with this action.
    pub(super) resource_types: &'static [&'static str],
    pub(super) reversible: bool,
    /// Whether a variable stands in its parameters.
    pub(super) has_variables: bool,
}

/// A document as DynamoDB keeps it: the file's own text, so that there is one
/// truth and `policy pull` gives back what was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// Where it is attached.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    /// The file's text.
    pub text: String,
}

impl Document {
    /// Whether it has a rule that can look at an account at or below its point, or
    /// change it: whoever deploys makes sure of the spoke role there.
    pub fn covers(&self) -> bool {
        self.ceiling != Some(Mode::Off) && self.rules.iter().any(|rule| rule.mode != Mode::Off)
    }

    /// As DynamoDB keeps it.
    pub fn to_stored(&self) -> StoredDocument {
        let Self { attach, file, text, .. } = self;
        StoredDocument { attach: attach.clone(), file: file.clone(), text: text.clone() }
    }

    /// Reads what DynamoDB keeps as strictly as a file is read: an older
    /// program that finds a key it does not know must not skip it, because the
    /// key may be a guardrail. The error says what is wrong.
    pub fn from_stored(stored: &StoredDocument, actions: ActionCatalog) -> Result<Self, String> {
        let document =
            read_document(&stored.file, &stored.text, actions).map_err(|diagnostics| {
                let messages: Vec<String> =
                    diagnostics.into_iter().map(|it| it.in_one_line()).collect();
                messages.join("; ")
            })?;
        if document.attach != stored.attach {
            return Err(format!("it says that it is attached to `{}`", document.attach));
        }
        Ok(document)
    }

    /// Whether it has protections or budgets.
    pub(super) fn has_guardrails(&self) -> bool {
        let Protect { tags, principals, resources, accounts } = &self.protect;
        let protects = !(tags.is_empty()
            && principals.is_empty()
            && resources.is_empty()
            && accounts.is_empty());
        protects || !self.budgets.is_empty()
    }

    /// The names of its rules, in order.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.reference.rule.as_str())
    }
}
