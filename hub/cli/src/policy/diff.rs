//! `firebreak policy diff`: how files differ from the policy in force.

use firebreak_spoke::registry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use firebreak_model::resource::Region;
use serde::Serialize;
use similar::TextDiff;

use super::files;
use crate::environment::engine;
use crate::terminal::write_json;
use crate::{Failure, Output};
use firebreak_engine::Engine;
use firebreak_model::organization::OuPath;
use firebreak_policy::{ComparedPoint, EffectiveChange, Policy, StoredDocument, effective_changes};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files and folders of the proposed policy.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The Region for which decisions are compared.
    #[arg(long, default_value = "us-east-1")]
    region: Region,
}

/// How two policies differ.
#[derive(Debug, Serialize)]
pub(super) struct Differences {
    /// The version in force.
    pub(super) version: u64,
    pub(super) documents: Vec<DocumentChange>,
    /// Decisions that change, by point and finding type.
    pub(super) decisions: Vec<EffectiveChange>,
    /// Attach points that AWS Organizations does not know.
    pub(super) unknown_points: Vec<String>,
}

/// A document that is added, removed or changed.
#[derive(Debug, Serialize)]
pub(super) struct DocumentChange {
    attach: String,
    file: String,
    change: &'static str,
    /// The changed lines as a unified diff.
    lines: String,
}

/// Exit code 0 even if there are differences.
pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let engine = engine().await?;
    let paths = paths_of(&engine, &files::load(&arguments.paths)?).await?;
    let after = files::load_within(&arguments.paths, &paths)?;
    let stored = stored(&after, &arguments.paths);
    let differences = compare(&engine, &stored, &arguments.region).await?;
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => write_json(&mut out, &differences)?,
        Output::Text => differences.write(&mut out)?,
    }
    Ok(())
}

/// The documents as they would be stored: each under its path within the given
/// folder, so that `policy pull` writes the same tree.
pub(super) fn stored(policy: &Policy, paths: &[PathBuf]) -> Vec<StoredDocument> {
    let mut documents = policy.to_stored();
    for document in &mut documents {
        let file = PathBuf::from(&document.file);
        let within = paths.iter().find_map(|path| file.strip_prefix(path).ok());
        let named = within.filter(|within| !within.as_os_str().is_empty());
        let name = named.or_else(|| file.file_name().map(std::path::Path::new));
        if let Some(name) = name {
            document.file = name.display().to_string();
        }
    }
    documents
}

/// The places of a policy's attach points that AWS Organizations knows.
pub(super) async fn paths_of(
    engine: &Engine,
    policy: &Policy,
) -> Result<BTreeMap<String, OuPath>, Failure> {
    let mut paths = BTreeMap::new();
    for document in policy.documents() {
        if let Some(path) = engine.organization.path_of(&document.attach).await? {
            paths.insert(document.attach.clone(), path);
        }
    }
    Ok(paths)
}

/// Compares documents with those in force.
pub(super) async fn compare(
    engine: &Engine,
    documents: &[StoredDocument],
    region: &Region,
) -> Result<Differences, Failure> {
    let version = engine.policies.version().await?;
    let before = engine.policies.documents_left(&version).await?;
    let ids: BTreeSet<&str> =
        before.iter().chain(documents).map(|document| document.attach.as_str()).collect();
    let (mut points, mut unknown_points) = (Vec::new(), Vec::new());
    for id in ids {
        let path = engine.organization.path_of(id).await?;
        match path.and_then(|ou_path| ComparedPoint::at(id, ou_path)) {
            Some(point) => points.push(point),
            None => unknown_points.push(id.to_owned()),
        }
    }
    let policies = (
        &Policy::from_stored(before.clone(), registry::catalog()),
        &Policy::from_stored(documents.to_vec(), registry::catalog()),
    );
    Ok(Differences {
        version: version.number,
        documents: document_changes(&before, documents),
        decisions: effective_changes(policies, &points, region),
        unknown_points,
    })
}

fn document_changes(before: &[StoredDocument], after: &[StoredDocument]) -> Vec<DocumentChange> {
    let find = |list: &[StoredDocument], attach: &str| {
        list.iter().find(|it| it.attach == attach).map_or("", |it| it.text.as_str()).to_owned()
    };
    let ids: BTreeMap<&str, &str> =
        before.iter().chain(after).map(|it| (it.attach.as_str(), it.file.as_str())).collect();
    ids.into_iter()
        .filter_map(|(attach, file)| {
            let (old, new) = (find(before, attach), find(after, attach));
            if old == new {
                return None;
            }
            let change = match (old.is_empty(), new.is_empty()) {
                (true, _) => "added",
                (_, true) => "removed",
                _ => "changed",
            };
            let lines = TextDiff::from_lines(&old, &new);
            let lines = lines.unified_diff().context_radius(2).to_string();
            Some(DocumentChange { attach: attach.into(), file: file.into(), change, lines })
        })
        .collect()
}

/// How many finding types with the same change are named.
const MAX_NAMED: usize = 3;

impl Differences {
    pub(super) fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        if self.documents.is_empty() {
            writeln!(out, "no document differs from version {}", self.version)?;
        }
        for DocumentChange { attach, file, change, lines } in &self.documents {
            writeln!(out, "{change}: {file} ({attach})\n{lines}")?;
        }
        for point in &self.unknown_points {
            writeln!(out, "! `{point}` is not in AWS Organizations: its document has no effect\n")?;
        }
        if !self.documents.is_empty() && self.decisions.is_empty() {
            writeln!(out, "No decision changes for a known finding type.")?;
        }
        let mut last = "";
        for EffectiveChange { point, ou_path, before, after, finding_types } in &self.decisions {
            if point != last {
                writeln!(out, "{point} ({ou_path})")?;
                last = point;
            }
            let more = finding_types.len().saturating_sub(MAX_NAMED);
            let named: Vec<&str> =
                finding_types.iter().take(MAX_NAMED).map(String::as_str).collect();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            writeln!(out, "  {} finding type(s): {}{more}", finding_types.len(), named.join(", "))?;
            writeln!(out, "    - {before}\n    + {after}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(attach: &str, text: &str) -> StoredDocument {
        StoredDocument {
            attach: attach.to_owned(),
            file: format!("{attach}.yaml"),
            text: text.to_owned(),
        }
    }

    #[test]
    fn documents_are_added_removed_and_changed() {
        let old = [document("r-a", "1\n"), document("ou-b", "1\n2\n"), document("ou-c", "1\n")];
        let new = [document("r-a", "1\n"), document("ou-b", "1\n3\n"), document("ou-d", "1\n")];
        let changes = document_changes(&old, &new);
        let listed: Vec<(&str, &str)> =
            changes.iter().map(|it| (it.attach.as_str(), it.change)).collect();
        assert_eq!(listed, [("ou-b", "changed"), ("ou-c", "removed"), ("ou-d", "added")]);
        assert_eq!(changes[0].lines, "@@ -1,2 +1,2 @@\n 1\n-2\n+3\n");
    }
}
