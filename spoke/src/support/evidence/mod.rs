//! What `collect-evidence` is made of: where evidence is kept, what is run and what is
//! described.

pub(crate) mod commands;
pub(crate) mod location;
pub(crate) mod metadata;
