//! The actions that contain instances, principals and buckets.

use fastrand::Rng;
use firebreak_model::resource::{Principal, PrincipalType, Resource, ResourceKind};
use firebreak_simulation::Organization;
use firebreak_simulation::ec2::model::Rule;
use firebreak_simulation::regional::eks::Cluster;
use firebreak_simulation::s3::model::{Bucket, PublicAccessBlock};
use firebreak_simulation::state::State;
use serde_json::{Value, json};

use super::{Case, cluster_entry, nothing_forgiven};
use crate::actions::stage::{ACCOUNT, REGION, allow};

pub(super) fn two_vpcs(organization: &Organization) -> ResourceKind {
    let instance_id = organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let (one, two) = (ec2.add_vpc(false), ec2.add_vpc(true));
        let (web, admin) = (ec2.add_group(&one, "web"), ec2.add_group(&one, "admin"));
        let backup = ec2.add_group(&two, "backup");
        let id = ec2.add_instance(&one, &[&web, &admin]);
        ec2.attach_interface(&id, &one, &[&admin]);
        ec2.attach_interface(&id, &two, &[&backup]);
        id
    });
    ResourceKind::Instance { instance_id }
}

pub(crate) fn instance_id(resource: &Resource) -> String {
    match &resource.kind {
        ResourceKind::Instance { instance_id } => instance_id.clone(),
        other => panic!("no instance: {other:?}"),
    }
}

pub(crate) fn first_interface(state: &mut State, resource: &Resource) -> String {
    let ec2 = state.ec2(ACCOUNT, REGION);
    ec2.interfaces_of(&instance_id(resource)).next().unwrap().0.clone()
}

/// More interfaces in more groups, rules that somebody added to the isolation
/// group, tags, one interface that a service made.
pub(super) fn vary_instance(state: &mut State, resource: &Resource, dice: &mut Rng) {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    for _ in 0..dice.usize(0..3) {
        let vpc = ec2.add_vpc(dice.bool());
        let names = ["web", "admin", "backup", "monitoring"];
        let groups: Vec<String> =
            (0..dice.usize(1..4)).map(|at| ec2.add_group(&vpc, names[at])).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        ec2.attach_interface(&id, &vpc, &groups);
        if dice.bool() {
            // Somebody's of the same name, without rules: used as it is. One
            // with rules is repaired for good; `isolation.rs` has that.
            let found = ec2.add_group(&vpc, "firebreak-isolation");
            let group = ec2.groups.get_mut(&found).unwrap();
            group.egress.clear();
        }
    }
    for number in 0..dice.usize(0..4) {
        let tags = ec2.tags.entry(id.clone()).or_default();
        tags.insert(format!("key-{number}"), format!("value {}", dice.u8(..)));
    }
    let clusters = dice.bool();
    for vpc in ec2.vpcs.values_mut() {
        if dice.bool() {
            continue;
        }
        vpc.routes.insert("pl-0abc".to_owned(), "vpce-0dyn".to_owned());
        let service = if dice.bool() { "dynamodb" } else { "s3" };
        vpc.endpoints.insert("vpce-0dyn".to_owned(), format!("com.amazonaws.{REGION}.{service}"));
    }
    if dice.bool() {
        "stopped".clone_into(&mut ec2.instances.get_mut(&id).unwrap().state);
    }
    if clusters {
        add_a_cluster(state, dice.bool());
    }
}

/// A cluster that lets the role `web` in, or nobody.
fn add_a_cluster(state: &mut State, with_entry: bool) {
    let mut cluster = Cluster { authentication_mode: "API".to_owned(), ..Cluster::default() };
    if with_entry {
        let arn = format!("arn:aws:iam::{ACCOUNT}:role/web");
        cluster.entries.insert(arn.clone(), cluster_entry(&arn, &["ops"]));
    }
    state.regional(ACCOUNT, REGION).eks.clusters.insert("prod".to_owned(), cluster);
}

