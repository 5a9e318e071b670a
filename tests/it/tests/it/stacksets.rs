//! The templates grant what the actions declare, and no more.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeSet;
use std::fs;

use firebreak_onboarding::stacksets;
use firebreak_spoke::contract::Reversal;
use firebreak_spoke::registry;
use firebreak_spoke::{permissions as spoke, tags};
use firebreak_testkit::repository::{self, root};
use serde_json::Value;

fn template() -> Value {
    repository::template("spoke.yaml")
}

fn statements(template: &Value) -> Vec<Value> {
    let role = template.pointer("/Resources/SpokeRole/Properties").unwrap();
    assert_eq!(role["ManagedPolicyArns"], serde_json::json!([{ "Ref": "SpokeReads" }]));
    let reads = template.pointer("/Resources/SpokeReads/Properties").unwrap();
    let inline = role.get("Policies").map(|it| it.as_array().unwrap().clone());
    [reads.clone()]
        .iter()
        .chain(&inline.unwrap_or_default())
        .flat_map(|policy| {
            policy.pointer("/PolicyDocument/Statement").unwrap().as_array().unwrap().clone()
        })
        .collect()
}

/// The permissions in statements of this effect.
fn permissions(template: &Value, effect: &str) -> BTreeSet<String> {
    let statements = statements(template);
    let of_effect = statements.iter().filter(|statement| statement["Effect"] == effect);
    of_effect
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect()
}

/// "UPDATE=1 cargo test" renders it.
#[test]
fn the_spoke_role_s_template_is_not_stale() {
    let path = root().join("stacksets/spoke.yaml");
    let present = fs::read_to_string(&path).unwrap();
    let all: Vec<_> = registry::all().iter().collect();
    let rendered = stacksets::render(&present, &all).unwrap();
    let size = rendered.size;
    println!(
        "inline policies of the spoke role: {} of {} characters; the managed one: {} of {}; the template: {} of {} bytes",
        size.role_characters,
        stacksets::ROLE_CHARACTERS,
        size.managed_characters,
        stacksets::MANAGED_CHARACTERS,
        size.template_bytes,
        stacksets::TEMPLATE_BYTES
    );
    assert_eq!(size.excess(), None);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &rendered.text).unwrap();
    } else {
        assert!(present == rendered.text, "stacksets/spoke.yaml is stale: run UPDATE=1 cargo test");
    }
}

/// What CloudFormation reads is what the laws of actions are tried with
/// (`actions/stage.rs`).
#[test]
fn the_template_says_what_the_statements_say() {
    for entry in registry::all() {
        let rendered = stacksets::render(stacksets::SPOKE, &[entry]).unwrap();
        let template: Value = serde_saphyr::from_str(&rendered.text).unwrap();
        let expected: Vec<Value> =
            rendered.statements.iter().map(|statement| statement.document(&[])).collect();
        let mut read = statements(&template);
        read.iter_mut().for_each(plain);
        assert_eq!(read, expected, "{}", entry.spec.name);
        let parameters = template["Parameters"].as_object().unwrap();
        for name in ["HubAccountId", "HubRoleName", "OrganizationId", "ExternalId"] {
            assert!(parameters.contains_key(name), "{}: {name}", entry.spec.name);
        }
        let generated = parameters.contains_key("EvidenceBuckets");
        assert_eq!(generated, entry.spec.name == "collect-evidence", "{}", entry.spec.name);
    }
}

/// A statement of a template with `Fn::Sub` taken off, and every value of a
/// condition or resource in a list: as the statements are shown.
fn plain(statement: &mut Value) {
    fn texts(value: &Value) -> Value {
        let one = |value: &Value| value.get("Fn::Sub").unwrap_or(value).clone();
        match value {
            Value::Array(values) => values.iter().map(one).collect(),
            value => Value::Array(vec![one(value)]),
        }
    }
    statement["Resource"] = texts(&statement["Resource"]);
    let conditions = statement.get_mut("Condition").and_then(Value::as_object_mut);
    for keys in conditions.into_iter().flat_map(|it| it.values_mut()) {
        keys.as_object_mut().unwrap().values_mut().for_each(|value| *value = texts(value));
    }
}

#[test]
fn the_spoke_role_has_exactly_the_permissions_that_the_actions_declare() {
    let declared: BTreeSet<String> = registry::all()
        .iter()
        .flat_map(|entry| entry.spec.reads.iter().chain(entry.spec.writes))
        .chain(tags::READS)
        .map(|action| (*action).to_owned())
        .collect();
    let names = permissions(&template(), "Allow");
    let (missing, extra): (Vec<_>, Vec<_>) =
        (declared.difference(&names).collect(), names.difference(&declared).collect());
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
}

