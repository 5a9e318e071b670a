//! Reads whole files, and compares the documents of several.

use std::collections::BTreeMap;

use firebreak_model::action::ActionCatalog;
use firebreak_model::organization::OuPath;

use super::ancestry::Sketch;
use super::diagnostics::{Diagnostic, located, not_yaml};
use super::document::ATTACH;
use super::issue::Issue;
use super::key::FromNode;
use super::node::Node;
use super::reader::Reader;
use crate::model::{Document, StoredDocument};

/// Reads files of documents, each a name and its text. Every issue of every file is
/// returned, in the order of the files and lines; of a file that is not YAML, only the
/// first error. `above` are the points above each attach point, the root first, as far
/// as they are known.
pub(crate) fn read_documents(
    files: &[(String, String)],
    actions: ActionCatalog,
    above: &BTreeMap<String, OuPath>,
) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let trees: Vec<(&str, &str, Result<Node, Diagnostic>)> = files
        .iter()
        .map(|(file, text)| {
            let node = Node::from_yaml(text).map_err(|error| not_yaml(file, text, &error));
            (file.as_str(), text.as_str(), node)
        })
        .collect();
    let sketches: Vec<Sketch<'_>> =
        trees.iter().filter_map(|(file, _, node)| Sketch::of(file, node.as_ref().ok()?)).collect();
    let (mut documents, mut diagnostics) = (Vec::new(), Vec::new());
    let mut attached: BTreeMap<&str, &str> = BTreeMap::new();
    for (file, text, node) in &trees {
        let node = match node {
            Ok(node) => node,
            Err(diagnostic) => {
                diagnostics.push(diagnostic.clone());
                continue;
            }
        };
        let mut issues = Vec::new();
        if let Some((attach, place)) = node.text_at(ATTACH.name)
            && let Some(other) = attached.insert(attach, file)
        {
            let message = format!("`{attach}` has a document already, in {other}");
            let help = "a point of the tree has one document: put the rules together";
            issues.push(Issue { place, message, help: Some(help.to_owned()) });
        }
        if let Some(sketch) = Sketch::of(file, node) {
            issues.extend(sketch.above_ceilings(&sketches, above));
            issues.extend(sketch.below_another_root(&sketches));
        }
        match read_node(node, file, text, actions) {
            Ok(document) => documents.push(document),
            Err(found) => issues.extend(found),
        }
        diagnostics.extend(located(file, text, issues));
    }
    if diagnostics.is_empty() { Ok(documents) } else { Err(diagnostics) }
}

/// Reads files that each hold one map of a kind. Every issue of every file is returned.
pub(crate) fn read_each<T: FromNode>(
    files: &[(String, String)],
    actions: ActionCatalog,
) -> Result<Vec<T>, Vec<Diagnostic>> {
    let (mut all, mut diagnostics) = (Vec::new(), Vec::new());
    for (file, text) in files {
        match read_one(file, text, actions) {
            Ok(one) => all.push(one),
            Err(found) => diagnostics.extend(found),
        }
    }
    if diagnostics.is_empty() { Ok(all) } else { Err(diagnostics) }
}

/// Reads what DynamoDB keeps as strictly as a file is read: an older program that
/// finds a key it does not know must not skip it, because the key may be a guardrail.
pub(crate) fn read_stored(
    stored: &StoredDocument,
    actions: ActionCatalog,
) -> Result<Document, String> {
    let read = read_one::<Document>(&stored.file, &stored.text, actions);
    let document = read.map_err(|diagnostics| {
        let messages: Vec<String> = diagnostics.iter().map(Diagnostic::in_one_line).collect();
        messages.join("; ")
    })?;
    if document.attach != stored.attach {
        return Err(format!("it says that it is attached to `{}`", document.attach));
    }
    Ok(document)
}

fn read_one<T: FromNode>(
    file: &str,
    text: &str,
    actions: ActionCatalog,
) -> Result<T, Vec<Diagnostic>> {
    let node = Node::from_yaml(text).map_err(|error| vec![not_yaml(file, text, &error)])?;
    read_node(&node, file, text, actions).map_err(|issues| located(file, text, issues))
}

fn read_node<T: FromNode>(
    node: &Node,
    file: &str,
    text: &str,
    actions: ActionCatalog,
) -> Result<T, Vec<Issue>> {
    let mut reader = Reader::new(file, text, actions);
    reader.attach = node.text_at(ATTACH.name).map_or("", |(attach, _)| attach);
    match T::from_node(node, "the file", &mut reader) {
        Some(value) if reader.issues.is_empty() => Ok(value),
        _ => Err(reader.issues),
    }
}
