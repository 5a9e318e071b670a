//! Ends the sessions of a user or role, as of now, by an inline deny. Undo takes
//! the deny off again.
//!
//! It hits every session of the role that began before now plus 30 seconds, of
//! whoever uses the role: they sign in again. `only-this-session` hits just the
//! session that the finding names.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deny_sessions::{self, Holder, Which};
use super::protected::refuse_protected;
use super::{About, Action, Change, Observation, Phase, Reversal, Scope, Undone, Verdict};
use crate::error::{ActionError, Kind};
use crate::pace::Class;
use crate::resource::{Principal, PrincipalType, ResourceKind};

pub(super) struct RevokeSessions;

/// Which sessions end.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Parameters {
    /// End only the session that the finding names, by its `aws:userid`.
    only_this_session: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prior {
    holder: Holder,
    /// The session's `aws:userid`, when only this session ends.
    user_id: Option<String>,
    observed: Timestamp,
}

impl Prior {
    fn which(&self, now: Timestamp) -> Which<'_> {
        match &self.user_id {
            Some(id) => Which::UserId(id),
            None => Which::Before(deny_sessions::cutoff(now)),
        }
    }
}

impl Action for RevokeSessions {
    const ABOUT: About = About {
        name: "revoke-sessions",
        sentence: "Ends the sessions of the user or role, as of now, by an inline deny policy.",
        resource_types: &["AccessKey", "User", "Role"],
        reads: &["iam:GetRole", "iam:GetRolePolicy", "iam:GetUser", "iam:GetUserPolicy"],
        writes: &[
            "iam:DeleteRolePolicy",
            "iam:DeleteUserPolicy",
            "iam:PutRolePolicy",
            "iam:PutUserPolicy",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(
        scope: Scope<'_>,
        parameters: &Parameters,
    ) -> Result<Observation<Prior>, ActionError> {
        let (holder, id) = holder(&scope.resource.kind)?;
        let user_id = if parameters.only_this_session {
            Some(id.clone().filter(|id| id.contains(':')).ok_or_else(|| {
                ActionError::new(
                    Kind::NotApplicable,
                    "the finding names no session: revoke all sessions instead",
                )
            })?)
        } else {
            None
        };
        assert_same_principal(scope, &holder, id.as_deref()).await?;
        let change = Change {
            what: format!("sessions of {}", holder.describe()),
            before: "valid".to_owned(),
            after: match &user_id {
                Some(id) => format!("{id} is denied everything"),
                None => "all that began before now are denied everything".to_owned(),
            },
        };
        let prior = Prior { holder, user_id, observed: scope.now };
        Ok(Observation { prior, changes: vec![change] })
    }

    async fn apply(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<(), ActionError> {
        deny_sessions::put(scope, &prior.holder, &prior.which(scope.now)).await
    }

    async fn verify(
        scope: Scope<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        let described = prior.holder.describe();
        // Apply came after observe, so its moment is no earlier.
        let which = prior.which(prior.observed);
        Ok(if deny_sessions::is_in_force(scope, &prior.holder, &which).await? {
            Verdict::Holds(format!("the sessions of {described} are denied everything"))
        } else {
            Verdict::Broken(format!("the deny policy is not on {described}"))
        })
    }

    async fn undo(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<Undone, ActionError> {
        deny_sessions::take_off(scope, &prior.holder).await
    }
}

/// The user or role that a target's sessions belong to, and its unique id where
/// the finding has it; for every other principal why not. Dispatch is by type:
/// a user and a role may share a name.
fn holder(kind: &ResourceKind) -> Result<(Holder, Option<String>), ActionError> {
    let refuse = |why: &str| Err(ActionError::new(Kind::Refused, why));
    let Principal { kind, name, id } = match kind {
        ResourceKind::User { name } => return Ok((Holder::User(name.clone()), None)),
        ResourceKind::Role { name } => return Ok((Holder::Role(name.clone()), None)),
        ResourceKind::AccessKey { principal, .. } => principal,
        ResourceKind::Instance { .. }
        | ResourceKind::Bucket { .. }
        | ResourceKind::DbInstance { .. }
        | ResourceKind::DbCluster { .. }
        | ResourceKind::Function { .. }
        | ResourceKind::EcsCluster { .. }
        | ResourceKind::EksCluster { .. }
        | ResourceKind::Other { .. } => {
            return Err(ActionError::new(Kind::NotApplicable, "the target has no sessions"));
        }
    };
    match (kind, name) {
        (PrincipalType::IamUser, Some(name)) => Ok((Holder::User(name.clone()), id.clone())),
        (PrincipalType::AssumedRole | PrincipalType::Role, Some(name)) => {
            Ok((Holder::Role(name.clone()), id.clone()))
        }
        (PrincipalType::IamUser | PrincipalType::AssumedRole | PrincipalType::Role, None) => {
            refuse("the finding does not name the user or role")
        }
        (PrincipalType::Root, _) => {
            refuse("the session is the root user's: no policy of the account binds root")
        }
        (PrincipalType::FederatedUser, _) => refuse(
            "the session is a federated user's: revoke the sessions of the IAM user that asked for it",
        ),
        (PrincipalType::IdentityCenterUser, _) => {
            refuse("the session is an Identity Center user's: revoke it in Identity Center")
        }
        (PrincipalType::AwsAccount, _) => {
            refuse("the caller is of another account, which alone can end its sessions")
        }
        (PrincipalType::AwsService, _) => refuse("the caller is an AWS service"),
        (PrincipalType::Other(other), _) => {
            refuse(&format!("no way is known to end sessions of a principal of type `{other}`"))
        }
    }
}

/// Names can be used again: a role that was deleted and made anew, or one that
/// only shares the name, has another unique id than the finding's.
async fn assert_same_principal(
    scope: Scope<'_>,
    holder: &Holder,
    id: Option<&str>,
) -> Result<(), ActionError> {
    let iam = scope.account.iam(Class::IamRead).await;
    let present = match holder {
        Holder::User(name) => {
            let answer = iam.get_user().user_name(name).send().await;
            let answer = answer.map_err(|error| ActionError::from_sdk("iam:GetUser", &error))?;
            answer.user.map(|user| user.user_id)
        }
        Holder::Role(name) => {
            let answer = iam.get_role().role_name(name).send().await;
            let answer = answer.map_err(|error| ActionError::from_sdk("iam:GetRole", &error))?;
            if let Some(role) = &answer.role {
                refuse_protected(&role.role_name, &role.path, scope.spoke_role)?;
            }
            answer.role.map(|role| role.role_id)
        }
    };
    let named = id.and_then(|id| id.split(':').next()).filter(|id| is_unique_id(id));
    match (named, present) {
        (Some(named), Some(present)) if named != present => Err(ActionError::new(
            Kind::Refused,
            format!(
                "refused to touch {}: its unique id is {present}, the finding's is {named}",
                holder.describe()
            ),
        )),
        _ => Ok(()),
    }
}

/// The prefixes of users' and roles' unique ids (IAM user guide, "IAM identifiers").
fn is_unique_id(text: &str) -> bool {
    text.starts_with("AIDA") || text.starts_with("AROA")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_principal_s_type_decides_never_its_name() {
        let check = |kind: &str, expected: Option<Holder>| {
            let principal = Principal {
                kind: PrincipalType::named(kind),
                name: Some("deploy".to_owned()),
                id: None,
            };
            let target = ResourceKind::AccessKey { access_key_id: None, principal };
            assert_eq!(holder(&target).ok().map(|(holder, _)| holder), expected, "{kind}");
        };
        check("IAMUser", Some(Holder::User("deploy".to_owned())));
        check("AssumedRole", Some(Holder::Role("deploy".to_owned())));
        check("Role", Some(Holder::Role("deploy".to_owned())));
        for kind in ["Root", "FederatedUser", "IdentityCenterUser", "AWSAccount", "AWSService", "X"]
        {
            check(kind, None);
        }
    }
}
