//! One error in a file, before it is shown with the file's text.

use super::node::SourcePosition;

/// One error, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    pub(super) place: SourcePosition,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// How many issues of one file are reported. Each is looked up in the file, which
/// takes longer the more there are.
pub(super) const MAX_REPORTED: usize = 200;
