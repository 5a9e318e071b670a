//! docs/finding-types.md: what the example policies do about each finding type, and what may
//! stay open then. It is generated from the policies, the catalogue of finding types, and the
//! table "What stays open" of docs/actions.md.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use firebreak_demo::example_policy;
use firebreak_model::finding::{Finding, Target};
use firebreak_model::finding_types::{self, FindingType};
use firebreak_model::organization::Place;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_policy::{ActionCall, Decision, Effect, Tags};
use serde_json::Value;

use crate::actions::attacker::{DocumentedPath, Fate, documented};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/finding-types.md");

/// The OUs of the example policies that act.
const UNITS: [(&str, &str); 2] =
    [("sandbox", "r-fb01/ou-fb01-sandbox1"), ("production", "r-fb01/ou-fb01-prod1111")];

const HEAD: &str = "# Finding types

What the example policies do about each finding type of GuardDuty, and what may stay open then.
Generated from [policies](../policies), the catalogue of finding types and [what stays
open](actions.md#what-stays-open); run the tests with `UPDATE=1` to write it again.

Each type is decided at its highest default severity, for a resource without tags. Where it names
several resources, each has a row; what no action acts on is left out. A rule that asks for more
than that (`detail`, `role`) is not shown. What no test can try stands in [what else stays
open](actions.md#what-else-stays-open).

**may stay open** names the paths that none of the rule's actions closes, also none under
`if-residual`. The residual of the response says which of them there are; one that is marked
*unnoticed* no residual can name.
";

fn finding(kind: &FindingType, resource_type: &str) -> Finding {
    let resource = Resource {
        partition: "aws".parse().unwrap(),
        account: "111111111111".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        kind: ResourceKind::named(resource_type, None, "example"),
    };
    Finding {
        id: "example".to_owned(),
        product: "GuardDuty".to_owned(),
        kind: kind.name.to_owned(),
        severity: kind.severities.iter().copied().fold(0.0, f64::max),
        title: String::new(),
        account: resource.account.clone(),
        region: resource.region.clone(),
        partition: resource.partition.clone(),
        created_at: None,
        updated_at: None,
        count: None,
        sample: false,
        archived: false,
        workflow_status: None,
        security_hub: None,
        targets: vec![Target { resource, role: None, tags: BTreeMap::new() }],
        detail: Value::Null,
    }
}

/// What the actions of a decision may leave open: paths that none of them closes, not even
/// one that runs only if something stays open.
fn may_stay_open(decision: &Decision, paths: &BTreeSet<DocumentedPath>) -> Vec<String> {
    let executes =
        |name: &str| decision.actions.iter().any(|it| it.name == name && !it.if_residual);
    let open = paths.iter().filter(|path| {
        path.fate != Fate::Closed
            && executes(&path.action)
            && !path.closed_by.iter().any(|name| {
                let on_condition = |it: &&ActionCall| it.if_residual && it.name == *name;
                let reacts = path.fate == Fate::Residual
                    && decision.actions.iter().any(|it| on_condition(&it));
                reacts || executes(name)
            })
    });
    let named: BTreeSet<String> = open
        .map(|path| match path.fate {
            Fate::Open => format!("`{}` (*unnoticed*)", path.path),
            Fate::Closed | Fate::Residual => format!("`{}`", path.path),
        })
        .collect();
    named.into_iter().collect()
}

fn rendered() -> String {
    let policy = example_policy().unwrap();
    let paths = documented();
    let mut rows = String::new();
    let mut rules: BTreeMap<String, String> = BTreeMap::new();
    for kind in finding_types::all() {
        for resource_type in &kind.resource_types {
            let finding = finding(&kind, resource_type);
            let mut cells = Vec::new();
            for (name, ou_path) in UNITS {
                let place = Place {
                    account: "111111111111".parse().unwrap(),
                    ou_path: ou_path.parse().unwrap(),
                };
                let tags = Tags::Known(BTreeMap::new());
                let decision = policy.decide(&finding, &finding.targets[0], &place, &tags);
                let rule = decision.rule.as_deref();
                let cell = match rule {
                    Some(rule) if decision.acts() => {
                        let open = may_stay_open(&decision, &paths);
                        let open = if open.is_empty() { "–".to_owned() } else { open.join(", ") };
                        let effect = Effect::of(&decision);
                        let actions: Vec<String> =
                            effect.actions.iter().map(|it| format!("`{it}`")).collect();
                        let row = format!(
                            "| {name} | `{}` | {resource_type} | {} | {} | {open} |\n",
                            rule.rule,
                            effect.mode,
                            actions.join(", "),
                        );
                        rules.insert(format!("{name} {} {resource_type}", rule.rule), row);
                        format!("`{}`", rule.rule)
                    }
                    Some(_) => "on record".to_owned(),
                    None => "–".to_owned(),
                };
                cells.push(cell);
            }
            if cells.iter().any(|cell| cell.starts_with('`')) {
                let severity = finding.severity;
                let cells = cells.join(" | ");
                writeln!(rows, "| `{}` | {resource_type} | {severity:.0} | {cells} |", kind.name)
                    .unwrap();
            }
        }
    }
    let rules: String = rules.into_values().collect();
    format!(
        "{HEAD}\n## By rule\n\n| OU | rule | resource | mode | actions | may stay open |\n|---|---|---|---|---|---|\n{rules}\n## By finding type\n\n| finding type | resource | severity | sandbox | production |\n|---|---|---|---|---|\n{rows}"
    )
}

#[test]
#[expect(clippy::disallowed_methods, reason = "UPDATE=1 is for the developer who runs it")]
fn the_table_of_finding_types_is_up_to_date() {
    let fresh = rendered();
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(FILE, &fresh).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(written == fresh, "docs/finding-types.md is stale: run the tests with UPDATE=1");
    assert!(fresh.lines().count() > 200, "{}", fresh.lines().count());
}