/// More inline policies, attached ones, tags and keys on user and role.
pub(super) fn vary_principals(state: &mut State, _: &Resource, dice: &mut Rng) {
    let iam = state.iam(ACCOUNT);
    let users = iam.users.values_mut().map(|user| &mut user.identity);
    let roles = iam.roles.iter_mut().filter(|(name, _)| *name == "web");
    for identity in users.chain(roles.map(|(_, role)| &mut role.identity)) {
        for number in 0..dice.usize(0..3) {
            identity.inline.insert(format!("more-{number}"), allow(&["ec2:*"]));
            identity.tags.insert(format!("key-{number}"), format!("value {}", dice.u8(..)));
        }
        if dice.bool() {
            identity.attached.insert("arn:aws:iam::aws:policy/AdministratorAccess".to_owned());
        }
    }
    if let Some(user) = iam.users.get_mut("web") {
        for number in 0..dice.usize(0..2) {
            user.keys.insert(format!("AKIAMORE{number}"), dice.bool());
        }
    }
    if dice.bool() {
        add_a_cluster(state, dice.bool());
    }
}

/// Any flags, any tags.
pub(super) fn vary_buckets(state: &mut State, _: &Resource, dice: &mut Rng) {
    let mut block = || {
        dice.bool().then(|| PublicAccessBlock {
            block_public_acls: dice.bool(),
            ignore_public_acls: dice.bool(),
            block_public_policy: dice.bool(),
            restrict_public_buckets: dice.bool(),
        })
    };
    if let Some(block) = block() {
        state.s3.account_blocks.insert(ACCOUNT.to_owned(), block);
    }
    if let Some(bucket) = state.s3.buckets.get_mut("data") {
        bucket.public_access_block = block();
        bucket.public_acl = dice.bool();
        bucket.public_policy = dice.bool();
    }
}

pub(super) fn regroup(state: &mut State, resource: &Resource) {
    let id = first_interface(state, resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    let vpc = ec2.interfaces[&id].vpc.clone();
    let group = ec2.add_group(&vpc, "forensics");
    ec2.interfaces.get_mut(&id).unwrap().groups = vec![group];
}

pub(super) fn interface_groups(state: &mut State, resource: &Resource) -> Value {
    let id = first_interface(state, resource);
    json!(state.ec2(ACCOUNT, REGION).interfaces[&id].groups)
}

pub(super) fn forget_instance(state: &mut State, resource: &Resource) {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    ec2.terminate(&id);
    ec2.instances.remove(&id);
    ec2.tags.remove(&id);
}

pub(super) fn with_profile(organization: &Organization) -> ResourceKind {
    organization.add_role(ACCOUNT, "/", "web", json!({}), allow(&["s3:GetObject"]));
    organization.add_role(
        ACCOUNT,
        "/",
        "ssm",
        json!({}),
        allow(&["ssm:UpdateInstanceInformation"]),
    );
    let (arn, id) = organization.add_profile(ACCOUNT, "web", "web");
    organization.add_profile(ACCOUNT, "ssm-only", "ssm");
    organization.add_profile(ACCOUNT, "theirs", "ssm");
    let instance_id = organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpc = ec2.add_vpc(false);
        let group = ec2.add_group(&vpc, "web");
        let instance = ec2.add_instance(&vpc, &[&group]);
        ec2.associate(&instance, &arn, &id);
        instance
    });
    ResourceKind::Instance { instance_id }
}

fn give_profile(state: &mut State, resource: &Resource) {
    let id = instance_id(resource);
    let arn = format!("arn:aws:iam::{ACCOUNT}:instance-profile/theirs");
    let ec2 = state.ec2(ACCOUNT, REGION);
    ec2.associations.retain(|_, association| association.instance != id);
    ec2.associate(&id, &arn, "AIPATHEIRS");
}

fn profile(state: &mut State, resource: &Resource) -> Value {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    let found = ec2.associations.values().find(|association| association.instance == id);
    json!(found.map(|association| &association.profile_arn))
}

const INLINE: &str = "FirebreakRevokeSessions-r-0001";

pub(super) fn edit_role_policy(state: &mut State, _: &Resource) {
    let role = state.iam(ACCOUNT).roles.get_mut("web").unwrap();
    role.identity.inline.insert(INLINE.to_owned(), allow(&["s3:*"]));
}

pub(super) fn role_policy(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).roles["web"].identity.inline)
}

