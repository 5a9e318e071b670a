//! A policy document, and the form in which it is stored.

use firebreak_event_pattern::Glob;
use firebreak_model::resource::AccountId;
use serde::Serialize;

use super::arn_pattern::ArnPattern;
use super::budget::Budget;
use super::mode::Mode;
use super::rule::Rule;

/// A policy document. It is attached to a root, an OU or an account, and holds there and
/// below.
#[derive(Clone, Debug)]
pub struct Document {
    /// The id of the root, OU or account that it is attached to.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    /// The strongest mode allowed where it is attached and below.
    pub ceiling: Option<Mode>,
    pub(crate) protect: Protect,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) extends: Extends,
    pub(crate) rules: Vec<Rule>,
    /// The file's text, comments and all: what is stored.
    pub(crate) text: String,
}

/// What is never touched where a document is attached and below.
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

/// Whether rules above are evaluated when no rule of this document matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extends {
    /// The search for a rule continues in the next document above.
    #[default]
    Parent,
    /// The search ends: no rule above is evaluated. Ceilings, protections and budgets above
    /// apply all the same.
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

/// A document as DynamoDB keeps it: the file's own text, comments and all. So
/// `policy pull` writes exactly what was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// The id of the root, OU or account that it is attached to.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    /// The file's text.
    pub text: String,
}

impl Document {
    /// Whether accounts where it is attached and below need the spoke role: a rule of it has
    /// another mode than `off`, and its own ceiling is not `off`.
    pub fn needs_spoke_role(&self) -> bool {
        self.ceiling != Some(Mode::Off) && self.rules.iter().any(|rule| rule.mode != Mode::Off)
    }

    /// The form that DynamoDB keeps.
    pub fn to_stored(&self) -> StoredDocument {
        let Self { attach, file, text, .. } = self;
        StoredDocument { attach: attach.clone(), file: file.clone(), text: text.clone() }
    }

    /// Whether it has protections or budgets. A ceiling does not count.
    pub(crate) fn has_protections_or_budgets(&self) -> bool {
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
