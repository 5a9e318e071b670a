//! Every action from its observation to its undo, on either implementation:
//! over HTTP on moto, in process on the simulation.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use firebreak_client::deadline::Deadline;
use firebreak_client::grant::SessionGrant;
use firebreak_client::rate_limit::RateLimits;
use firebreak_model::error::ActionError;
use firebreak_model::resource::Resource;
use firebreak_spoke::account::AccountSession;
use firebreak_spoke::contract::{ActionContext, Reversal, Verification};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::registry::{self, RegisteredAction};
use serde_json::Value;

use crate::conformance::backend::{ACCOUNT, Backend, REGION};
use crate::conformance::pairs::{self, Pair};

/// Where moto is not AWS: what a pair meets there, a part of each text, and why.
struct Difference {
    action: &'static str,
    on: &'static str,
    seen: &'static [&'static str],
    why: &'static str,
}

const NO_PROVISIONED: &str = "moto lacks ListProvisionedConcurrencyConfigs (Lambda API reference); before freeze-function asked for them it agreed on the rest";

const NO_KUBERNETES: &str =
    "moto's clusters have no Kubernetes API, and it knows no access entries (EKS API reference)";

/// All of them. One that is not met any more fails the run, so that it goes.
const DIFFERENCES: &[Difference] = &[
    Difference {
        action: "disassociate-addresses",
        on: "an instance",
        seen: &["observe again: []"],
        why: "moto forgets the instance of an address that is put on its interface; AWS tells both (EC2 API reference, Address)",
    },
    Difference {
        action: "block-remote-ip",
        on: "an instance",
        seen: &["apply: ec2:DescribeNetworkAcls failed", "undo: ec2:DescribeNetworkAcls failed"],
        why: "moto lacks the filter network-acl-id (EC2 API reference, DescribeNetworkAcls)",
    },
    Difference {
        action: "collect-evidence",
        on: "a managed instance",
        seen: &["observe: ssm:DescribeInstanceInformation failed"],
        why: "moto lacks DescribeInstanceInformation (Systems Manager API reference)",
    },
    Difference {
        action: "run-automation",
        on: "a managed instance",
        seen: &["observe: ssm:DescribeAutomationExecutions failed"],
        why: "moto runs no automations (Systems Manager API reference, StartAutomationExecution)",
    },
    Difference {
        action: "force-password-change",
        on: "a user",
        seen: &["undo: drift", "observe again: user `force` has no password"],
        why: "moto takes the password away where none is given, which is optional (IAM API reference, UpdateLoginProfile)",
    },
    Difference {
        action: "set-permission-boundary",
        on: "a user",
        seen: &["apply: iam:PutUserPermissionsBoundary failed"],
        why: "moto lacks PutUserPermissionsBoundary (IAM API reference); a role's it has",
    },
    Difference {
        action: "enable-versioning",
        on: "a bucket",
        seen: &["observe: s3:GetBucketVersioning failed"],
        why: "moto's answer has the root GetBucketVersioningResponse, which no SDK but Python's reads; AWS's is VersioningConfiguration (S3 API reference, GetBucketVersioning)",
    },
    Difference {
        action: "freeze-function",
        on: "a function",
        seen: &["observe: lambda:ListProvisionedConcurrencyConfigs failed"],
        why: NO_PROVISIONED,
    },
    Difference {
        action: "freeze-function",
        on: "a function with a reservation",
        seen: &["observe: lambda:ListProvisionedConcurrencyConfigs failed"],
        why: NO_PROVISIONED,
    },
    Difference {
        action: "revoke-cluster-access",
        on: "a user",
        seen: &["observe: cannot get `configmaps/aws-auth`"],
        why: NO_KUBERNETES,
    },
    Difference {
        action: "isolate-pod",
        on: "a pod",
        seen: &["observe: cannot get `pods/shell`"],
        why: NO_KUBERNETES,
    },
    Difference {
        action: "cordon-node",
        on: "a pod's node",
        seen: &["observe: cannot get `pods/shell`"],
        why: NO_KUBERNETES,
    },
];

async fn account(config: &SdkConfig) -> AccountSession {
    let provider = config.credentials_provider().unwrap();
    let credentials: Credentials = provider.provide_credentials().await.unwrap();
    AccountSession::new(SessionGrant {
        config,
        credentials: &credentials,
        account: ACCOUNT.parse().unwrap(),
        region: REGION.parse().unwrap(),
        partition: "aws".parse().unwrap(),
        rate_limits: RateLimits::local(20),
        deadline: Deadline::default(),
        clusters: None,
    })
}

