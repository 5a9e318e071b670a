//! Which user or role a target is, and whether it is still the same. Dispatch is by
//! type: a user and a role may share a name, and a name can be used again after its
//! user or role was deleted.

use serde::{Deserialize, Serialize};

use crate::contract::{ActionContext, Undone};
use crate::support::iam::protected_roles::refuse_protected;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{PrincipalRef, PrincipalType, Resource};

/// A user or role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Holder {
    /// An IAM user, by name.
    User(String),
    /// A role, by name.
    Role(String),
}

impl Holder {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::User(name) => format!("user `{name}`"),
            Self::Role(name) => format!("role `{name}`"),
        }
    }
}

/// The user or role that a plan was made for: what is recorded of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) holder: Holder,
    /// The unique id, which AWS gives only once.
    pub(crate) id: String,
}

/// A user or role as IAM describes it.
pub(crate) struct Present {
    pub(crate) id: String,
    /// The ARN of its permissions boundary.
    pub(crate) boundary: Option<String>,
}

/// The user or role of a target, and its unique id if the finding has it. The error
/// says why another principal is refused.
pub(crate) fn holder(target: &Resource) -> Result<(Holder, Option<String>), ActionError> {
    let refuse = |why: &str| Err(ActionError::new(ErrorKind::Refused, why));
    let Some(PrincipalRef { kind, name, id }) = target.principal() else {
        return Err(ActionError::new(ErrorKind::NotApplicable, "the target is not a user or role"));
    };
    let id = id.map(str::to_owned);
    match (kind, name) {
        (PrincipalType::IamUser, Some(name)) => Ok((Holder::User(name.to_owned()), id)),
        (PrincipalType::AssumedRole | PrincipalType::Role, Some(name)) => {
            Ok((Holder::Role(name.to_owned()), id))
        }
        (PrincipalType::IamUser | PrincipalType::AssumedRole | PrincipalType::Role, None) => {
            refuse("the finding does not name the user or role")
        }
        (PrincipalType::Root, _) => {
            refuse("the session is the root user's: no policy of the account binds root")
        }
        (PrincipalType::FederatedUser, _) => {
            refuse("the session is a federated user's: act on the IAM user that requested it")
        }
        (PrincipalType::IdentityCenterUser, _) => {
            refuse("the session is an Identity Center user's: revoke it in Identity Center")
        }
        (PrincipalType::AwsAccount, _) => {
            refuse("the caller is of another account, which alone can act on it")
        }
        (PrincipalType::AwsService, _) => refuse("the caller is an AWS service"),
        (PrincipalType::Other(other), _) => {
            refuse(&format!("no way is known to act on a principal of type `{other}`"))
        }
    }
}

/// The user of a target: a role has no password.
pub(crate) fn user(target: &Resource) -> Result<(Holder, Option<String>), ActionError> {
    match holder(target)? {
        (Holder::Role(_), _) => Err(ActionError::new(
            ErrorKind::NotApplicable,
            "the target is a role, which has no password for the console",
        )),
        user => Ok(user),
    }
}

/// Reads a user or role before a plan is made for it. One that must not be touched is
/// refused, as is one whose unique id differs from the finding's.
pub(crate) async fn find(
    context: ActionContext<'_>,
    (holder, id): (Holder, Option<String>),
) -> Result<(Subject, Present), ActionError> {
    let present = read(context, &holder).await?;
    let named = id.as_deref().and_then(|id| id.split(':').next()).filter(|id| is_unique_id(id));
    if let Some(named) = named.filter(|named| *named != present.id) {
        return Err(ActionError::new(
            ErrorKind::Refused,
            format!(
                "refused to change {}: its unique id is {}, the finding's is {named}",
                holder.describe(),
                present.id
            ),
        ));
    }
    Ok((Subject { holder, id: present.id.clone() }, present))
}

