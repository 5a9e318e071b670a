//! The list of all actions, as policy, plan and engine use them: by name, with
//! parameters and prior state as JSON.

#![warn(missing_docs)]

use std::pin::Pin;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::contract::{Action, ActionContext, Undone, Verification};
use crate::grant::Grant;
use crate::{ec2, ecs, eks, iam, lambda, rds, s3, ssm, tags};
use firebreak_model::action::{ActionCatalog, ActionFacts, ActionSpec, CapturedState, Residual};
use firebreak_model::error::{ActionError, ErrorKind};

type ActionFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ActionError>> + Send + 'a>>;

/// An action in the list: parameters and prior state are JSON, as in policies and
/// records.
#[derive(Clone, Copy)]
pub struct RegisteredAction {
    /// The action's specification.
    pub spec: ActionSpec,
    /// What policy and plan know of it.
    pub facts: ActionFacts,
    /// The statements of the spoke role that allow its changes.
    pub grants: &'static [Grant],
    capture: for<'a> fn(ActionContext<'a>, &'a Value) -> ActionFuture<'a, CapturedState<Value>>,
    apply: for<'a> fn(ActionContext<'a>, &'a Value, &'a Value) -> ActionFuture<'a, ()>,
    verify: for<'a> fn(ActionContext<'a>, &'a Value, &'a Value) -> ActionFuture<'a, Verification>,
    residual:
        for<'a> fn(ActionContext<'a>, &'a Value, &'a Value) -> ActionFuture<'a, Vec<Residual>>,
    undo: for<'a> fn(ActionContext<'a>, &'a Value, &'a Value) -> ActionFuture<'a, Undone>,
    touches: fn(ActionContext<'_>, &Value) -> Result<Vec<String>, ActionError>,
}

/// The actions of each service, in the order in which lists show them.
const SERVICES: &[&[RegisteredAction]] = &[
    ec2::ACTIONS,
    iam::ACTIONS,
    s3::ACTIONS,
    rds::ACTIONS,
    lambda::ACTIONS,
    ecs::ACTIONS,
    eks::ACTIONS,
    ssm::ACTIONS,
    tags::ACTIONS,
];

static ALL: LazyLock<Vec<RegisteredAction>> = LazyLock::new(|| SERVICES.concat());

static FACTS: LazyLock<Vec<ActionFacts>> =
    LazyLock::new(|| ALL.iter().map(|action| action.facts).collect());

/// What policy and plan know of every action.
pub fn catalog() -> ActionCatalog {
    ActionCatalog::new(&FACTS)
}

/// Every action, in the order in which lists show them.
pub fn all() -> &'static [RegisteredAction] {
    &ALL
}

/// The action of this name.
pub fn find(name: &str) -> Option<&'static RegisteredAction> {
    all().iter().find(|entry| entry.spec.name == name)
}

impl RegisteredAction {
    /// The entry of an action.
    pub(crate) const fn of<A: Action>() -> Self {
        Self {
            spec: A::SPEC,
            grants: A::GRANTS,
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
            residual: |context, parameters, prior| {
                Box::pin(async move {
                    let parameters = read::<A::Parameters>("parameters", parameters)?;
                    A::residual(context, &parameters, &read("recorded prior state", prior)?).await
                })
            },
            undo: |context, parameters, prior| {
                Box::pin(async move {
                    let parameters = read::<A::Parameters>("parameters", parameters)?;
                    A::undo(context, &parameters, &read("recorded prior state", prior)?).await
                })
            },
            touches: |context, prior| {
                Ok(A::touches(context, &read("recorded prior state", prior)?))
            },
        }
    }

    /// The JSON Schema of the parameters.
    pub fn schema(&self) -> Value {
        (self.facts.schema)()
    }

    /// Checks parameters from a policy; `null` means none.
    pub fn check_parameters(&self, parameters: &Value) -> Result<(), String> {
        (self.facts.check)(parameters)
    }

    /// See [`Action::capture`]. A resource of another account than the
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

    /// See [`Action::residual`].
    pub async fn residual(
        &self,
        context: ActionContext<'_>,
        parameters: &Value,
        prior: &Value,
    ) -> Result<Vec<Residual>, ActionError> {
        assert_account(context)?;
        (self.residual)(context, parameters, prior).await
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
            "refused to change `{arn}`: the session is of account {session}, the target of {target}"
        ),
    ))
}

const fn facts<A: Action>() -> ActionFacts {
    ActionFacts {
        spec: A::SPEC,
        after: A::AFTER,
        excludes: A::EXCLUDES,
        per_finding: A::PER_FINDING,
        returns_to_service: A::RETURNS_TO_SERVICE,
        schema: || {
            // Without references, so that it can be embedded in another schema.
            let settings = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
            settings.into_generator().into_root_schema_for::<A::Parameters>().to_value()
        },
        check: |parameters| {
            let read = read::<A::Parameters>("parameters", parameters);
            A::check(&read.map_err(|error| error.message)?)
        },
    }
}

/// Reads parameters or a prior state; `null` parameters are the defaults.
fn read<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, ActionError> {
    let empty = Value::Object(serde_json::Map::new());
    let value = if value.is_null() { &empty } else { value };
    T::deserialize(value)
        .map_err(|error| ActionError::new(ErrorKind::Failed, format!("unreadable {what}: {error}")))
}
