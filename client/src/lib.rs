//! What every AWS call goes through: one HTTP client that keeps to the
//! invocation's deadline and counts, the rate limits, and the sorting of errors.
//! Knows no service's SDK.

pub mod deadline;
pub mod deadline_client;
pub mod grant;
pub mod rate_limit;
pub mod sdk_error;
mod token_bucket;
