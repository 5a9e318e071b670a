//! The record of a response and everything that is derived from it: plan, status for
//! Security Hub, notices, outbox, audit events, pauses. Pure: no clock, network or
//! globals.

pub mod audit_event;
mod backoff;
pub mod dedup;
pub mod notice;
pub mod outbox;
pub mod pauses;
pub mod plan;
pub mod record;
pub mod status;
pub mod target;
pub mod transition;
