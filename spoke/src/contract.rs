//! The contract of an action.
//!
//! # Contract
//!
//! - `capture` reads the prior state and never writes. What it returns is
//!   recorded *before* anything changes: the plan is the undo log.
//! - `apply` makes the change. It may run again after a crash, with the prior
//!   state that was *recorded*: capturing again would save our own change as
//!   the original. Applying twice equals applying once.
//! - `verify` reads back. Only what it confirms is called contained. Nothing here
//!   waits: what takes longer is started by `apply` under an id that names the
//!   response, so that a second start finds it. Until it has ended the verification is
//!   `InProgress`.
//! - `residual` reads, after the cut, what may stay open all the same: a containment says
//!   what it does not close.
//! - `undo` restores the prior state. It tolerates that `apply` never ran or
//!   stopped half way, and that `undo` ran before. What others changed since is
//!   left alone and reported as drift.
//!
//! A missing, terminated or foreign resource is reported and nothing is changed.

#![warn(missing_docs)]

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use firebreak_model::action::{ActionSpec, CapturedState, Change, Phase, Residual, Reversal};

use crate::account::AccountSession;
use crate::grant::Grant;
use crate::read_cache::ReadCache;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::Resource;

/// The inputs of an action.
#[derive(Clone, Copy, Debug)]
pub struct ActionContext<'a> {
    /// The clients. Only reads are allowed through those that `capture` gets.
    pub account: &'a AccountSession,
    /// What is acted on.
    pub resource: &'a Resource,
    /// The id of the response, which names what the action creates.
    pub response: &'a str,
    /// The id of the finding.
    pub finding: &'a str,
    /// The remote IP addresses that the finding names.
    pub remote_addresses: &'a [String],
    /// The present time.
    pub now: Timestamp,
    /// The name of the spoke role in use, which no action may touch.
    pub spoke_role: &'a str,
    /// The decision's read cache; of an action's functions only `capture` uses it.
    pub cache: &'a ReadCache,
}

/// The result of `verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// The action's change is in effect; a sentence says what was read.
    InEffect(String),
    /// It is not in effect; a sentence says what was read instead.
    NotInEffect(String),
    /// Work that `apply` started is still in progress; a sentence says how far. Another
    /// worker may verify again.
    InProgress(String),
}

/// The result of `undo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// What was restored.
    pub restored: Vec<String>,
    /// What others changed since; it is not restored.
    pub drift: Vec<String>,
}

impl Verification {
    /// If the resource is gone, the change is in effect, because nobody can use the
    /// resource. Any other error is returned.
    pub(crate) fn if_gone(error: ActionError) -> Result<Self, ActionError> {
        if error.kind == ErrorKind::Gone { Ok(Self::InEffect(error.message)) } else { Err(error) }
    }
}

impl Undone {
    /// Nothing was restored, for this reason.
    pub(crate) fn drifted(why: impl Into<String>) -> Self {
        Self { drift: vec![why.into()], ..Self::default() }
    }

    /// If the resource is gone, this is drift. Any other error is returned.
    pub(crate) fn if_gone(error: ActionError) -> Result<Self, ActionError> {
        if error.kind == ErrorKind::Gone { Ok(Self::drifted(error.message)) } else { Err(error) }
    }

    /// Combines the results of concurrent undos. All failures are reported as one, see
    /// [`ActionError::all`].
    pub(crate) fn all(ended: Vec<Result<Self, ActionError>>) -> Result<Self, ActionError> {
        let (mut undone, mut failed) = (Self::default(), Vec::new());
        for one in ended {
            match one {
                Ok(one) => {
                    undone.restored.extend(one.restored);
                    undone.drift.extend(one.drift);
                }
                Err(error) => failed.push(error),
            }
        }
        ActionError::all(failed).map_or(Ok(undone), Err)
    }
}

/// One action. See the module's contract.
pub trait Action {
    /// Its specification.
    const SPEC: ActionSpec;
    /// Actions of the same phase that run before this one if a rule has both, because
    /// this one would prevent them.
    const AFTER: &'static [&'static str] = &[];
    /// Actions that set the same attribute as this one: a rule may have only one of
    /// them.
    const EXCLUDES: &'static [&'static str] = &[];
    /// Whether it acts on what the finding names besides the target, such as remote
    /// addresses: then another finding about the same target is not a repeat.
    const PER_FINDING: bool = false;
    /// Whether its undo returns the resource to what sends it work or replaces it where it is
    /// unhealthy: that comes after the undo of every other step, and not while one failed.
    const RETURNS_TO_SERVICE: bool = false;
    /// The statements of the spoke role that allow its changes: each of `SPEC.writes`
    /// is in exactly one of them. A read that is in none is allowed on every resource.
    const GRANTS: &'static [Grant];
    /// The parameters that a policy may set. Unknown fields are refused.
    type Parameters: DeserializeOwned + Serialize + JsonSchema + Default + Send + Sync;
    /// The state that undo needs.
    type Prior: DeserializeOwned + Serialize + Send + Sync;

    /// Checks of the parameters that their schema does not express, such as a missing
    /// one. Called when a policy is read.
    fn check(_parameters: &Self::Parameters) -> Result<(), String> {
        Ok(())
    }

    /// Reads the prior state.
    fn capture(
        context: ActionContext<'_>,
        parameters: &Self::Parameters,
    ) -> impl Future<Output = Result<CapturedState<Self::Prior>, ActionError>> + Send;

    /// Makes the change.
    fn apply(
        context: ActionContext<'_>,
        parameters: &Self::Parameters,
        prior: &Self::Prior,
    ) -> impl Future<Output = Result<(), ActionError>> + Send;

    /// Reads back whether the change is in effect.
    fn verify(
        context: ActionContext<'_>,
        parameters: &Self::Parameters,
        prior: &Self::Prior,
    ) -> impl Future<Output = Result<Verification, ActionError>> + Send;

    /// Reads what may stay open although the action is in effect, once it is verified. A path
    /// that this action can never close is not named here but in docs/actions.md.
    fn residual(
        _context: ActionContext<'_>,
        _parameters: &Self::Parameters,
        _prior: &Self::Prior,
    ) -> impl Future<Output = Result<Vec<Residual>, ActionError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The ARNs of other resources that it changes besides the target, so that a
    /// policy's protections of these apply too.
    fn touches(_scope: ActionContext<'_>, _prior: &Self::Prior) -> Vec<String> {
        Vec::new()
    }

    /// Restores the prior state.
    fn undo(
        context: ActionContext<'_>,
        parameters: &Self::Parameters,
        prior: &Self::Prior,
    ) -> impl Future<Output = Result<Undone, ActionError>> + Send;
}

/// The parameters of an action that takes none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Parameters", description = "It takes none.")]
pub struct NoParameters {}
