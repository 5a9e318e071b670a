//! Scenarios, end to end: a message into the Lambda handler, and what then is
//! true of the organization, the record and Security Hub.

mod containment;
mod engine;
mod failures;
mod policies;
mod stage;
