//! The documents as a tree.

use std::collections::{BTreeMap, HashMap};

use firebreak_model::organization::Place;

use crate::model::{Document, Extends, Mode, StoredDocument};

const ATTACHED_TWICE: &str = "two documents are attached to it";

/// All documents of an organization, by attach point: the root, OU or account that each is
/// attached to.
///
/// A decision looks at every document from the account up to the root, and most of them
/// have nothing that matters to it. What it has to know of every document is in `outlines`:
/// thousands of them stay in the processor's cache.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The index in `documents` and `outlines` by attach point.
    indices: HashMap<String, usize>,
    /// In the order of their attach points.
    documents: Vec<Document>,
    /// One for each document, in the same order.
    outlines: Vec<Outline>,
    /// By attach point: the reason why its document cannot be read.
    broken: BTreeMap<String, String>,
}

/// What most decisions need to know of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline {
    pub(crate) ceiling: Option<Mode>,
    pub(crate) extends: Extends,
    /// Whether it has protections or budgets. A ceiling does not count.
    pub(crate) has_protections_or_budgets: bool,
    /// How many rules it has.
    pub(crate) rules: usize,
}

/// The account, an OU above it or the root, and the document attached there.
#[derive(Clone, Copy)]
pub(crate) struct PathStep<'a> {
    pub(crate) point: &'a str,
    pub(crate) attached: Option<(Outline, &'a Document)>,
}

/// A document that governs an account and cannot be read.
pub(crate) struct BrokenDocument<'a> {
    pub(crate) point: &'a str,
    pub(crate) why: &'a str,
}

impl Policy {
    /// Builds the tree of documents. An attach point with two documents is broken: the order
    /// of the documents must not decide which one applies.
    pub fn new(documents: Vec<Document>) -> Self {
        Self::build(documents.into_iter().map(|it| (it.attach.clone(), Ok(it))))
    }

    /// Builds the tree of documents from each attach point and its document, or the reason
    /// why that cannot be read. Targets below a broken document are refused; others are not
    /// affected.
    pub(crate) fn build(read: impl Iterator<Item = (String, Result<Document, String>)>) -> Self {
        let mut attached = BTreeMap::new();
        for (point, document) in read {
            let twice = attached.contains_key(&point);
            let document = if twice { Err(ATTACHED_TWICE.to_owned()) } else { document };
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
        // Reading scatters a document over memory. A copy made in one go is contiguous,
        // and decisions miss the processor's cache less often.
        policy.clone()
    }

    fn attach(&mut self, point: String, document: Document) {
        self.outlines.push(Outline {
            ceiling: document.ceiling,
            extends: document.extends,
            has_protections_or_budgets: document.has_protections_or_budgets(),
            rules: document.rules.len(),
        });
        self.indices.insert(point, self.documents.len());
        self.documents.push(document);
    }

    /// The documents that can be read, in the order of their attach points.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The documents that can be read, in the form that DynamoDB keeps.
    pub fn to_stored(&self) -> Vec<StoredDocument> {
        self.documents.iter().map(Document::to_stored).collect()
    }

    /// The broken documents: the attach point of each, and why it cannot be read.
    pub fn broken(&self) -> Vec<(&str, &str)> {
        self.broken.iter().map(|(point, why)| (point.as_str(), why.as_str())).collect()
    }

    /// The account, its OUs and the root, in this order, each with its document. `Err` is the
    /// first broken document.
    pub(crate) fn way_up<'a>(
        &'a self,
        place: &'a Place,
    ) -> Result<Vec<PathStep<'a>>, BrokenDocument<'a>> {
        // The account, five OUs and the root.
        let mut way = Vec::with_capacity(7);
        for point in std::iter::once(place.account.as_str()).chain(place.ou_path.ids().rev()) {
            if let Some(why) = self.broken.get(point) {
                return Err(BrokenDocument { point, why });
            }
            let index = self.indices.get(point).copied();
            let attached =
                index.and_then(|it| self.outlines.get(it).copied().zip(self.documents.get(it)));
            way.push(PathStep { point, attached });
        }
        Ok(way)
    }
}
