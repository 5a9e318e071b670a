//! Turns a `GD_ACTIONS` map of Dome9 CloudBots into a policy document. The map has exact
//! finding types as keys, and values such as `AUTO: bot parameters | AUTO: bot`.

use std::collections::BTreeMap;

use firebreak_model::action::ActionCatalog;
use serde_json::{Map, Value, json};

use crate::model::{ActionCall, Mode, is_attach_point};
use crate::syntax::Node;

/// CloudBots' bots for resources that GuardDuty names, each with the action that has the
/// same purpose.
const BOTS: &[(&str, &str)] = &[
    ("ec2_create_snapshot", "snapshot-volumes"),
    ("ec2_detach_instance_role", "revoke-instance-credentials"),
    ("ec2_quarantine_instance", "isolate-instance"),
    ("ec2_release_eips", "disassociate-addresses"),
    ("ec2_stop_instance", "stop-instance"),
    ("ec2_terminate_instance", "terminate-instance"),
    // Deactivated, not deleted: that can be undone.
    ("iam_delete_access_key", "deactivate-access-key"),
    ("iam_quarantine_role", "deny-all"),
    ("iam_quarantine_user", "deny-all"),
    ("iam_revoke_access_key", "deactivate-access-key"),
    ("iam_role_attach_policy", "attach-policy"),
    ("iam_user_attach_policy", "attach-policy"),
    ("iam_user_deactivate_unused_access_key", "deactivate-access-key"),
    ("iam_user_disable_console_password", "disable-console-access"),
    ("iam_user_force_password_change", "force-password-change"),
    ("lambda_disable", "freeze-function"),
    ("rds_quarantine_instance", "quarantine-db"),
    ("s3_block_all_public_access", "block-public-access"),
    ("s3_block_public_access", "block-public-access"),
    ("tag_ec2_resource", "tag-resource"),
];

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyImport {
    /// The document, in YAML; `None` when nothing could be imported.
    pub document: Option<String>,
    /// What could not be imported, each with the reason, and each imported action that needs
    /// `irreversible: allow` before the document is valid.
    pub errors: Vec<String>,
}

/// The chain of bots for a finding type, each as an action.
type Chain = Vec<ActionCall>;

/// Turns a `GD_ACTIONS` map into a document for an attach point. `text` is the
/// map as JSON, or as JSON with a key `GD_ACTIONS` that holds it.
pub fn import_gd_actions(
    text: &str,
    attach: &str,
    mode: Mode,
    actions: ActionCatalog,
) -> PolicyImport {
    let mut errors = Vec::new();
    if !is_attach_point(attach) {
        let why = format!("`{attach}` is not a root id, OU id or account id");
        return PolicyImport { document: None, errors: vec![why] };
    }
    let map = match gd_actions(text) {
        Ok(map) => map,
        Err(error) => return PolicyImport { document: None, errors: vec![error] },
    };
    let mut chains: BTreeMap<String, (Chain, Vec<&str>)> = BTreeMap::new();
    for (finding_type, tags) in &map {
        let Some(tags) = tags.as_str() else {
            errors.push(format!("{finding_type}: a text is expected, not {tags}"));
            continue;
        };
        let mut chain = Chain::new();
        for tag in tags.split('|') {
            match call(tag, actions) {
                Ok(call) if chain.iter().any(|there| there.name == call.name) => {
                    errors.push(format!(
                        "{finding_type}: `{}`: `{}` is in this chain already",
                        tag.trim(),
                        call.name
                    ));
                }
                Ok(call) => {
                    if actions.find(&call.name).is_some_and(|facts| !facts.is_reversible()) {
                        errors.push(format!(
                            "{finding_type}: `{}` cannot be undone: add `irreversible: allow` to its rule if that is meant",
                            call.name
                        ));
                    }
                    chain.push(call);
                }
                Err(why) => errors.push(format!("{finding_type}: `{}`: {why}", tag.trim())),
            }
        }
        if !chain.is_empty() {
            let key = json!(chain).to_string();
            chains.entry(key).or_insert_with(|| (chain, Vec::new())).1.push(finding_type);
        }
    }
    let document = (!chains.is_empty())
        .then(|| write_document(attach, mode, &chains.into_values().collect::<Vec<_>>(), &errors));
    PolicyImport { document, errors }
}

