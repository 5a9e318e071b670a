//! IAM: roles, managed policies, instance profiles, and policies put into roles.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Before, Here, Kind, Made, Physical, Properties, not_taken};
use crate::iam::model::{Identity, Profile, Role};
use crate::state::State;

/// "Role inline policies: 10,240 characters", "managed policies: 6,144", "10
/// managed policies attached to a role" (IAM user guide, "IAM and STS quotas").
const INLINE: usize = 10_240;
const MANAGED: usize = 6_144;
const ATTACHED: usize = 10;

pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "AWS::IAM::Role" => Kind { put: role, delete: delete_role },
        "AWS::IAM::ManagedPolicy" => Kind { put: managed_policy, delete: delete_policy },
        "AWS::IAM::InstanceProfile" => Kind { put: profile, delete: delete_profile },
        "AWS::IAM::RolePolicy" => Kind { put: role_policy, delete: delete_role_policy },
        _ => return None,
    })
}

fn path(properties: &Properties) -> Result<String, String> {
    let path = properties.text("Path").unwrap_or_else(|| "/".to_owned());
    if path.starts_with('/') && path.ends_with('/') {
        return Ok(path);
    }
    Err(format!("the path `{path}` does not begin and end with a slash"))
}

fn inline(properties: &Properties) -> Result<BTreeMap<String, Value>, String> {
    let mut read = BTreeMap::new();
    for policy in properties.objects("Policies")? {
        policy.only(&["PolicyDocument", "PolicyName"])?;
        read.insert(policy.required("PolicyName")?, policy.policy("PolicyDocument")?);
    }
    Ok(read)
}

fn tags(properties: &Properties) -> Result<BTreeMap<String, String>, String> {
    let mut read = BTreeMap::new();
    for tag in properties.objects("Tags")? {
        tag.only(&["Key", "Value"])?;
        read.insert(tag.required("Key")?, tag.required("Value")?);
    }
    Ok(read)
}

fn role(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "AssumeRolePolicyDocument",
        "Description",
        "ManagedPolicyArns",
        // Sessions of roles are chained here: an hour is their longest anyway.
        "MaxSessionDuration",
        "Path",
        "PermissionsBoundary",
        "Policies",
        "RoleName",
        "Tags",
    ])?;
    let name = here.name(state, properties.text("RoleName"), before);
    let held = state.iam(here.account).roles.get(&name).cloned();
    not_taken("AWS::IAM::Role", &name, held.is_some(), before)?;
    let trust = properties.policy("AssumeRolePolicyDocument")?;
    let path = path(properties)?;
    let fresh = format!("AROA{:017}", state.unique());
    let iam = state.iam(here.account);
    let identity = held.map(|role| role.identity);
    let mut identity = identity.unwrap_or_else(|| Identity { id: fresh, ..Identity::default() });
    if !identity.path.is_empty() && identity.path != path {
        return Err("the simulation does not model a role that changes its path".to_owned());
    }
    identity.path = path;
    // What the stack put there before goes; what others put there stays.
    if let Some(before) = before {
        let names = inline(before.properties)?;
        identity.inline.retain(|name, _| !names.contains_key(name));
        let arns = before.properties.texts("ManagedPolicyArns")?;
        identity.attached.retain(|arn| !arns.contains(arn));
    }
    identity.inline.extend(inline(properties)?);
    if identity.inline_size() > INLINE {
        return Err(format!("Maximum policy size of {INLINE} bytes exceeded for role {name}"));
    }
    let attached: BTreeSet<String> = properties.texts("ManagedPolicyArns")?.into_iter().collect();
    let boundary = properties.text("PermissionsBoundary");
    for arn in attached.iter().chain(boundary.as_ref()) {
        if iam.policy(arn).is_none() {
            return Err(format!("Policy {arn} does not exist or is not attachable."));
        }
    }
    identity.attached.extend(attached);
    if identity.attached.len() > ATTACHED {
        return Err(format!("Cannot exceed quota for PoliciesPerRole: {ATTACHED}"));
    }
    identity.boundary = boundary;
    identity.tags.extend(tags(properties)?);
    let (id, path) = (identity.id.clone(), identity.path.clone());
    iam.roles.insert(name.clone(), Role { identity, trust });
    let arn = format!("arn:aws:iam::{}:role{path}{name}", here.account);
    Ok(Physical::new(name, [("Arn", arn), ("RoleId", id)]))
}

