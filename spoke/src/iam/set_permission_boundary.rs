//! Gives a user or role a permissions boundary, `AWSDenyAll` unless another policy is
//! named: then it can do nothing, even if its policies allow it. Undo restores the
//! former boundary, or removes it if there was none.
//!
//! A boundary limits what identity policies allow, not what a resource's policy
//! grants to a user or a session directly; an explicit deny in it applies to
//! both (IAM user guide, "Permissions boundaries for IAM entities").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Residual, Reversal, Undone,
    Verification,
};
use crate::grant::Grant;
use crate::support::eks::known_principals;
use crate::support::iam::grants::{CHANGE_ROLES, CHANGE_USERS};
use crate::support::iam::managed_policy;
use crate::support::iam::principals::{self, Holder, Subject, holder};
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct SetPermissionBoundary;

/// Which policy is the boundary.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// The managed policy, by ARN, or by name where it is one of AWS's own.
    policy: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { policy: "AWSDenyAll".to_owned() }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    subject: Subject,
    /// The new boundary, as its name was read when the plan was made.
    arn: String,
    /// The boundary before; `None` where there was none.
    before: Option<String>,
}

impl Action for SetPermissionBoundary {
    const SPEC: ActionSpec = ActionSpec {
        name: "set-permission-boundary",
        sentence: "Sets a permissions boundary on the user or role, by default one that allows nothing.",
        resource_types: &["AccessKey", "User", "Role"],
        reads: &[
            "eks:DescribeCluster",
            "eks:ListAccessEntries",
            "eks:ListClusters",
            "iam:GetPolicy",
            "iam:GetRole",
            "iam:GetUser",
        ],
        writes: &[
            "iam:DeleteRolePermissionsBoundary",
            "iam:DeleteUserPermissionsBoundary",
            "iam:PutRolePermissionsBoundary",
            "iam:PutUserPermissionsBoundary",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[
        CHANGE_USERS
            .allows(&["iam:DeleteUserPermissionsBoundary", "iam:PutUserPermissionsBoundary"]),
        CHANGE_ROLES
            .allows(&["iam:DeleteRolePermissionsBoundary", "iam:PutRolePermissionsBoundary"]),
    ];
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (subject, present) = principals::find(context, holder(context.resource)?).await?;
        let arn = managed_policy::arn(context, &parameters.policy);
        managed_policy::assert_exists(context, &arn).await?;
        let before = present.boundary;
        let change = Change {
            what: format!("permissions boundary of {}", subject.holder.describe()),
            before: before.clone().unwrap_or_else(|| "none".to_owned()),
            after: arn.clone(),
        };
        let changes = if before.as_ref() == Some(&arn) { Vec::new() } else { vec![change] };
        Ok(CapturedState { prior: Prior { subject, arn, before }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        principals::find_same(context, &prior.subject).await?;
        put(context, &prior.subject.holder, &prior.arn).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let described = prior.subject.holder.describe();
        let present = principals::find_same(context, &prior.subject).await?.boundary;
        Ok(match present {
            Some(arn) if arn == prior.arn => {
                Verification::InEffect(format!("`{arn}` bounds the permissions of {described}"))
            }
            Some(arn) => {
                Verification::NotInEffect(format!("the boundary of {described} is `{arn}`"))
            }
            None => Verification::NotInEffect(format!("{described} has no permissions boundary")),
        })
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &Self::Parameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        known_principals::residual(context, &prior.subject.holder).await
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let present = match principals::find_same(context, &prior.subject).await {
            Err(error) if error.kind == ErrorKind::Gone => {
                undone.drift.push(error.message);
                return Ok(undone);
            }
            present => present?.boundary,
        };
        let holder = &prior.subject.holder;
        let described = holder.describe();
        if present == prior.before {
            return Ok(undone);
        }
        if present.as_ref() != Some(&prior.arn) {
            let now = present.unwrap_or_else(|| "none".to_owned());
            undone.drift.push(format!("the permissions boundary of {described} is now {now}"));
            return Ok(undone);
        }
        let result = match &prior.before {
            Some(before) => put(context, holder, before).await,
            None => delete(context, holder).await,
        };
        match (result, &prior.before) {
            (Err(error), Some(before)) if error.kind == ErrorKind::Gone => undone.drift.push(
                format!("the former boundary of {described}, `{before}`, does not exist any more"),
            ),
            (result, _) => {
                result?;
                undone.restored.push(format!("the boundary of {described} is as before"));
            }
        }
        Ok(undone)
    }
}

async fn put(context: ActionContext<'_>, holder: &Holder, arn: &str) -> Result<(), ActionError> {
    let iam = context.account.iam(Class::IamWrite).await;
    match holder {
        Holder::User(user) => {
            let call =
                iam.put_user_permissions_boundary().user_name(user).permissions_boundary(arn);
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:PutUserPermissionsBoundary", &error))
        }
        Holder::Role(role) => {
            let call =
                iam.put_role_permissions_boundary().role_name(role).permissions_boundary(arn);
            let result = call.send().await.map(|_| ());
            result.map_err(|error| from_sdk("iam:PutRolePermissionsBoundary", &error))
        }
    }
}

async fn delete(context: ActionContext<'_>, holder: &Holder) -> Result<(), ActionError> {
    let iam = context.account.iam(Class::IamWrite).await;
    match holder {
        Holder::User(user) => {
            let result = iam.delete_user_permissions_boundary().user_name(user).send().await;
            result
                .map(|_| ())
                .map_err(|error| from_sdk("iam:DeleteUserPermissionsBoundary", &error))
        }
        Holder::Role(role) => {
            let result = iam.delete_role_permissions_boundary().role_name(role).send().await;
            result
                .map(|_| ())
                .map_err(|error| from_sdk("iam:DeleteRolePermissionsBoundary", &error))
        }
    }
}
