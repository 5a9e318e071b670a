//! Reads policy files and folders.

use firebreak_spoke::registry;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Failure, inputs};
use firebreak_model::organization::OuPath;
use firebreak_policy::{
    Diagnostic, Policy, PolicyTest, lints as lints_of, read_files_within, read_tests,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    /// Those outside of any folder named `tests`.
    Documents,
    /// Those inside.
    Tests,
}

/// Loads documents from files and folders; a folder's `tests` are not documents.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Policy, Failure> {
    load_within(paths, &BTreeMap::new())
}

/// Loads documents as [`load`] does, and returns their issues.
pub(super) fn check(paths: &[PathBuf]) -> Result<Result<Policy, Vec<Diagnostic>>, Failure> {
    check_within(paths, &BTreeMap::new())
}

pub(super) fn lints(paths: &[PathBuf]) -> Result<Vec<Diagnostic>, Failure> {
    let (files, _) = read_yaml(paths, FileKind::Documents)?;
    Ok(lints_of(&files))
}

/// Loads documents; `above` has the places of their attach points in the organization.
pub(super) fn load_within(
    paths: &[PathBuf],
    above: &BTreeMap<String, OuPath>,
) -> Result<Policy, Failure> {
    check_within(paths, above)?.map_err(|diagnostics| issues("policy", &diagnostics))
}

fn check_within(
    paths: &[PathBuf],
    above: &BTreeMap<String, OuPath>,
) -> Result<Result<Policy, Vec<Diagnostic>>, Failure> {
    let (files, mut diagnostics) = read_yaml(paths, FileKind::Documents)?;
    if files.is_empty() && diagnostics.is_empty() {
        return Err(Failure::Usage("there is no policy document (*.yaml)".to_owned()));
    }
    Ok(match read_files_within(&files, registry::catalog(), above) {
        Ok(policy) if diagnostics.is_empty() => Ok(policy),
        Ok(_) => Err(diagnostics),
        Err(found) => {
            diagnostics.extend(found);
            Err(diagnostics)
        }
    })
}

/// Loads the tests in folders named `tests`.
pub(super) fn load_tests(paths: &[PathBuf]) -> Result<Vec<PolicyTest>, Failure> {
    let (files, unreadable) = read_yaml(paths, FileKind::Tests)?;
    if !unreadable.is_empty() {
        return Err(issues("test", &unreadable));
    }
    read_tests(&files, registry::catalog()).map_err(|it| issues("test", &it))
}

/// All issues in one message.
pub(super) fn issues(what: &str, diagnostics: &[Diagnostic]) -> Failure {
    let messages: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    let count = diagnostics.len();
    Failure::Check(format!("{count} error(s) in {what} files\n\n{}", messages.join("\n\n")))
}

/// Reads a file, or standard input for `-`.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    if path.as_os_str() == "-" {
        return Ok(std::io::read_to_string(std::io::stdin())?);
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(inputs::without_byte_order_mark(&text).to_owned()),
        Err(error) => Err(Failure::Usage(format!("cannot read `{}`: {error}", path.display()))),
    }
}

/// The texts by file name, and why other files could not be read.
type Texts = (Vec<(String, String)>, Vec<Diagnostic>);

fn read_yaml(paths: &[PathBuf], kind: FileKind) -> Result<Texts, Failure> {
    let mut files = Vec::new();
    for path in paths {
        // A file that is given by name is a document, with any extension.
        if path.is_file() {
            if kind == FileKind::Documents {
                files.push(path.clone());
            }
            continue;
        }
        collect_yaml(path, false, kind, &mut files).map_err(|error| {
            Failure::Usage(format!("cannot read `{}`: {error}", path.display()))
        })?;
    }
    let (mut texts, mut unreadable) = (Vec::new(), Vec::new());
    for path in files {
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push((name, inputs::without_byte_order_mark(&text).to_owned())),
            Err(error) => unreadable.push(Diagnostic::unreadable(&name, &error.to_string())),
        }
    }
    Ok((texts, unreadable))
}

fn collect_yaml(
    folder: &Path,
    in_tests: bool,
    kind: FileKind,
    files: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            let in_tests = in_tests || entry.file_name().is_some_and(|name| name == "tests");
            collect_yaml(&entry, in_tests, kind, files)?;
        } else if is_yaml(&entry) && in_tests == (kind == FileKind::Tests) {
            files.push(entry);
        }
    }
    Ok(())
}

/// Ignores case: a document that is skipped is a guardrail that is skipped. Hidden
/// files belong to editors.
fn is_yaml(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().map(|it| it.to_ascii_lowercase());
    !hidden && extension.is_some_and(|it| it == "yaml" || it == "yml")
}
