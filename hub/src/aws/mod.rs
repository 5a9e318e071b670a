//! All that touches AWS for the hub. SDK names appear below this folder only.

pub mod accounts;
mod answer_text;
pub mod config;
pub mod coverage;
pub mod deadline;
pub mod error;
pub mod guardduty;
pub mod intake;
pub mod ledger;
pub mod notices;
pub mod organization;
pub mod policies;
pub mod queue;
pub mod security_hub;
pub mod setup;
pub mod stacksets;
mod together;