pub(super) fn edit_user_policy(state: &mut State, _: &Resource) {
    let user = state.iam(ACCOUNT).users.get_mut("web").unwrap();
    user.identity.inline.insert(INLINE.to_owned(), allow(&["s3:*"]));
}

pub(super) fn user_policy(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).users["web"].identity.inline)
}

/// A user and a role of one and the same name.
pub(super) fn namesakes(organization: &Organization) -> String {
    organization.add_role(ACCOUNT, "/", "web", json!({}), allow(&["s3:GetObject"]));
    organization.add_user(ACCOUNT, "web", allow(&["s3:GetObject"]))
}

pub(super) fn user_key(organization: &Organization) -> ResourceKind {
    let access_key_id = Some(namesakes(organization));
    let id = organization.edit(|state| state.iam(ACCOUNT).users["web"].identity.id.clone());
    let name = Some("web".to_owned());
    let principal = Principal { kind: PrincipalType::IamUser, name, id: Some(id) };
    ResourceKind::AccessKey { access_key_id, principal }
}

pub(super) fn role_session(organization: &Organization) -> ResourceKind {
    namesakes(organization);
    let id = organization.edit(|state| state.iam(ACCOUNT).roles["web"].identity.id.clone());
    let (name, id) = (Some("web".to_owned()), Some(format!("{id}:somebody")));
    let principal = Principal { kind: PrincipalType::AssumedRole, name, id };
    ResourceKind::AccessKey { access_key_id: Some("ASIAEXAMPLE".to_owned()), principal }
}

pub(super) fn user(organization: &Organization) -> ResourceKind {
    namesakes(organization);
    ResourceKind::User { name: "web".to_owned() }
}

pub(super) fn role(organization: &Organization) -> ResourceKind {
    namesakes(organization);
    ResourceKind::Role { name: "web".to_owned() }
}

fn delete_key(state: &mut State, _: &Resource) {
    state.iam(ACCOUNT).users.get_mut("web").unwrap().keys.clear();
}

fn keys(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).users["web"].keys)
}

pub(super) fn forget_user(state: &mut State, _: &Resource) {
    state.iam(ACCOUNT).users.remove("web");
}

pub(super) fn forget_role(state: &mut State, _: &Resource) {
    state.iam(ACCOUNT).roles.remove("web");
}

const SOME: PublicAccessBlock = PublicAccessBlock {
    block_public_acls: true,
    ignore_public_acls: false,
    block_public_policy: true,
    restrict_public_buckets: false,
};

pub(super) fn add_bucket(
    organization: &Organization,
    public_access_block: Option<PublicAccessBlock>,
    tags: Option<&[(&str, &str)]>,
) -> ResourceKind {
    let name = "data".to_owned();
    let owned = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let bucket = Bucket {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        public_access_block,
        tags: tags.map(owned),
        public_acl: true,
        public_policy: true,
        ..Bucket::default()
    };
    organization.edit(|state| state.s3.buckets.insert(name.clone(), bucket));
    ResourceKind::Bucket { name }
}

pub(super) fn bucket_without(organization: &Organization) -> ResourceKind {
    add_bucket(organization, None, None)
}

pub(super) fn bucket_with(organization: &Organization) -> ResourceKind {
    let tags = [("aws:cloudformation:stack-name", "data"), ("team", "a<b")];
    add_bucket(organization, Some(SOME), Some(&tags))
}

fn bucket_in_blocked_account(organization: &Organization) -> ResourceKind {
    organization.edit(|state| state.s3.account_blocks.insert(ACCOUNT.to_owned(), SOME));
    add_bucket(organization, None, None)
}

fn lower_bucket(state: &mut State, _: &Resource) {
    let none = PublicAccessBlock::default();
    state.s3.buckets.get_mut("data").unwrap().public_access_block = Some(none);
}

fn bucket_block(state: &mut State, _: &Resource) -> Value {
    json!(state.s3.buckets["data"].public_access_block)
}

fn lower_account(state: &mut State, _: &Resource) {
    state.s3.account_blocks.insert(ACCOUNT.to_owned(), PublicAccessBlock::default());
}

fn account_block(state: &mut State, _: &Resource) -> Value {
    json!(state.s3.account_blocks)
}

