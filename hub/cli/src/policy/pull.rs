//! `firebreak policy pull`: writes the policy in force to files, as they were pushed.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::history::find_version;
use crate::environment::engine;
use crate::terminal::write_json;
use crate::{Failure, Output};
use firebreak_policy::StoredDocument;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder to write to; it is created if needed.
    folder: PathBuf,
    /// This version instead of the one in force.
    #[arg(long)]
    version: Option<u64>,
    /// Overwrite files that differ.
    #[arg(long)]
    overwrite: bool,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { folder, version, overwrite } = arguments;
    let engine = engine().await?;
    let version = match version {
        None => engine.policies.version().await?,
        Some(number) => find_version(&engine, *number).await?,
    };
    if version.number == 0 {
        return Err(Failure::Check(
            "no policy was ever pushed\nhelp: `firebreak policy push policies/` activates one"
                .to_owned(),
        ));
    }
    let documents = engine.policies.documents(&version).await?;
    let files = names(&documents);
    let differing: Vec<String> = files
        .iter()
        .filter(|(name, document)| {
            let present = std::fs::read(folder.join(name));
            present.is_ok_and(|present| present != document.text.as_bytes())
        })
        .map(|(name, _)| folder.join(name).display().to_string())
        .collect();
    if !differing.is_empty() && !overwrite {
        return Err(Failure::Check(format!(
            "nothing was written: these files differ from version {}: {}\nhelp: commit or move them, or add --overwrite",
            version.number,
            differing.join(", ")
        )));
    }
    for (name, document) in &files {
        write(&folder.join(name), &document.text)?;
    }
    let mut out = std::io::stdout().lock();
    match output {
        Output::Text => writeln!(
            out,
            "version {}: {} document(s) in `{}`",
            version.number,
            files.len(),
            folder.display()
        )?,
        Output::Json => {
            let files: Vec<&PathBuf> = files.iter().map(|(name, _)| name).collect();
            write_json(&mut out, &json!({ "version": version.number, "files": files }))?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, text));
    written.map_err(|error| Failure::Usage(format!("cannot write `{}`: {error}", path.display())))
}

/// A file name for each document: the one that it was pushed from, unless that
/// leads out of the folder or another document has it.
fn names(documents: &[StoredDocument]) -> Vec<(PathBuf, &StoredDocument)> {
    let mut used = BTreeSet::new();
    documents
        .iter()
        .map(|document| {
            let pushed = Path::new(&document.file);
            let inside = pushed.components().all(|part| matches!(part, Component::Normal(_)));
            let yaml = pushed.extension().is_some_and(|it| it == "yaml" || it == "yml");
            let name = if inside && yaml && used.insert(document.file.clone()) {
                pushed.to_owned()
            } else {
                PathBuf::from(format!("{}.yaml", document.attach))
            };
            (name, document)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_name_leaves_the_folder_and_none_is_used_twice() {
        let document = |attach: &str, file: &str| StoredDocument {
            attach: attach.to_owned(),
            file: file.to_owned(),
            text: String::new(),
        };
        let documents = [
            document("r-a", "root.yaml"),
            document("ou-b", "work/prod.yaml"),
            document("ou-c", "../evil.yaml"),
            document("ou-d", "/etc/evil.yaml"),
            document("ou-e", "root.yaml"),
            document("ou-f", ".bashrc"),
        ];
        let names: Vec<String> =
            names(&documents).into_iter().map(|(name, _)| name.display().to_string()).collect();
        assert_eq!(
            names,
            ["root.yaml", "work/prod.yaml", "ou-c.yaml", "ou-d.yaml", "ou-e.yaml", "ou-f.yaml"]
        );
    }
}
