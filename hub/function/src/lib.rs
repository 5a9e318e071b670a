//! The Lambda function: a batch in, partial failures out; accounts in turn; what
//! was measured.

// The futures of the engine are deep, and Send is proved of each of their parts.
#![recursion_limit = "256"]

pub mod fair_queue;
pub mod lambda;
pub mod metrics;
