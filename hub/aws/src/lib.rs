//! Adapters to AWS for the hub: settings, the table, sessions, Organizations,
//! GuardDuty, Security Hub, queues, notices.

pub mod audit_log;
pub mod config;
pub mod deadline;
pub mod error;
pub mod guardduty;
pub mod intake;
pub mod notices;
pub mod organization;
pub mod policies;
pub mod queue;
mod raw_response;
pub mod security_hub;
pub mod sessions;
pub mod settings;
pub mod store;
