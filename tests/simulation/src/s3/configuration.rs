//! What a bucket is configured with: policy, ACL, versioning, replication and
//! lifecycle, as the S3 API reference has them.

use std::fmt::Write;

use serde_json::Value;

use super::answers::{Answer, Call, Refusal, refuse};
use super::documents::{self, elements, text};
use super::model::{ALL_USERS, Bucket, Grant, PublicAccessBlock, canonical_id, is_public};

/// Answers a call about a bucket's configuration; `None` for another call.
/// `blocks` are those that hold for the bucket.
pub(super) fn answer(
    bucket: &mut Bucket,
    blocks: [Option<PublicAccessBlock>; 2],
    call: &Call<'_>,
) -> Option<Answer> {
    let blocked = |flag: fn(&PublicAccessBlock) -> bool| blocks.iter().flatten().any(flag);
    Some(match call.operation {
        "GetBucketPolicy" => match bucket.policy_text(call.subject) {
            Some(text) => Ok((200, text)),
            None => Err(refuse(404, "NoSuchBucketPolicy", "The bucket policy does not exist")),
        },
        "GetBucketPolicyStatus" => match bucket.policy_text(call.subject) {
            Some(text) => Ok((
                200,
                format!("<PolicyStatus><IsPublic>{}</IsPublic></PolicyStatus>", is_public(&text)),
            )),
            None => Err(refuse(404, "NoSuchBucketPolicy", "The bucket policy does not exist")),
        },
        "PutBucketPolicy" => put_policy(bucket, blocked(|it| it.block_public_policy), call),
        "DeleteBucketPolicy" => {
            bucket.put_policy(call.subject, None);
            Ok((204, String::new()))
        }
        "GetBucketAcl" => Ok((200, write_acl(bucket))),
        "PutBucketAcl" => put_acl(bucket, blocked(|it| it.block_public_acls), call),
        "GetBucketOwnershipControls" => Ok((200, ownership(bucket))),
        "GetBucketVersioning" => {
            let status = bucket.versioning.as_ref();
            let status = status.map(|status| format!("<Status>{status}</Status>"));
            let status = status.unwrap_or_default();
            Ok((200, format!("<VersioningConfiguration>{status}</VersioningConfiguration>")))
        }
        "PutBucketVersioning" => put_versioning(bucket, call),
        "GetBucketReplication" => match &bucket.replication {
            Some(value) => Ok((200, documents::write("ReplicationConfiguration", value))),
            None => Err(refuse(
                404,
                "ReplicationConfigurationNotFoundError",
                "The replication configuration was not found",
            )),
        },
        "PutBucketReplication" => put_replication(bucket, call),
        "GetBucketLifecycleConfiguration" => match &bucket.lifecycle {
            Some(value) => Ok((200, documents::write("LifecycleConfiguration", value))),
            None => Err(refuse(
                404,
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist",
            )),
        },
        "PutBucketLifecycleConfiguration" => put_lifecycle(bucket, call),
        _ => return None,
    })
}

/// Bucket policies are limited to 20 KB (S3 user guide, "Bucket policies").
const POLICY_LIMIT: usize = 20 * 1024;

fn put_policy(bucket: &mut Bucket, blocked: bool, call: &Call<'_>) -> Answer {
    let malformed = |why: &str| Err(refuse(400, "MalformedPolicy", why));
    let Ok(policy) = serde_json::from_str::<Value>(call.body) else {
        return malformed("Policies must be valid JSON and the first byte must be '{'");
    };
    let statements = elements(&policy, "Statement");
    if statements.is_empty() {
        return malformed("Could not parse the policy: Statement is empty!");
    }
    let arn = format!("arn:aws:s3:::{}", call.subject);
    let objects = format!("{arn}/");
    for statement in statements {
        if statement.get("Principal").is_none() && statement.get("NotPrincipal").is_none() {
            return malformed("Missing required field Principal");
        }
        if names_a_deleted_principal(statement) {
            return malformed("Invalid principal in policy");
        }
        let resources = elements(statement, "Resource");
        let own = |it: &&Value| it.as_str().is_some_and(|it| it == arn || it.starts_with(&objects));
        if resources.is_empty() || !resources.iter().all(own) {
            return malformed("Policy has invalid resource");
        }
    }
    if call.body.len() > POLICY_LIMIT {
        return Err(refuse(400, "PolicyTooLarge", "The policy exceeds the maximum allowed size"));
    }
    if blocked && is_public(call.body) {
        return Err(refuse(
            403,
            "AccessDenied",
            "public policies are blocked by the BlockPublicPolicy block public access setting.",
        ));
    }
    bucket.put_policy(call.subject, Some(&as_s3_keeps_it(call.body, &policy)));
    Ok((204, String::new()))
}

