//! Policies from files, and from what is stored.

use std::collections::BTreeMap;

use firebreak_model::action::ActionCatalog;
use firebreak_model::organization::OuPath;

use crate::eval::Policy;
use crate::model::StoredDocument;
use crate::syntax::{Diagnostic, read_documents, read_stored};

/// Reads files, each a name and its text. Every error of every file is returned, in
/// the order of the files and lines.
pub fn read_files(
    files: &[(String, String)],
    actions: ActionCatalog,
) -> Result<Policy, Vec<Diagnostic>> {
    read_files_within(files, actions, &BTreeMap::new())
}

/// Reads files as [`read_files`] does, with the organization's tree: the points above
/// each attach point, the root first.
pub fn read_files_within(
    files: &[(String, String)],
    actions: ActionCatalog,
    above: &BTreeMap<String, OuPath>,
) -> Result<Policy, Vec<Diagnostic>> {
    read_documents(files, actions, above).map(Policy::new)
}

impl Policy {
    /// Builds the tree of stored documents. A document that cannot be read is broken:
    /// what it governs is refused, and the rest is not affected.
    pub fn from_stored(stored: Vec<StoredDocument>, actions: ActionCatalog) -> Self {
        Self::build(stored.into_iter().map(|stored| {
            let read = read_stored(&stored, actions);
            (stored.attach, read)
        }))
    }
}
