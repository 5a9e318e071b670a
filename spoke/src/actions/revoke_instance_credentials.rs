//! Makes an instance's role credentials useless: a deny on the role for this
//! instance's sessions (or, by parameter, all of the role's), then the profile
//! is taken off or replaced. Undo takes the deny off and puts the profile back.
//!
//! The deny comes first: credentials from the instance metadata live up to six
//! hours after the profile is gone (EC2 user guide, "IAM roles for Amazon EC2").

use aws_sdk_ec2::types::{
    Filter, IamInstanceProfileAssociationState as State, IamInstanceProfileSpecification,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deny_sessions::{self, Holder, Which};
use super::protected::refuse_protected;
use super::{About, Action, Change, Observation, Phase, Scope, Undone, Verdict};
use crate::error::{ActionError, Kind};
use crate::pace::Class;
use crate::resource::ResourceKind;

pub(super) struct RevokeInstanceCredentials;

/// Whose sessions end, and what becomes of the profile.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Parameters {
    /// `instance` ends this instance's sessions only, `role` all of the role's.
    sessions: Sessions,
    /// Take the instance profile off.
    disassociate_profile: bool,
    /// Instead of none, give the instance this profile, such as one for SSM only.
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
        Self {
            sessions: Sessions::Instance,
            disassociate_profile: true,
            replacement_profile: None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prior {
    instance_id: String,
    /// `None` when the instance had no profile.
    profile: Option<Profile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Profile {
    arn: String,
    /// `None` for a profile without a role, which gives no credentials.
    role: Option<Role>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Role {
    name: String,
    id: String,
}

struct Association {
    id: String,
    profile_arn: String,
}

impl Action for RevokeInstanceCredentials {
    const ABOUT: About = About {
        name: "revoke-instance-credentials",
        sentence: "Denies the instance's role credentials everything and takes its instance profile off.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeIamInstanceProfileAssociations",
            "iam:GetInstanceProfile",
            "iam:GetRolePolicy",
        ],
        writes: &[
            "ec2:AssociateIamInstanceProfile",
            "ec2:DisassociateIamInstanceProfile",
            "ec2:ReplaceIamInstanceProfileAssociation",
            "iam:DeleteRolePolicy",
            "iam:PassRole",
            "iam:PutRolePolicy",
        ],
        reversible: true,
        phase: Phase::Contain,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(
        scope: Scope<'_>,
        parameters: &Parameters,
    ) -> Result<Observation<Prior>, ActionError> {
        let ResourceKind::Instance { instance_id } = &scope.resource.kind else {
            return Err(ActionError::new(Kind::NotApplicable, "the target is no instance"));
        };
        let prior = |profile| Prior { instance_id: instance_id.clone(), profile };
        let Some(association) = association(scope, instance_id).await? else {
            return Ok(Observation { prior: prior(None), changes: Vec::new() });
        };
        let role = role(scope, &association.profile_arn).await?;
        let mut changes = Vec::new();
        if let Some(role) = &role {
            let whose = match parameters.sessions {
                Sessions::Instance => format!("sessions of {instance_id} as role {}", role.name),
                Sessions::Role => format!("sessions of role {}", role.name),
            };
            let (before, after) = ("valid".to_owned(), "denied everything".to_owned());
            changes.push(Change { what: whose, before, after });
        }
        let replaced = parameters.replacement_profile.clone();
        if parameters.disassociate_profile || replaced.is_some() {
            changes.push(Change {
                what: format!("instance profile of {instance_id}"),
                before: association.profile_arn.clone(),
                after: replaced.unwrap_or_else(|| "none".to_owned()),
            });
        }
        let profile = Profile { arn: association.profile_arn, role };
        Ok(Observation { prior: prior(Some(profile)), changes })
    }

    async fn apply(
        scope: Scope<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let Some(profile) = &prior.profile else { return Ok(()) };
        if let Some(role) = &profile.role {
            let user_id = session_id(role, prior);
            let which = match parameters.sessions {
                Sessions::Instance => Which::UserId(&user_id),
                Sessions::Role => Which::Before(deny_sessions::cutoff(scope.now)),
            };
            deny_sessions::put(scope, &Holder::Role(role.name.clone()), &which).await?;
        }
        let Some(present) = association(scope, &prior.instance_id).await? else { return Ok(()) };
        if present.profile_arn != profile.arn {
            // Ours from an earlier run, or somebody's since: verify says which.
            return Ok(());
        }
        match &parameters.replacement_profile {
            Some(name) => replace(scope, &present.id, name).await,
            None if parameters.disassociate_profile => disassociate(scope, &present.id).await,
            None => Ok(()),
        }
    }

    async fn verify(
        scope: Scope<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        let Some(profile) = &prior.profile else {
            return Ok(Verdict::Holds("the instance has no profile".to_owned()));
        };
        if let Some(role) = &profile.role {
            let present = deny_sessions::get(scope, &Holder::Role(role.name.clone())).await?;
            if !present.as_ref().is_some_and(deny_sessions::ends_sessions) {
                let broken = format!("the deny policy is not on role `{}`", role.name);
                return Ok(Verdict::Broken(broken));
            }
        }
        let present = association(scope, &prior.instance_id).await?.map(|it| it.profile_arn);
        let wanted = parameters.replacement_profile.as_deref();
        let detached = match (&present, wanted) {
            (None, None) => true,
            (Some(arn), Some(name)) => arn == name || arn.ends_with(&format!("/{name}")),
            (Some(_), None) => !parameters.disassociate_profile,
            (None, Some(_)) => false,
        };
        Ok(if detached {
            Verdict::Holds("the instance's credentials are denied everything".to_owned())
        } else {
            let present = present.unwrap_or_else(|| "none".to_owned());
            Verdict::Broken(format!("the instance's profile is `{present}`"))
        })
    }

    async fn undo(
        scope: Scope<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let Some(profile) = &prior.profile else { return Ok(undone) };
        if let Some(role) = &profile.role {
            match deny_sessions::delete(scope, &Holder::Role(role.name.clone())).await? {
                Ok(restored) => undone.restored.extend(restored),
                Err(drift) => undone.drift.push(drift),
            }
        }
        let instance = &prior.instance_id;
        let arn = &profile.arn;
        match association(scope, instance).await? {
            Some(present) if present.profile_arn == *arn => {}
            Some(present) if is_replacement(&present.profile_arn, parameters) => {
                replace(scope, &present.id, arn).await?;
                undone.restored.push(format!("instance profile `{arn}` is back"));
            }
            Some(present) => undone.drift.push(format!(
                "`{instance}` has been given the profile `{}` since",
                present.profile_arn
            )),
            None => match associate(scope, instance, arn).await {
                Ok(()) => undone.restored.push(format!("instance profile `{arn}` is back")),
                Err(error) if error.kind == Kind::Gone => {
                    undone.drift.push(format!("`{instance}` does not exist any more"));
                }
                Err(error) => return Err(error),
            },
        }
        Ok(undone)
    }
}

/// `aws:userid` of an instance's role session: the role's unique id and the
/// instance's id (IAM user guide, "Policy variables", principal key values).
fn session_id(role: &Role, prior: &Prior) -> String {
    format!("{}:{}", role.id, prior.instance_id)
}

fn is_replacement(arn: &str, parameters: &Parameters) -> bool {
    parameters
        .replacement_profile
        .as_deref()
        .is_some_and(|name| arn == name || arn.ends_with(&format!("/{name}")))
}

async fn association(
    scope: Scope<'_>,
    instance_id: &str,
) -> Result<Option<Association>, ActionError> {
    let mut next = None;
    loop {
        let page = scope
            .account
            .ec2(Class::Ec2Read)
            .await
            .describe_iam_instance_profile_associations()
            .filters(Filter::builder().name("instance-id").values(instance_id).build())
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| {
                ActionError::from_sdk("ec2:DescribeIamInstanceProfileAssociations", &error)
            })?;
        for found in page.iam_instance_profile_associations() {
            let present = matches!(found.state(), Some(State::Associated | State::Associating));
            let arn = found.iam_instance_profile().and_then(|profile| profile.arn());
            if let (true, Some(id), Some(arn)) = (present, found.association_id(), arn) {
                let (id, profile_arn) = (id.to_owned(), arn.to_owned());
                return Ok(Some(Association { id, profile_arn }));
            }
        }
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(None);
        }
    }
}

async fn role(scope: Scope<'_>, profile_arn: &str) -> Result<Option<Role>, ActionError> {
    // GetInstanceProfile takes the name, the last part of the ARN's path.
    let name = profile_arn.rsplit('/').next().unwrap_or(profile_arn);
    let answer = scope
        .account
        .iam(Class::IamRead)
        .await
        .get_instance_profile()
        .instance_profile_name(name)
        .send()
        .await
        .map_err(|error| ActionError::from_sdk("iam:GetInstanceProfile", &error))?;
    // A profile holds one role at most (IAM user guide, "Instance profiles").
    let Some(role) = answer.instance_profile().and_then(|profile| profile.roles().first()) else {
        return Ok(None);
    };
    refuse_protected(role.role_name(), role.path(), scope.spoke_role)?;
    Ok(Some(Role { name: role.role_name().to_owned(), id: role.role_id().to_owned() }))
}

fn specification(name_or_arn: &str) -> IamInstanceProfileSpecification {
    let builder = IamInstanceProfileSpecification::builder();
    if name_or_arn.starts_with("arn:") {
        builder.arn(name_or_arn).build()
    } else {
        builder.name(name_or_arn).build()
    }
}

async fn associate(scope: Scope<'_>, instance: &str, profile: &str) -> Result<(), ActionError> {
    scope
        .account
        .ec2(Class::InstanceProfile)
        .await
        .associate_iam_instance_profile()
        .instance_id(instance)
        .iam_instance_profile(specification(profile))
        .send()
        .await
        .map(|_| ())
        .map_err(|error| ActionError::from_sdk("ec2:AssociateIamInstanceProfile", &error))
}

async fn disassociate(scope: Scope<'_>, association: &str) -> Result<(), ActionError> {
    let result = scope
        .account
        .ec2(Class::InstanceProfile)
        .await
        .disassociate_iam_instance_profile()
        .association_id(association)
        .send()
        .await
        .map(|_| ())
        .map_err(|error| ActionError::from_sdk("ec2:DisassociateIamInstanceProfile", &error));
    match result {
        Err(error) if error.kind == Kind::Gone => Ok(()),
        result => result,
    }
}

async fn replace(scope: Scope<'_>, association: &str, profile: &str) -> Result<(), ActionError> {
    scope
        .account
        .ec2(Class::InstanceProfile)
        .await
        .replace_iam_instance_profile_association()
        .association_id(association)
        .iam_instance_profile(specification(profile))
        .send()
        .await
        .map(|_| ())
        .map_err(|error| ActionError::from_sdk("ec2:ReplaceIamInstanceProfileAssociation", &error))
}
