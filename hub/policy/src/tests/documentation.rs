//! The reference in docs/policy.md, which is written from the keys and fields as
//! they are declared: `UPDATE=1 cargo test -p firebreak-policy` rewrites it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Document;
use crate::syntax::{field_table, key_tables};
use crate::tools::TestFile;

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}

/// Replaces the text between `<!-- name -->` and `<!-- /name -->`.
fn replace_between_marks(text: &str, name: &str, fresh: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no mark {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no mark {end}"));
    format!("{before}{begin}{fresh}{end}{after}")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "UPDATE=1 is for the developer who runs it")]
fn the_reference_of_keys_and_fields_is_up_to_date() {
    let path = docs("policy.md");
    let text = fs::read_to_string(&path).unwrap();
    let sections = [
        ("keys", key_tables::<Document>()),
        ("fields", field_table()),
        ("test keys", key_tables::<TestFile>()),
    ];
    let fresh = sections
        .iter()
        .fold(text.clone(), |text, (name, table)| replace_between_marks(&text, name, table));
    if std::env::var("UPDATE").is_ok() {
        fs::write(&path, &fresh).unwrap();
        return;
    }
    assert!(fresh == text, "docs/policy.md is stale: run the tests with UPDATE=1");
}
