//! Revokes an instance's role credentials: it denies the role's sessions of this
//! instance (or, by parameter, all of the role's sessions), then removes or replaces
//! the instance profile. Undo removes the deny and restores the profile.
//!
//! The deny comes first: credentials from the instance metadata live up to six
//! hours after the profile is gone (EC2 user guide, "IAM roles for Amazon EC2").
//! Where it fails, the profile is still removed, and both are reported. Where the
//! role's inline policies are full, AWSDenyAll is attached to it instead, which
//! denies all that use the role.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Residual, Reversal, Undone,
    Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::ec2::grants::CHANGE_INSTANCES;
use crate::support::ec2::instance;
use crate::support::ec2::instance_profile::{self as profile, Association};
use crate::support::eks::known_principals;
use crate::support::iam::deny_policy::Attached;
use crate::support::iam::deny_sessions::{self, Force, Which};
use crate::support::iam::grants::{ATTACH_DENY_ALL, CHANGE_ROLES, ROLES, passed_to};
use crate::support::iam::principals::Holder;
use crate::support::iam::protected_roles::refuse_protected;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

pub(crate) struct RevokeInstanceCredentials;

/// Whose sessions end, and what happens to the profile.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// `instance` ends this instance's sessions only, `role` all of the role's.
    sessions: Sessions,
    /// Remove the instance profile.
    disassociate_profile: bool,
    /// Instead of none, give the instance this profile, by name or ARN, such as
    /// one for Systems Manager only.
    replacement_profile: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sessions {
    #[default]
    Instance,
    Role,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { sessions: Sessions::Instance, disassociate_profile: true, replacement_profile: None }
    }
}

