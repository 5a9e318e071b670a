//! The policy reader on whatever a file may hold. CONTRIBUTING.md says how it is run.

#![no_main]

use firebreak_model::action::{ActionCatalog, ActionFacts, ActionSpec, Phase, Reversal};
use serde_json::{Value, json};

#[path = "../checks/policy.rs"]
mod checks;

/// Actions that stand in for the spoke's, which would bring the SDKs: what they take
/// is read alike, and none of them is carried out here.
const ACTIONS: ActionCatalog = ActionCatalog::new(&[
    action("isolate-instance", &["Instance"], Reversal::Restored, &["attach-security-group"]),
    action("attach-security-group", &["Instance"], Reversal::Restored, &["isolate-instance"]),
    action("stop-instance", &["Instance"], Reversal::Restored, &["terminate-instance"]),
    action("terminate-instance", &["Instance"], Reversal::Impossible, &["stop-instance"]),
    action("deactivate-access-key", &["AccessKey"], Reversal::Restored, &[]),
    action("revoke-sessions", &["AccessKey", "User", "Role"], Reversal::Restored, &[]),
    action("block-public-access", &["Bucket"], Reversal::Restored, &[]),
    action("snapshot-volumes", &["Instance"], Reversal::Kept, &[]),
    action("collect-evidence", &["Instance"], Reversal::Kept, &[]),
    action("freeze-function", &["Function"], Reversal::Restored, &[]),
    action("tag-resource", &["Instance", "Bucket", "Function"], Reversal::Restored, &[]),
]);

const fn action(
    name: &'static str,
    resource_types: &'static [&'static str],
    reversal: Reversal,
    excludes: &'static [&'static str],
) -> ActionFacts {
    let about = ActionSpec {
        name,
        sentence: "",
        resource_types,
        reads: &[],
        writes: &[],
        reversal,
        phase: Phase::Contain,
    };
    let (after, per_finding) = (&[] as &[&str], false);
    ActionFacts { about, after, excludes, per_finding, check, schema }
}

fn check(parameters: &Value) -> Result<(), String> {
    match parameters.get("bucket") {
        Some(Value::String(_)) | None => Ok(()),
        Some(_) => Err("`bucket` is a text".to_owned()),
    }
}

fn schema() -> Value {
    json!({ "properties": { "allow": {}, "bucket": {}, "group": {}, "scope": {}, "tags": {} } })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::check(&String::from_utf8_lossy(bytes), ACTIONS);
});
