//! What every AWS call goes through: one HTTP client that keeps to the
//! invocation's deadline and counts, the rate limits, and the sorting of errors.
//! Knows no service's SDK.

mod buckets;
pub mod calls;
pub mod deadline;
pub mod grant;
pub mod pace;
pub mod sdk_error;
