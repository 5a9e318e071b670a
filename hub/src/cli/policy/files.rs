//! Policy files and folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::{Failure, inputs};
use crate::organization::OuPath;
use crate::policy::{
    ActionFacts, Case, Diagnostic, Policy, read_files, read_files_within, read_tests,
};

/// Which YAML files of a folder are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Those outside of any folder named `tests`.
    Documents,
    /// Those inside.
    Tests,
}

/// Loads documents from files and folders; a folder's `tests` are not documents.
pub(super) fn load(paths: &[PathBuf]) -> Result<Policy, Failure> {
    load_within(paths, &BTreeMap::new())
}

/// Loads documents as [`load`] does, and gives their mistakes back.
pub(super) fn check(paths: &[PathBuf]) -> Result<Result<Policy, Vec<Diagnostic>>, Failure> {
    Ok(read_files(&documents(paths)?, &ActionFacts::all()))
}

fn documents(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let files = read(paths, Kind::Documents)?;
    if files.is_empty() {
        return Err(Failure::Usage("there is no policy document (*.yaml) there".to_owned()));
    }
    Ok(files)
}

/// Loads documents, knowing where in the organization their points are.
pub(super) fn load_within(
    paths: &[PathBuf],
    above: &BTreeMap<String, OuPath>,
) -> Result<Policy, Failure> {
    read_files_within(&documents(paths)?, &ActionFacts::all(), above)
        .map_err(|it| mistakes("policy", &it))
}

/// Loads the tests that stand in folders named `tests`.
pub(super) fn load_tests(paths: &[PathBuf]) -> Result<Vec<Case>, Failure> {
    let files = read(paths, Kind::Tests)?;
    read_tests(&files, &ActionFacts::all()).map_err(|it| mistakes("test", &it))
}

/// All mistakes in one message.
pub(super) fn mistakes(what: &str, diagnostics: &[Diagnostic]) -> Failure {
    let told: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    let count = diagnostics.len();
    Failure::Check(format!("{count} mistake(s) in {what} files\n\n{}", told.join("\n\n")))
}

/// A text with the file's name in the error.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    if path.as_os_str() == "-" {
        return Ok(std::io::read_to_string(std::io::stdin())?);
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(inputs::without_mark(&text).to_owned()),
        Err(error) => Err(Failure::Usage(format!("cannot read `{}`: {error}", path.display()))),
    }
}

fn read(paths: &[PathBuf], kind: Kind) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        // A file that is named is meant, whatever its name; it is no test.
        if path.is_file() {
            if kind == Kind::Documents {
                files.push(path.clone());
            }
            continue;
        }
        collect(path, false, kind, &mut files).map_err(|error| {
            Failure::Usage(format!("cannot read `{}`: {error}", path.display()))
        })?;
    }
    files.into_iter().map(|path| Ok((path.display().to_string(), text(&path)?))).collect()
}

fn collect(
    folder: &Path,
    in_tests: bool,
    kind: Kind,
    files: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            let in_tests = in_tests || entry.file_name().is_some_and(|name| name == "tests");
            collect(&entry, in_tests, kind, files)?;
        } else if is_yaml(&entry) && in_tests == (kind == Kind::Tests) {
            files.push(entry);
        }
    }
    Ok(())
}

/// Whatever the case of its extension: a document that is passed over would be
/// a guardrail that is not there. What begins with a dot is some editor's.
fn is_yaml(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().map(|it| it.to_ascii_lowercase());
    !hidden && extension.is_some_and(|it| it == "yaml" || it == "yml")
}
