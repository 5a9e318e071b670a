//! The Lambda function: batches with partial failures, the schedule, metrics.

mod batch;
mod fair_queue;
mod message;
pub mod metrics;
mod schedule;
mod write_back;

pub use batch::{handle_batch, handle_message};
pub use message::{Handled, MessageError, ReceivedFinding, Times};
pub use schedule::{is_schedule, sweep};
