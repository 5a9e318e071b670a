//! EC2: instances, interfaces, security groups, tags, instance profiles.

pub mod answers;
pub mod connections;
mod describe;
pub mod form;
pub(crate) mod instances;
pub mod inventory;
pub mod model;
mod network;
pub mod volumes;
pub mod xml;

/// An error as AWS codes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// AWS's error code.
    pub code: String,
    /// The message.
    pub message: String,
}
