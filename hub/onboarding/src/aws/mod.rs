//! The calls to AWS that set an organization up and survey it.

pub mod coverage;
pub mod deploy;
pub mod setup;
pub mod stacksets;
