//! All that touches AWS for the hub. SDK names appear below this folder only.

pub mod accounts;
pub mod config;
pub mod deadline;
pub mod error;
pub mod ledger;
pub mod organization;
pub mod policies;
pub mod queue;
pub mod security_hub;
