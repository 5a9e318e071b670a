//! The documents as a tree.

use std::collections::{BTreeMap, HashMap};

use super::document::{Document, Extends, Mode, StoredDocument};
use firebreak_model::action::ActionCatalog;
use firebreak_model::organization::Place;

const TWICE: &str = "two documents are attached to it";

/// All documents of an organization, by the point they are attached to.
///
/// A decision goes through the points above an account, and most rules there do
/// not match. What it needs to know of documents without rules stands in
/// `outlines`, which stay in the processor's cache for thousands of them.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The number of each point's document.
    numbers: HashMap<String, usize>,
    /// In the order of their attach points.
    documents: Vec<Document>,
    /// One for each document.
    outlines: Vec<Outline>,
    /// Why a point's document cannot be read: nothing that it governs is acted on.
    broken: BTreeMap<String, String>,
}

/// What most decisions need to know of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    pub(super) ceiling: Option<Mode>,
    pub(super) extends: Extends,
    /// Whether it has protections or budgets.
    pub(super) has_guardrails: bool,
    /// How many rules it has.
    pub(super) rules: usize,
}

/// A point on an account's way up, and the document there if one is.
#[derive(Clone, Copy)]
pub(super) struct PathStep<'a> {
    pub(super) point: &'a str,
    pub(super) there: Option<(Outline, &'a Document)>,
}

/// A document that governs an account and cannot be read.
pub(super) struct BrokenDocument<'a> {
    pub(super) point: &'a str,
    pub(super) why: &'a str,
}

impl Policy {
    /// Builds the tree of checked documents. Two for one point are both
    /// disregarded and their point is broken: neither may win by being last.
    pub fn new(documents: Vec<Document>) -> Self {
        Self::build(documents.into_iter().map(|it| (it.attach.clone(), Ok(it))))
    }

    /// Builds the tree of stored documents. A broken one is kept as such: what
    /// it governs is refused, and the rest is not affected.
    pub fn from_stored(stored: Vec<StoredDocument>, actions: ActionCatalog) -> Self {
        Self::build(stored.into_iter().map(|stored| {
            let read = Document::from_stored(&stored, actions);
            (stored.attach, read)
        }))
    }

    fn build(read: impl Iterator<Item = (String, Result<Document, String>)>) -> Self {
        let mut attached = BTreeMap::new();
        for (point, document) in read {
            let twice = attached.contains_key(&point);
            let document = if twice { Err(TWICE.to_owned()) } else { document };
            attached.insert(point, document);
        }
        let mut policy = Self::default();
        for (point, document) in attached {
            match document {
                Ok(document) => policy.attach(point, document),
                Err(why) => {
                    policy.broken.insert(point, why);
                }
            }
        }
        // Reading leaves documents in pieces all over memory. A copy made in one
        // go lies side by side, which the processor's caches repay.
        policy.clone()
    }

    fn attach(&mut self, point: String, document: Document) {
        self.outlines.push(Outline {
            ceiling: document.ceiling,
            extends: document.extends,
            has_guardrails: document.has_guardrails(),
            rules: document.rules.len(),
        });
        self.numbers.insert(point, self.documents.len());
        self.documents.push(document);
    }

    /// The sound documents, in the order of their attach points.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The sound documents as DynamoDB keeps them.
    pub fn to_stored(&self) -> Vec<StoredDocument> {
        self.documents.iter().map(Document::to_stored).collect()
    }

    /// The broken documents: the point of each, and why it cannot be read.
    pub fn broken(&self) -> Vec<(&str, &str)> {
        self.broken.iter().map(|(point, why)| (point.as_str(), why.as_str())).collect()
    }

    /// The way up from an account to the root, each point with its document.
    pub(super) fn way_up<'a>(
        &'a self,
        place: &'a Place,
    ) -> Result<Vec<PathStep<'a>>, BrokenDocument<'a>> {
        // The account, five OUs and the root.
        let mut way = Vec::with_capacity(7);
        for point in std::iter::once(place.account.as_str()).chain(place.ou_path.ids().rev()) {
            if let Some(why) = self.broken.get(point) {
                return Err(BrokenDocument { point, why });
            }
            let number = self.numbers.get(point).copied();
            let there =
                number.and_then(|it| self.outlines.get(it).copied().zip(self.documents.get(it)));
            way.push(PathStep { point, there });
        }
        Ok(way)
    }
}
