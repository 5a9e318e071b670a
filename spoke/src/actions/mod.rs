//! The contract of an action, and the list of all actions. One file an action.
//!
//! # Contract
//!
//! - `observe` reads the prior state and never writes. What it returns is
//!   recorded *before* anything changes: the plan is the undo log.
//! - `apply` makes the change. It may run again after a crash, with the prior
//!   state that was *recorded*: observing again would save our own change as
//!   the original. Applying twice equals applying once.
//! - `verify` reads back. Only what it confirms is called contained. Nothing
//!   here waits: what takes longer is started by `apply` under an id that names
//!   the response, so that starting it again finds it, and is `Pending` until
//!   it has ended.
//! - `undo` puts the prior state back. It tolerates that `apply` never ran or
//!   stopped half way, and that it ran itself before. What somebody changed
//!   since is left alone and reported as drift.
//!
//! A missing, terminated or foreign resource is reported and nothing is changed.

use std::pin::Pin;

use jiff::Timestamp;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use firebreak_model::action::{
    ActionCatalog, ActionFacts, ActionSpec, CapturedState, Change, Phase, Reversal,
};

use crate::account::AccountSession;
use crate::read_cache::ReadCache;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::Resource;

mod access_entry;
mod attach_policy;
mod attach_security_group;
mod attachment;
mod auto_scaling;
mod aws_auth;
mod block_lists;
mod block_public_access;
mod block_remote_ip;
mod bucket_rules;
mod collect_evidence;
mod cordon_node;
mod deactivate_access_key;
mod delete_login_profile;
mod deny_all;
mod deny_policy;
mod deny_sessions;
mod deregister_from_load_balancers;
mod detach_policy;
mod disable_console_access;
mod disassociate_addresses;
mod drain_container_instance;
mod enable_versioning;
mod evidence_bucket;
mod evidence_commands;
mod evidence_metadata;
mod force_password_change;
mod freeze_function;
mod freeze_service;
mod inline_policy;
mod instance_profile;
mod instance_state;
mod interfaces;
mod isolate_instance;
mod isolate_pod;
mod isolation_groups;
mod isolation_rules;
mod login_profile;
mod managed_policy;
mod network_acl;
mod pods;
mod principals;
mod private_acl;
mod protect_instance;
mod protected;
mod quarantine_db;
mod quarantined;
mod restrict_bucket_policy;
mod revoke_cluster_access;
mod revoke_instance_credentials;
mod revoke_sessions;
mod run_automation;
mod set_permission_boundary;
mod snapshot_db;
mod snapshot_volumes;
mod stop_instance;
mod stop_task;
mod suspend_lifecycle;
mod suspend_replication;
mod tag_resource;
mod terminate_instance;

/// Where and for what an action runs.
#[derive(Clone, Copy, Debug)]
pub struct ActionContext<'a> {
    /// The clients. Only reads are allowed through those that `observe` gets.
    pub account: &'a AccountSession,
    /// What is acted on.
    pub resource: &'a Resource,
    /// The id of the response, which names what the action creates.
    pub response: &'a str,
    /// The id of the finding that is answered.
    pub finding: &'a str,
    /// The remote IP addresses that the finding names.
    pub remote_addresses: &'a [String],
    /// The present time.
    pub now: Timestamp,
    /// The name of the spoke role in use, which no action may touch.
    pub spoke_role: &'a str,
    /// The decision's read cache; only `capture` uses it.
    pub cache: &'a ReadCache,
}

/// What `verify` read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// The action's change is in effect; a sentence says what was read.
    InEffect(String),
    /// It is not in effect; a sentence says what was read instead.
    NotInEffect(String),
    /// What `apply` started is still in progress; a sentence says how far.
    /// Another worker may ask again.
    InProgress(String),
}

/// What `undo` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// What was put back.
    pub restored: Vec<String>,
    /// What somebody changed since, and so was left alone.
    pub drift: Vec<String>,
}

