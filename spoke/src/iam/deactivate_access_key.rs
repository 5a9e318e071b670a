//! Deactivates an IAM user's access key. Undo activates it again only if it was active.
//!
//! It changes exactly the finding's key of exactly the finding's user: `UserName` is
//! always passed, because without it IAM changes a key of the *caller*. Sessions that
//! were obtained with the key stay valid: `revoke-sessions` ends them.

use aws_sdk_iam::types::{AccessKeyMetadata, StatusType};
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Residual,
    Reversal, Undone, Verification,
};
use crate::grant::Grant;
use crate::support::iam::grants::CHANGE_USERS;
use crate::support::iam::login_profile;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{Principal, PrincipalType, ResourceKind};

pub(crate) struct DeactivateAccessKey;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    user: String,
    access_key_id: String,
    active: bool,
}

impl Action for DeactivateAccessKey {
    const SPEC: ActionSpec = ActionSpec {
        name: "deactivate-access-key",
        sentence: "Deactivates the IAM access key named in the finding.",
        resource_types: &["AccessKey"],
        reads: &["iam:GetLoginProfile", "iam:ListAccessKeys"],
        writes: &["iam:UpdateAccessKey"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_USERS.allows(Self::SPEC.writes)];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let (user, access_key_id) = key(&context.resource.kind)?;
        let active = status(context, &user, &access_key_id).await?.ok_or_else(|| {
            ActionError::new(
                ErrorKind::Gone,
                format!("there is no user `{user}` with an access key `{access_key_id}`"),
            )
        })?;
        let change = Change {
            what: format!("access key {access_key_id} of user {user}"),
            before: "Active".to_owned(),
            after: "Inactive".to_owned(),
        };
        let changes = if active { vec![change] } else { Vec::new() };
        Ok(CapturedState { prior: Prior { user, access_key_id, active }, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        // Also for a key that was inactive when it was captured: others may have
        // activated it while the plan waited for approval.
        set(context, prior, StatusType::Inactive).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let Prior { user, access_key_id, .. } = prior;
        Ok(match status(context, user, access_key_id).await? {
            Some(true) => {
                Verification::NotInEffect(format!("access key `{access_key_id}` is active"))
            }
            Some(false) => {
                Verification::InEffect(format!("access key `{access_key_id}` is inactive"))
            }
            None => Verification::InEffect(format!(
                "access key `{access_key_id}` does not exist any more"
            )),
        })
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let Prior { user, access_key_id, .. } = prior;
        let closed_by = &["deny-all"];
        let mut residual = vec![Residual::new(
            "key-sessions",
            format!(
                "sessions that were begun with the key {access_key_id} stay valid until they expire"
            ),
            &["revoke-sessions", "deny-all"],
        )];
        let others = keys(context, user).await?.into_iter();
        let others = others.filter(|(id, active)| *active && id != access_key_id);
        residual.extend(others.map(|(id, _)| {
            let what = format!("the access key {id} of the user {user} is active");
            Residual::new("other-keys", what, closed_by)
        }));
        if login_profile::get(context, user).await?.is_some() {
            let what = format!("the user {user} has a password for the console");
            residual.push(Residual::new("console", what, &["deny-all", "disable-console-access"]));
        }
        Ok(residual)
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Prior { user, access_key_id, active } = prior;
        let mut undone = Undone::default();
        match status(context, user, access_key_id).await? {
            Some(false) if *active => {
                set(context, prior, StatusType::Active).await?;
                undone.restored.push(format!("access key `{access_key_id}` is active again"));
            }
            Some(true) if !*active => undone.drift.push(format!(
                "access key `{access_key_id}` was inactive before and is active now"
            )),
            Some(_) => {}
            None => undone.drift.push(format!("access key `{access_key_id}` was deleted since")),
        }
        Ok(undone)
    }
}

/// The user and key that a target names. The error says why another principal is
/// refused.
fn key(kind: &ResourceKind) -> Result<(String, String), ActionError> {
    let ResourceKind::AccessKey { access_key_id, principal } = kind else {
        return Err(ActionError::new(ErrorKind::NotApplicable, "the target is not an access key"));
    };
    let Principal { kind, name, .. } = principal;
    let temporary = access_key_id.as_deref().is_some_and(|id| id.starts_with("ASIA"));
    match (kind, name, access_key_id) {
        (PrincipalType::AssumedRole | PrincipalType::Role | PrincipalType::FederatedUser, ..) => {
            Err(not_applicable())
        }
        (PrincipalType::IamUser, ..) if temporary => Err(not_applicable()),
        (PrincipalType::IamUser, Some(user), Some(id)) => Ok((user.clone(), id.clone())),
        (PrincipalType::IamUser, ..) => Err(ActionError::new(
            ErrorKind::Refused,
            "the finding does not name both the user and the access key",
        )),
        (PrincipalType::Root, ..) => Err(ActionError::new(
            ErrorKind::Refused,
            "the access key is the root user's: only root can deactivate it",
        )),
        (
            PrincipalType::IdentityCenterUser
            | PrincipalType::AwsAccount
            | PrincipalType::AwsService
            | PrincipalType::Other(_),
            ..,
        ) => Err(ActionError::new(
            ErrorKind::Refused,
            format!(
                "no access key of this account belongs to a principal of type `{}`",
                kind.name()
            ),
        )),
    }
}

fn not_applicable() -> ActionError {
    ActionError::new(
        ErrorKind::NotApplicable,
        "temporary credentials have no key to deactivate: `revoke-sessions` or `deny-all` ends them",
    )
}

/// Whether the key is active; `None` when the user has no such key, or is gone.
async fn status(
    context: ActionContext<'_>,
    user: &str,
    key: &str,
) -> Result<Option<bool>, ActionError> {
    let keys = keys(context, user).await?;
    Ok(keys.into_iter().find(|(id, _)| id == key).map(|(_, active)| active))
}

/// The user's keys, each with whether it is active; none when the user is gone.
async fn keys(context: ActionContext<'_>, user: &str) -> Result<Vec<(String, bool)>, ActionError> {
    let (mut keys, mut marker) = (Vec::new(), None);
    loop {
        let iam = context.account.iam(Class::IamRead).await;
        let page = iam.list_access_keys().user_name(user).set_marker(marker).send().await;
        let page = match page.map_err(|error| from_sdk("iam:ListAccessKeys", &error)) {
            Ok(page) => page,
            Err(error) if error.kind == ErrorKind::Gone => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let key = |it: &AccessKeyMetadata| {
            Some((it.access_key_id()?.to_owned(), it.status() == Some(&StatusType::Active)))
        };
        keys.extend(page.access_key_metadata().iter().filter_map(key));
        marker = page.marker().map(str::to_owned);
        if !page.is_truncated() || marker.is_none() {
            return Ok(keys);
        }
    }
}

async fn set(
    context: ActionContext<'_>,
    prior: &Prior,
    status: StatusType,
) -> Result<(), ActionError> {
    context
        .account
        .iam(Class::IamWrite)
        .await
        .update_access_key()
        .user_name(&prior.user)
        .access_key_id(&prior.access_key_id)
        .status(status)
        .send()
        .await
        .map(|_| ())
        .map_err(|error| from_sdk("iam:UpdateAccessKey", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_user_s_long_term_key_is_turned_off() {
        let check = |kind: &str, id: &str, expected: Result<(), ErrorKind>| {
            let principal = Principal {
                kind: PrincipalType::named(kind),
                name: Some("deploy".to_owned()),
                id: None,
            };
            let target = ResourceKind::AccessKey { access_key_id: Some(id.to_owned()), principal };
            assert_eq!(
                key(&target).map(|_| ()).map_err(|error| error.kind),
                expected,
                "{kind} {id}"
            );
        };
        check("IAMUser", "AKIAEXAMPLE", Ok(()));
        check("IAMUser", "ASIAEXAMPLE", Err(ErrorKind::NotApplicable));
        check("AssumedRole", "ASIAEXAMPLE", Err(ErrorKind::NotApplicable));
        check("FederatedUser", "ASIAEXAMPLE", Err(ErrorKind::NotApplicable));
        check("Root", "AKIAEXAMPLE", Err(ErrorKind::Refused));
        check("AWSAccount", "AKIAEXAMPLE", Err(ErrorKind::Refused));
        check("AWSService", "AKIAEXAMPLE", Err(ErrorKind::Refused));
        check("IdentityCenterUser", "AKIAEXAMPLE", Err(ErrorKind::Refused));
        check("SomethingNew", "AKIAEXAMPLE", Err(ErrorKind::Refused));
    }

    #[test]
    fn a_key_is_never_guessed_from_half_of_its_name() {
        let check = |name: Option<&str>, id: Option<&str>| {
            let (name, id) = (name.map(str::to_owned), id.map(str::to_owned));
            let principal = Principal { kind: PrincipalType::IamUser, name, id: None };
            let target = ResourceKind::AccessKey { access_key_id: id, principal };
            assert_eq!(key(&target).unwrap_err().kind, ErrorKind::Refused, "{target:?}");
        };
        check(Some("deploy"), None);
        check(None, Some("AKIAEXAMPLE"));
    }

    #[test]
    fn the_prior_state_reads_back_as_it_was_recorded() {
        let (user, access_key_id) = ("deploy".to_owned(), "AKIAEXAMPLE".to_owned());
        let prior = Prior { user, access_key_id, active: true };
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }
}
