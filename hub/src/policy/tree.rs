//! The documents as a tree.

use std::collections::HashMap;

use super::actions::ActionFacts;
use super::document::{Document, StoredDocument};
use crate::organization::Place;

/// All documents of an organization, by the point they are attached to.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    attached: HashMap<String, Attached>,
}

#[derive(Clone, Debug)]
enum Attached {
    Sound(Box<Document>),
    /// Nothing that it governs is acted on.
    Broken(String),
}

/// A point on an account's way up, and the document there if one is.
pub(super) type Step<'a> = (&'a str, Option<&'a Document>);

/// A document that governs an account and cannot be read.
pub(super) struct BrokenDocument<'a> {
    pub(super) point: &'a str,
    pub(super) why: &'a str,
}

impl Policy {
    /// Builds the tree of checked documents. Two for one point are both
    /// disregarded and their point is broken: neither may win by being last.
    pub fn new(documents: Vec<Document>) -> Self {
        let mut policy = Self::default();
        for document in documents {
            policy.attach(document.attach.clone(), Attached::Sound(Box::new(document)));
        }
        policy
    }

    /// Builds the tree of stored documents. A broken one is kept as such: what
    /// it governs is refused, and the rest is not affected.
    pub fn from_stored(stored: Vec<StoredDocument>) -> Self {
        let actions = ActionFacts::all();
        let mut policy = Self::default();
        for stored in stored {
            let attached = match Document::from_stored(&stored, &actions) {
                Ok(document) => Attached::Sound(Box::new(document)),
                Err(why) => Attached::Broken(why),
            };
            policy.attach(stored.attach, attached);
        }
        policy
    }

    fn attach(&mut self, point: String, attached: Attached) {
        self.attached
            .entry(point)
            .and_modify(|there| {
                *there = Attached::Broken("two documents are attached to it".into());
            })
            .or_insert(attached);
    }

    /// The sound documents, in the order of their attach points.
    pub fn documents(&self) -> Vec<&Document> {
        let mut documents: Vec<&Document> = self
            .attached
            .values()
            .filter_map(|attached| match attached {
                Attached::Sound(document) => Some(document.as_ref()),
                Attached::Broken(_) => None,
            })
            .collect();
        documents.sort_by(|one, other| one.attach.cmp(&other.attach));
        documents
    }

    /// The sound documents as DynamoDB keeps them.
    pub fn to_stored(&self) -> Vec<StoredDocument> {
        self.documents().into_iter().map(Document::to_stored).collect()
    }

    /// The broken documents: the point of each, and why it cannot be read.
    pub fn broken(&self) -> Vec<(&str, &str)> {
        let mut broken: Vec<(&str, &str)> = self
            .attached
            .iter()
            .filter_map(|(point, attached)| match attached {
                Attached::Sound(_) => None,
                Attached::Broken(why) => Some((point.as_str(), why.as_str())),
            })
            .collect();
        broken.sort_unstable();
        broken
    }

    /// The way up from an account to the root, each point with its document.
    pub(super) fn way_up<'a>(
        &'a self,
        place: &'a Place,
    ) -> Result<Vec<Step<'a>>, BrokenDocument<'a>> {
        std::iter::once(place.account.as_str())
            .chain(place.ou_path.ids().iter().rev().map(String::as_str))
            .map(|point| match self.attached.get(point) {
                None => Ok((point, None)),
                Some(Attached::Sound(document)) => Ok((point, Some(document.as_ref()))),
                Some(Attached::Broken(why)) => Err(BrokenDocument { point, why }),
            })
            .collect()
    }
}
