//! A cluster's access entries: found by the Kubernetes user name that they give, read
//! completely, removed and created again exactly.

use std::collections::BTreeMap;

use aws_sdk_eks::types::{AccessScope, AccessScopeType};
use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::{ActionContext, Undone};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) const LIST: &str = "eks:ListAccessEntries";
pub(crate) const GET: &str = "eks:DescribeAccessEntry";
pub(crate) const POLICIES: &str = "eks:ListAssociatedAccessPolicies";
pub(crate) const DELETE: &str = "eks:DeleteAccessEntry";
pub(crate) const CREATE: &str = "eks:CreateAccessEntry";
pub(crate) const ASSOCIATE: &str = "eks:AssociateAccessPolicy";
pub(crate) const TAG: &str = "eks:TagResource";
pub(crate) const UNTAG: &str = "eks:UntagResource";

/// On an entry that undo has made and not yet given all its policies: without
/// it, an undo that stopped half way would look like a foreign entry.
const UNFINISHED: &str = "firebreak:restoring";

/// The most tags that a resource may have (EKS user guide, "Tagging").
const MOST_TAGS: usize = 50;

/// An access entry with all that makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterEntry {
    pub(crate) principal: String,
    pub(crate) groups: Vec<String>,
    pub(crate) username: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) policies: Vec<Policy>,
}

/// An access policy in its scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) arn: String,
    pub(crate) context: String,
    pub(crate) namespaces: Vec<String>,
}

/// An entry as it is now.
pub(crate) struct Present {
    pub(crate) entry: ClusterEntry,
    /// When it was made, in seconds.
    pub(crate) created: Option<i64>,
    arn: String,
}

/// Whether a user name comes from a template such as `admin:{{SessionName}}`
/// (EKS user guide, "Create access entries").
pub(crate) fn gives(template: &str, username: &str) -> bool {
    let mut parts = template.split("{{");
    let Some(mut rest) = username.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut ends_open = false;
    for part in parts {
        let literal = part.split_once("}}").map_or(part, |(_, literal)| literal);
        ends_open = literal.is_empty();
        let Some(at) = rest.rfind(literal) else { return false };
        rest = rest.get(at + literal.len()..).unwrap_or_default();
    }
    ends_open || rest.is_empty()
}

/// Account and name of the user or role that an ARN of IAM or STS names:
/// `…:role/path/NAME`, `…:user/NAME`, `…:assumed-role/NAME/SESSION`.
pub(crate) fn principal_of(arn: &str) -> Option<(&str, &str, &str)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "iam" | "sts", _, account, resource] = parts.as_slice() else { return None };
    match resource.split_once('/')? {
        ("assumed-role", rest) => Some((account, "role", rest.split('/').next()?)),
        ("role", rest) => Some((account, "role", rest.rsplit('/').next()?)),
        ("user", rest) => Some((account, "user", rest.rsplit('/').next()?)),
        _ => None,
    }
}

/// The entry that gave a user its name. If the name is a principal's ARN, that
/// principal's entry is read first: a cluster may have hundreds.
pub(crate) async fn find(
    account: &AccountSession,
    cluster: &str,
    username: &str,
) -> Result<Option<Present>, ActionError> {
    let mut principals = list(account, cluster).await?;
    let named = principal_of(username);
    principals.sort_by_key(|principal| named.is_none() || principal_of(principal) != named);
    let mut found: Option<Present> = None;
    for principal in principals {
        let certain = found.as_ref().is_some_and(|it| principal_of(&it.entry.principal) == named);
        if certain && named.is_some() && principal_of(&principal) != named {
            break;
        }
        let Some(present) = bare(account, cluster, &principal).await? else { continue };
        if !gives(&present.entry.username, username) {
            continue;
        }
        if let Some(other) = &found {
            let (one, two) = (&other.entry.principal, &present.entry.principal);
            return Err(ActionError::new(
                ErrorKind::Refused,
                format!(
                    "the Kubernetes user `{username}` may be `{one}` or `{two}`: revoke the right one by hand"
                ),
            ));
        }
        found = Some(present);
    }
    if let Some(present) = &mut found {
        let principal = present.entry.principal.clone();
        present.entry.policies = policies(account, cluster, &principal).await?;
    }
    Ok(found)
}

/// The entry of a user or role; `arn` names it without its path.
pub(crate) async fn of_principal(
    account: &AccountSession,
    cluster: &str,
    arn: &str,
) -> Result<Option<Present>, ActionError> {
    let principals = list(account, cluster).await?;
    let named = principals.iter().find(|principal| principal_of(principal) == principal_of(arn));
    match named {
        Some(principal) => describe(account, cluster, principal).await,
        None => Ok(None),
    }
}