impl Parameters {
    /// What happens to this profile.
    fn goal(&self, profile_arn: &str) -> Goal<'_> {
        match &self.replacement_profile {
            Some(named) if profile::is(profile_arn, named) => Goal::Keep,
            Some(named) => Goal::Replace(named),
            None if self.disassociate_profile => Goal::TakeOff,
            None => Goal::Keep,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal<'a> {
    Keep,
    TakeOff,
    Replace(&'a str),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    /// `None` when the instance had no profile.
    profile: Option<Profile>,
    observed: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    arn: String,
    association_id: String,
    /// `None` for a profile without a role, which gives no credentials.
    role: Option<Role>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Role {
    name: String,
    id: String,
    #[serde(default)]
    managed: Attached,
}

impl Role {
    fn holder(&self) -> Holder {
        Holder::Role(self.name.clone())
    }

    /// `aws:userid` of an instance's session: the role's unique id and the
    /// instance's id (IAM user guide, "Policy variables", principal key values).
    fn user_id_of(&self, instance_id: &str) -> String {
        format!("{}:{instance_id}", self.id)
    }
}

const PASS_INSTANCE_ROLES: GrantScope = GrantScope {
    sid: "PassInstanceRoles",
    why: "An instance gets the profile back that it had.",
    resources: &[ROLES],
    conditions: &[passed_to(&["ec2.amazonaws.com", "ec2.amazonaws.com.cn"])],
    within: None,
};

impl Action for RevokeInstanceCredentials {
    const SPEC: ActionSpec = ActionSpec {
        name: "revoke-instance-credentials",
        sentence: "Denies all permissions to the instance's role credentials and removes its instance profile.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeIamInstanceProfileAssociations",
            "ec2:DescribeInstances",
            "eks:DescribeCluster",
            "eks:ListAccessEntries",
            "eks:ListClusters",
            "iam:GetInstanceProfile",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
        ],
        writes: &[
            "ec2:AssociateIamInstanceProfile",
            "ec2:DisassociateIamInstanceProfile",
            "ec2:ReplaceIamInstanceProfileAssociation",
            "iam:AttachRolePolicy",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:PassRole",
            "iam:PutRolePolicy",
        ],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[
        CHANGE_INSTANCES.allows(&[
            "ec2:AssociateIamInstanceProfile",
            "ec2:DisassociateIamInstanceProfile",
            "ec2:ReplaceIamInstanceProfileAssociation",
        ]),
        CHANGE_ROLES.allows(&["iam:DeleteRolePolicy", "iam:PutRolePolicy"]),
        ATTACH_DENY_ALL.allows(&["iam:AttachRolePolicy", "iam:DetachRolePolicy"]),
        PASS_INSTANCE_ROLES.allows(&["iam:PassRole"]),
    ];
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let ResourceKind::Instance { instance_id } = &context.resource.kind else {
            return Err(ActionError::new(
                ErrorKind::NotApplicable,
                "the target is not an instance",
            ));
        };
        let (present, association) = futures::join!(
            context.cache.instance(context.account, instance_id),
            profile::association(context, instance_id)
        );
        present?;
        let profile = match association? {
            Some(Association { id, profile_arn: arn }) => {
                let role = role_of(context, &arn).await?;
                Some(Profile { arn, association_id: id, role })
            }
            None => None,
        };
        let instance_id = instance_id.clone();
        let prior = Prior { instance_id, profile, observed: context.now };
        let changes = changes(parameters, &prior);
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let Some(profile) = &prior.profile else { return Ok(()) };
        let denied = match &profile.role {
            Some(role) => {
                let user_id = role.user_id_of(&prior.instance_id);
                let which = which(parameters, &user_id, context.now);
                deny_sessions::put(context, &role.holder(), &which, role.managed).await
            }
            None => Ok(()),
        };
        let changed = change_profile(context, parameters, &prior.instance_id, profile).await;
        let failed = [denied, changed].into_iter().filter_map(Result::err).collect();
        ActionError::all(failed).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let denied = async {
            let Some(role) = prior.profile.as_ref().and_then(|it| it.role.as_ref()) else {
                return Ok(Force::Sessions);
            };
            let user_id = role.user_id_of(&prior.instance_id);
            let which = which(parameters, &user_id, prior.observed);
            deny_sessions::force(context, &role.holder(), &which).await
        };
        let (denied, present) =
            futures::try_join!(denied, profile::association(context, &prior.instance_id))?;
        let present = present.map(|association| association.profile_arn);
        Ok(judge(parameters, prior, denied, present.as_deref()))
    }

    fn touches(context: ActionContext<'_>, prior: &Prior) -> Vec<String> {
        let role = prior.profile.as_ref().and_then(|profile| profile.role.as_ref());
        let AccountSession { partition, id, .. } = context.account;
        role.map(|role| format!("arn:{partition}:iam::{id}:role/{}", role.name))
            .into_iter()
            .collect()
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let role = prior.profile.as_ref().and_then(|profile| profile.role.as_ref());
        match role {
            Some(role) => known_principals::residual(context, &role.holder()).await,
            None => Ok(Vec::new()),
        }
    }

    async fn undo(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let Some(profile) = &prior.profile else { return Ok(Undone::default()) };
        let taken_off = async {
            match &profile.role {
                Some(role) => deny_sessions::take_off(context, &role.holder(), role.managed).await,
                None => Ok(Undone::default()),
            }
        };
        let (taken_off, restored) = futures::join!(
            taken_off,
            restore_profile(context, parameters, &prior.instance_id, &profile.arn)
        );
        let (mut undone, restored) = (taken_off?, restored?);
        undone.restored.extend(restored.restored);
        undone.drift.extend(restored.drift);
        Ok(undone)
    }
}

fn which<'a>(parameters: &Parameters, user_id: &'a str, now: Timestamp) -> Which<'a> {
    match parameters.sessions {
        Sessions::Instance => Which::UserId(user_id),
        Sessions::Role => Which::Before(deny_sessions::cutoff(now)),
    }
}

fn changes(parameters: &Parameters, prior: &Prior) -> Vec<Change> {
    let instance_id = &prior.instance_id;
    let Some(profile) = &prior.profile else { return Vec::new() };
    let sessions = profile.role.as_ref().map(|role| Change {
        what: match parameters.sessions {
            Sessions::Instance => format!("sessions of {instance_id} as role {}", role.name),
            Sessions::Role => format!("sessions of role {}", role.name),
        },
        before: "valid".to_owned(),
        after: match parameters.sessions {
            Sessions::Instance => "denied everything".to_owned(),
            Sessions::Role => "all that began before now are denied everything".to_owned(),
        },
    });
    let after = match parameters.goal(&profile.arn) {
        Goal::Keep => None,
        Goal::TakeOff => Some("none".to_owned()),
        Goal::Replace(named) => Some(named.to_owned()),
    };
    let profile = after.map(|after| Change {
        what: format!("instance profile of {instance_id}"),
        before: profile.arn.clone(),
        after,
    });
    sessions.into_iter().chain(profile).collect()
}

