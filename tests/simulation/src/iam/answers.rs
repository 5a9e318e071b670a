//! IAM's calls, as the IAM API reference has them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Iam, Identity};
use crate::ec2::form::Form;
use crate::ec2::xml;
use crate::wire::{ServiceError, encode};

type Answer = Result<String, ServiceError>;

/// What a call needs to know of where it was made.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The account.
    pub account: &'a str,
    /// The caller's own name, where it is a user: UserName may be left out.
    pub caller_user: Option<&'a str>,
}

fn no_such(what: &str, name: &str) -> ServiceError {
    ServiceError::new(404, "NoSuchEntity", format!("The {what} with name {name} cannot be found."))
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, ServiceError> {
    form.get(name).ok_or_else(|| {
        ServiceError::new(400, "ValidationError", format!("{name} failed to satisfy: not null"))
    })
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(iam: &mut Iam, place: Place<'_>, action: &str, form: &Form) -> Option<Answer> {
    Some(match action {
        "GetUser" => get_user(iam, place, form),
        "GetRole" => get_role(iam, place, form),
        "GetInstanceProfile" => get_instance_profile(iam, place, form),
        "ListAccessKeys" => list_access_keys(iam, place, form),
        "UpdateAccessKey" => update_access_key(iam, place, form),
        "ListUsers" => Ok(list_users(iam, place)),
        "PutUserPolicy" | "PutRolePolicy" => put_policy(iam, action, form),
        "GetUserPolicy" | "GetRolePolicy" => get_policy(iam, action, form),
        "DeleteUserPolicy" | "DeleteRolePolicy" => delete_policy(iam, action, form),
        "ListUserPolicies" | "ListRolePolicies" => list_policies(iam, action, form),
        "AttachUserPolicy" | "AttachRolePolicy" | "DetachUserPolicy" | "DetachRolePolicy" => {
            attach(iam, action, form)
        }
        "ListAttachedUserPolicies" | "ListAttachedRolePolicies" => list_attached(iam, action, form),
        "GetPolicy" => get_policy_of_arn(iam, form),
        "PutUserPermissionsBoundary" | "PutRolePermissionsBoundary" => {
            put_boundary(iam, action, form)
        }
        "DeleteUserPermissionsBoundary" | "DeleteRolePermissionsBoundary" => {
            delete_boundary(iam, action, form)
        }
        "GetLoginProfile" => get_login(iam, form),
        "UpdateLoginProfile" => update_login(iam, form),
        "DeleteLoginProfile" => delete_login(iam, form),
        "ListUserTags" | "ListRoleTags" => list_tags(iam, action, form),
        "TagUser" | "TagRole" => tag(iam, action, form),
        "UntagUser" | "UntagRole" => untag(iam, action, form),
        _ => return None,
    })
}

/// The user or role that an action is about, told by the action's name.
fn identity<'a>(
    iam: &'a mut Iam,
    action: &str,
    form: &Form,
) -> Result<(&'a mut Identity, usize), ServiceError> {
    if action.contains("User") {
        let name = required(form, "UserName")?;
        let user = iam.users.get_mut(name).ok_or_else(|| no_such("user", name))?;
        Ok((&mut user.identity, 2_048))
    } else {
        let name = required(form, "RoleName")?;
        let role = iam.roles.get_mut(name).ok_or_else(|| no_such("role", name))?;
        Ok((&mut role.identity, 10_240))
    }
}

/// Service-linked and Identity Center roles cannot be changed by anybody here.
fn modifiable(identity: &Identity) -> Result<(), ServiceError> {
    let path = &identity.path;
    if path.starts_with("/aws-service-role/") || path.starts_with("/aws-reserved/") {
        return Err(ServiceError::new(
            400,
            "UnmodifiableEntity",
            "Cannot perform the operation on the protected role: only the service can",
        ));
    }
    Ok(())
}

const CREATED: &str = "2025-01-01T00:00:00Z";

fn get_user(iam: &Iam, place: Place<'_>, form: &Form) -> Answer {
    let name = form.get("UserName").or(place.caller_user).unwrap_or_default();
    let user = iam.users.get(name).ok_or_else(|| no_such("user", name))?;
    let mut out = String::new();
    xml::element(&mut out, "User", |out| write_user(out, place, name, &user.identity));
    Ok(out)
}

fn write_user(out: &mut String, place: Place<'_>, name: &str, identity: &Identity) {
    let (account, path) = (place.account, &identity.path);
    xml::text(out, "Path", path);
    xml::text(out, "UserName", name);
    xml::text(out, "UserId", &identity.id);
    xml::text(out, "Arn", &format!("arn:aws:iam::{account}:user{path}{name}"));
    xml::text(out, "CreateDate", CREATED);
    write_boundary(out, identity);
}

fn list_users(iam: &Iam, place: Place<'_>) -> String {
    let mut out = String::new();
    xml::text(&mut out, "IsTruncated", "false");
    xml::element(&mut out, "Users", |out| {
        for (name, user) in &iam.users {
            xml::element(out, "member", |out| write_user(out, place, name, &user.identity));
        }
    });
    out
}

fn get_role(iam: &Iam, place: Place<'_>, form: &Form) -> Answer {
    let name = required(form, "RoleName")?;
    let role = iam.roles.get(name).ok_or_else(|| no_such("role", name))?;
    let mut out = String::new();
    xml::element(&mut out, "Role", |out| {
        write_role(out, place, name, &role.identity);
        xml::text(out, "AssumeRolePolicyDocument", &encode(&role.trust.to_string()));
    });
    Ok(out)
}

fn write_role(out: &mut String, place: Place<'_>, name: &str, identity: &Identity) {
    let (account, path) = (place.account, &identity.path);
    xml::text(out, "Path", path);
    xml::text(out, "RoleName", name);
    xml::text(out, "RoleId", &identity.id);
    xml::text(out, "Arn", &format!("arn:aws:iam::{account}:role{path}{name}"));
    xml::text(out, "CreateDate", CREATED);
    write_boundary(out, identity);
}

fn write_boundary(out: &mut String, identity: &Identity) {
    let Some(arn) = &identity.boundary else { return };
    xml::element(out, "PermissionsBoundary", |out| {
        xml::text(out, "PermissionsBoundaryType", "Policy");
        xml::text(out, "PermissionsBoundaryArn", arn);
    });
}

fn get_instance_profile(iam: &Iam, place: Place<'_>, form: &Form) -> Answer {
    let name = required(form, "InstanceProfileName")?;
    let profile = iam.profiles.get(name).ok_or_else(|| no_such("instance profile", name))?;
    let mut out = String::new();
    xml::element(&mut out, "InstanceProfile", |out| {
        let account = place.account;
        xml::text(out, "Path", "/");
        xml::text(out, "InstanceProfileName", name);
        xml::text(out, "InstanceProfileId", &profile.id);
        xml::text(out, "Arn", &format!("arn:aws:iam::{account}:instance-profile/{name}"));
        xml::text(out, "CreateDate", CREATED);
        xml::element(out, "Roles", |out| {
            let role = profile.role.as_ref().and_then(|name| Some((name, iam.roles.get(name)?)));
            if let Some((name, role)) = role {
                xml::element(out, "member", |out| write_role(out, place, name, &role.identity));
            }
        });
    });
    Ok(out)
}

fn list_access_keys(iam: &Iam, place: Place<'_>, form: &Form) -> Answer {
    let name = form.get("UserName").or(place.caller_user).unwrap_or_default();
    let user = iam.users.get(name).ok_or_else(|| no_such("user", name))?;
    let mut out = String::new();
    xml::text(&mut out, "IsTruncated", "false");
    xml::element(&mut out, "AccessKeyMetadata", |out| {
        for (id, active) in &user.keys {
            xml::element(out, "member", |out| {
                xml::text(out, "UserName", name);
                xml::text(out, "AccessKeyId", id);
                xml::text(out, "Status", if *active { "Active" } else { "Inactive" });
                xml::text(out, "CreateDate", CREATED);
            });
        }
    });
    Ok(out)
}

fn update_access_key(iam: &mut Iam, place: Place<'_>, form: &Form) -> Answer {
    let name = form.get("UserName").or(place.caller_user).unwrap_or_default();
    let id = required(form, "AccessKeyId")?;
    let active = match required(form, "Status")? {
        "Active" => true,
        "Inactive" => false,
        other => {
            let message = format!("Value '{other}' at 'status' is not Active or Inactive");
            return Err(ServiceError::new(400, "ValidationError", message));
        }
    };
    let user = iam.users.get_mut(name).ok_or_else(|| no_such("user", name))?;
    let key = user.keys.get_mut(id).ok_or_else(|| {
        let message = format!("The Access Key with id {id} cannot be found.");
        ServiceError::new(404, "NoSuchEntity", message)
    })?;
    *key = active;
    Ok(String::new())
}

fn put_policy(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let name = required(form, "PolicyName")?.to_owned();
    let document: Value =
        serde_json::from_str(required(form, "PolicyDocument")?).map_err(|_| {
            ServiceError::new(400, "MalformedPolicyDocument", "Syntax errors in policy.")
        })?;
    let (identity, limit) = identity(iam, action, form)?;
    modifiable(identity)?;
    let before = identity.inline.insert(name.clone(), document);
    if identity.inline_size() > limit {
        match before {
            Some(before) => identity.inline.insert(name, before),
            None => identity.inline.remove(&name),
        };
        let message = format!("Maximum policy size of {limit} bytes exceeded");
        return Err(ServiceError::new(409, "LimitExceeded", message));
    }
    Ok(String::new())
}

fn no_such_policy(name: &str) -> ServiceError {
    ServiceError::new(404, "NoSuchEntity", format!("The policy with name {name} cannot be found."))
}

fn get_policy(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let name = required(form, "PolicyName")?;
    let (identity, _) = identity(iam, action, form)?;
    let document = identity.inline.get(name).ok_or_else(|| no_such_policy(name))?;
    let holder = if action.contains("User") { "UserName" } else { "RoleName" };
    let mut out = String::new();
    xml::text(&mut out, holder, required(form, holder)?);
    xml::text(&mut out, "PolicyName", name);
    xml::text(&mut out, "PolicyDocument", &encode(&document.to_string()));
    Ok(out)
}

fn delete_policy(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let name = required(form, "PolicyName")?;
    let (identity, _) = identity(iam, action, form)?;
    modifiable(identity)?;
    identity.inline.remove(name).ok_or_else(|| no_such_policy(name))?;
    Ok(String::new())
}

fn list_policies(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let (identity, _) = identity(iam, action, form)?;
    let mut out = String::new();
    xml::text(&mut out, "IsTruncated", "false");
    xml::element(&mut out, "PolicyNames", |out| {
        for name in identity.inline.keys() {
            xml::text(out, "member", name);
        }
    });
    Ok(out)
}

/// A managed policy that does not exist is answered alike everywhere.
fn assert_policy(iam: &Iam, arn: &str) -> Result<(), ServiceError> {
    if !arn.starts_with("arn:") {
        return Err(ServiceError::new(400, "InvalidInput", format!("ARN {arn} is not valid.")));
    }
    if iam.policy(arn).is_some() {
        return Ok(());
    }
    let message = format!("Policy {arn} does not exist or is not attachable.");
    Err(ServiceError::new(404, "NoSuchEntity", message))
}

/// Policies that may be attached to one user or role (IAM user guide, "IAM and
/// STS quotas"): the default, which an account can have raised to 20.
const ATTACHED: usize = 10;

fn attach(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let arn = required(form, "PolicyArn")?;
    let exists = assert_policy(iam, arn);
    let (identity, _) = identity(iam, action, form)?;
    modifiable(identity)?;
    if action.starts_with("Attach") {
        exists?;
        if !identity.attached.contains(arn) && identity.attached.len() >= ATTACHED {
            let per = if action.contains("User") { "PoliciesPerUser" } else { "PoliciesPerRole" };
            let message = format!("Cannot exceed quota for {per}: {ATTACHED}");
            return Err(ServiceError::new(409, "LimitExceeded", message));
        }
        identity.attached.insert(arn.to_owned());
    } else if !identity.attached.remove(arn) {
        return Err(ServiceError::new(404, "NoSuchEntity", format!("Policy {arn} was not found.")));
    }
    Ok(String::new())
}

fn list_attached(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let (identity, _) = identity(iam, action, form)?;
    // IAM may return fewer than were asked for at any time: pages of three.
    let from: usize = form.get("Marker").and_then(|it| it.parse().ok()).unwrap_or(0);
    let page = identity.attached.iter().skip(from).take(3);
    let next = from + 3;
    let mut out = String::new();
    xml::element(&mut out, "AttachedPolicies", |out| {
        for arn in page {
            xml::element(out, "member", |out| {
                xml::text(out, "PolicyName", arn.rsplit('/').next().unwrap_or(arn));
                xml::text(out, "PolicyArn", arn);
            });
        }
    });
    let truncated = next < identity.attached.len();
    xml::text(&mut out, "IsTruncated", if truncated { "true" } else { "false" });
    if truncated {
        xml::text(&mut out, "Marker", &next.to_string());
    }
    Ok(out)
}

fn get_policy_of_arn(iam: &Iam, form: &Form) -> Answer {
    let arn = required(form, "PolicyArn")?;
    if iam.policy(arn).is_none() {
        let message = format!("Policy {arn} was not found.");
        return Err(ServiceError::new(404, "NoSuchEntity", message));
    }
    let mut out = String::new();
    xml::element(&mut out, "Policy", |out| {
        xml::text(out, "PolicyName", arn.rsplit('/').next().unwrap_or(arn));
        xml::text(out, "Arn", arn);
        xml::text(out, "IsAttachable", "true");
        xml::text(out, "CreateDate", CREATED);
    });
    Ok(out)
}

fn put_boundary(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let arn = required(form, "PermissionsBoundary")?;
    let exists = assert_policy(iam, arn);
    let (identity, _) = identity(iam, action, form)?;
    modifiable(identity)?;
    exists?;
    identity.boundary = Some(arn.to_owned());
    Ok(String::new())
}

fn delete_boundary(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let (identity, _) = identity(iam, action, form)?;
    modifiable(identity)?;
    if identity.boundary.take().is_none() {
        let message = "The entity does not have a permissions boundary.";
        return Err(ServiceError::new(404, "NoSuchEntity", message));
    }
    Ok(String::new())
}

/// The user that a call about a password names, and its password.
fn login<'a>(
    iam: &'a mut Iam,
    form: &'a Form,
) -> Result<(&'a str, &'a mut Option<super::model::Login>), ServiceError> {
    let name = required(form, "UserName")?;
    let user = iam.users.get_mut(name).ok_or_else(|| no_such("user", name))?;
    Ok((name, &mut user.login))
}

