//! The actions that contain and keep buckets by their configurations.

use fastrand::Rng;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::Organization;
use firebreak_simulation::s3::model::{Bucket, Grant, PublicAccessBlock, canonical_id};
use firebreak_simulation::state::State;
use serde_json::{Value, json};

use super::Case;
use super::containment::{forget_bucket, isolation};
use crate::actions::stage::{ACCOUNT, READER, REGION};

fn bucket(organization: &Organization, edit: impl FnOnce(&mut Bucket)) -> ResourceKind {
    let name = "data".to_owned();
    let mut bucket =
        Bucket { account: ACCOUNT.to_owned(), region: REGION.to_owned(), ..Bucket::default() };
    edit(&mut bucket);
    organization.edit(|state| state.s3.buckets.insert(name.clone(), bucket));
    ResourceKind::Bucket { name }
}

fn held(state: &mut State) -> &mut Bucket {
    state.s3.buckets.get_mut("data").unwrap()
}

fn plain(organization: &Organization) -> ResourceKind {
    bucket(organization, |_| {})
}

/// A policy as somebody wrote it, with white space, of one statement without a list.
pub(crate) fn theirs() -> String {
    format!(
        r#"{{ "Version": "2008-10-17", "Statement": {{ "Sid": "Theirs", "Effect": "Allow", "Principal": {{ "AWS": "arn:aws:iam::{ACCOUNT}:role/web" }}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*" }} }}"#
    )
}

fn with_policy(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| bucket.policy = Some(theirs()))
}

fn with_public_policy(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| bucket.public_policy = true)
}

fn elsewhere(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| {
        "ap-southeast-2".clone_into(&mut bucket.region);
        bucket.policy = Some(theirs());
    })
}

fn vary_policy(state: &mut State, _: &Resource, dice: &mut Rng) {
    let policies = [None, Some(theirs()), Some(theirs().replace("Theirs", "Another"))];
    let block = PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() };
    let bucket = held(state);
    bucket.policy.clone_from(&policies[dice.usize(..3)]);
    bucket.public_policy = bucket.policy.is_none() && dice.bool();
    bucket.public_access_block = dice.bool().then_some(block);
    if dice.u8(..4) == 0 {
        state.s3.account_blocks.insert(ACCOUNT.to_owned(), block);
    }
}

fn edit_statement(state: &mut State, _: &Resource) {
    let bucket = held(state);
    let policy = bucket.policy.as_ref().unwrap().replace("s3:*", "s3:Get*");
    bucket.policy = Some(policy);
}

fn policy(state: &mut State, _: &Resource) -> Value {
    json!(held(state).policy)
}

fn with_grants(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| {
        bucket.put_acl(vec![
            Grant { grantee: canonical_id("222222222222"), permission: "WRITE".to_owned() },
            Grant::owner(ACCOUNT),
            Grant::everyone(),
        ]);
    })
}

fn public(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| bucket.public_acl = true)
}

fn vary_acl(state: &mut State, _: &Resource, dice: &mut Rng) {
    let groups = ["s3/LogDelivery", "global/AuthenticatedUsers"];
    let mut grants = Vec::new();
    for group in groups {
        if dice.bool() {
            let grantee = format!("http://acs.amazonaws.com/groups/{group}");
            grants.push(Grant { grantee, permission: "READ_ACP".to_owned() });
        }
    }
    if dice.u8(..4) > 0 {
        grants.push(Grant::owner(ACCOUNT));
    }
    if dice.bool() {
        grants.push(Grant::everyone());
    }
    let bucket = held(state);
    bucket.put_acl(grants);
    bucket.acls_disabled = dice.u8(..5) == 0;
    if dice.u8(..4) == 0 {
        let block = PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() };
        bucket.public_access_block = Some(block);
    }
}

fn regrant(state: &mut State, _: &Resource) {
    let grantee = canonical_id("333333333333");
    held(state).put_acl(vec![Grant { grantee, permission: "READ".to_owned() }]);
}

fn acl(state: &mut State, _: &Resource) -> Value {
    json!(held(state).acl())
}

fn suspended(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| bucket.versioning = Some("Suspended".to_owned()))
}

fn vary_versioning(state: &mut State, _: &Resource, dice: &mut Rng) {
    let statuses = [None, Some("Suspended"), Some("Enabled")];
    held(state).versioning = statuses[dice.usize(..3)].map(str::to_owned);
}

fn rule(id: &str, status: &str, more: &Value) -> Value {
    let mut rule = json!({ "ID": id, "Status": status });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn replication(rules: &[(&str, &str)]) -> Value {
    let rules: Vec<Value> = rules
        .iter()
        .enumerate()
        .map(|(priority, (id, status))| {
            let more = json!({
                "Priority": priority.to_string(),
                "Filter": { "Prefix": "logs/" },
                "DeleteMarkerReplication": { "Status": "Disabled" },
                "Destination": {
                    "Bucket": "arn:aws:s3:::copy",
                    "StorageClass": "STANDARD_IA",
                    "ReplicationTime": { "Status": "Enabled", "Time": { "Minutes": "15" } },
                    "Metrics": { "Status": "Enabled", "EventThreshold": { "Minutes": "15" } },
                },
            });
            rule(id, status, &more)
        })
        .collect();
    json!({ "Role": format!("arn:aws:iam::{ACCOUNT}:role/replicate"), "Rule": rules })
}

fn replicated(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| {
        bucket.versioning = Some("Enabled".to_owned());
        bucket.replication =
            Some(replication(&[("logs", "Enabled"), ("old", "Disabled"), ("all", "Enabled")]));
    })
}

