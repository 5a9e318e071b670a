//! A policy document that was read and checked, and the form it is stored in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use firebreak_spoke::resource::AccountId;

use super::actions::{ActionCall, ActionFacts};
use super::arn::ArnPattern;
use super::node::Node;
use super::pattern::{Glob, Pattern};
use super::reader;

/// How far a rule goes. Each mode is stronger than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing, and no record.
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
    pub(super) rules: Vec<Rule>,
    /// The document as it was written: what is stored.
    pub(super) written: Value,
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
pub(super) struct Rule {
    pub(super) name: String,
    /// `None` matches everything.
    pub(super) when: Option<Pattern>,
    pub(super) mode: Mode,
    pub(super) then: Vec<Then>,
}

/// An action of a rule, with the target types that it acts on.
#[derive(Clone, Debug)]
pub(super) struct Then {
    pub(super) call: ActionCall,
    pub(super) resource_types: Vec<String>,
}

/// A document as DynamoDB keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// Where it is attached.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    /// The document as JSON.
    pub json: String,
}

impl Document {
    /// As DynamoDB keeps it.
    pub fn to_stored(&self) -> Result<StoredDocument, serde_json::Error> {
        let json = serde_json::to_string(&self.written)?;
        Ok(StoredDocument { attach: self.attach.clone(), file: self.file.clone(), json })
    }

    /// Reads what DynamoDB keeps as strictly as a file is read: an older
    /// program that finds a key it does not know must not skip it, because the
    /// key may be a guardrail. The error says what is wrong.
    pub fn from_stored(stored: &StoredDocument, actions: &[ActionFacts]) -> Result<Self, String> {
        let json: Value = serde_json::from_str(&stored.json).map_err(|it| it.to_string())?;
        let read = reader::document(&Node::from_json(&json), &stored.file, actions);
        let document = read.map_err(|mistakes| {
            let messages: Vec<String> = mistakes.into_iter().map(|it| it.message).collect();
            messages.join("; ")
        })?;
        if document.attach != stored.attach {
            return Err(format!("it says that it is attached to `{}`", document.attach));
        }
        Ok(document)
    }
}