fn no_login(name: &str) -> ServiceError {
    let message = format!("Login Profile for User {name} cannot be found.");
    ServiceError::new(404, "NoSuchEntity", message)
}

fn get_login(iam: &mut Iam, form: &Form) -> Answer {
    let (name, login) = login(iam, form)?;
    let login = login.as_ref().ok_or_else(|| no_login(name))?;
    let mut out = String::new();
    xml::element(&mut out, "LoginProfile", |out| {
        xml::text(out, "UserName", name);
        xml::text(out, "CreateDate", CREATED);
        let reset = if login.password_reset_required { "true" } else { "false" };
        xml::text(out, "PasswordResetRequired", reset);
    });
    Ok(out)
}

fn update_login(iam: &mut Iam, form: &Form) -> Answer {
    let reset = form.get("PasswordResetRequired").map(|it| it == "true");
    let (name, login) = login(iam, form)?;
    let login = login.as_mut().ok_or_else(|| no_login(name))?;
    if let Some(reset) = reset {
        login.password_reset_required = reset;
    }
    Ok(String::new())
}

fn delete_login(iam: &mut Iam, form: &Form) -> Answer {
    let (name, login) = login(iam, form)?;
    login.take().map(|_| String::new()).ok_or_else(|| no_login(name))
}

fn list_tags(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let (identity, _) = identity(iam, action, form)?;
    let mut out = String::new();
    xml::text(&mut out, "IsTruncated", "false");
    xml::element(&mut out, "Tags", |out| {
        for (key, value) in &identity.tags {
            xml::element(out, "member", |out| {
                xml::text(out, "Key", key);
                xml::text(out, "Value", value);
            });
        }
    });
    Ok(out)
}

fn tag(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let tags: BTreeMap<String, String> = form
        .structures("Tags.member")
        .iter()
        .map(|tag| {
            let text = |name: &str| tag.get(name).unwrap_or_default().to_owned();
            (text("Key"), text("Value"))
        })
        .collect();
    let (identity, _) = identity(iam, action, form)?;
    modifiable(identity)?;
    if identity.tags.len() + tags.len() > 50 {
        return Err(ServiceError::new(409, "LimitExceeded", "Cannot exceed quota of 50 tags"));
    }
    identity.tags.extend(tags);
    Ok(String::new())
}

fn untag(iam: &mut Iam, action: &str, form: &Form) -> Answer {
    let keys: Vec<String> = form.list("TagKeys.member").into_iter().map(str::to_owned).collect();
    let (identity, _) = identity(iam, action, form)?;
    modifiable(identity)?;
    identity.tags.retain(|key, _| !keys.contains(key));
    Ok(String::new())
}
