//! A policy document, and the form in which it is stored.

use firebreak_event_pattern::Glob;
use firebreak_model::resource::AccountId;
use serde::Serialize;

use super::arn_pattern::ArnPattern;
use super::budget::Budget;
use super::mode::Mode;
use super::rule::Rule;

/// A policy document, attached to one point of the organization's tree.
#[derive(Clone, Debug)]
pub struct Document {
    /// The root, OU or account that it is attached to.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    /// The strongest mode allowed at its point and below.
    pub ceiling: Option<Mode>,
    pub(crate) protect: Protect,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) extends: Extends,
    pub(crate) rules: Vec<Rule>,
    /// The file's text, comments and all: what is stored.
    pub(crate) text: String,
}

/// What is never touched at a document's point and below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protect {
    pub(crate) tags: Vec<TagSet>,
    pub(crate) principals: Vec<ArnPattern>,
    pub(crate) resources: Vec<ArnPattern>,
    pub(crate) accounts: Vec<AccountId>,
}

/// Protects what has all of these tags.
#[derive(Clone, Debug)]
pub(crate) struct TagSet(pub(crate) Vec<(String, Glob)>);

/// Whether the search for a rule continues above a document of which no rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extends {
    /// It continues in the next document above.
    #[default]
    Parent,
    /// It ends. Ceilings, protections and budgets above apply all the same.
    None,
}

impl Extends {
    pub(crate) const ALL: [Self; 2] = [Self::Parent, Self::None];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::None => "none",
        }
    }
}

/// A document as DynamoDB keeps it: the file's own text. So the text is the one
/// truth, and `policy pull` gives back what was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// The root, OU or account that it is attached to.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    pub text: String,
}

impl Document {
    /// Whether a rule of it makes Firebreak read or change accounts at or below its
    /// point. Such accounts need the spoke role.
    pub fn covers(&self) -> bool {
        self.ceiling != Some(Mode::Off) && self.rules.iter().any(|rule| rule.mode != Mode::Off)
    }

    /// The form that DynamoDB keeps.
    pub fn to_stored(&self) -> StoredDocument {
        let Self { attach, file, text, .. } = self;
        StoredDocument { attach: attach.clone(), file: file.clone(), text: text.clone() }
    }

    /// Whether it has protections or budgets.
    pub(crate) fn has_guardrails(&self) -> bool {
        !self.protect.is_empty() || !self.budgets.is_empty()
    }

    /// The names of its rules, in order.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.reference.rule.as_str())
    }
}

impl Protect {
    /// The number of protections.
    pub(crate) fn len(&self) -> usize {
        let Self { tags, principals, resources, accounts } = self;
        tags.len() + principals.len() + resources.len() + accounts.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
