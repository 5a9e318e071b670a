//! The repository's own files, and other people's findings beside it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file's text.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The folder of the findings that the tests read.
pub fn fixtures() -> PathBuf {
    root().join("tests/fixtures/findings")
}

/// A finding's text.
pub fn fixture(name: &str) -> String {
    text(&format!("tests/fixtures/findings/{name}"))
}

/// A template of `stacksets/`.
pub fn template(name: &str) -> Value {
    let path = format!("stacksets/{name}");
    serde_saphyr::from_str(&text(&path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file or folder of other people's data, which is read in place and not part of the
/// repository. Where it is missing the test says so, and has nothing to do.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: ../shared/{name} is not there");
    None
}