/// S3 shows a deleted principal as its unique id, and refuses a policy that names one
/// ("How do I troubleshoot the Invalid principal in policy error", AWS Knowledge Center).
fn names_a_deleted_principal(statement: &Value) -> bool {
    ["Principal", "NotPrincipal"].into_iter().any(|name| {
        let named = statement.get(name).and_then(|it| it.get("AWS"));
        let is_id = |it: &Value| it.as_str().is_some_and(|it| it.starts_with('A') && it.len() > 15);
        crate::policy::list(named).into_iter().any(is_id)
    })
}

/// S3 returns the lists of a policy in an order of its own, and a list of one as its element
/// (terraform-provider-aws issue 13144, and AWS support in ansible issue 19310): here they are
/// sorted backwards.
fn as_s3_keeps_it(text: &str, policy: &Value) -> String {
    fn keep(value: &mut Value) {
        match value {
            Value::Array(list) => {
                list.sort_by_key(|it| std::cmp::Reverse(it.to_string()));
                if list.len() == 1
                    && let Some(one) = list.pop()
                {
                    *value = one;
                }
            }
            Value::Object(fields) => fields.values_mut().for_each(keep),
            _ => {}
        }
    }
    let mut kept = policy.clone();
    match kept.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.iter_mut().for_each(keep),
        Some(one) => keep(one),
        None => {}
    }
    if kept == *policy { text.to_owned() } else { kept.to_string() }
}

fn write_acl(bucket: &Bucket) -> String {
    let owner = canonical_id(&bucket.account);
    let mut out =
        format!("<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>");
    for Grant { grantee, permission } in bucket.acl() {
        let (kind, name) =
            if grantee.contains("://") { ("Group", "URI") } else { ("CanonicalUser", "ID") };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\"><{name}>{grantee}</{name}></Grantee><Permission>{permission}</Permission></Grant>"
        );
    }
    out.push_str("</AccessControlList></AccessControlPolicy>");
    out
}

fn put_acl(bucket: &mut Bucket, blocked: bool, call: &Call<'_>) -> Answer {
    if bucket.acls_disabled {
        return Err(refuse(400, "AccessControlListNotSupported", "The bucket does not allow ACLs"));
    }
    let grants = match call.canned_acl {
        Some("private") => vec![Grant::owner(&bucket.account)],
        Some(_) => return Err(refuse(501, "NotImplemented", "The canned ACL is not modelled")),
        None => read_acl(bucket, call.body)?,
    };
    if blocked && grants.iter().any(|grant| grant.grantee.contains("/groups/global/")) {
        return Err(refuse(
            403,
            "AccessDenied",
            "public access control lists (ACLs) are blocked by the BlockPublicAcls block public access setting.",
        ));
    }
    bucket.put_acl(grants);
    Ok((200, String::new()))
}

