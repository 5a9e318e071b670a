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

/// A path in backquotes that begins with a folder of this repository.
fn named_paths(text: &str) -> Vec<&str> {
    let folders =
        ["client/", "docs/", "hub/", "model/", "policies/", "spoke/", "stacksets/", "tests/"];
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| folders.iter().any(|folder| quoted.starts_with(folder)))
        .filter(|quoted| quoted.chars().all(|it| it.is_ascii_alphanumeric() || "/._-".contains(it)))
        // Checklists name the file that the reader will add in capitals.
        .filter(|quoted| !["NAME", "SERVICE", "ACTION"].iter().any(|it| quoted.contains(it)))
        .collect()
}

#[test]
fn the_pages_for_developers_name_files_that_exist() {
    let root = repository::root();
    let mut pages = vec![root.join("ARCHITECTURE.md")];
    pages.extend(fs::read_dir(root.join("docs/dev")).unwrap().map(|entry| entry.unwrap().path()));
    let mut missing = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let named = named_paths(&text).into_iter().filter(|path| !root.join(path).exists());
        missing.extend(named.map(|path| format!("{}: `{path}`", page.display())));
    }
    assert!(missing.is_empty(), "{missing:#?}");
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