/// The verification, from the deny in effect and the ARN of the profile that the
/// instance has now.
fn judge(
    parameters: &Parameters,
    prior: &Prior,
    denied: Force,
    present: Option<&str>,
) -> Verification {
    let instance_id = &prior.instance_id;
    let Some(profile) = &prior.profile else {
        return match present {
            None => Verification::InEffect(format!(
                "the instance `{instance_id}` has no instance profile"
            )),
            Some(arn) => Verification::NotInEffect(format!(
                "the instance `{instance_id}` had no profile and was given `{arn}` since"
            )),
        };
    };
    if let (Force::Nothing, Some(role)) = (denied, &profile.role) {
        return Verification::NotInEffect(format!(
            "the deny policy is not on the role `{}`",
            role.name
        ));
    }
    let as_wanted = match parameters.goal(&profile.arn) {
        Goal::Keep => present.is_none_or(|arn| arn == profile.arn),
        Goal::TakeOff => present.is_none(),
        Goal::Replace(named) => present.is_some_and(|arn| profile::is(arn, named)),
    };
    let profile = present.map_or_else(
        || "no instance profile".to_owned(),
        |arn| format!("the instance profile `{arn}`"),
    );
    let more = match denied {
        Force::Nothing | Force::Sessions => "",
        Force::Everything => ", and AWSDenyAll denies everything to all users of its role",
    };
    if as_wanted {
        Verification::InEffect(format!(
            "the credentials of `{instance_id}` are denied everything{more}; it has {profile}"
        ))
    } else {
        Verification::NotInEffect(format!("`{instance_id}` has {profile}"))
    }
}

/// The role in a profile, unless it must not be touched.
async fn role_of(
    context: ActionContext<'_>,
    profile_arn: &str,
) -> Result<Option<Role>, ActionError> {
    let iam = context.account.iam(Class::IamRead).await;
    let call = iam.get_instance_profile().instance_profile_name(profile::name(profile_arn));
    let output = call.send().await;
    let output = match output.map_err(|error| from_sdk("iam:GetInstanceProfile", &error)) {
        Ok(output) => output,
        // EC2 keeps the association of a deleted profile; the instance exists.
        Err(error) if error.kind == ErrorKind::Gone => return Ok(None),
        Err(error) => return Err(error),
    };
    // A profile holds one role at most (IAM user guide, "Instance profiles").
    let Some(role) = output.instance_profile().and_then(|profile| profile.roles().first()) else {
        return Ok(None);
    };
    refuse_protected(role.role_name(), role.path(), context.spoke_role)?;
    let (name, id) = (role.role_name().to_owned(), role.role_id().to_owned());
    let managed = Attached::now(context, &Holder::Role(name.clone())).await?;
    Ok(Some(Role { name, id, managed }))
}

/// Removes or replaces the profile: by the recorded association, or where that is
/// gone by the present one, if it is of the same profile.
async fn change_profile(
    context: ActionContext<'_>,
    parameters: &Parameters,
    instance_id: &str,
    profile: &Profile,
) -> Result<(), ActionError> {
    let goal = parameters.goal(&profile.arn);
    match reach(context, goal, &profile.association_id).await {
        Err(error) if error.kind == ErrorKind::Gone => {}
        result => return result,
    }
    match profile::association(context, instance_id).await? {
        Some(present) if present.profile_arn == profile.arn => {
            reach(context, goal, &present.id).await
        }
        // An earlier run changed it, or another caller did: the verification says which.
        Some(_) | None => Ok(()),
    }
}

async fn reach(
    context: ActionContext<'_>,
    goal: Goal<'_>,
    association: &str,
) -> Result<(), ActionError> {
    match goal {
        Goal::Keep => Ok(()),
        Goal::TakeOff => profile::disassociate(context, association).await,
        Goal::Replace(named) => profile::replace(context, association, named).await,
    }
}

