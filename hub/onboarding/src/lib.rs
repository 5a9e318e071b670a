//! Sets an organization up and surveys it: delegation of GuardDuty and Security
//! Hub, coverage, the StackSets and their templates. Not part of the function.

pub mod aws;
pub mod coverage;
pub mod setup;
pub mod stackset_diff;
pub mod stacksets;
