//! The parts of `collect-evidence`: the location of evidence, commands, and
//! descriptions.

pub(crate) mod commands;
pub(crate) mod location;
pub(crate) mod metadata;
