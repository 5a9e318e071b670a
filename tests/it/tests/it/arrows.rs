//! Which crate may import which: what Cargo has against the table in
//! ARCHITECTURE.md, and what pure crates may not bring in.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use firebreak_testkit::repository::root;
use serde_json::Value;

/// The crates that may know no clock, network or SDK.
const PURE: [&str; 7] =
    ["audit", "event-pattern", "intake", "model", "policy", "report", "response"];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A package's name as the table has it: `firebreak` is the command line.
fn short(package: &str) -> Option<&str> {
    match package {
        "firebreak" => Some("cli"),
        other => other.strip_prefix("firebreak-"),
    }
}

/// What each crate of the workspace names in its manifest; without what is only for
/// its own tests.
fn imports(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(name) = short(package["name"].as_str().unwrap()) else { continue };
        // The tests' own crates have nothing else.
        let tests = ["it", "exhaustive", "testkit"].contains(&name);
        let named = package["dependencies"].as_array().unwrap().iter().filter_map(|dependency| {
            let counts = tests || dependency["kind"].as_str() != Some("dev");
            short(dependency["name"].as_str()?).filter(|_| counts).map(str::to_owned)
        });
        imports.insert(name.to_owned(), named.collect());
    }
    imports
}

/// The table's rows: a crate, and those that it may import.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("| crate | may import").expect("the table of arrows");
    let words = |cell: &str| -> BTreeSet<String> {
        cell.split(',').map(|it| it.trim().to_owned()).filter(|it| it != "nothing").collect()
    };
    let mut rows = BTreeMap::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        for name in words(cells[0]) {
            rows.insert(name, words(cells[1]));
        }
    }
    rows
}

/// A row, and what those that it names may import.
fn allowed(table: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut left: Vec<&String> = table[name].iter().collect();
    while let Some(next) = left.pop() {
        if all.insert(next.clone()) {
            left.extend(table.get(next).unwrap_or_else(|| panic!("`{next}` has no row")));
        }
    }
    all
}

#[test]
fn every_crate_imports_only_what_the_table_allows() {
    let (table, metadata) = (table(), metadata());
    let imports = imports(&metadata);
    let crates: BTreeSet<&String> = imports.keys().collect();
    assert_eq!(crates, table.keys().collect(), "the table's rows are the workspace's crates");
    for (name, imports) in &imports {
        let may = allowed(&table, name);
        let beyond: Vec<&String> = imports.difference(&may).collect();
        assert!(
            beyond.is_empty(),
            "{name} imports {beyond:?}, which ARCHITECTURE.md does not allow"
        );
    }
}

#[test]
fn the_table_allows_no_more_than_is_imported() {
    let (table, imports) = (table(), imports(&metadata()));
    for (name, allowed) in table {
        let unused: Vec<&String> = allowed.difference(&imports[&name]).collect();
        assert!(unused.is_empty(), "ARCHITECTURE.md lets {name} import {unused:?}; it does not");
    }
}

/// Every package that a crate is built of, without what is only for tests.
fn tree(metadata: &Value, name: &str) -> BTreeSet<String> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["id"].as_str().unwrap(), it["name"].as_str().unwrap()))
        .collect();
    let by_id: BTreeMap<&str, &Value> =
        nodes.iter().map(|node| (node["id"].as_str().unwrap(), node)).collect();
    let start = names.iter().find(|(_, it)| short(it) == Some(name)).unwrap().0;
    let (mut all, mut left) = (BTreeSet::new(), vec![*start]);
    while let Some(id) = left.pop() {
        if !all.insert(id) {
            continue;
        }
        for dependency in by_id[id]["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                left.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    all.into_iter().map(|id| names[id].to_owned()).collect()
}

#[test]
fn what_is_pure_brings_in_neither_an_sdk_nor_tokio() {
    let metadata = metadata();
    for name in PURE {
        for package in tree(&metadata, name) {
            let wrong = package.starts_with("aws-") || package == "tokio" || package == "hyper";
            assert!(!wrong, "{name} is built of {package}");
        }
    }
}

#[test]
fn the_function_is_built_of_neither_onboarding_nor_simulation() {
    let packages = tree(&metadata(), "function");
    for name in ["firebreak-onboarding", "firebreak-simulation", "firebreak-demo", "firebreak"] {
        assert!(!packages.contains(name), "the function is built of {name}");
    }
}