/// Each action on a fresh resource; what did not go as it should.
pub(crate) async fn run(backend: &Backend) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut there_and_back, mut one_way, mut differences) = (0, 0, 0);
    let pairs = pairs::arrange(backend).await;
    for pair in &pairs {
        // The simulated buckets of tokens fill up again: throttling is no case here.
        if let Some(organization) = backend.simulated() {
            organization.advance(jiff::SignedDuration::from_mins(1));
        }
        let entry = registry::find(pair.action).unwrap();
        let seen = observe_to_undo(backend, entry, pair).await;
        let known = DIFFERENCES.iter().find(|it| it.is_of(pair));
        let known = known.filter(|_| matches!(backend, Backend::Moto(_)));
        let changed = match (seen.as_slice(), entry.spec.reversal) {
            ([], Reversal::Restored) => {
                there_and_back += 1;
                "there and back".to_owned()
            }
            ([], Reversal::Kept | Reversal::Impossible) => {
                one_way += 1;
                "there; nothing leads back".to_owned()
            }
            (seen, _) => brief(&seen.join("; ")),
        };
        let name = format!("{} on {}", pair.action, pair.on);
        let differs = known.map(|known| format!(" (differs: {})", known.why)).unwrap_or_default();
        println!("{:<10} {name}: {changed}{differs}", backend.name());
        differences += usize::from(known.is_some());
        let expected = known.map_or(&[][..], |known| known.seen);
        let met = |text: &str| seen.iter().any(|seen| seen.contains(text));
        let known = |seen: &String| expected.iter().any(|text| seen.contains(text));
        let gone = expected.iter().filter(|text| !met(text));
        wrong.extend(gone.map(|text| format!("{name}: no longer `{text}`")));
        wrong.extend(seen.iter().filter(|seen| !known(seen)).map(|seen| format!("{name}: {seen}")));
    }
    let lacking = |name: &str| pairs.iter().all(|pair| pair.action != name);
    let names: Vec<&str> = registry::all().iter().map(|entry| entry.spec.name).collect();
    wrong.extend(names.iter().filter(|name| lacking(name)).map(|name| format!("{name}: no pair")));
    let stray = DIFFERENCES.iter().filter(|it| !pairs.iter().any(|pair| it.is_of(pair)));
    wrong.extend(stray.map(|it| format!("{} on {}: a difference of no pair", it.action, it.on)));
    println!(
        "conformance: actions={} there-and-back={there_and_back} differences={differences} one-way={one_way} pairs={} on={}",
        names.iter().filter(|name| !lacking(name)).count(),
        pairs.len(),
        backend.name()
    );
    wrong
}

/// One line: an answer that no SDK reads is shown with all its headers.
fn brief(text: &str) -> String {
    let line = text.replace('\n', " ");
    let mut brief: String = line.chars().take(160).collect();
    if brief.len() < line.len() {
        brief.push('…');
    }
    brief
}

impl Difference {
    fn is_of(&self, pair: &Pair) -> bool {
        self.action == pair.action && self.on == pair.on
    }
}

/// Observes, applies, verifies, undoes, and observes again; empty when all is
/// as at first. What nothing leads back from ends with the verification.
async fn observe_to_undo(backend: &Backend, entry: &RegisteredAction, pair: &Pair) -> Vec<String> {
    let account = account(backend.config()).await;
    let resource = Resource {
        partition: account.partition.clone(),
        account: account.id.clone(),
        region: account.region.clone(),
        kind: pair.kind.clone(),
    };
    let remote_addresses = ["198.51.100.7".to_owned()];
    let scope = |cache| ActionContext {
        account: &account,
        resource: &resource,
        response: "r-0123456789abcdef",
        finding: "finding-1",
        remote_addresses: &remote_addresses,
        now: jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(490_000),
        spoke_role: "FirebreakSpoke",
        cache,
    };
    // One a reading: what the first has seen is not read again.
    let (first, second) = (ReadCache::default(), ReadCache::default());
    let failed = |step: &str, error: &ActionError| format!("{step}: {error}");
    let before = match entry.capture(scope(&first), &pair.parameters).await {
        Ok(captured) => captured,
        Err(error) => return vec![failed("observe", &error)],
    };
    let mut wrong = Vec::new();
    if before.changes.is_empty() {
        wrong.push("observe: nothing to change".to_owned());
    }
    if let Err(error) =
        apply_until_it_holds(backend, entry, pair, scope(&first), &before.prior).await
    {
        wrong.push(error);
    }
    if entry.spec.reversal != Reversal::Restored {
        return wrong;
    }
    match entry.undo(scope(&first), &pair.parameters, &before.prior).await {
        Ok(undone) if undone.drift.is_empty() => {}
        Ok(undone) => wrong.push(format!("undo: drift: {:?}", undone.drift)),
        Err(error) => wrong.push(failed("undo", &error)),
    }
    match entry.capture(scope(&second), &pair.parameters).await {
        Ok(after) if after.changes == before.changes => {}
        Ok(after) => wrong
            .push(format!("observe again: {:?} instead of {:?}", after.changes, before.changes)),
        Err(error) => wrong.push(failed("observe again", &error)),
    }
    wrong
}

/// Applies and verifies, again while it is under way, as deliveries do.
async fn apply_until_it_holds(
    backend: &Backend,
    entry: &RegisteredAction,
    pair: &Pair,
    scope: ActionContext<'_>,
    prior: &Value,
) -> Result<(), String> {
    let mut seen = String::new();
    for _ in 0..50 {
        let applied = entry.apply(scope, &pair.parameters, prior).await;
        applied.map_err(|error| format!("apply: {error}"))?;
        match entry.verify(scope, &pair.parameters, prior).await {
            Ok(Verification::InEffect(_)) => return Ok(()),
            Ok(Verification::NotInEffect(seen)) => {
                return Err(format!("verify: did not hold: {seen}"));
            }
            Ok(Verification::InProgress(under_way)) => seen = under_way,
            Err(error) => return Err(format!("verify: {error}")),
        }
        match backend.simulated() {
            Some(organization) => organization.advance(jiff::SignedDuration::from_mins(1)),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    Err(format!("verify: still under way: {seen}"))
}
