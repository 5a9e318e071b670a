//! The parts that all AWS calls share: the HTTP client with a deadline and counts, the rate
//! limits, and the kinds of errors. Imports no service's SDK.

pub mod batcher;
pub mod deadline;
pub mod deadline_client;
pub mod grant;
pub mod rate_limit;
pub mod sdk_error;
mod token_bucket;
pub mod token_source;
