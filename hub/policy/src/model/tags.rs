//! A target's tags, which may be unknown.

use std::collections::BTreeMap;

/// A target's present tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// The tags were read.
    Known(BTreeMap<String, String>),
    /// Targets of this type have no tags that Firebreak can read.
    None,
    /// The tags could not be read. A decision that depends on them is refused.
    Unknown {
        /// Why they could not be read.
        reason: String,
    },
}
