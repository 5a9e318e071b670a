//! How keys are read, and the checklist for a new one.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All sources below a folder of the project, joined.
fn sources(folder: &str) -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|it| it == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    collect(&root().join(folder), &mut text);
    text
}

/// A key that is not taken is not known: the map would refuse it, and no schema
/// would list it.
#[test]
fn every_key_is_taken_before_an_early_return() {
    let text = sources("hub/policy/src/syntax") + &sources("hub/policy/src/tools");
    let bodies: Vec<&str> = text
        .split("fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {")
        .skip(1)
        .filter_map(|rest| rest.split("\n    }\n").next())
        .collect();
    assert!(bodies.len() > 10, "the readers of maps are not found");
    for body in bodies {
        let Some((before, _)) = body.rsplit_once("keys.take(") else { panic!("{body}") };
        let returns = ["?;", "?.", "?,", "return"].iter().any(|it| before.contains(it));
        assert!(!returns, "it returns before its last key: {body}");
    }
}

#[test]
fn the_checklist_names_what_exists() {
    let page = fs::read_to_string(root().join("docs/dev/adding-a-policy-key.md")).unwrap();
    let tests = sources("hub/policy/src") + &sources("tests/it/tests");
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let paths = names.iter().filter(|it| it.contains('/') && !it.contains([' ', '\n']));
    let named_tests =
        names.iter().filter(|it| it.matches('_').count() > 2 && !it.contains(['/', '\n']));
    let (mut files, mut found) = (0, 0);
    for path in paths {
        assert!(root().join(path).exists(), "there is no {path}");
        files += 1;
    }
    for test in named_tests {
        assert!(tests.contains(&format!("fn {test}()")), "there is no test {test}");
        found += 1;
    }
    assert!(files > 5 && found > 3, "{files} files, {found} tests");
}