pub(super) fn forget_bucket(state: &mut State, _: &Resource) {
    state.s3.buckets.remove("data");
}

pub(super) fn nothing(_: &mut State, _: &Resource) {}

const KEY: &str = "firebreak:finding";

fn retag(state: &mut State, resource: &Resource) {
    let theirs = (KEY.to_owned(), "theirs".to_owned());
    match &resource.kind {
        ResourceKind::Instance { instance_id } => {
            let tags = state.ec2(ACCOUNT, REGION).tags.entry(instance_id.clone()).or_default();
            tags.extend([theirs]);
        }
        ResourceKind::User { name } => {
            state.iam(ACCOUNT).users.get_mut(name).unwrap().identity.tags.extend([theirs]);
        }
        ResourceKind::Role { name } => {
            state.iam(ACCOUNT).roles.get_mut(name).unwrap().identity.tags.extend([theirs]);
        }
        ResourceKind::Bucket { name } => {
            let bucket = state.s3.buckets.get_mut(name).unwrap();
            bucket.tags.get_or_insert_default().extend([theirs]);
        }
        other => panic!("not tagged: {other:?}"),
    }
}

fn tag(state: &mut State, resource: &Resource) -> Value {
    match &resource.kind {
        ResourceKind::Instance { instance_id } => {
            json!(state.ec2(ACCOUNT, REGION).tags[instance_id].get(KEY))
        }
        ResourceKind::User { name } => {
            json!(state.iam(ACCOUNT).users[name].identity.tags.get(KEY))
        }
        ResourceKind::Role { name } => {
            json!(state.iam(ACCOUNT).roles[name].identity.tags.get(KEY))
        }
        ResourceKind::Bucket { name } => json!(state.s3.buckets[name].tags.as_ref().unwrap()[KEY]),
        other => panic!("not tagged: {other:?}"),
    }
}

fn tagged_instance(organization: &Organization) -> ResourceKind {
    let kind = two_vpcs(organization);
    let ResourceKind::Instance { instance_id } = &kind else { panic!("no instance") };
    organization.edit(|state| {
        let tags = state.ec2(ACCOUNT, REGION).tags.entry(instance_id.clone()).or_default();
        tags.insert("Name".to_owned(), "web".to_owned());
        tags.insert(KEY.to_owned(), "an older one".to_owned());
    });
    kind
}

pub(super) fn cases() -> Vec<Case> {
    [isolations(), instance_credentials(), principals(), public_access(), tags()].concat()
}

pub(super) fn isolation() -> Case {
    Case {
        name: "isolate-instance",
        action: "isolate-instance",
        parameters: Value::Null,
        arrange: two_vpcs,
        disturb: regroup,
        witness: interface_groups,
        remove: forget_instance,
        outlives: false,
        vary: vary_instance,
        forgive: nothing_forgiven,
    }
}

/// What somebody added to the isolation group is taken off for good.
pub(super) fn forgive_repairs(snapshot: &mut Value) {
    let groups = snapshot.pointer_mut("/held/ec2/eu-central-1/groups");
    for (_, group) in groups.and_then(Value::as_object_mut).into_iter().flatten() {
        if group["name"] == "firebreak-isolation" {
            group["ingress"].take();
            group["egress"].take();
        }
    }
}

fn isolations() -> Vec<Case> {
    let without = Case {
        name: "isolate-instance without cutting tracked connections",
        parameters: json!({ "cut-tracked-connections": false }),
        ..isolation()
    };
    let allowing = Case {
        name: "isolate-instance but for forensics",
        parameters: json!({ "allow": ["192.0.2.0/28", "2001:db8:1::/64"] }),
        ..isolation()
    };
    let repairing = Case {
        name: "isolate-instance with a group that somebody opened",
        arrange: |organization| {
            let kind = two_vpcs(organization);
            organization.edit(|state| {
                let ec2 = state.ec2(ACCOUNT, REGION);
                let vpc = ec2.vpcs.keys().next().unwrap().clone();
                let group = ec2.add_group(&vpc, "firebreak-isolation");
                let group = ec2.groups.get_mut(&group).unwrap();
                group.ingress.insert(Rule::tcp(22, "0.0.0.0/0"));
            });
            kind
        },
        forgive: forgive_repairs,
        ..isolation()
    };
    vec![isolation(), without, allowing, repairing]
}