impl Undone {
    /// What several undos that ran side by side did; the first failure decides
    /// its kind, and all are reported.
    fn all(ended: Vec<Result<Self, ActionError>>) -> Result<Self, ActionError> {
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
    /// Actions of the same phase that have to run before this one where a rule
    /// asks for both, because this one would stand in their way.
    const AFTER: &'static [&'static str] = &[];
    /// Actions that set the same attribute as this one: a rule asks for one.
    const EXCLUDES: &'static [&'static str] = &[];
    /// Whether it is about what the finding names besides the target: then
    /// another finding is no repeat.
    const PER_FINDING: bool = false;
    /// What a policy may set. Unknown fields are refused.
    type Parameters: DeserializeOwned + Serialize + JsonSchema + Default + Send + Sync;
    /// The state that undo needs.
    type Prior: DeserializeOwned + Serialize + Send + Sync;

    /// What is wrong with parameters beyond their form, such as a missing one:
    /// asked when a policy is read.
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

    /// Reads back whether the change holds.
    fn verify(
        context: ActionContext<'_>,
        parameters: &Self::Parameters,
        prior: &Self::Prior,
    ) -> impl Future<Output = Result<Verification, ActionError>> + Send;

    /// The ARNs of users and roles that it changes besides the target, so that
    /// whoever protects them by policy is heard.
    fn touches(_scope: ActionContext<'_>, _prior: &Self::Prior) -> Vec<String> {
        Vec::new()
    }

    /// Puts the prior state back.
    fn undo(
        context: ActionContext<'_>,
        parameters: &Self::Parameters,
        prior: &Self::Prior,
    ) -> impl Future<Output = Result<Undone, ActionError>> + Send;
}

type ActionFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ActionError>> + Send + 'a>>;

/// An action as the list holds it: parameters and prior state as JSON, because
/// that is how policies and records carry them.
#[derive(Clone, Copy)]
pub struct RegisteredAction {
    /// The action's specification.
    pub spec: ActionSpec,
    /// What policy and plan know of it.
    pub facts: ActionFacts,
    capture: for<'a> fn(ActionContext<'a>, &'a Value) -> ActionFuture<'a, CapturedState<Value>>,
    apply: for<'a> fn(ActionContext<'a>, &'a Value, &'a Value) -> ActionFuture<'a, ()>,
    verify: for<'a> fn(ActionContext<'a>, &'a Value, &'a Value) -> ActionFuture<'a, Verification>,
    undo: for<'a> fn(ActionContext<'a>, &'a Value, &'a Value) -> ActionFuture<'a, Undone>,
    touches: fn(ActionContext<'_>, &Value) -> Result<Vec<String>, ActionError>,
}

const ALL: &[RegisteredAction] = &[
    entry::<isolate_instance::IsolateInstance>(),
    entry::<revoke_instance_credentials::RevokeInstanceCredentials>(),
    entry::<deactivate_access_key::DeactivateAccessKey>(),
    entry::<revoke_sessions::RevokeSessions>(),
    entry::<block_public_access::BlockPublicAccess>(),
    entry::<tag_resource::TagResource>(),
    entry::<attach_security_group::AttachSecurityGroup>(),
    entry::<disassociate_addresses::DisassociateAddresses>(),
    entry::<block_remote_ip::BlockRemoteIp>(),
    entry::<protect_instance::ProtectInstance>(),
    entry::<deregister_from_load_balancers::DeregisterFromLoadBalancers>(),
    entry::<stop_instance::StopInstance>(),
    entry::<terminate_instance::TerminateInstance>(),
    entry::<deny_all::DenyAll>(),
    entry::<disable_console_access::DisableConsoleAccess>(),
    entry::<delete_login_profile::DeleteLoginProfile>(),
    entry::<attach_policy::AttachPolicy>(),
    entry::<detach_policy::DetachPolicy>(),
    entry::<set_permission_boundary::SetPermissionBoundary>(),
    entry::<force_password_change::ForcePasswordChange>(),
    entry::<restrict_bucket_policy::RestrictBucketPolicy>(),
    entry::<private_acl::PrivateAcl>(),
    entry::<enable_versioning::EnableVersioning>(),
    entry::<suspend_replication::SuspendReplication>(),
    entry::<suspend_lifecycle::SuspendLifecycle>(),
    entry::<snapshot_volumes::SnapshotVolumes>(),
    entry::<run_automation::RunAutomation>(),
    entry::<collect_evidence::CollectEvidence>(),
    entry::<freeze_function::FreezeFunction>(),
    entry::<quarantine_db::QuarantineDb>(),
    entry::<snapshot_db::SnapshotDb>(),
    entry::<freeze_service::FreezeService>(),
    entry::<drain_container_instance::DrainContainerInstance>(),
    entry::<stop_task::StopTask>(),
    entry::<revoke_cluster_access::RevokeClusterAccess>(),
    entry::<isolate_pod::IsolatePod>(),
    entry::<cordon_node::CordonNode>(),
];

/// What policy and plan know of each, in the same order.
const FACTS: [ActionFacts; ALL.len()] = {
    let mut facts = [ALL[0].facts; ALL.len()];
    let mut index = 0;
    while index < ALL.len() {
        facts[index] = ALL[index].facts;
        index += 1;
    }
    facts
};

/// What policy and plan know of every action.
pub fn catalog() -> ActionCatalog {
    ActionCatalog::new(&FACTS)
}

/// Every action, in the order in which lists show them.
pub fn all() -> &'static [RegisteredAction] {
    ALL
}

