//! The laws that every action obeys, each exercised against the simulated
//! organization with exactly the permissions that the action declares. A new
//! action gets a case in `cases` and obeys them all, or this fails.

use std::num::NonZeroU32;
use std::time::Duration;

use firebreak_hub::aws::config;
use firebreak_simulation::ec2::model::{Peer, Rule};
use firebreak_simulation::s3::model::{Bucket, PublicAccessBlock};
use firebreak_simulation::state::State;
use firebreak_simulation::{Effect, Fault, Options, Organization};
use firebreak_spoke::account::Account;
use firebreak_spoke::actions::{self, Change, Entry, Observation, Scope, Undone, Verdict};
use firebreak_spoke::error::{ActionError, Kind};
use firebreak_spoke::pace::Pace;
use firebreak_spoke::resource::{Principal, PrincipalType, Region, Resource, ResourceKind};
use serde_json::{Value, json};

const ACCOUNT: &str = "111111111111";
const REGION: &str = "eu-central-1";
const SPOKE: &str = "FirebreakSpoke";
const READER: &str = "FirebreakReader";

/// One action on one kind of target.
#[derive(Clone)]
struct Case {
    name: &'static str,
    action: &'static str,
    parameters: Value,
    arrange: fn(&Organization) -> ResourceKind,
    /// Somebody changes what the action changed.
    disturb: fn(&mut State, &Resource),
    /// What was disturbed.
    witness: fn(&mut State, &Resource) -> Value,
    /// The resource goes.
    remove: fn(&mut State, &Resource),
    /// Whether the recorded plan still has something to end when the resource
    /// is gone: an instance's stolen credentials outlive it.
    outlives: bool,
}

struct Stage {
    organization: Organization,
    resource: Resource,
    entry: &'static Entry,
    parameters: Value,
    reader: Account,
    spoke: Account,
    before: Value,
}

