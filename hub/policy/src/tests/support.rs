//! Shared by the tests of policy: findings, targets and documents in brief.

use firebreak_model::action::{ActionCatalog, ActionFacts, ActionSpec, Phase, Reversal};
use firebreak_model::resource::{Principal, PrincipalType, Resource, ResourceKind};
use serde_json::json;

use crate::syntax::read_each;
use crate::{Document, Policy};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;

pub(crate) const ACCOUNT: &str = "111111111111";
pub(crate) const OU_PATH: &str = "r-ab12/ou-ab12-work1111/ou-ab12-prod1111";

pub(crate) fn place() -> Place {
    place_at(OU_PATH)
}

pub(crate) fn place_at(ou_path: &str) -> Place {
    Place { account: ACCOUNT.parse().unwrap(), ou_path: ou_path.parse().unwrap() }
}

pub(crate) fn target(kind: ResourceKind) -> Target {
    Target {
        resource: Resource {
            partition: "aws".parse().unwrap(),
            account: ACCOUNT.parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            kind,
        },
        role: None,
        tags: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn instance() -> Target {
    target(ResourceKind::Instance { instance_id: "i-0abc".to_owned() })
}

pub(crate) fn key_of(kind: PrincipalType, name: Option<&str>) -> Target {
    let principal = Principal { kind, name: name.map(str::to_owned), id: None };
    target(ResourceKind::AccessKey { access_key_id: Some("AKIA1".to_owned()), principal })
}

pub(crate) fn finding(target: &Target) -> Finding {
    Finding {
        id: "f-1".to_owned(),
        product: "GuardDuty".to_owned(),
        kind: "UnauthorizedAccess:EC2/SSHBruteForce".to_owned(),
        severity: 8.0,
        title: String::new(),
        account: ACCOUNT.parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        partition: "aws".parse().unwrap(),
        created_at: None,
        updated_at: None,
        count: Some(3),
        sample: false,
        archived: false,
        workflow_status: None,
        security_hub: None,
        targets: vec![target.clone()],
        detail: json!({"service": {"action": {"actionType": "NETWORK_CONNECTION"}}}),
    }
}

/// One action of each kind that policy distinguishes.
pub(crate) fn actions() -> ActionCatalog {
    const fn action(
        name: &'static str,
        resource_types: &'static [&'static str],
        reversal: Reversal,
        excludes: &'static [&'static str],
    ) -> ActionFacts {
        let spec = ActionSpec {
            name,
            sentence: "",
            resource_types,
            reads: &[],
            writes: &[],
            reversal,
            phase: Phase::Contain,
        };
        let check = |parameters: &serde_json::Value| match parameters.get("wrong") {
            Some(_) => Err("`wrong` is wrong".to_owned()),
            None => Ok(()),
        };
        let facts = ActionFacts::new(spec, check, || json!({"type": "object"}));
        ActionFacts { excludes, ..facts }
    }
    const ISOLATE: ActionFacts = ActionFacts {
        schema: || json!({"properties": {"right": {}, "wrong": {}}}),
        ..action("isolate-instance", &["Instance"], Reversal::Restored, &[])
    };
    const ALL: &[ActionFacts] = &[
        ISOLATE,
        action("terminate-instance", &["Instance"], Reversal::Impossible, &["stop-instance"]),
        action("stop-instance", &["Instance"], Reversal::Restored, &[]),
        action("deactivate-access-key", &["AccessKey", "User"], Reversal::Restored, &[]),
        action("revoke-sessions", &["AccessKey", "User", "Role"], Reversal::Restored, &[]),
    ];
    ActionCatalog::new(ALL)
}

pub(crate) fn files(texts: &[&str]) -> Vec<(String, String)> {
    let name = |index| format!("{index}.yaml");
    texts.iter().enumerate().map(|(index, text)| (name(index), (*text).to_owned())).collect()
}

/// A policy of documents that are read one by one, so without the checks across files:
/// as after pushes by several people.
pub(crate) fn policy(texts: &[&str]) -> Policy {
    Policy::new(documents(texts))
}

pub(crate) fn documents(texts: &[&str]) -> Vec<Document> {
    let read = |file| {
        read_each(&[file], actions()).unwrap_or_else(|diagnostics| {
            let messages: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{}", messages.join("\n"))
        })
    };
    files(texts).into_iter().flat_map(read).collect()
}
