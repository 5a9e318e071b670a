//! Firebreak's hub: a finding in, a contained resource out.

pub mod finding;
pub mod organization;
