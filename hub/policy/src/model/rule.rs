//! A rule of a document.

use std::sync::Arc;

use firebreak_event_pattern::Pattern;
use serde::{Deserialize, Serialize};

use super::action_call::ActionCall;
use super::mode::Mode;
use super::window::Window;

/// A rule: what it matches, how far it goes, and with which actions.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Shared with every decision of this rule.
    pub(crate) reference: Arc<RuleRef>,
    /// Without a pattern the rule matches every target but the exceptions.
    pub(crate) when: Option<Pattern>,
    /// The rule does not match what this pattern matches.
    pub(crate) except: Option<Pattern>,
    pub(crate) mode: Mode,
    /// Those of `if-residual` as well.
    pub(crate) then: Vec<RuleAction>,
    pub(crate) approve: Approve,
    pub(crate) expires: Option<Window>,
    pub(crate) confirm: bool,
}

/// A rule's name, and the document and file that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// The attach point of its document.
    pub document: String,
    /// The file that the document came from.
    pub file: String,
    pub rule: String,
}

/// An action of a rule, with its facts from the catalog.
#[derive(Clone, Debug)]
pub(crate) struct RuleAction {
    pub(crate) call: ActionCall,
    /// The types of the targets that it acts on.
    pub(crate) resource_types: &'static [&'static str],
    pub(crate) reversible: bool,
    /// Whether its parameters have to be filled in for each target.
    pub(crate) has_variables: bool,
}

/// The terms of a plan's approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Approve {
    /// How long the plan waits; without a limit it waits until a person approves or
    /// denies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Window>,
    /// What happens to a plan that nobody approved or denied within that time.
    pub otherwise: Otherwise,
    /// Who approves, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
}

/// What happens to a plan that nobody approved or denied in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// The request is sent again, and the plan waits on.
    #[default]
    Notify,
    /// The plan is executed.
    Act,
    /// The plan is denied.
    Deny,
}

impl Otherwise {
    pub(crate) const ALL: [Self; 3] = [Self::Notify, Self::Act, Self::Deny];

    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Act => "act",
            Self::Deny => "deny",
        }
    }
}
