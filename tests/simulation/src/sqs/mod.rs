//! Amazon SQS: standard queues, fair ones among them, under simulated time.
//!
//! FIFO queues, queue policies, encryption and the retention period are not
//! modelled. Receiving never waits: a caller that polls long gets what is there.

pub mod answers;
pub mod model;
mod queue;

pub use model::{Address, Counts, Message, Outgoing, Sqs};

#[cfg(test)]
mod tests;
