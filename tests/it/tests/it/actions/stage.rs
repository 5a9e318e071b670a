//! One action on one resource in a simulated account, under the role that
//! `firebreak stacksets render` gives the action alone: one session that may only
//! read, one that may change.

use std::time::Duration;

use fastrand::Rng;
use firebreak_aws::config;
use firebreak_client::deadline::Deadline;
use firebreak_client::grant::SessionGrant;
use firebreak_client::rate_limit::RateLimits;
use firebreak_model::error::ActionError;
use firebreak_model::resource::{Region, Resource, ResourceKind};
use firebreak_simulation::{Options, Organization};
use firebreak_spoke::account::AccountSession;
use firebreak_spoke::contract::{ActionContext, CapturedState, Residual, Undone, Verification};
use firebreak_spoke::permissions::{self, Effect};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry::{self, RegisteredAction};
use serde_json::{Value, json};

use crate::actions::cases::Case;

pub(crate) const ACCOUNT: &str = "111111111111";
pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const SPOKE: &str = "FirebreakSpoke";
pub(crate) const READER: &str = "FirebreakReader";

pub(crate) struct Stage {
    pub(crate) organization: Organization,
    pub(crate) resource: Resource,
    pub(crate) entry: &'static RegisteredAction,
    pub(crate) parameters: Value,
    pub(crate) reader: AccountSession,
    pub(crate) spoke: AccountSession,
    pub(crate) before: Value,
    pub(crate) remote_addresses: Vec<String>,
    pub(crate) forgive: fn(&mut Value),
}

