//! Sets up and surveys an organization: delegation of GuardDuty and Security Hub,
//! coverage, the StackSets and their templates. Not part of the function.
//!
//! Only `aws` calls AWS. The other modules are pure and never import it.

pub mod aws;
pub mod coverage;
pub mod setup;
pub mod stackset_diff;
pub mod stacksets;
