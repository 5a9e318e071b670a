//! What keeps the code in its order, where Cargo does not.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::{Path, PathBuf};

use firebreak_testkit::repository;

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
    let root = repository::root().join(folder);
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty(), "{folder}");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The folders that hold sources.
const SOURCES: [&str; 5] = ["client/src", "hub", "model/src", "spoke/src", "tests"];

/// The clock and the environment are read in one place each; Cargo keeps SDKs and
/// tokio out of the pure crates.
#[test]
fn what_is_pure_reads_no_clock_and_no_environment() {
    for name in ["audit", "event-pattern", "intake", "policy", "report", "response"] {
        for (file, text) in rust_files(&format!("hub/{name}/src")) {
            let (text, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            for word in ["async fn", "Timestamp::now", "std::env", "SystemTime"] {
                let is_test = file.contains("tests.rs") || file.starts_with("tests/");
                assert!(is_test || !text.contains(word), "hub/{name}/src/{file} has `{word}`");
            }
        }
    }
}

#[test]
fn no_source_file_is_longer_than_700_lines() {
    for folder in SOURCES {
        for (name, text) in rust_files(folder) {
            let lines = text.lines().count();
            assert!(lines <= 700, "{folder}/{name} has {lines} lines");
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
    for folder in SOURCES {
        for (name, text) in rust_files(folder) {
            for word in words {
                assert!(!text.contains(word), "{folder}/{name} has {word}");
            }
            assert!(!text.contains(concat!("#[ig", "nore")), "{folder}/{name}");
        }
    }
}
