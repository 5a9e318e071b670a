//! Amazon SQS: standard queues, fair ones among them, under simulated time.
//!
//! FIFO queues, encryption and the retention period are not modelled. A queue's
//! policy says which services may send; its own account's callers need none. Receiving
//! never waits: a caller that polls long gets what is there.

pub mod answers;
pub mod model;
mod queue;

pub use model::{Address, Counts, Message, Outgoing, Sqs};
pub use queue::Order;

#[cfg(test)]
mod tests;
