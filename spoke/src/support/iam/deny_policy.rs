//! A deny on a user or role: an inline policy that names the response, and
//! where the inline policies are full the managed `AWSDenyAll` instead (IAM
//! user guide, "IAM and STS quotas": 2,048 characters on a user, 10,240 on a
//! role in all).
//!
//! An attachment does not say who made it. So only one of the two is ever put, and
//! undo detaches the managed policy only if it was not attached before and the inline
//! policy does not exist.

use serde_json::{Value, json};

use crate::contract::{ActionContext, Undone};
use crate::grant::Grant;
use crate::support::eks::{access_entry, cluster, known_principals};
use crate::support::iam::grants::{ATTACH_DENY_ALL, CHANGE_ROLES, CHANGE_USERS};
use crate::support::iam::inline_policy;
use crate::support::iam::managed_policy;
use crate::support::iam::principals::Holder;
use firebreak_model::error::{ActionError, ErrorKind};

/// The permissions to read a user or role and its deny.
pub(crate) const READS: &[&str] = &[
    cluster::DESCRIBE,
    access_entry::LIST,
    known_principals::LIST_CLUSTERS,
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:GetUser",
    "iam:GetUserPolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListAttachedUserPolicies",
];

/// The permissions to put a deny on a user or role and to remove it.
pub(crate) const WRITES: &[&str] = &[
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:DeleteRolePolicy",
    "iam:DeleteUserPolicy",
    "iam:DetachRolePolicy",
    "iam:DetachUserPolicy",
    "iam:PutRolePolicy",
    "iam:PutUserPolicy",
];

/// The grants of [`WRITES`].
pub(crate) const GRANTS: &[Grant] = &[
    CHANGE_USERS.allows(&["iam:DeleteUserPolicy", "iam:PutUserPolicy"]),
    CHANGE_ROLES.allows(&["iam:DeleteRolePolicy", "iam:PutRolePolicy"]),
    ATTACH_DENY_ALL.allows(&[
        "iam:AttachRolePolicy",
        "iam:AttachUserPolicy",
        "iam:DetachRolePolicy",
        "iam:DetachUserPolicy",
    ]),
];

/// The deny that a user or role has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DenyPresence {
    /// No deny.
    Nothing,
    /// The inline policy with the response's name, as it is.
    Inline(Value),
    /// The managed policy.
    Managed,
}

/// A document of one statement that denies everything, under a condition or not.
pub(crate) fn document(sid: &str, condition: Option<Value>) -> Value {
    let mut statement = json!({ "Sid": sid, "Effect": "Deny", "Action": "*", "Resource": "*" });
    if let (Some(condition), Some(statement)) = (condition, statement.as_object_mut()) {
        statement.insert("Condition".to_owned(), condition);
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// The deny that the holder has, under this policy name.
pub(crate) async fn standing(
    context: ActionContext<'_>,
    holder: &Holder,
    name: &str,
) -> Result<DenyPresence, ActionError> {
    if let Some(document) = inline_policy::get(context, holder, name).await? {
        return Ok(DenyPresence::Inline(document));
    }
    let managed = managed_policy::deny_all(context);
    match managed_policy::is_attached(context, holder, &managed).await {
        Ok(true) => Ok(DenyPresence::Managed),
        Ok(false) => Ok(DenyPresence::Nothing),
        Err(error) if error.kind == ErrorKind::Gone => Ok(DenyPresence::Nothing),
        Err(error) => Err(error),
    }
}

/// Puts the inline policy, or attaches the managed one where it does not fit.
pub(crate) async fn put(
    context: ActionContext<'_>,
    holder: &Holder,
    name: &str,
    document: &Value,
) -> Result<(), ActionError> {
    let full = match inline_policy::put(context, holder, name, document).await {
        Err(error) if error.has_code("LimitExceeded") => error,
        result => return result,
    };
    let managed = managed_policy::deny_all(context);
    let result = managed_policy::attach(context, holder, &managed).await;
    result.map_err(|error| ActionError::all(vec![error.clone(), full]).unwrap_or(error))
}

/// Removes the deny that is there. `is_ours` distinguishes the inline policy of this
/// response from one that others changed; `attached_before` is whether the managed
/// policy was attached before.
pub(crate) async fn take_off(
    context: ActionContext<'_>,
    holder: &Holder,
    name: &str,
    is_ours: impl Fn(&Value) -> bool,
    attached_before: Attached,
) -> Result<Undone, ActionError> {
    let described = holder.describe();
    let mut undone = Undone::default();
    match (standing(context, holder, name).await?, attached_before) {
        (DenyPresence::Nothing, _) | (DenyPresence::Managed, Attached::Before) => {}
        (DenyPresence::Inline(present), _) if is_ours(&present) => {
            if inline_policy::delete(context, holder, name).await? {
                undone.restored.push(format!("the inline policy {name} of {described} is removed"));
            }
        }
        (DenyPresence::Inline(_), _) => undone
            .drift
            .push(format!("the inline policy `{name}` of {described} was changed since")),
        (DenyPresence::Managed, Attached::NotBefore) => {
            managed_policy::detach(context, holder, &managed_policy::deny_all(context)).await?;
            undone.restored.push(format!("AWSDenyAll is detached from {described}"));
        }
    }
    Ok(undone)
}

/// Whether the managed policy was attached when the plan was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attached {
    Before,
    #[default]
    NotBefore,
}

impl Attached {
    /// Reads whether the managed policy is attached.
    pub(crate) async fn now(
        context: ActionContext<'_>,
        holder: &Holder,
    ) -> Result<Self, ActionError> {
        let managed = managed_policy::deny_all(context);
        Ok(if managed_policy::is_attached(context, holder, &managed).await? {
            Self::Before
        } else {
            Self::NotBefore
        })
    }
}
