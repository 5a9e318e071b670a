//! A whole AWS organization in process, behind the SDK's HTTP client.
//!
//! The SDK's clients stay real: signing, serialization, retries. The one seam
//! is [`Organization::http_client`]: a function from request to response. It
//! knows nothing of Firebreak.
//!
//! # How a request is answered
//!
//! 1. `router` reads service and Region from the signature's credential scope
//!    and takes the request apart. Signatures themselves are not verified: the
//!    access key id, the session token and the expiry are.
//! 2. `faults`, `chaos` and `throttle` may answer instead of the service.
//! 3. `router` finds the caller by its access key and asks `policy` for every
//!    permission that the call needs: identity policies, session policy,
//!    explicit deny, conditions. A condition that is not modelled is an error.
//! 4. The service's `answers` file changes its `model` and writes the answer.
//!    A call that is not modelled is refused with an error that names it.
//! 5. The call is recorded.
//!
//! # Adding a service
//!
//! One folder with `model.rs` (the state, plain data) and `answers.rs` (the
//! calls), its state in `state::State`, its line in `router::dispatch` and its
//! permissions in `permissions.rs`. A service of one account and Region that a
//! few actions call is one file in `regional`, told as JSON values.

pub mod account;
pub mod caller;
pub mod chaos;
pub mod cloudformation;
pub mod cloudformation_access;
pub mod dynamodb;
pub mod ec2;
pub mod events;
pub mod faults;
pub mod guardduty;
pub mod iam;
pub mod monitoring;
pub mod organization;
pub mod organizations;
pub mod permissions;
pub mod policy;
pub mod process;
pub mod regional;
pub mod router;
pub mod s3;
pub mod security_hub;
pub mod serve;
pub mod sns;
pub mod sqs;
pub mod state;
pub mod sts;
pub mod throttle;
pub mod wire;

pub use chaos::Chaos;
pub use faults::{Effect, Fault};
pub use organization::{CallRecord, Options, Organization};
pub use process::Process;
