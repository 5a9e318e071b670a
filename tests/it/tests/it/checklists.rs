//! What docs/dev/adding-*.md list is there, and no action and no resource kind lacks
//! what the lists ask for.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::{Path, PathBuf};

use firebreak_model::resource::TYPE_NAMES;
use firebreak_spoke::registry;

use crate::actions;

const CHECKLISTS: [&str; 2] =
    ["docs/dev/adding-an-action.md", "docs/dev/adding-a-resource-kind.md"];

/// Stand in paths for what the reader chooses.
const PLACEHOLDERS: [&str; 2] = ["SERVICE", "ACTION"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The texts in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_path_in_a_checklist_exists() {
    for checklist in CHECKLISTS {
        let text = read(checklist);
        let paths: Vec<&str> = quoted(&text)
            .filter(|it| it.contains('/') && !it.contains([' ', ':', '*']))
            .filter(|it| !PLACEHOLDERS.iter().any(|placeholder| it.contains(placeholder)))
            .collect();
        assert!(paths.len() > 4, "{checklist}: {paths:?}");
        for path in paths {
            assert!(root().join(path).exists(), "{checklist} names {path}, which does not exist");
        }
    }
}

#[test]
fn every_test_in_a_checklist_exists() {
    let sources = [
        "tests/it/tests/it/checklists.rs",
        "tests/it/tests/it/actions/laws.rs",
        "model/src/resource/kind.rs",
        "spoke/src/permissions/mod.rs",
    ]
    .map(read)
    .concat();
    for checklist in CHECKLISTS {
        let text = read(checklist);
        let tests = quoted(&text).filter_map(|it| it.rsplit("::").next()).filter(|it| {
            it.matches('_').count() > 2 && it.chars().all(|it| it.is_ascii_lowercase() || it == '_')
        });
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "{checklist} names the test {test}");
        }
    }
}

#[test]
fn every_action_has_a_file_of_its_name_among_its_service_s() {
    let services: Vec<PathBuf> = fs::read_dir(root().join("spoke/src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && !path.ends_with("support"))
        .collect();
    for entry in registry::all() {
        let file = format!("{}.rs", entry.spec.name.replace('-', "_"));
        let found = services.iter().filter(|service| service.join(&file).exists()).count();
        assert_eq!(found, 1, "{file}");
    }
}

#[test]
fn every_action_has_a_case_and_a_grant_for_what_it_changes() {
    for entry in registry::all() {
        let name = entry.spec.name;
        assert!(actions::has_case(name), "{name} has no case");
        for permission in entry.spec.writes {
            let granted = entry.grants.iter().any(|grant| grant.permissions.contains(permission));
            assert!(granted, "{name}: no grant names {permission}");
        }
    }
}

#[test]
fn every_action_is_documented() {
    let text = read("docs/actions.md");
    let (table, rest) = text.split_once("## What every action guarantees").unwrap();
    for entry in registry::all() {
        let name = format!("`{}`", entry.spec.name);
        assert!(table.contains(&name), "{name} is missing from the table in docs/actions.md");
        let describes = |line: &&str| {
            ["### ", "**`", "| `"].iter().any(|start| line.starts_with(start))
                && line.contains(&name)
        };
        assert!(rest.lines().any(|line| describes(&line)), "{name} is not described");
    }
}

#[test]
fn every_kind_is_documented() {
    let text = read("docs/actions.md");
    for type_name in TYPE_NAMES {
        assert!(text.contains(&format!("`{type_name}`")), "docs/actions.md lacks `{type_name}`");
    }
}