fn allow(actions: &[&str]) -> Value {
    json!({ "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }] })
}

fn resource(kind: ResourceKind) -> Resource {
    Resource {
        partition: "aws".parse().unwrap(),
        account: ACCOUNT.parse().unwrap(),
        region: REGION.parse().unwrap(),
        kind,
    }
}

fn empty(latency: Duration) -> Organization {
    let options = Options { latency, throttling: false, ..Options::default() };
    let organization = Organization::new("o-aa111bb222", "r-a1b2", "999999999999", options);
    organization.add_account("r-a1b2", ACCOUNT, "workload");
    organization
}

async fn session(organization: &Organization, role: &str) -> Account {
    let region: Region = REGION.parse().unwrap();
    let credentials = organization.role_session(ACCOUNT, role, "firebreak");
    let sdk = config::with_http_client(
        organization.http_client(),
        credentials.clone(),
        organization.time_source(),
        &region,
    )
    .await;
    let pace = Pace::new(100, NonZeroU32::MIN);
    let (account, partition) = (ACCOUNT.parse().unwrap(), "aws".parse().unwrap());
    Account::new(&sdk, &credentials, account, region, partition, pace)
}

impl Stage {
    async fn of(case: &Case) -> Self {
        Self::with(case, empty(Duration::ZERO)).await
    }

    async fn with(case: &Case, organization: Organization) -> Self {
        let entry = actions::find(case.action).unwrap();
        let about = entry.about;
        let writes: Vec<&str> = about.reads.iter().chain(about.writes).copied().collect();
        organization.add_role(ACCOUNT, "/", READER, json!({}), allow(about.reads));
        organization.add_role(ACCOUNT, "/", SPOKE, json!({}), allow(&writes));
        let resource = resource((case.arrange)(&organization));
        let reader = session(&organization, READER).await;
        let spoke = session(&organization, SPOKE).await;
        let before = organization.snapshot(ACCOUNT);
        let parameters = case.parameters.clone();
        Self { organization, resource, entry, parameters, reader, spoke, before }
    }

    fn scope<'a>(&'a self, account: &'a Account) -> Scope<'a> {
        Scope {
            account,
            resource: &self.resource,
            response: "r-0001",
            finding: "finding-0001",
            now: self.organization.now(),
            spoke_role: SPOKE,
        }
    }

    async fn observe(&self) -> Result<Observation<Value>, ActionError> {
        self.entry.observe(self.scope(&self.reader), &self.parameters).await
    }

    async fn apply(&self, prior: &Value) -> Result<(), ActionError> {
        self.entry.apply(self.scope(&self.spoke), &self.parameters, prior).await
    }

    async fn verify(&self, prior: &Value) -> Verdict {
        self.entry.verify(self.scope(&self.reader), &self.parameters, prior).await.unwrap()
    }

    async fn undo(&self, prior: &Value) -> Result<Undone, ActionError> {
        self.entry.undo(self.scope(&self.spoke), &self.parameters, prior).await
    }

    fn snapshot(&self) -> Value {
        self.organization.snapshot(ACCOUNT)
    }
}

fn holds(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Holds(_))
}

// The cases.

fn two_vpcs(organization: &Organization) -> ResourceKind {
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

fn instance_id(resource: &Resource) -> String {
    match &resource.kind {
        ResourceKind::Instance { instance_id } => instance_id.clone(),
        other => panic!("no instance: {other:?}"),
    }
}

fn first_interface(state: &mut State, resource: &Resource) -> String {
    let ec2 = state.ec2(ACCOUNT, REGION);
    ec2.interfaces_of(&instance_id(resource)).next().unwrap().0.clone()
}

fn regroup(state: &mut State, resource: &Resource) {
    let id = first_interface(state, resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    let vpc = ec2.interfaces[&id].vpc.clone();
    let group = ec2.add_group(&vpc, "forensics");
    ec2.interfaces.get_mut(&id).unwrap().groups = vec![group];
}

fn interface_groups(state: &mut State, resource: &Resource) -> Value {
    let id = first_interface(state, resource);
    json!(state.ec2(ACCOUNT, REGION).interfaces[&id].groups)
}

fn forget_instance(state: &mut State, resource: &Resource) {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    ec2.terminate(&id);
    ec2.instances.remove(&id);
    ec2.tags.remove(&id);
}

fn with_profile(organization: &Organization) -> ResourceKind {
    organization.add_role(ACCOUNT, "/", "web", json!({}), allow(&["s3:GetObject"]));
    organization.add_role(ACCOUNT, "/", "ssm", json!({}), allow(&["ssm:UpdateInstanceInformation"]));
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

fn edit_role_policy(state: &mut State, _: &Resource) {
    let role = state.iam(ACCOUNT).roles.get_mut("web").unwrap();
    role.identity.inline.insert(INLINE.to_owned(), allow(&["s3:*"]));
}

fn role_policy(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).roles["web"].identity.inline)
}

fn edit_user_policy(state: &mut State, _: &Resource) {
    let user = state.iam(ACCOUNT).users.get_mut("web").unwrap();
    user.identity.inline.insert(INLINE.to_owned(), allow(&["s3:*"]));
}

fn user_policy(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).users["web"].identity.inline)
}

/// A user and a role of one and the same name.
fn namesakes(organization: &Organization) -> String {
    organization.add_role(ACCOUNT, "/", "web", json!({}), allow(&["s3:GetObject"]));
    organization.add_user(ACCOUNT, "web", allow(&["s3:GetObject"]))
}

fn user_key(organization: &Organization) -> ResourceKind {
    let access_key_id = Some(namesakes(organization));
    let id = organization.edit(|state| state.iam(ACCOUNT).users["web"].identity.id.clone());
    let name = Some("web".to_owned());
    let principal = Principal { kind: PrincipalType::IamUser, name, id: Some(id) };
    ResourceKind::AccessKey { access_key_id, principal }
}

fn role_session(organization: &Organization) -> ResourceKind {
    namesakes(organization);
    let id = organization.edit(|state| state.iam(ACCOUNT).roles["web"].identity.id.clone());
    let (name, id) = (Some("web".to_owned()), Some(format!("{id}:somebody")));
    let principal = Principal { kind: PrincipalType::AssumedRole, name, id };
    ResourceKind::AccessKey { access_key_id: Some("ASIAEXAMPLE".to_owned()), principal }
}

fn user(organization: &Organization) -> ResourceKind {
    namesakes(organization);
    ResourceKind::User { name: "web".to_owned() }
}

