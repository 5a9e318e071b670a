//! Actions that stand in for the spoke's, which would bring the SDKs: every name that
//! the example policies use. What they take is read alike, and none of them is carried
//! out here.

use firebreak_model::action::{ActionCatalog, ActionFacts, ActionSpec, Phase, Reversal};
use firebreak_policy::{Policy, read_files};
use serde_json::{Map, Value, json};

const IDENTITIES: &[&str] = &["AccessKey", "User", "Role"];
const DATABASES: &[&str] = &["RDSDBInstance", "RDSDBCluster"];

pub(crate) const ACTIONS: ActionCatalog = ActionCatalog::new(&[
    contains("isolate-instance", &["Instance"]),
    contains("revoke-instance-credentials", &["Instance"]),
    contains("block-remote-ip", &["Instance"]),
    action("protect-instance", &["Instance"], Phase::Protect, Reversal::Restored),
    action("deregister-from-load-balancers", &["Instance"], Phase::Protect, Reversal::Restored),
    action("stop-instance", &["Instance"], Phase::End, Reversal::Restored),
    action("snapshot-volumes", &["Instance"], Phase::Collect, Reversal::Kept),
    contains("deactivate-access-key", &["AccessKey"]),
    contains("revoke-sessions", IDENTITIES),
    contains("deny-all", IDENTITIES),
    contains("disable-console-access", &["AccessKey", "User"]),
    action("force-password-change", &["AccessKey", "User"], Phase::Protect, Reversal::Restored),
    contains("block-public-access", &["S3Bucket"]),
    contains("restrict-bucket-policy", &["S3Bucket"]),
    action("enable-versioning", &["S3Bucket"], Phase::Protect, Reversal::Restored),
    action("suspend-lifecycle", &["S3Bucket"], Phase::Protect, Reversal::Restored),
    contains("freeze-function", &["Lambda"]),
    contains("quarantine-db", DATABASES),
    action("snapshot-db", DATABASES, Phase::Collect, Reversal::Kept),
    contains("freeze-service", &["ECSCluster"]),
    action("drain-container-instance", &["ECSCluster"], Phase::Protect, Reversal::Restored),
    action("stop-task", &["ECSCluster"], Phase::End, Reversal::Impossible),
    contains("revoke-cluster-access", &["EKSCluster", "AccessKey", "User", "Role"]),
    contains("isolate-pod", &["EKSCluster"]),
    action("cordon-node", &["EKSCluster"], Phase::Protect, Reversal::Restored),
    action(
        "tag-resource",
        &["Instance", "User", "Role", "S3Bucket"],
        Phase::Collect,
        Reversal::Restored,
    ),
]);

const fn contains(name: &'static str, resource_types: &'static [&'static str]) -> ActionFacts {
    action(name, resource_types, Phase::Contain, Reversal::Restored)
}

const fn action(
    name: &'static str,
    resource_types: &'static [&'static str],
    phase: Phase,
    reversal: Reversal,
) -> ActionFacts {
    let spec =
        ActionSpec { name, sentence: "", resource_types, reads: &[], writes: &[], reversal, phase };
    ActionFacts::new(spec, check, schema)
}

fn check(parameters: &Value) -> Result<(), String> {
    match parameters.get("bucket") {
        Some(Value::String(_)) | None => Ok(()),
        Some(_) => Err("`bucket` is a text".to_owned()),
    }
}

/// What any action takes, so that the example policies are valid.
fn schema() -> Value {
    let names =
        ["allow", "bucket", "commands", "group", "scope", "sessions", "stop-protection", "tags"];
    let properties: Map<String, Value> =
        names.into_iter().map(|name| (name.to_owned(), json!({}))).collect();
    json!({ "properties": properties })
}

/// The example policies.
#[allow(dead_code, reason = "only one of the targets decides by them")]
pub(crate) fn example_policy() -> Policy {
    let files = [
        ("root.yaml", include_str!("../../policies/root.yaml")),
        ("sandbox.yaml", include_str!("../../policies/sandbox.yaml")),
        ("production.yaml", include_str!("../../policies/production.yaml")),
        ("security.yaml", include_str!("../../policies/security.yaml")),
        ("observe.yaml", include_str!("../../policies/observe.yaml")),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    read_files(&files, ACTIONS).unwrap_or_else(|diagnostics| {
        let all: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"))
    })
}
