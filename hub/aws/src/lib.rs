//! Adapters to AWS for the hub: settings, the table, sessions, Organizations,
//! GuardDuty, Security Hub, queues, notices.

mod answer_text;
pub mod audit_log;
pub mod config;
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
pub mod sessions;
pub mod settings;
mod together;