/// Reads the user or role that a plan was made for. `Gone` if it was deleted, even if
/// another one has its name now: that one has another unique id.
pub(crate) async fn find_same(
    context: ActionContext<'_>,
    subject: &Subject,
) -> Result<Present, ActionError> {
    let present = read(context, &subject.holder).await?;
    if present.id == subject.id {
        return Ok(present);
    }
    let (described, id, now) = (subject.holder.describe(), &subject.id, &present.id);
    Err(ActionError::new(
        ErrorKind::Gone,
        format!(
            "{described} was deleted, and another one has its name: the unique id was {id} and is {now} now"
        ),
    ))
}

/// The result of undo if the user or role of the plan is gone; `None` if it still
/// exists.
pub(crate) async fn undo_if_gone(
    context: ActionContext<'_>,
    subject: &Subject,
) -> Result<Option<Undone>, ActionError> {
    match find_same(context, subject).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind == ErrorKind::Gone => Ok(Some(Undone::drifted(error.message))),
        Err(error) => Err(error),
    }
}

async fn read(context: ActionContext<'_>, holder: &Holder) -> Result<Present, ActionError> {
    let iam = context.account.iam(Class::IamRead).await;
    let arn = |boundary: Option<aws_sdk_iam::types::AttachedPermissionsBoundary>| {
        boundary.and_then(|it| it.permissions_boundary_arn)
    };
    let present = match holder {
        Holder::User(name) => {
            let output = iam.get_user().user_name(name).send().await;
            let output = output.map_err(|error| from_sdk("iam:GetUser", &error))?;
            output.user.map(|it| Present { id: it.user_id, boundary: arn(it.permissions_boundary) })
        }
        Holder::Role(name) => {
            let output = iam.get_role().role_name(name).send().await;
            let output = output.map_err(|error| from_sdk("iam:GetRole", &error))?;
            if let Some(role) = &output.role {
                refuse_protected(&role.role_name, &role.path, context.spoke_role)?;
            }
            output.role.map(|it| Present { id: it.role_id, boundary: arn(it.permissions_boundary) })
        }
    };
    present.ok_or_else(|| {
        ActionError::new(ErrorKind::Failed, format!("IAM's response lacks {}", holder.describe()))
    })
}

/// The prefixes of users' and roles' unique ids (IAM user guide, "IAM identifiers").
fn is_unique_id(text: &str) -> bool {
    text.starts_with("AIDA") || text.starts_with("AROA")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_model::resource::{Principal, ResourceKind};

    #[test]
    fn the_principal_s_type_decides_never_its_name() {
        let check = |kind: &str, expected: Option<Holder>| {
            let principal = Principal {
                kind: PrincipalType::named(kind),
                name: Some("deploy".to_owned()),
                id: None,
            };
            let target = Resource {
                partition: "aws".parse().unwrap(),
                account: "111111111111".parse().unwrap(),
                region: "eu-central-1".parse().unwrap(),
                kind: ResourceKind::AccessKey { access_key_id: None, principal },
            };
            assert_eq!(holder(&target).ok().map(|(holder, _)| holder), expected, "{kind}");
            let is_user = matches!(expected, Some(Holder::User(_)));
            assert_eq!(user(&target).is_ok(), is_user, "{kind}");
        };
        check("IAMUser", Some(Holder::User("deploy".to_owned())));
        check("AssumedRole", Some(Holder::Role("deploy".to_owned())));
        check("Role", Some(Holder::Role("deploy".to_owned())));
        for kind in ["Root", "FederatedUser", "IdentityCenterUser", "AWSAccount", "AWSService", "X"]
        {
            check(kind, None);
        }
    }

    #[test]
    fn a_user_and_a_role_of_one_name_stay_apart_in_the_record() {
        for holder in [Holder::User("deploy".to_owned()), Holder::Role("deploy".to_owned())] {
            let json = serde_json::to_value(&holder).unwrap();
            assert_eq!(serde_json::from_value::<Holder>(json).unwrap(), holder);
        }
    }
}