pub(crate) fn allow(actions: &[&str]) -> Value {
    json!({ "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }] })
}

/// The policy that the rendered role of this action comes to in the account, in
/// one document: only what `allowed` lets through, and all that is denied.
pub(crate) fn rendered(entry: &RegisteredAction, allowed: impl Fn(&str) -> bool) -> Value {
    let mut statements = permissions::statements(&[entry]).unwrap();
    for statement in &mut statements {
        if statement.effect == Effect::Allow {
            statement.permissions.retain(|permission| allowed(permission));
        }
    }
    statements.retain(|statement| !statement.permissions.is_empty());
    let values = [
        ("AWS::Partition", "aws"),
        ("AWS::AccountId", ACCOUNT),
        ("EvidenceBuckets", "evidence*"),
        ("HubRoleName", "FirebreakHub"),
    ];
    let documents = permissions::documents(&statements, &values);
    let statements: Vec<Value> = documents
        .into_values()
        .flat_map(|document| document["Statement"].as_array().unwrap().clone())
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

pub(crate) fn resource(kind: ResourceKind) -> Resource {
    Resource {
        partition: "aws".parse().unwrap(),
        account: ACCOUNT.parse().unwrap(),
        region: REGION.parse().unwrap(),
        kind,
    }
}

pub(crate) fn empty(latency: Duration) -> Organization {
    let options = Options { latency, throttling: false, ..Options::default() };
    let organization = Organization::new("o-aa111bb222", "r-a1b2", "999999999999", options);
    organization.add_account("r-a1b2", ACCOUNT, "workload");
    organization
}

pub(crate) async fn session(organization: &Organization, role: &str) -> AccountSession {
    let region: Region = REGION.parse().unwrap();
    let credentials = organization.role_session(ACCOUNT, role, "firebreak");
    let sdk = config::with_http_client(
        organization.http_client(),
        credentials.clone(),
        organization.time_source(),
        &region,
    )
    .await;
    let rate_limits = RateLimits::local(20);
    let (account, partition) = (ACCOUNT.parse().unwrap(), "aws".parse().unwrap());
    AccountSession::new(SessionGrant {
        config: &sdk,
        credentials: &credentials,
        account,
        region,
        partition,
        rate_limits,
        deadline: Deadline::default(),
        clusters: None,
    })
}

impl Stage {
    pub(crate) async fn of(case: &Case) -> Self {
        Self::with(case, empty(Duration::ZERO)).await
    }

    pub(crate) async fn with(case: &Case, organization: Organization) -> Self {
        Self::lacking(case, organization, None).await
    }

    /// Under a role that lacks one permission of those that the action declares.
    pub(crate) async fn lacking(
        case: &Case,
        organization: Organization,
        permission: Option<&str>,
    ) -> Self {
        let entry = registry::find(case.action).unwrap();
        let about = &entry.spec;
        let reads = |it: &str| about.reads.contains(&it) && Some(it) != permission;
        let declared =
            |it: &str| reads(it) || (about.writes.contains(&it) && Some(it) != permission);
        organization.add_role(ACCOUNT, "/", READER, json!({}), rendered(entry, reads));
        organization.add_role(ACCOUNT, "/", SPOKE, json!({}), rendered(entry, declared));
        let resource = resource((case.arrange)(&organization));
        let reader = session(&organization, READER).await;
        let spoke = session(&organization, SPOKE).await;
        let mut before = organization.snapshot(ACCOUNT);
        (case.forgive)(&mut before);
        let parameters = case.parameters.clone();
        let remote_addresses = ["198.51.100.7", "198.51.100.8"].map(str::to_owned).to_vec();
        Self {
            organization,
            resource,
            entry,
            parameters,
            reader,
            spoke,
            before,
            remote_addresses,
            forgive: case.forgive,
        }
    }

    pub(crate) fn scope<'a>(
        &'a self,
        account: &'a AccountSession,
        cache: &'a ReadCache,
    ) -> ActionContext<'a> {
        ActionContext {
            account,
            resource: &self.resource,
            response: "r-0001",
            finding: "finding-0001",
            remote_addresses: &self.remote_addresses,
            now: self.organization.now(),
            spoke_role: SPOKE,
            cache,
        }
    }

    pub(crate) async fn capture(&self) -> Result<CapturedState<Value>, ActionError> {
        self.entry.capture(self.scope(&self.reader, &ReadCache::default()), &self.parameters).await
    }

    pub(crate) async fn apply(&self, prior: &Value) -> Result<(), ActionError> {
        self.entry
            .apply(self.scope(&self.spoke, &ReadCache::default()), &self.parameters, prior)
            .await
    }

    pub(crate) async fn verify(&self, prior: &Value) -> Verification {
        self.read_back(prior).await.unwrap()
    }

    pub(crate) async fn read_back(&self, prior: &Value) -> Result<Verification, ActionError> {
        self.entry
            .verify(self.scope(&self.reader, &ReadCache::default()), &self.parameters, prior)
            .await
    }

    pub(crate) async fn residual(&self, prior: &Value) -> Result<Vec<Residual>, ActionError> {
        self.entry
            .residual(self.scope(&self.reader, &ReadCache::default()), &self.parameters, prior)
            .await
    }

    pub(crate) async fn undo(&self, prior: &Value) -> Result<Undone, ActionError> {
        self.entry
            .undo(self.scope(&self.spoke, &ReadCache::default()), &self.parameters, prior)
            .await
    }

    pub(crate) fn snapshot(&self) -> Value {
        let mut snapshot = self.organization.snapshot(ACCOUNT);
        (self.forgive)(&mut snapshot);
        snapshot
    }

    /// Changes the arranged state at random; what it becomes is the state before.
    pub(crate) fn vary(&mut self, case: &Case, dice: &mut Rng) {
        self.organization.edit(|state| (case.vary)(state, &self.resource, dice));
        self.before = self.snapshot();
    }

    /// The first place in which the state is not the one before.
    pub(crate) fn difference(&self) -> String {
        difference("", &self.before, &self.snapshot()).unwrap_or_else(|| "nowhere".to_owned())
    }
}

/// Reads back until nothing is under way any more.
pub(crate) async fn pending(stage: &Stage, prior: &Value) -> Verification {
    for _ in 0..200 {
        match stage.verify(prior).await {
            Verification::InProgress(_) => tokio::time::sleep(Duration::from_secs(5)).await,
            verified => return verified,
        }
    }
    panic!("still under way after 200 looks");
}

/// Reads back until nothing is under way any more, with what a delivery does
/// that finds it still under way: it applies again.
pub(crate) async fn settled(stage: &Stage, prior: &Value) -> Verification {
    for _ in 0..50 {
        match stage.verify(prior).await {
            Verification::InProgress(_) => tokio::time::sleep(Duration::from_secs(15)).await,
            verified => return verified,
        }
        stage.apply(prior).await.unwrap();
    }
    panic!("still under way after 50 deliveries");
}

fn difference(path: &str, before: &Value, now: &Value) -> Option<String> {
    if before == now {
        return None;
    }
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let mut keys = before.keys().chain(now.keys());
            keys.find_map(|key| {
                let of = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(Value::Null)
                };
                difference(&format!("{path}/{key}"), &of(before), &of(now))
            })
        }
        _ => Some(format!("{path}: {before} became {now}")),
    }
}

pub(crate) fn holds(verified: &Verification) -> bool {
    matches!(verified, Verification::InEffect(_))
}
