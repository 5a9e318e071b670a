//! Which folder of this crate may use which. There is no circle between them.

use std::fs;
use std::path::{Path, PathBuf};

/// Each folder with the others that it may use.
const LAYERS: [(&str, &[&str]); 4] = [
    ("model", &[]),
    ("syntax", &["model"]),
    ("eval", &["model"]),
    ("tools", &["model", "syntax", "eval"]),
];

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

/// The folders that a source names: each word after `crate::`.
fn named(source: &str) -> Vec<&str> {
    source
        .split("crate::")
        .skip(1)
        .map(|rest| rest.split(|char: char| !char.is_alphanumeric()).next().unwrap_or_default())
        .collect()
}

#[test]
fn no_folder_uses_one_that_it_may_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (layer, may_use) in LAYERS {
        let mut files = Vec::new();
        sources(&root.join(layer), &mut files);
        assert!(!files.is_empty(), "{layer} has no sources");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let (text, _) = text.split_once("#[cfg(test)]\nmod tests").unwrap_or((&text, ""));
            for name in named(text) {
                let other = LAYERS.iter().any(|(it, _)| *it == name) && name != layer;
                let allowed = !other || may_use.contains(&name);
                assert!(allowed, "{}: `{layer}` may not use `{name}`", file.display());
            }
            // `crate::` is how another folder is named.
            let depth = file.strip_prefix(&root).unwrap().components().count() - 1;
            let up = "super::".repeat(depth + usize::from(!file.ends_with("mod.rs")));
            assert!(!text.contains(&up), "{} leaves its folder by `{up}`", file.display());
        }
    }
}

#[test]
fn every_folder_has_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let mut files = Vec::new();
            sources(&path, &mut files);
            // Git keeps no empty folders; a working copy may.
            if files.is_empty() {
                continue;
            }
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let placed = LAYERS.iter().any(|(layer, _)| *layer == name);
        assert!(placed || ["lib.rs", "tests"].contains(&name), "{name} is in no layer");
    }
}