fn delete_role(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    state.iam(here.account).roles.remove(&before.physical.id);
}

fn managed_policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["Description", "ManagedPolicyName", "Path", "PolicyDocument", "Roles"])?;
    let made_up = before.and_then(|before| before.physical.id.rsplit('/').next());
    let given = properties.text("ManagedPolicyName").or(made_up.map(str::to_owned));
    let name = here.name(state, given, None);
    let arn = format!("arn:aws:iam::{}:policy{}{name}", here.account, path(properties)?);
    let document = properties.policy("PolicyDocument")?;
    let size = document.to_string().len();
    if size > MANAGED {
        return Err(format!("Cannot exceed quota for PolicySize: {MANAGED}: {name} has {size}"));
    }
    let iam = state.iam(here.account);
    not_taken("AWS::IAM::ManagedPolicy", &arn, iam.policies.contains_key(&arn), before)?;
    let roles = properties.texts("Roles")?;
    for role in &roles {
        let role = iam.roles.get_mut(role).ok_or_else(|| format!("the role {role} is nowhere"))?;
        role.identity.attached.insert(arn.clone());
    }
    iam.policies.insert(arn.clone(), document);
    Ok(Physical::new(arn.clone(), [("PolicyArn", arn)]))
}

fn delete_policy(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    let iam = state.iam(here.account);
    iam.policies.remove(&before.physical.id);
    for role in iam.roles.values_mut() {
        role.identity.attached.remove(&before.physical.id);
    }
}

fn profile(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["InstanceProfileName", "Path", "Roles"])?;
    if path(properties)? != "/" {
        return Err("the simulation does not model paths of instance profiles".to_owned());
    }
    let name = here.name(state, properties.text("InstanceProfileName"), before);
    let held = state.iam(here.account).profiles.get(&name).cloned();
    not_taken("AWS::IAM::InstanceProfile", &name, held.is_some(), before)?;
    let id = held.map_or_else(|| format!("AIPA{:017}", state.unique()), |held| held.id);
    let roles = properties.texts("Roles")?;
    let [role] = roles.as_slice() else {
        return Err("an instance profile has exactly one role".to_owned());
    };
    let iam = state.iam(here.account);
    if !iam.roles.contains_key(role) {
        return Err(format!("The role with name {role} cannot be found."));
    }
    iam.profiles.insert(name.clone(), Profile { id, role: Some(role.clone()) });
    let arn = format!("arn:aws:iam::{}:instance-profile/{name}", here.account);
    Ok(Physical::new(name, [("Arn", arn)]))
}

fn delete_profile(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    state.iam(here.account).profiles.remove(&before.physical.id);
}

fn role_policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    _: Option<&Before<'_>>,
) -> Made {
    properties.only(&["PolicyDocument", "PolicyName", "RoleName"])?;
    let (name, role) = (properties.required("PolicyName")?, properties.required("RoleName")?);
    let document = properties.policy("PolicyDocument")?;
    let held = state.iam(here.account).roles.get_mut(&role);
    let held = held.ok_or_else(|| format!("The role with name {role} cannot be found."))?;
    held.identity.inline.insert(name.clone(), document);
    if held.identity.inline_size() > INLINE {
        return Err(format!("Maximum policy size of {INLINE} bytes exceeded for role {role}"));
    }
    Ok(Physical::new(format!("{name}|{role}"), []))
}

fn delete_role_policy(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    if let Some((name, role)) = before.physical.id.split_once('|')
        && let Some(role) = state.iam(here.account).roles.get_mut(role)
    {
        role.identity.inline.remove(name);
    }
}