fn instance_credentials() -> Vec<Case> {
    let revoke = Case {
        name: "revoke-instance-credentials",
        action: "revoke-instance-credentials",
        arrange: with_profile,
        disturb: give_profile,
        witness: profile,
        outlives: true,
        ..isolation()
    };
    vec![
        Case {
            name: "revoke-instance-credentials of the whole role",
            parameters: json!({ "sessions": "role" }),
            ..revoke.clone()
        },
        Case {
            name: "revoke-instance-credentials with a replacement",
            parameters: json!({ "replacement-profile": "ssm-only" }),
            ..revoke.clone()
        },
        instance_credentials_keeping_the_profile(),
        revoke,
    ]
}

pub(super) fn instance_credentials_keeping_the_profile() -> Case {
    Case {
        name: "revoke-instance-credentials keeping the profile",
        action: "revoke-instance-credentials",
        parameters: json!({ "disassociate-profile": false }),
        arrange: with_profile,
        disturb: edit_role_policy,
        witness: role_policy,
        outlives: true,
        ..isolation()
    }
}

fn principals() -> Vec<Case> {
    let key = Case {
        name: "deactivate-access-key",
        action: "deactivate-access-key",
        arrange: user_key,
        vary: vary_principals,
        disturb: delete_key,
        witness: keys,
        remove: forget_user,
        ..isolation()
    };
    let of_role = Case {
        name: "revoke-sessions of a role's session",
        action: "revoke-sessions",
        arrange: role_session,
        vary: vary_principals,
        disturb: edit_role_policy,
        witness: role_policy,
        remove: forget_role,
        ..isolation()
    };
    let of_user = Case {
        name: "revoke-sessions of a user",
        arrange: user,
        disturb: edit_user_policy,
        witness: user_policy,
        remove: forget_user,
        ..of_role.clone()
    };
    vec![
        key,
        Case {
            name: "revoke-sessions, only this one",
            parameters: json!({ "only-this-session": true }),
            ..of_role.clone()
        },
        Case { name: "revoke-sessions of a user's key", arrange: user_key, ..of_user.clone() },
        Case { name: "revoke-sessions of a role", arrange: role, ..of_role.clone() },
        of_role,
        of_user,
    ]
}

fn public_access() -> Vec<Case> {
    let bucket = Case {
        name: "block-public-access of a bucket without a block",
        action: "block-public-access",
        arrange: bucket_without,
        vary: vary_buckets,
        disturb: lower_bucket,
        witness: bucket_block,
        remove: forget_bucket,
        ..isolation()
    };
    let account = Case {
        name: "block-public-access of an account without a block",
        parameters: json!({ "account": true }),
        disturb: lower_account,
        witness: account_block,
        remove: nothing,
        ..bucket.clone()
    };
    vec![
        Case {
            name: "block-public-access of a bucket with some flags",
            arrange: bucket_with,
            ..bucket.clone()
        },
        bucket,
        Case {
            name: "block-public-access of an account with some flags",
            arrange: bucket_in_blocked_account,
            ..account.clone()
        },
        account,
    ]
}

fn tags() -> Vec<Case> {
    let instance = Case {
        name: "tag-resource on an instance",
        action: "tag-resource",
        arrange: tagged_instance,
        disturb: retag,
        witness: tag,
        ..isolation()
    };
    let bucket = Case {
        name: "tag-resource on a bucket without tags",
        arrange: bucket_without,
        vary: vary_buckets,
        remove: forget_bucket,
        ..instance.clone()
    };
    vec![
        Case {
            name: "tag-resource on a user",
            arrange: user,
            vary: vary_principals,
            remove: forget_user,
            ..instance.clone()
        },
        Case {
            name: "tag-resource on a role",
            arrange: role,
            vary: vary_principals,
            remove: forget_role,
            ..instance.clone()
        },
        Case { name: "tag-resource on a bucket with tags", arrange: bucket_with, ..bucket.clone() },
        bucket,
        instance,
    ]
}