fn gd_actions(text: &str) -> Result<Map<String, Value>, String> {
    let object = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(map)) if map.is_empty() => Err("the map is empty".to_owned()),
        // JSON is YAML, and a YAML reader does not let one of two keys win.
        Ok(Value::Object(map)) => match Node::from_yaml(text) {
            Ok(_) => Ok(map),
            Err(error) => Err(error.without_snippet().to_string()),
        },
        Ok(other) => Err(format!("a JSON object is expected, not {other}")),
        Err(error) => Err(format!("this is not JSON: {error}")),
    };
    let map = object(text)?;
    match map.get("GD_ACTIONS") {
        Some(Value::String(text)) => object(text).map_err(|error| format!("GD_ACTIONS: {error}")),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(other) => Err(format!("GD_ACTIONS: a JSON object is expected, not {other}")),
        None => Ok(map),
    }
}

/// Turns one `AUTO: bot parameters` into an action. CloudBots reads a tag only if it
/// matches `^AUTO:\s.+`, and splits it at spaces.
fn call(tag: &str, actions: ActionCatalog) -> Result<ActionCall, String> {
    let rest =
        tag.trim().strip_prefix("AUTO:").ok_or("CloudBots reads only what begins with AUTO:")?;
    if !rest.starts_with(char::is_whitespace) {
        return Err("CloudBots wants a space after AUTO:".to_owned());
    }
    let mut words = rest.split_whitespace();
    let bot = words.next().ok_or("no bot is named")?;
    let parameters: Vec<&str> = words.collect();
    let (_, name) = BOTS
        .iter()
        .find(|(known, _)| *known == bot)
        .ok_or_else(|| format!("`{bot}` has no counterpart: it needs fields that no GuardDuty finding has, or changes what no finding is about"))?;
    if actions.find(name).is_none() {
        return Err(format!("`{bot}` would be `{name}`, which this version does not have"));
    }
    let parameters = translate(bot, &parameters)?;
    Ok(ActionCall { name: (*name).to_owned(), parameters, if_residual: false })
}

fn translate(bot: &str, parameters: &[&str]) -> Result<Value, String> {
    let filled = |text: &str| text.replace("$ACCOUNT_ID", "${account.id}");
    match (bot, parameters) {
        (_, []) if bot != "tag_ec2_resource" => Ok(Value::Null),
        ("tag_ec2_resource", [key, value]) => {
            let tags = Map::from_iter([(filled(key), json!(filled(value)))]);
            Ok(json!({ "tags": tags }))
        }
        ("tag_ec2_resource", _) => Err("it takes a key and a value".to_owned()),
        ("iam_role_attach_policy" | "iam_user_attach_policy", [parameter]) => parameter
            .strip_prefix("policy_arn=")
            .map(|arn| json!({ "policy": filled(arn) }))
            .ok_or_else(|| "it takes policy_arn=…".to_owned()),
        ("iam_user_deactivate_unused_access_key", [days]) => Err(format!(
            "it turns keys off that were not used for {days} days; the finding's key is turned off by it without a number"
        )),
        (_, parameters) => {
            Err(format!("its parameters have no counterpart: {}", parameters.join(" ")))
        }
    }
}

fn write_document(
    attach: &str,
    mode: Mode,
    chains: &[(Chain, Vec<&str>)],
    errors: &[String],
) -> String {
    // A JSON string is a valid YAML string.
    let quoted = |text: &str| json!(text).to_string();
    let mut lines = vec!["# Imported from a GD_ACTIONS map.".to_owned()];
    // A comment ends where its line ends.
    lines.extend(errors.iter().map(|error| format!("# not imported: {}", error.escape_debug())));
    lines.push(format!("version: 1\nattach: {}\nrules:", quoted(attach)));
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (chain, finding_types) in chains {
        let words: Vec<&str> = chain.iter().map(|call| call.name.as_str()).collect();
        let name = words.join("-and-");
        let times = names.entry(name.clone()).or_default();
        *times += 1;
        lines.push(match *times {
            1 => format!("  - name: {name}"),
            times => format!("  - name: {name}-{times}"),
        });
        lines.push("    when:\n      type:".to_owned());
        lines.extend(finding_types.iter().map(|it| format!("        - {}", quoted(it))));
        lines.push(format!("    mode: {}\n    then:", mode.name()));
        lines.extend(chain.iter().map(|call| match &call.parameters {
            Value::Null => format!("      - {}", call.name),
            parameters => format!("      - {}: {parameters}", call.name),
        }));
    }
    lines.join("\n") + "\n"
}
