//! What keeps the code in its order: arrows between folders, and nothing left
//! unfinished.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(folder: &str) -> Vec<(String, String)> {
    fn collect(path: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|it| it == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty(), "{folder}");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn in_the_hub_sdk_names_stand_below_aws_only() {
    for (name, text) in rust_files("hub/src") {
        // The demo stands in for AWS, and SdkConfig is how a program hands AWS in.
        if name.starts_with("aws/") || name.starts_with("cli/demo/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let sdk = line.contains("aws_sdk_") || line.contains("aws_smithy");
            assert!(!sdk, "hub/src/{name}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn what_is_pure_knows_nothing_of_aws_clocks_or_tasks() {
    let pure = [
        "audit.rs",
        "finding.rs",
        "organization.rs",
        "outbox.rs",
        "plan.rs",
        "record.rs",
        "rollout.rs",
        "status.rs",
        "switches.rs",
    ];
    for (name, text) in rust_files("hub/src") {
        let is_pure = pure.contains(&name.as_str())
            || name.starts_with("audit/")
            || name.starts_with("coverage/")
            || name.starts_with("policy/")
            || name.starts_with("notice/")
            || name.starts_with("setup/")
            || name.starts_with("status/")
            || name.starts_with("sources/")
            || name.starts_with("stacksets/");
        let (text, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        for word in ["crate::aws", "tokio", "async fn", "Timestamp::now", "std::env"] {
            assert!(!(is_pure && text.contains(word)), "hub/src/{name} has `{word}`");
        }
    }
}

#[test]
fn the_spoke_knows_nothing_of_policies_and_the_simulation_nothing_of_firebreak() {
    for (name, text) in rust_files("spoke/src") {
        assert!(!text.contains("firebreak_hub"), "spoke/src/{name}");
    }
    for (name, text) in rust_files("tests/simulation/src") {
        for word in ["firebreak_hub", "firebreak_spoke"] {
            assert!(!text.contains(word), "tests/simulation/src/{name}");
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    for folder in ["hub/src", "spoke/src", "tests/simulation/src", "tests/tests"] {
        for (name, text) in rust_files(folder) {
            for word in words {
                assert!(!text.contains(word), "{folder}/{name} has {word}");
            }
            assert!(!text.contains(concat!("#[ig", "nore")), "{folder}/{name}");
        }
    }
}