/// Gives the instance its profile back, unless it was given another since.
async fn restore_profile(
    context: ActionContext<'_>,
    parameters: &Parameters,
    instance_id: &str,
    arn: &str,
) -> Result<Undone, ActionError> {
    let drift = |what: String| Ok(Undone { drift: vec![what], ..Undone::default() });
    let goal = parameters.goal(arn);
    if goal == Goal::Keep {
        return Ok(Undone::default());
    }
    let (present, association) = futures::join!(
        instance::describe(context.account, instance_id),
        profile::association(context, instance_id)
    );
    match present {
        Err(error) if error.kind == ErrorKind::Gone => return drift(error.message),
        present => present?,
    };
    let result = match association? {
        Some(now) if now.profile_arn == arn => return Ok(Undone::default()),
        Some(now) if matches!(goal, Goal::Replace(named) if profile::is(&now.profile_arn, named)) => {
            profile::replace(context, &now.id, arn).await
        }
        Some(now) => {
            let given = now.profile_arn;
            return drift(format!(
                "`{instance_id}` was given the instance profile `{given}` since"
            ));
        }
        // The disassociation may still be in progress: EC2 then returns IncorrectState,
        // which is retried.
        None => profile::associate(context, instance_id, arn).await,
    };
    match result {
        Ok(()) => {
            let restored = vec![format!("instance profile {arn} of {instance_id} is back")];
            Ok(Undone { restored, ..Undone::default() })
        }
        Err(error) if profile::is_missing_profile(&error) => {
            drift(format!("the instance profile `{arn}` does not exist any more"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "arn:aws:iam::111111111111:instance-profile/web";
    const SSM: &str = "arn:aws:iam::111111111111:instance-profile/ssm-only";

    fn prior(with_profile: bool) -> Prior {
        let role = Some(Role {
            name: "web".to_owned(),
            id: "AROAEXAMPLE".to_owned(),
            managed: Attached::NotBefore,
        });
        let (arn, association_id) = (WEB.to_owned(), "iip-assoc-1".to_owned());
        Prior {
            instance_id: "i-1".to_owned(),
            profile: with_profile.then_some(Profile { arn, association_id, role }),
            observed: Timestamp::UNIX_EPOCH,
        }
    }

    fn parameters(yaml: serde_json::Value) -> Parameters {
        serde_json::from_value(yaml).unwrap()
    }

    #[test]
    fn verification_checks_the_deny_and_the_profile() {
        let check = |parameters: &Parameters,
                     denied: Force,
                     present: Option<&str>,
                     in_effect: bool| {
            let verified = judge(parameters, &prior(true), denied, present);
            assert_eq!(matches!(verified, Verification::InEffect(_)), in_effect, "{verified:?}");
        };
        let off = Parameters::default();
        check(&off, Force::Sessions, None, true);
        check(&off, Force::Nothing, None, false);
        check(&off, Force::Sessions, Some(WEB), false);
        let replaced = parameters(serde_json::json!({ "replacement-profile": "ssm-only" }));
        check(&replaced, Force::Everything, Some(SSM), true);
        check(&replaced, Force::Everything, None, false);
        check(&replaced, Force::Everything, Some(WEB), false);
        let kept = parameters(serde_json::json!({ "disassociate-profile": false }));
        check(&kept, Force::Sessions, Some(WEB), true);
        check(&kept, Force::Sessions, Some(SSM), false);
    }

    #[test]
    fn an_instance_without_a_profile_needs_no_change() {
        assert!(changes(&Parameters::default(), &prior(false)).is_empty());
        let verified =
            |present| judge(&Parameters::default(), &prior(false), Force::Sessions, present);
        assert!(matches!(verified(None), Verification::InEffect(_)));
        assert!(matches!(verified(Some(WEB)), Verification::NotInEffect(_)));
    }

    #[test]
    fn a_plan_names_the_session_and_the_profile() {
        let changes = changes(&Parameters::default(), &prior(true));
        let read =
            |change: &Change| format!("{}: {} -> {}", change.what, change.before, change.after);
        assert_eq!(
            changes.iter().map(read).collect::<Vec<_>>(),
            [
                "sessions of i-1 as role web: valid -> denied everything".to_owned(),
                format!("instance profile of i-1: {WEB} -> none"),
            ]
        );
        let role = prior(true).profile.unwrap().role.unwrap();
        assert_eq!(role.user_id_of("i-1"), "AROAEXAMPLE:i-1");
    }

    #[test]
    fn the_prior_state_reads_back_as_it_was_recorded() {
        for prior in [prior(true), prior(false)] {
            let json = serde_json::to_value(&prior).unwrap();
            assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
        }
    }
}
