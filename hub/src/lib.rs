//! Firebreak's hub: a finding in, a contained resource out.
//!
//! One finding travels one way, and each stage has one type:
//!
//! ```text
//! message → Finding(s) → Decision → Plan → Response (recorded) → StatusUpdate
//! sources    finding     policy    plan    record, aws::ledger    status, aws::security_hub
//! ```
//!
//! # Invariants
//!
//! - `sources`, `finding`, `organization`, `policy`, `plan`, `record`, `status`,
//!   `notice`, `outbox`, `switches`, `audit`, `setup`, `coverage` and `stacksets` are pure: values in, values out,
//!   no clock, network or globals.
//! - `respond` is the one place where effects are ordered.
//! - SDK names appear under `aws` only. What is done in a member account lives
//!   in the spoke's actions.

pub mod audit;
pub mod aws;
pub mod cli;
pub mod coverage;
pub mod finding;
pub mod finding_types;
pub mod lambda;
pub mod metrics;
pub mod notice;
pub mod organization;
pub mod outbox;
pub mod plan;
pub mod policy;
pub mod record;
pub mod respond;
pub mod rollout;
pub mod settings;
pub mod setup;
pub mod sources;
pub mod stacksets;
pub mod status;
pub mod switches;
pub mod turns;
