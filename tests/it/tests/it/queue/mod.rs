//! The queues in front of the hub: what SQS and Lambda make of what the handler
//! answers. At least once in, and every message handled or in the dead-letter
//! queue at the end.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

mod hub;
mod intake;
mod notices;
mod storm;
mod write_back;