/// The ARNs of the principals that have an entry.
pub(crate) async fn list(
    account: &AccountSession,
    cluster: &str,
) -> Result<Vec<String>, ActionError> {
    let (mut principals, mut token) = (Vec::new(), None);
    loop {
        let eks = account.eks().await;
        let call = eks.list_access_entries().cluster_name(cluster).set_next_token(token);
        let page = call.send().await.map_err(|error| from_sdk(LIST, &error))?;
        principals.extend(page.access_entries.unwrap_or_default());
        token = page.next_token;
        if token.is_none() {
            return Ok(principals);
        }
    }
}

/// One entry; `None` when there is none of this principal.
pub(crate) async fn describe(
    account: &AccountSession,
    cluster: &str,
    principal: &str,
) -> Result<Option<Present>, ActionError> {
    let Some(mut present) = bare(account, cluster, principal).await? else { return Ok(None) };
    present.entry.policies = policies(account, cluster, principal).await?;
    Ok(Some(present))
}

/// The same without its access policies, which are a call of their own.
async fn bare(
    account: &AccountSession,
    cluster: &str,
    principal: &str,
) -> Result<Option<Present>, ActionError> {
    let eks = account.eks().await;
    let call = eks.describe_access_entry().cluster_name(cluster).principal_arn(principal);
    let output = match call.send().await.map_err(|error| from_sdk(GET, &error)) {
        Ok(output) => output,
        Err(error) if error.kind == ErrorKind::Gone => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(found) = output.access_entry else { return Ok(None) };
    let entry = ClusterEntry {
        principal: principal.to_owned(),
        groups: found.kubernetes_groups.unwrap_or_default(),
        username: found.username.unwrap_or_default(),
        kind: found.r#type.unwrap_or_default(),
        tags: found.tags.unwrap_or_default().into_iter().collect(),
        policies: Vec::new(),
    };
    let created = found.created_at.map(|time| time.secs());
    let arn = found.access_entry_arn.unwrap_or_default();
    Ok(Some(Present { entry, created, arn }))
}

async fn policies(
    account: &AccountSession,
    cluster: &str,
    principal: &str,
) -> Result<Vec<Policy>, ActionError> {
    let (mut policies, mut token) = (Vec::new(), None);
    loop {
        let eks = account.eks().await;
        let call = eks
            .list_associated_access_policies()
            .cluster_name(cluster)
            .principal_arn(principal)
            .set_next_token(token);
        let page = match call.send().await.map_err(|error| from_sdk(POLICIES, &error)) {
            Ok(page) => page,
            // The entry was deleted while it was read.
            Err(error) if error.kind == ErrorKind::Gone => return Ok(policies),
            Err(error) => return Err(error),
        };
        policies.extend(page.associated_access_policies.unwrap_or_default().into_iter().map(
            |it| {
                let context = it.access_scope;
                let kind = context.as_ref().and_then(|context| context.r#type.as_ref());
                Policy {
                    arn: it.policy_arn.unwrap_or_default(),
                    context: kind.map_or_else(String::new, |kind| kind.as_str().to_owned()),
                    namespaces: context.and_then(|context| context.namespaces).unwrap_or_default(),
                }
            },
        ));
        token = page.next_token;
        if token.is_none() {
            policies.sort_by(|one, two| one.arn.cmp(&two.arn));
            return Ok(policies);
        }
    }
}

/// Removes a principal's entry; a missing one is no error.
pub(crate) async fn delete(
    account: &AccountSession,
    cluster: &str,
    principal: &str,
) -> Result<(), ActionError> {
    let eks = account.eks().await;
    let call = eks.delete_access_entry().cluster_name(cluster).principal_arn(principal);
    match call.send().await.map_err(|error| from_sdk(DELETE, &error)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::Gone => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a removed entry again, or finishes what an undo began.
pub(crate) async fn restore(
    context: ActionContext<'_>,
    cluster: &str,
    entry: &ClusterEntry,
    undone: &mut Undone,
) -> Result<(), ActionError> {
    let principal = &entry.principal;
    let present = match describe(context.account, cluster, principal).await? {
        Some(present) if present.entry == *entry => return Ok(()),
        Some(present) if is_unfinished(&present.entry, entry, context.response) => present,
        Some(_) => {
            let drift =
                format!("the access entry of `{principal}` was created again by another caller");
            undone.drift.push(drift);
            return Ok(());
        }
        None => match create(context, cluster, entry).await {
            Ok(arn) => Present {
                entry: ClusterEntry { policies: Vec::new(), ..entry.clone() },
                created: None,
                arn,
            },
            // A principal that was deleted since has no entry any more (EKS API
            // reference, CreateAccessEntry).
            Err(error) if error.has_code("InvalidParameterException") => {
                undone
                    .drift
                    .push(format!("the access entry cannot be created again: {}", error.message));
                return Ok(());
            }
            Err(error) => return Err(error),
        },
    };
    for policy in entry.policies.iter().filter(|policy| !present.entry.policies.contains(policy)) {
        associate(context.account, cluster, principal, policy).await?;
    }
    if entry.tags.len() < MOST_TAGS {
        let eks = context.account.eks().await;
        let call = eks.untag_resource().resource_arn(&present.arn).tag_keys(UNFINISHED);
        call.send().await.map_err(|error| from_sdk(UNTAG, &error))?;
    }
    undone.restored.push(format!("`{principal}` has its access entry again"));
    Ok(())
}

/// Whether an entry is the recorded one, still without some of its policies.
fn is_unfinished(present: &ClusterEntry, before: &ClusterEntry, response: &str) -> bool {
    let mut tags = before.tags.clone();
    tags.insert(UNFINISHED.to_owned(), response.to_owned());
    let expected = ClusterEntry { tags, policies: present.policies.clone(), ..before.clone() };
    *present == expected && present.policies.iter().all(|it| before.policies.contains(it))
}

async fn create(
    context: ActionContext<'_>,
    cluster: &str,
    entry: &ClusterEntry,
) -> Result<String, ActionError> {
    let mut tags = entry.tags.clone();
    if tags.len() < MOST_TAGS {
        tags.insert(UNFINISHED.to_owned(), context.response.to_owned());
    }
    // The default name is not passed, because a custom name must follow rules that the
    // default does not (EKS user guide, "Create access entries").
    let username =
        Some(entry.username.clone()).filter(|name| *name != default_username(&entry.principal));
    let eks = context.account.eks().await;
    let call = eks
        .create_access_entry()
        .cluster_name(cluster)
        .principal_arn(&entry.principal)
        .set_kubernetes_groups(Some(entry.groups.clone()))
        .set_username(username)
        .r#type(&entry.kind)
        .set_tags(Some(tags.into_iter().collect()));
    let output = call.send().await.map_err(|error| from_sdk(CREATE, &error))?;
    Ok(output.access_entry.and_then(|entry| entry.access_entry_arn).unwrap_or_default())
}

fn default_username(principal: &str) -> String {
    let partition = principal.split(':').nth(1).unwrap_or_default();
    match principal_of(principal) {
        Some((account, "role", name)) => {
            format!("arn:{partition}:sts::{account}:assumed-role/{name}/{{{{SessionName}}}}")
        }
        _ => principal.to_owned(),
    }
}

async fn associate(
    account: &AccountSession,
    cluster: &str,
    principal: &str,
    policy: &Policy,
) -> Result<(), ActionError> {
    let namespaces = Some(policy.namespaces.clone()).filter(|names| !names.is_empty());
    let context = AccessScope::builder()
        .r#type(AccessScopeType::from(policy.context.as_str()))
        .set_namespaces(namespaces)
        .build();
    let eks = account.eks().await;
    let call = eks
        .associate_access_policy()
        .cluster_name(cluster)
        .principal_arn(principal)
        .policy_arn(&policy.arn)
        .access_scope(context);
    call.send().await.map(|_| ()).map_err(|error| from_sdk(ASSOCIATE, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_traced_to_its_template() {
        let check = |template: &str, username: &str, expected: bool| {
            assert_eq!(gives(template, username), expected, "{template} {username}");
        };
        let role = "arn:aws:sts::111111111111:assumed-role/admin/{{SessionName}}";
        check(role, "arn:aws:sts::111111111111:assumed-role/admin/alice", true);
        check(role, "arn:aws:sts::111111111111:assumed-role/admin-2/alice", false);
        check("alice", "alice", true);
        check("alice", "alice-2", false);
        check("ops:{{SessionName}}", "ops:bob", true);
        check("ops:{{SessionName}}:x", "ops:bob", false);
        check("{{AccountID}}:{{SessionName}}", "111111111111:bob", true);
        check("{{SessionName}}-ops", "bob-ops", true);
        check("{{SessionName}}-ops", "bob-ops-2", false);
    }

    #[test]
    fn a_principal_is_its_account_kind_and_name_whatever_its_path() {
        let admin = Some(("111111111111", "role", "admin"));
        assert_eq!(principal_of("arn:aws:iam::111111111111:role/a/b/admin"), admin);
        assert_eq!(principal_of("arn:aws:sts::111111111111:assumed-role/admin/alice"), admin);
        assert_eq!(
            principal_of("arn:aws-cn:iam::111111111111:user/admin"),
            Some(("111111111111", "user", "admin"))
        );
        assert_eq!(principal_of("alice"), None);
    }

    #[test]
    fn the_default_user_name_is_known_as_such() {
        assert_eq!(
            default_username("arn:aws:iam::111111111111:role/path/admin"),
            "arn:aws:sts::111111111111:assumed-role/admin/{{SessionName}}"
        );
        let user = "arn:aws:iam::111111111111:user/alice";
        assert_eq!(default_username(user), user);
    }
}