fn role(organization: &Organization) -> ResourceKind {
    namesakes(organization);
    ResourceKind::Role { name: "web".to_owned() }
}

fn delete_key(state: &mut State, _: &Resource) {
    state.iam(ACCOUNT).users.get_mut("web").unwrap().keys.clear();
}

fn keys(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).users["web"].keys)
}

fn forget_user(state: &mut State, _: &Resource) {
    state.iam(ACCOUNT).users.remove("web");
}

fn forget_role(state: &mut State, _: &Resource) {
    state.iam(ACCOUNT).roles.remove("web");
}

const SOME: PublicAccessBlock = PublicAccessBlock {
    block_public_acls: true,
    ignore_public_acls: false,
    block_public_policy: true,
    restrict_public_buckets: false,
};

fn add_bucket(
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
    };
    organization.edit(|state| state.s3.buckets.insert(name.clone(), bucket));
    ResourceKind::Bucket { name }
}

fn bucket_without(organization: &Organization) -> ResourceKind {
    add_bucket(organization, None, None)
}

fn bucket_with(organization: &Organization) -> ResourceKind {
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

fn forget_bucket(state: &mut State, _: &Resource) {
    state.s3.buckets.remove("data");
}

fn nothing(_: &mut State, _: &Resource) {}

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

fn cases() -> Vec<Case> {
    let isolate = Case {
        name: "isolate-instance",
        action: "isolate-instance",
        parameters: Value::Null,
        arrange: two_vpcs,
        disturb: regroup,
        witness: interface_groups,
        remove: forget_instance,
        outlives: false,
    };
    let revoke_instance = Case {
        name: "revoke-instance-credentials",
        action: "revoke-instance-credentials",
        arrange: with_profile,
        disturb: give_profile,
        witness: profile,
        outlives: true,
        ..isolate.clone()
    };
    let key = Case {
        name: "deactivate-access-key",
        action: "deactivate-access-key",
        arrange: user_key,
        disturb: delete_key,
        witness: keys,
        remove: forget_user,
        ..isolate.clone()
    };
    let revoke_role = Case {
        name: "revoke-sessions of a role's session",
        action: "revoke-sessions",
        arrange: role_session,
        disturb: edit_role_policy,
        witness: role_policy,
        remove: forget_role,
        ..isolate.clone()
    };
    let revoke_user = Case {
        name: "revoke-sessions of a user",
        arrange: user,
        disturb: edit_user_policy,
        witness: user_policy,
        remove: forget_user,
        ..revoke_role.clone()
    };
    let block = Case {
        name: "block-public-access of a bucket without a block",
        action: "block-public-access",
        arrange: bucket_without,
        disturb: lower_bucket,
        witness: bucket_block,
        remove: forget_bucket,
        ..isolate.clone()
    };
    let block_account = Case {
        name: "block-public-access of an account without a block",
        parameters: json!({ "account": true }),
        disturb: lower_account,
        witness: account_block,
        remove: nothing,
        ..block.clone()
    };
    let tag_instance = Case {
        name: "tag-resource on an instance",
        action: "tag-resource",
        arrange: tagged_instance,
        disturb: retag,
        witness: tag,
        ..isolate.clone()
    };
    vec![
        Case {
            name: "isolate-instance without cutting tracked connections",
            parameters: json!({ "cut-tracked-connections": false }),
            ..isolate.clone()
        },
        isolate,
        Case {
            name: "revoke-instance-credentials of the whole role",
            parameters: json!({ "sessions": "role" }),
            ..revoke_instance.clone()
        },
        Case {
            name: "revoke-instance-credentials with a replacement",
            parameters: json!({ "replacement-profile": "ssm-only" }),
            ..revoke_instance.clone()
        },
        Case {
            name: "revoke-instance-credentials keeping the profile",
            parameters: json!({ "disassociate-profile": false }),
            disturb: edit_role_policy,
            witness: role_policy,
            ..revoke_instance.clone()
        },
        revoke_instance,
        key,
        Case {
            name: "revoke-sessions, only this one",
            parameters: json!({ "only-this-session": true }),
            ..revoke_role.clone()
        },
        Case {
            name: "revoke-sessions of a user's key",
            arrange: user_key,
            ..revoke_user.clone()
        },
        Case { name: "revoke-sessions of a role", arrange: role, ..revoke_role.clone() },
        revoke_role,
        revoke_user,
        Case {
            name: "block-public-access of a bucket with some flags",
            arrange: bucket_with,
            ..block.clone()
        },
        block,
        Case {
            name: "block-public-access of an account with some flags",
            arrange: bucket_in_blocked_account,
            ..block_account.clone()
        },
        block_account,
        Case {
            name: "tag-resource on a user",
            arrange: user,
            remove: forget_user,
            ..tag_instance.clone()
        },
        Case {
            name: "tag-resource on a role",
            arrange: role,
            remove: forget_role,
            ..tag_instance.clone()
        },
        Case {
            name: "tag-resource on a bucket without tags",
            arrange: bucket_without,
            remove: forget_bucket,
            ..tag_instance.clone()
        },
        Case {
            name: "tag-resource on a bucket with tags",
            arrange: bucket_with,
            remove: forget_bucket,
            ..tag_instance.clone()
        },
        tag_instance,
    ]
}

#[test]
fn every_action_has_a_case() {
    let cases = cases();
    for entry in actions::all() {
        let name = entry.about.name;
        assert!(cases.iter().any(|case| case.action == name), "{name}");
    }
}

// The laws.

#[tokio::test(start_paused = true)]
async fn observing_changes_nothing_and_uses_reads_only() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let observation = stage.observe().await.unwrap();
        assert!(!observation.changes.is_empty(), "{}", case.name);
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
        assert!(stage.organization.calls().iter().all(|call| !call.mutating), "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_apply_does_is_read_back_and_not_before() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.observe().await.unwrap().prior;
        let verdict = stage.verify(&prior).await;
        assert!(!holds(&verdict), "{}: {verdict:?}", case.name);
        stage.apply(&prior).await.unwrap();
        let verdict = stage.verify(&prior).await;
        assert!(holds(&verdict), "{}: {verdict:?}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn applying_twice_equals_applying_once() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.observe().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let once = stage.snapshot();
        assert_ne!(once, stage.before, "{}", case.name);
        stage.apply(&prior).await.unwrap();
        assert_eq!(stage.snapshot(), once, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn undo_restores_exactly_and_undoing_twice_equals_undoing_once() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.observe().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let undone = stage.undo(&prior).await.unwrap();
        assert!(!undone.restored.is_empty() && undone.drift.is_empty(), "{}: {undone:?}", case.name);
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
        assert_eq!(stage.undo(&prior).await.unwrap(), Undone::default(), "{}", case.name);
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn undo_without_apply_changes_nothing() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.observe().await.unwrap().prior;
        assert_eq!(stage.undo(&prior).await.unwrap(), Undone::default(), "{}", case.name);
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_since_is_left_alone_and_told() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.observe().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let theirs = stage.organization.edit(|state| {
            (case.disturb)(state, &stage.resource);
            (case.witness)(state, &stage.resource)
        });
        let undone = stage.undo(&prior).await.unwrap();
        assert!(!undone.drift.is_empty(), "{}: {undone:?}", case.name);
        let now = stage.organization.edit(|state| (case.witness)(state, &stage.resource));
        assert_eq!(now, theirs, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_gone_is_told_and_nothing_is_changed() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.observe().await.unwrap().prior;
        stage.organization.edit(|state| (case.remove)(state, &stage.resource));
        let gone = stage.snapshot();
        if gone == stage.before {
            continue; // An account is never gone.
        }
        assert_eq!(stage.observe().await.unwrap_err().kind, Kind::Gone, "{}", case.name);
        if !case.outlives {
            assert_eq!(stage.apply(&prior).await.unwrap_err().kind, Kind::Gone, "{}", case.name);
            assert_eq!(stage.snapshot(), gone, "{}", case.name);
        }
        let undone = stage.undo(&prior).await.unwrap();
        assert!(undone.restored.is_empty(), "{}: {undone:?}", case.name);
        assert_eq!(stage.snapshot(), gone, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_of_another_account_is_refused_before_any_call() {
    for case in cases() {
        let mut stage = Stage::of(&case).await;
        stage.resource.account = "222222222222".parse().unwrap();
        assert_eq!(stage.observe().await.unwrap_err().kind, Kind::Refused, "{}", case.name);
        assert_eq!(stage.organization.call_count(), 0, "{}", case.name);
    }
}

/// What stops an action half way.
fn stops() -> [Effect; 4] {
    [
        Effect::Error { status: 400, code: "SimulatedFailure".to_owned() },
        Effect::CrashBefore,
        Effect::CrashAfter,
        Effect::LostAnswer,
    ]
}

/// Runs something whose `after`-th call is stopped; `None` when it crashed.
async fn stopped<T>(
    organization: &Organization,
    after: u32,
    effect: &Effect,
    work: impl Future<Output = T>,
) -> Option<T> {
    organization.inject(Fault { after, times: 1, effect: effect.clone(), ..Fault::default() });
    let ended = tokio::select! {
        biased;
        () = organization.crashed() => None,
        ended = work => Some(ended),
    };
    organization.clear_faults();
    ended
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_stops_at_any_call_is_undone_exactly() {
    for case in cases() {
        for effect in stops() {
            for after in 0.. {
                let stage = Stage::of(&case).await;
                let prior = stage.observe().await.unwrap().prior;
                stage.organization.forget_calls();
                let work = stage.apply(&prior);
                let ended = stopped(&stage.organization, after, &effect, work).await;
                let whole = u32::try_from(stage.organization.call_count()).unwrap() <= after;
                stage.undo(&prior).await.unwrap();
                let told = format!("{} {effect:?} at call {after}: {ended:?}", case.name);
                assert_eq!(stage.snapshot(), stage.before, "{told}");
                if whole {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_stops_at_any_call_converges_when_it_runs_again() {
    for case in cases() {
        for effect in stops() {
            for after in 0.. {
                let stage = Stage::of(&case).await;
                let prior = stage.observe().await.unwrap().prior;
                stage.organization.forget_calls();
                let work = stage.apply(&prior);
                let ended = stopped(&stage.organization, after, &effect, work).await;
                let whole = u32::try_from(stage.organization.call_count()).unwrap() <= after;
                let told = format!("{} {effect:?} at call {after}: {ended:?}", case.name);
                stage.apply(&prior).await.unwrap();
                let verdict = stage.verify(&prior).await;
                assert!(holds(&verdict), "{told}: {verdict:?}");
                stage.undo(&prior).await.unwrap();
                assert_eq!(stage.snapshot(), stage.before, "{told}");
                if whole {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_stops_at_any_call_converges_when_it_runs_again() {
    for case in cases() {
        for effect in stops() {
            for after in 0.. {
                let stage = Stage::of(&case).await;
                let prior = stage.observe().await.unwrap().prior;
                stage.apply(&prior).await.unwrap();
                stage.organization.forget_calls();
                let work = stage.undo(&prior);
                let ended = stopped(&stage.organization, after, &effect, work).await;
                let whole = u32::try_from(stage.organization.call_count()).unwrap() <= after;
                stage.undo(&prior).await.unwrap();
                let told = format!("{} {effect:?} at call {after}: {ended:?}", case.name);
                assert_eq!(stage.snapshot(), stage.before, "{told}");
                if whole {
                    break;
                }
            }
        }
    }
}

// What is particular to one action.

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_warm_isolation_takes_one_call_after_another_three_times() {
    const LATENCY: Duration = Duration::from_millis(100);
    let organization = empty(LATENCY);
    // Another instance in both VPCs is isolated already.
    let first = Stage::with(&case("isolate-instance"), organization.clone()).await;
    let prior = first.observe().await.unwrap().prior;
    first.apply(&prior).await.unwrap();
    let second = organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let groups: Vec<(String, String)> = ec2
            .groups
            .iter()
            .filter(|(_, group)| group.name == "admin" || group.name == "backup")
            .map(|(id, group)| (group.vpc.clone(), id.clone()))
            .collect();
        let id = ec2.add_instance(&groups[0].0, &[&groups[0].1]);
        ec2.attach_interface(&id, &groups[1].0, &[&groups[1].1]);
        id
    });
    let resource = resource(ResourceKind::Instance { instance_id: second });
    let second = Stage { resource, ..first };
    let start = tokio::time::Instant::now();
    let observation = second.observe().await.unwrap();
    assert_eq!(start.elapsed().as_millis() / LATENCY.as_millis(), 1);
    second.apply(&observation.prior).await.unwrap();
    assert_eq!(start.elapsed().as_millis() / LATENCY.as_millis(), 3);
    assert!(holds(&second.verify(&observation.prior).await));
    // The first still needs the groups.
    let undone = second.undo(&observation.prior).await.unwrap();
    assert_eq!(undone.restored.len(), 2, "{undone:?}");
}

#[tokio::test(start_paused = true)]
async fn an_isolation_that_fails_never_leaves_the_instance_open() {
    for after in 0..40 {
        let stage = Stage::of(&case("isolate-instance")).await;
        let prior = stage.observe().await.unwrap().prior;
        let effect = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
        let work = stage.apply(&prior);
        stopped(&stage.organization, after, &effect, work).await;
        let id = instance_id(&stage.resource);
        let open = stage
            .organization
            .edit(|state| state.ec2(ACCOUNT, REGION).reachable_from_internet(&id));
        assert!(!open, "the call after {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_somebody_added_to_the_isolation_group_is_shown_and_taken_off() {
    let stage = Stage::of(&case("isolate-instance")).await;
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpcs: Vec<String> = ec2.vpcs.keys().cloned().collect();
        for vpc in vpcs {
            let id = ec2.add_group(&vpc, "firebreak-isolation");
            let group = ec2.groups.get_mut(&id).unwrap();
            group.ingress.insert(Rule::tcp(22, "192.0.2.0/24"));
            group.egress.insert(Rule::all(Peer::PrefixList("pl-1".to_owned())));
            group.egress.insert(Rule::all(Peer::Group(id)));
        }
    });
    let Observation { prior, changes } = stage.observe().await.unwrap();
    let repairs = |it: &&Change| it.what.starts_with("rules of firebreak-isolation");
    assert_eq!(changes.iter().filter(repairs).count(), 2, "{changes:?}");
    stage.apply(&prior).await.unwrap();
    assert!(holds(&stage.verify(&prior).await));
    // Without Firebreak's tag they are the organization's: undo lets them be.
    stage.undo(&prior).await.unwrap();
    let left = stage.organization.edit(|state| {
        let groups = state.ec2(ACCOUNT, REGION).groups.clone();
        groups.into_values().filter(|group| group.name == "firebreak-isolation").count()
    });
    assert_eq!(left, 2);
}

#[tokio::test(start_paused = true)]
async fn a_rule_added_while_the_plan_waited_for_approval_is_taken_off() {
    let organization = empty(Duration::ZERO);
    let first = Stage::with(&case("isolate-instance"), organization.clone()).await;
    let warm = first.observe().await.unwrap().prior;
    first.apply(&warm).await.unwrap();
    let prior = first.observe().await.unwrap().prior;
    organization.edit(|state| {
        for group in state.ec2(ACCOUNT, REGION).groups.values_mut() {
            if group.name == "firebreak-isolation" {
                group.ingress.insert(Rule::tcp(22, "0.0.0.0/0"));
            }
        }
    });
    tokio::time::advance(Duration::from_secs(600)).await;
    first.apply(&prior).await.unwrap();
    assert!(holds(&first.verify(&prior).await));
}

#[tokio::test(start_paused = true)]
async fn groups_that_another_undo_deletes_meanwhile_are_made_again() {
    let organization = empty(Duration::ZERO);
    let stage = Stage::with(&case("isolate-instance"), organization.clone()).await;
    let cold = stage.observe().await.unwrap().prior;
    stage.apply(&cold).await.unwrap();
    let theirs = |group: &firebreak_simulation::ec2::model::SecurityGroup| {
        group.name.starts_with("firebreak-")
    };
    // Warm groups that nobody uses, deleted after they were observed.
    let saved = organization.edit(|state| state.ec2(ACCOUNT, REGION).clone());
    stage.undo(&cold).await.unwrap();
    organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        for (id, group) in saved.groups.into_iter().filter(|(_, group)| theirs(group)) {
            ec2.groups.insert(id, group);
        }
    });
    let warm = stage.observe().await.unwrap().prior;
    organization.edit(|state| {
        state.ec2(ACCOUNT, REGION).groups.retain(|_, group| !theirs(group));
    });
    stage.apply(&warm).await.unwrap();
    assert!(holds(&stage.verify(&warm).await));
    stage.undo(&warm).await.unwrap();
    assert_eq!(stage.snapshot(), stage.before);
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_cannot_be_changed_or_came_since_is_not_called_isolated() {
    let stage = Stage::of(&case("isolate-instance")).await;
    let id = first_interface_of(&stage);
    stage.organization.edit(|state| {
        let interface = state.ec2(ACCOUNT, REGION).interfaces.get_mut(&id).unwrap();
        interface.requester_managed = true;
    });
    let Observation { prior, changes } = stage.observe().await.unwrap();
    assert!(changes.iter().any(|change| change.after.starts_with("cannot be changed")));
    stage.apply(&prior).await.unwrap();
    assert!(!holds(&stage.verify(&prior).await));

    let stage = Stage::of(&case("isolate-instance")).await;
    let prior = stage.observe().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let group = ec2.add_group(&vpc, "way-out");
        ec2.attach_interface(&instance_id(&stage.resource), &vpc, &[&group]);
    });
    assert!(!holds(&stage.verify(&prior).await));
}

fn first_interface_of(stage: &Stage) -> String {
    stage.organization.edit(|state| first_interface(state, &stage.resource))
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_deleted_since_keeps_its_interface_isolated_and_is_told() {
    let stage = Stage::of(&case("isolate-instance")).await;
    let prior = stage.observe().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    stage.organization.edit(|state| {
        state.ec2(ACCOUNT, REGION).groups.retain(|_, group| group.name != "backup");
    });
    let undone = stage.undo(&prior).await.unwrap();
    assert_eq!(undone.drift.len(), 1, "{undone:?}");
    assert!(undone.drift[0].contains("was deleted since"), "{undone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_terminated_instance_is_told_as_such() {
    for name in
        ["isolate-instance", "revoke-instance-credentials", "tag-resource on an instance"]
    {
        let stage = Stage::of(&case(name)).await;
        let id = instance_id(&stage.resource);
        stage.organization.edit(|state| state.ec2(ACCOUNT, REGION).terminate(&id));
        let error = stage.observe().await.unwrap_err();
        assert_eq!(error.kind, Kind::Gone, "{name}");
        assert!(error.message.contains("terminated"), "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn stolen_credentials_of_an_instance_end_and_its_neighbours_live_on() {
    let stage = Stage::of(&case("revoke-instance-credentials")).await;
    let organization = &stage.organization;
    let stolen = organization.role_session(ACCOUNT, "web", &instance_id(&stage.resource));
    let neighbour = organization.role_session(ACCOUNT, "web", "i-0000000000000000f");
    let may = |credentials| {
        organization.attempt(credentials, REGION, "s3:GetObject", "arn:aws:s3:::data/x").is_ok()
    };
    assert!(may(&stolen) && may(&neighbour));
    let prior = stage.observe().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(!may(&stolen) && may(&neighbour));
    stage.undo(&prior).await.unwrap();
    assert!(may(&stolen));
}

#[tokio::test(start_paused = true)]
async fn sessions_that_began_before_end_and_later_ones_do_not() {
    let stage = Stage::of(&case("revoke-sessions of a role's session")).await;
    let organization = &stage.organization;
    let may = |credentials| {
        organization.attempt(credentials, REGION, "s3:GetObject", "arn:aws:s3:::data/x").is_ok()
    };
    let stolen = organization.role_session(ACCOUNT, "web", "somebody");
    let prior = stage.observe().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(!may(&stolen));
    tokio::time::advance(Duration::from_secs(60)).await;
    let later = organization.role_session(ACCOUNT, "web", "somebody");
    assert!(may(&later) && !may(&stolen));
}

#[tokio::test(start_paused = true)]
async fn a_principal_of_the_same_name_is_never_touched() {
    for case in cases() {
        if !["deactivate-access-key", "revoke-sessions"].contains(&case.action) {
            continue;
        }
        let stage = Stage::of(&case).await;
        let prior = stage.observe().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let after = stage.snapshot();
        let same = |pointer: &str| stage.before.pointer(pointer) == after.pointer(pointer);
        let (user, role) = (same("/held/iam/users/web"), same("/held/iam/roles/web"));
        assert!(user != role, "{}: exactly one of them changes", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_was_made_anew_is_another_role() {
    let stage = Stage::of(&case("revoke-sessions of a role's session")).await;
    stage.organization.edit(|state| {
        let role = state.iam(ACCOUNT).roles.get_mut("web").unwrap();
        role.identity.id = "AROAANOTHER".to_owned();
    });
    assert_eq!(stage.observe().await.unwrap_err().kind, Kind::Refused);
}

#[tokio::test(start_paused = true)]
async fn protected_roles_are_refused_by_every_action_that_changes_roles() {
    for (path, name) in [
        ("/", SPOKE),
        ("/aws-service-role/autoscaling.amazonaws.com/", "AWSServiceRoleForAutoScaling"),
        ("/aws-reserved/sso.amazonaws.com/", "AWSReservedSSO_Admin_0123456789abcdef"),
        ("/", "stacksets-exec-0123456789abcdef"),
        ("/", "AWSControlTowerExecution"),
        ("/", "OrganizationAccountAccessRole"),
    ] {
        for template in ["revoke-sessions of a role", "tag-resource on a role"] {
            let mut stage = Stage::of(&case(template)).await;
            if name != SPOKE {
                stage.organization.add_role(ACCOUNT, path, name, json!({}), allow(&["s3:*"]));
            }
            stage.resource.kind = ResourceKind::Role { name: name.to_owned() };
            let error = stage.observe().await.unwrap_err();
            assert_eq!(error.kind, Kind::Refused, "{template} {name}: {error}");
        }
        let stage = Stage::of(&case("revoke-instance-credentials")).await;
        if name != SPOKE {
            stage.organization.add_role(ACCOUNT, path, name, json!({}), allow(&["s3:*"]));
        }
        stage.organization.edit(|state| {
            state.iam(ACCOUNT).profiles.get_mut("web").unwrap().role = Some(name.to_owned());
        });
        let error = stage.observe().await.unwrap_err();
        assert_eq!(error.kind, Kind::Refused, "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn undo_leaves_a_key_that_was_already_off() {
    let stage = Stage::of(&case("deactivate-access-key")).await;
    stage.organization.edit(|state| {
        let keys = &mut state.iam(ACCOUNT).users.get_mut("web").unwrap().keys;
        keys.values_mut().for_each(|active| *active = false);
    });
    let before = stage.snapshot();
    let Observation { prior, changes } = stage.observe().await.unwrap();
    assert!(changes.is_empty());
    stage.apply(&prior).await.unwrap();
    assert_eq!(stage.undo(&prior).await.unwrap(), Undone::default());
    assert_eq!(stage.snapshot(), before);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_another_account_is_refused_and_not_touched() {
    for name in
        ["block-public-access of a bucket with some flags", "tag-resource on a bucket with tags"]
    {
        let stage = Stage::of(&case(name)).await;
        let prior = stage.observe().await.unwrap().prior;
        let theirs = stage.organization.edit(|state| {
            let bucket = state.s3.buckets.get_mut("data").unwrap();
            bucket.account = "222222222222".to_owned();
            bucket.clone()
        });
        assert_eq!(stage.observe().await.unwrap_err().kind, Kind::Refused, "{name}");
        assert_eq!(stage.apply(&prior).await.unwrap_err().kind, Kind::Refused, "{name}");
        let now = stage.organization.edit(|state| state.s3.buckets["data"].clone());
        assert_eq!(now, theirs, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_whose_block_an_organization_policy_manages_is_told_so() {
    let stage = Stage::of(&case("block-public-access of an account without a block")).await;
    stage.organization.edit(|state| state.s3.managed_by_organization.push(ACCOUNT.to_owned()));
    let prior = stage.observe().await.unwrap().prior;
    let error = stage.apply(&prior).await.unwrap_err();
    assert!(error.to_string().contains("organization policy"), "{error}");
}