/// The role's own name stands in what it may never change.
#[test]
fn the_spoke_role_may_not_change_itself() {
    let template = template();
    let role = template.pointer("/Resources/SpokeRole/Properties").unwrap();
    assert!(role.get("Path").is_none(), "the path belongs into the ARNs of the policy `never`");
    let name = role["RoleName"].as_str().unwrap();
    let arn = format!("arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role/{name}");
    let all = statements(&template);
    let never = all.iter().find(|statement| statement["Effect"] == "Deny").unwrap();
    let named = never["Resource"].as_array().unwrap();
    assert!(named.iter().any(|resource| resource["Fn::Sub"] == arn.as_str()), "{never}");
    let denied = permissions(&template, "Deny");
    for change in ["iam:AttachRolePolicy", "iam:PassRole", "iam:PutRolePolicy"] {
        assert!(denied.contains(change), "{change}");
    }
}

/// docs/permissions.md is generated; "UPDATE=1 cargo test" rewrites it.
#[test]
fn the_documentation_of_permissions_is_the_program_s() {
    let path = root().join("docs/permissions.md");
    let present = fs::read_to_string(&path).unwrap();
    let all: Vec<_> = registry::all().iter().collect();
    let short = |texts: &[&str]| -> String {
        let short = |text: &&str| {
            let text =
                text.replace("arn:${AWS::Partition}:", "").replace("${AWS::AccountId}", "account");
            format!("`{text}`")
        };
        texts.iter().map(short).collect::<Vec<_>>().join("<br>")
    };
    let mut table = "| statement | permissions | on | only where |\n|---|---|---|---|\n".to_owned();
    for statement in spoke::statements(&all).unwrap() {
        let conditions: Vec<String> = statement
            .conditions
            .iter()
            .map(|condition| {
                format!("{} `{}` {}", condition.operator, condition.key, short(condition.values))
            })
            .collect();
        let denied = match statement.effect {
            spoke::Effect::Allow => "",
            spoke::Effect::Deny => " (denied)",
        };
        let row = format!(
            "| **{}**{denied}<br>{} | {} | {} | {} |\n",
            statement.sid,
            statement.why,
            short(&statement.permissions),
            short(statement.resources),
            conditions.join("<br>")
        );
        table.push_str(&row);
    }
    let mut exceptions = "| permission | why it is granted on `*` |\n|---|---|\n".to_owned();
    for spoke::Unbounded { permission, why } in spoke::UNBOUNDED {
        let row = format!("| `{permission}` | {why} |\n");
        exceptions.push_str(&row);
    }
    let mut now = present.clone();
    for (part, new) in [("statements", &table), ("exceptions", &exceptions)] {
        let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- /{part} -->"));
        let (before, rest) = now.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        now = format!("{before}{begin}{new}{end}{after}");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert!(present == now || std::env::var_os("UPDATE").is_some(), "run UPDATE=1 cargo test");
}

#[test]
fn the_spoke_role_trusts_the_hub_s_role_of_the_organization_with_the_external_id() {
    let template = template();
    let trust = template
        .pointer("/Resources/SpokeRole/Properties/AssumeRolePolicyDocument/Statement")
        .unwrap();
    let statement = &trust.as_array().unwrap().first().unwrap();
    let condition = &statement["Condition"];
    assert!(condition.pointer("/ArnEquals/aws:PrincipalArn").is_some());
    assert!(condition.pointer("/StringEquals/aws:PrincipalOrgID").is_some());
    assert!(condition.pointer("/StringEquals/sts:ExternalId").is_some());
}

/// The README's table of actions is the program's; "UPDATE=1 cargo test" rewrites it.
#[test]
fn the_readme_s_table_of_actions_is_the_program_s() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- actions -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /actions -->").unwrap();
    let mut table = "| action | acts on | what it does | undo |\n|---|---|---|---|\n".to_owned();
    for entry in registry::all() {
        let about = &entry.spec;
        let undo = match about.reversal {
            Reversal::Restored => "yes",
            Reversal::Kept => "nothing to undo (keeps what it made)",
            Reversal::Impossible => "no",
        };
        let types = about.resource_types.join(", ");
        let row = format!("| `{}` | {types} | {} | {undo} |\n", about.name, about.sentence);
        table.push_str(&row);
    }
    let now = format!("{before}<!-- actions -->\n{table}<!-- /actions -->{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert!(readme == now || std::env::var_os("UPDATE").is_some(), "run UPDATE=1 cargo test");
}
