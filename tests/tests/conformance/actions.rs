//! Every action from its observation to its undo, on either implementation:
//! over HTTP on moto, in process on the simulation.

use std::num::NonZeroU32;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use firebreak_spoke::account::Account;
use firebreak_spoke::actions::{self, Scope, Verdict};
use firebreak_spoke::pace::Pace;
use firebreak_spoke::resource::{Principal, PrincipalType, Resource, ResourceKind};
use firebreak_spoke::seen::Seen;
use serde_json::Value;

use crate::backend::{ACCOUNT, Backend, REGION};

async fn account(config: &SdkConfig) -> Account {
    let provider = config.credentials_provider().unwrap();
    let credentials: Credentials = provider.provide_credentials().await.unwrap();
    Account::new(
        config,
        &credentials,
        ACCOUNT.parse().unwrap(),
        REGION.parse().unwrap(),
        "aws".parse().unwrap(),
        Pace::new(100, NonZeroU32::MIN),
    )
}

/// Each action on a fresh resource; what did not go as it should.
pub(crate) async fn run(backend: &Backend) -> Vec<String> {
    let vpc = backend.vpc().await;
    let group = backend.group(&vpc, "law").await;
    let (instance_id, _) = backend.instance(&vpc, &group).await;
    backend.profile("law").await;
    let profile =
        aws_sdk_ec2::types::IamInstanceProfileSpecification::builder().name("law").build();
    let associate = backend.ec2().associate_iam_instance_profile().instance_id(&instance_id);
    associate.iam_instance_profile(profile).send().await.unwrap();
    let key = backend.user("law").await;
    backend.bucket("conformance-law").await;
    let principal = |kind| Principal { kind, name: Some("law".to_owned()), id: None };
    let access_key = ResourceKind::AccessKey {
        access_key_id: Some(key),
        principal: principal(PrincipalType::IamUser),
    };
    let session = ResourceKind::AccessKey {
        access_key_id: Some("ASIAFIREBREAK0000000".to_owned()),
        principal: principal(PrincipalType::AssumedRole),
    };
    let instance = ResourceKind::Instance { instance_id };
    let bucket = ResourceKind::Bucket { name: "conformance-law".to_owned() };
    let role = ResourceKind::Role { name: "law".to_owned() };
    let user = ResourceKind::User { name: "law".to_owned() };
    let mut wrong = Vec::new();
    for (action, kind) in [
        ("isolate-instance", &instance),
        ("revoke-instance-credentials", &instance),
        ("tag-resource", &instance),
        ("deactivate-access-key", &access_key),
        ("revoke-sessions", &access_key),
        ("revoke-sessions", &session),
        ("block-public-access", &bucket),
        ("tag-resource", &bucket),
        ("tag-resource", &role),
        ("tag-resource", &user),
    ] {
        let seen = there_and_back(backend, action, kind).await;
        if let (Backend::Moto(_), "isolate-instance", Some(why)) = (backend, action, &seen) {
            // moto keeps the launch group on the interface: verify must notice.
            println!("{:<10} {action}: skipped after verify: {why}", backend.name());
            assert!(why.starts_with("did not hold"), "{why}");
            continue;
        }
        println!(
            "{:<10} {action}: {}",
            backend.name(),
            seen.as_deref().unwrap_or("there and back")
        );
        wrong.extend(seen.map(|seen| format!("{action}: {seen}")));
    }
    wrong
}

/// Observes, applies, verifies, undoes, and observes again; `None` when all is
/// as at first.
async fn there_and_back(backend: &Backend, name: &str, kind: &ResourceKind) -> Option<String> {
    let account = account(backend.config()).await;
    let resource = Resource {
        partition: account.partition.clone(),
        account: account.id.clone(),
        region: account.region.clone(),
        kind: kind.clone(),
    };
    let scope = Scope {
        account: &account,
        resource: &resource,
        response: "r-0123456789abcdef",
        finding: "finding-1",
        remote_addresses: &[],
        now: jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(490_000),
        spoke_role: "FirebreakSpoke",
        seen: &Seen::default(),
    };
    let action = actions::find(name).unwrap();
    let told = |error: firebreak_spoke::error::ActionError| Some(error.to_string());
    let before = match action.observe(scope, &Value::Null).await {
        Ok(observation) => observation,
        Err(error) => return told(error),
    };
    if let Err(error) = action.apply(scope, &Value::Null, &before.prior).await {
        return told(error);
    }
    match action.verify(scope, &Value::Null, &before.prior).await {
        Ok(Verdict::Holds(_)) => {}
        Ok(Verdict::Broken(seen) | Verdict::Pending(seen)) => {
            return Some(format!("did not hold: {seen}"));
        }
        Err(error) => return told(error),
    }
    match action.undo(scope, &Value::Null, &before.prior).await {
        Ok(undone) if undone.drift.is_empty() => {}
        Ok(undone) => return Some(format!("drift: {:?}", undone.drift)),
        Err(error) => return told(error),
    }
    match action.observe(scope, &Value::Null).await {
        Ok(after) if after.changes == before.changes => None,
        Ok(after) => Some(format!("{:?} instead of {:?}", after.changes, before.changes)),
        Err(error) => told(error),
    }
}