/// The action of this name.
pub fn find(name: &str) -> Option<&'static RegisteredAction> {
    all().iter().find(|entry| entry.spec.name == name)
}

impl RegisteredAction {
    /// The JSON Schema of the parameters.
    pub fn schema(&self) -> Value {
        (self.facts.schema)()
    }

    /// Whether parameters from a policy are what the action takes; `null`
    /// stands for none.
    pub fn check_parameters(&self, parameters: &Value) -> Result<(), String> {
        (self.facts.check)(parameters)
    }

    /// See [`Action::observe`]. A resource of another account than the
    /// session's is refused before any call.
    pub async fn capture(
        &self,
        context: ActionContext<'_>,
        parameters: &Value,
    ) -> Result<CapturedState<Value>, ActionError> {
        assert_account(context)?;
        (self.capture)(context, parameters).await
    }

    /// See [`Action::touches`].
    pub fn touches(
        &self,
        context: ActionContext<'_>,
        prior: &Value,
    ) -> Result<Vec<String>, ActionError> {
        (self.touches)(context, prior)
    }

    /// See [`Action::apply`].
    pub async fn apply(
        &self,
        context: ActionContext<'_>,
        parameters: &Value,
        prior: &Value,
    ) -> Result<(), ActionError> {
        assert_account(context)?;
        (self.apply)(context, parameters, prior).await
    }

    /// See [`Action::verify`].
    pub async fn verify(
        &self,
        context: ActionContext<'_>,
        parameters: &Value,
        prior: &Value,
    ) -> Result<Verification, ActionError> {
        assert_account(context)?;
        (self.verify)(context, parameters, prior).await
    }

    /// See [`Action::undo`].
    pub async fn undo(
        &self,
        context: ActionContext<'_>,
        parameters: &Value,
        prior: &Value,
    ) -> Result<Undone, ActionError> {
        assert_account(context)?;
        (self.undo)(context, parameters, prior).await
    }
}

fn assert_account(context: ActionContext<'_>) -> Result<(), ActionError> {
    let (session, target) = (&context.account.id, &context.resource.account);
    if session == target {
        return Ok(());
    }
    let arn = context.resource.arn();
    Err(ActionError::new(
        ErrorKind::Refused,
        format!(
            "refused to touch `{arn}`: the session is of account {session}, the target of {target}"
        ),
    ))
}

const fn facts<A: Action>() -> ActionFacts {
    ActionFacts {
        spec: A::SPEC,
        after: A::AFTER,
        excludes: A::EXCLUDES,
        per_finding: A::PER_FINDING,
        schema: || {
            // Whole in itself, so that it can stand inside another schema.
            let settings = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
            settings.into_generator().into_root_schema_for::<A::Parameters>().to_value()
        },
        check: |parameters| {
            let read = read::<A::Parameters>("parameters", parameters);
            A::check(&read.map_err(|error| error.message)?)
        },
    }
}

const fn entry<A: Action>() -> RegisteredAction {
    RegisteredAction {
        spec: A::SPEC,
        facts: facts::<A>(),
        capture: |context, parameters| {
            Box::pin(async move {
                let parameters = read::<A::Parameters>("parameters", parameters)?;
                let CapturedState { prior, changes } = A::capture(context, &parameters).await?;
                let prior = serde_json::to_value(prior).map_err(|error| {
                    ActionError::new(
                        ErrorKind::Failed,
                        format!("cannot record the prior state: {error}"),
                    )
                })?;
                Ok(CapturedState { prior, changes })
            })
        },
        apply: |context, parameters, prior| {
            Box::pin(async move {
                let parameters = read::<A::Parameters>("parameters", parameters)?;
                A::apply(context, &parameters, &read("recorded prior state", prior)?).await
            })
        },
        verify: |context, parameters, prior| {
            Box::pin(async move {
                let parameters = read::<A::Parameters>("parameters", parameters)?;
                A::verify(context, &parameters, &read("recorded prior state", prior)?).await
            })
        },
        undo: |context, parameters, prior| {
            Box::pin(async move {
                let parameters = read::<A::Parameters>("parameters", parameters)?;
                A::undo(context, &parameters, &read("recorded prior state", prior)?).await
            })
        },
        touches: |context, prior| Ok(A::touches(context, &read("recorded prior state", prior)?)),
    }
}

/// Reads parameters or a prior state; `null` parameters are the defaults.
fn read<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, ActionError> {
    let empty = Value::Object(serde_json::Map::new());
    let value = if value.is_null() { &empty } else { value };
    T::deserialize(value)
        .map_err(|error| ActionError::new(ErrorKind::Failed, format!("unreadable {what}: {error}")))
}