fn read_acl(bucket: &Bucket, body: &str) -> Result<Vec<Grant>, Refusal> {
    let policy = documents::read(body).ok_or_else(malformed)?;
    let owner = policy.get("Owner").and_then(|owner| text(owner, "ID"));
    if owner != Some(canonical_id(&bucket.account).as_str()) {
        return Err(refuse(403, "AccessDenied", "Access Denied"));
    }
    let list = policy.get("AccessControlList").ok_or_else(malformed)?;
    elements(list, "Grant")
        .into_iter()
        .map(|grant| {
            let grantee = grant.get("Grantee").ok_or_else(malformed)?;
            let name = text(grantee, "ID").or(text(grantee, "URI")).ok_or_else(malformed)?;
            let log_delivery = "http://acs.amazonaws.com/groups/s3/LogDelivery";
            let authenticated = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
            if name.contains("://") && ![ALL_USERS, log_delivery, authenticated].contains(&name) {
                return Err(refuse(400, "InvalidArgument", "Invalid group uri"));
            }
            let permission = text(grant, "Permission").ok_or_else(malformed)?.to_owned();
            Ok(Grant { grantee: name.to_owned(), permission })
        })
        .collect()
}

fn ownership(bucket: &Bucket) -> String {
    let kind = if bucket.acls_disabled { "BucketOwnerEnforced" } else { "ObjectWriter" };
    format!(
        "<OwnershipControls><Rule><ObjectOwnership>{kind}</ObjectOwnership></Rule></OwnershipControls>"
    )
}

fn malformed() -> Refusal {
    refuse(
        400,
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn put_versioning(bucket: &mut Bucket, call: &Call<'_>) -> Answer {
    let document = documents::read(call.body).ok_or_else(malformed)?;
    let status = text(&document, "Status").ok_or_else(malformed)?;
    match status {
        "Suspended" if bucket.replication.is_some() => {
            return Err(refuse(
                409,
                "InvalidBucketState",
                "A replication configuration is present on this bucket, so the versioning state cannot be changed.",
            ));
        }
        "Enabled" | "Suspended" => {}
        _ => return Err(malformed()),
    }
    bucket.versioning = Some(status.to_owned());
    Ok((200, String::new()))
}

/// The role that a replication configuration hands to S3.
pub(super) fn role(body: &str) -> Option<String> {
    text(&documents::read(body)?, "Role").map(str::to_owned)
}

/// A document of rules, each with an id and a status.
fn read_rules(body: &str) -> Result<Value, Refusal> {
    let document = documents::read(body).ok_or_else(malformed)?;
    let rules = elements(&document, "Rule");
    let mut ids: Vec<&str> = Vec::new();
    for rule in &rules {
        // S3 gives an id to a rule that has none: whoever puts one back names it.
        let id = text(rule, "ID").filter(|id| (1..=255).contains(&id.len()));
        let id = id.ok_or_else(malformed)?;
        if ids.contains(&id) {
            return Err(refuse(400, "InvalidArgument", "Rule ID must be unique"));
        }
        ids.push(id);
        if !matches!(text(rule, "Status"), Some("Enabled" | "Disabled")) {
            return Err(malformed());
        }
    }
    if rules.is_empty() { Err(malformed()) } else { Ok(document) }
}

fn put_replication(bucket: &mut Bucket, call: &Call<'_>) -> Answer {
    let document = read_rules(call.body)?;
    let destined = |rule: &&Value| rule.pointer("/Destination/Bucket").is_some();
    if text(&document, "Role").is_none() || !elements(&document, "Rule").iter().all(destined) {
        return Err(malformed());
    }
    if bucket.versioning.as_deref() != Some("Enabled") {
        return Err(refuse(
            400,
            "InvalidRequest",
            "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
        ));
    }
    bucket.replication = Some(document);
    Ok((200, String::new()))
}

fn put_lifecycle(bucket: &mut Bucket, call: &Call<'_>) -> Answer {
    let document = read_rules(call.body)?;
    let actions = [
        "Expiration",
        "Transition",
        "NoncurrentVersionExpiration",
        "NoncurrentVersionTransition",
        "AbortIncompleteMultipartUpload",
    ];
    let acts = |rule: &&Value| actions.iter().any(|action| rule.get(*action).is_some());
    if !elements(&document, "Rule").iter().all(acts) {
        let message = "At least one action needs to be specified in a rule";
        return Err(refuse(400, "InvalidRequest", message));
    }
    bucket.lifecycle = Some(document);
    bucket.transition_minimum =
        Some(call.transition_minimum.unwrap_or("all_storage_classes_128K").to_owned());
    Ok((200, String::new()))
}