fn status(dice: &mut Rng) -> &'static str {
    if dice.bool() { "Enabled" } else { "Disabled" }
}

fn vary_replication(state: &mut State, _: &Resource, dice: &mut Rng) {
    let rules = [("a", status(dice)), ("b", status(dice)), ("c", status(dice))];
    let some = replication(&rules[..dice.usize(2..4)]);
    held(state).replication = (dice.u8(..5) > 0).then_some(some);
}

fn drop_first_rule(value: Option<&mut Value>) {
    value.unwrap()["Rule"].as_array_mut().unwrap().remove(0);
}

fn drop_replication_rule(state: &mut State, _: &Resource) {
    drop_first_rule(held(state).replication.as_mut());
}

fn replication_rules(state: &mut State, _: &Resource) -> Value {
    json!(held(state).replication.as_ref().unwrap()["Rule"].as_array().unwrap().len())
}

fn lifecycle(rules: &[(&str, &str)]) -> Value {
    let actions = [
        json!({ "Expiration": { "Days": "30" }, "Filter": { "Prefix": "" } }),
        json!({
            "Filter": { "And": { "Prefix": "logs/", "ObjectSizeGreaterThan": "500" } },
            "NoncurrentVersionExpiration": { "NoncurrentDays": "7" },
        }),
        json!({
            "Filter": { "Tag": { "Key": "a", "Value": "b" } },
            "Transition": { "Days": "90", "StorageClass": "GLACIER" },
        }),
    ];
    let rules: Vec<Value> = rules
        .iter()
        .zip(actions.iter().cycle())
        .map(|((id, status), more)| rule(id, status, more))
        .collect();
    json!({ "Rule": rules })
}

fn expiring(organization: &Organization) -> ResourceKind {
    bucket(organization, |bucket| {
        let rules =
            [("current", "Enabled"), ("old", "Enabled"), ("cold", "Enabled"), ("off", "Disabled")];
        bucket.lifecycle = Some(lifecycle(&rules));
        bucket.transition_minimum = Some("varies_by_storage_class".to_owned());
    })
}

fn vary_lifecycle(state: &mut State, _: &Resource, dice: &mut Rng) {
    let rules = [("a", status(dice)), ("b", status(dice)), ("c", status(dice))];
    let some = lifecycle(&rules[..dice.usize(2..4)]);
    held(state).lifecycle = (dice.u8(..5) > 0).then_some(some);
}

fn drop_lifecycle_rule(state: &mut State, _: &Resource) {
    drop_first_rule(held(state).lifecycle.as_mut());
}

fn lifecycle_rules(state: &mut State, _: &Resource) -> Value {
    json!(held(state).lifecycle.as_ref().unwrap()["Rule"].as_array().unwrap().len())
}

pub(super) fn cases() -> Vec<Case> {
    [policies(), acls(), versions(), rules()].concat()
}

fn policies() -> Vec<Case> {
    let arn = |role: &str| format!("arn:aws:iam::{ACCOUNT}:role/{role}");
    let without = Case {
        name: "restrict-bucket-policy of a bucket without one",
        action: "restrict-bucket-policy",
        // The stage reads with a role of its own; Firebreak reads with its spoke role.
        parameters: json!({ "except": [arn(READER)] }),
        arrange: plain,
        disturb: edit_statement,
        witness: policy,
        remove: forget_bucket,
        vary: vary_policy,
        ..isolation()
    };
    vec![
        Case {
            name: "restrict-bucket-policy of a bucket with one",
            parameters: json!({ "except": [arn(READER), arn("forensics")] }),
            arrange: with_policy,
            ..without.clone()
        },
        Case {
            name: "restrict-bucket-policy of a public bucket",
            arrange: with_public_policy,
            ..without.clone()
        },
        Case {
            name: "restrict-bucket-policy of a bucket in another Region",
            arrange: elsewhere,
            ..without.clone()
        },
        without,
    ]
}

fn acls() -> Vec<Case> {
    let grants = Case {
        name: "private-acl of a bucket with grants",
        action: "private-acl",
        arrange: with_grants,
        disturb: regrant,
        witness: acl,
        remove: forget_bucket,
        vary: vary_acl,
        ..isolation()
    };
    vec![Case { name: "private-acl of a public bucket", arrange: public, ..grants.clone() }, grants]
}

fn versions() -> Vec<Case> {
    let never = Case {
        name: "enable-versioning of a bucket that never had it",
        action: "enable-versioning",
        arrange: plain,
        remove: forget_bucket,
        vary: vary_versioning,
        ..isolation()
    };
    vec![
        Case {
            name: "enable-versioning of a bucket that has it suspended",
            arrange: suspended,
            ..never.clone()
        },
        never,
    ]
}

fn rules() -> Vec<Case> {
    vec![
        Case {
            name: "suspend-replication",
            action: "suspend-replication",
            arrange: replicated,
            disturb: drop_replication_rule,
            witness: replication_rules,
            remove: forget_bucket,
            vary: vary_replication,
            ..isolation()
        },
        Case {
            name: "suspend-lifecycle",
            action: "suspend-lifecycle",
            arrange: expiring,
            disturb: drop_lifecycle_rule,
            witness: lifecycle_rules,
            remove: forget_bucket,
            vary: vary_lifecycle,
            ..isolation()
        },
    ]
}
