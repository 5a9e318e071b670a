//! Reads policy files, and reports every error at its line and column.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::ancestry::Sketch;
use super::document::Document;
use super::node::{Node, SourcePosition};
use super::reader::{self, Issue};
use super::suite::Case;
use super::tree::Policy;
use firebreak_model::action::ActionCatalog;
use firebreak_model::organization::OuPath;

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where the place is not known.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line's text.
    #[serde(skip)]
    source: String,
    /// How many characters of it are meant.
    length: usize,
}

/// Reads files, each a name and its text. Every mistake of every file comes
/// back in one go, in the order of the files and lines. Only where a file is
/// not YAML only its first error can be reported.
pub fn read_files(
    files: &[(String, String)],
    actions: ActionCatalog,
) -> Result<Policy, Vec<Diagnostic>> {
    read_files_within(files, actions, &BTreeMap::new())
}

/// Reads files as [`read_files`] does, knowing the organization's tree: the
/// points above each attach point, the root first.
pub fn read_files_within(
    files: &[(String, String)],
    actions: ActionCatalog,
    above: &BTreeMap<String, OuPath>,
) -> Result<Policy, Vec<Diagnostic>> {
    let trees: Vec<(&str, &str, Result<Node, Diagnostic>)> = files
        .iter()
        .map(|(file, text)| {
            let node = Node::from_yaml(text).map_err(|error| not_yaml(file, text, &error));
            (file.as_str(), text.as_str(), node)
        })
        .collect();
    let sketches: Vec<Sketch<'_>> =
        trees.iter().filter_map(|(file, _, node)| Sketch::of(file, node.as_ref().ok()?)).collect();
    let mut documents = Vec::new();
    let mut diagnostics = Vec::new();
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
        if let Some((attach, place)) = reader::text_at(node, "attach")
            && let Some(other) = attached.insert(attach, file)
        {
            let message = format!("`{attach}` has a document already, in {other}");
            let help = "one point of the tree has one document: put the rules together";
            issues.push(Issue { place, message, help: Some(help.to_owned()) });
        }
        if let Some(sketch) = Sketch::of(file, node) {
            issues.extend(sketch.above_ceilings(&sketches, above));
            issues.extend(sketch.below_another_root(&sketches));
        }
        match reader::document(node, file, text, actions) {
            Ok(document) => documents.push(document),
            Err(found) => issues.extend(found),
        }
        issues.sort_by_key(|mistake| (mistake.place.line, mistake.place.column));
        diagnostics.extend(located(file, text, issues));
    }
    if diagnostics.is_empty() { Ok(Policy::new(documents)) } else { Err(diagnostics) }
}

/// Reads files of policy tests, each a name and its text; every mistake of
/// every file comes back in one go.
pub fn read_tests(
    files: &[(String, String)],
    actions: ActionCatalog,
) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let mut cases = Vec::new();
    let mut diagnostics = Vec::new();
    for (file, text) in files {
        let read = Node::from_yaml(text)
            .map_err(|error| vec![not_yaml(file, text, &error)])
            .and_then(|node| {
                reader::suite(&node, file, text, actions)
                    .map_err(|issues| located(file, text, issues))
            });
        match read {
            Ok(read) => cases.extend(read),
            Err(found) => diagnostics.extend(found),
        }
    }
    if diagnostics.is_empty() { Ok(cases) } else { Err(diagnostics) }
}

/// How many issues of one file are reported. Each is looked up in the file, which
/// takes the longer the more there are.
pub(super) const TOLD: usize = 200;

/// The mistakes at their places; of very many the first, and how many more.
fn located(file: &str, text: &str, mut issues: Vec<Issue>) -> Vec<Diagnostic> {
    let more = issues.len().saturating_sub(TOLD);
    if more > 0 {
        let place = issues.get(TOLD).map(|it| it.place).unwrap_or_default();
        issues.truncate(TOLD);
        let message = format!("{more} more mistake(s) from here on");
        issues.push(Issue { place, message, help: None });
    }
    issues.into_iter().map(|it| diagnostic(file, text, it)).collect()
}

/// Reads one document by itself.
pub(super) fn read_document(
    file: &str,
    text: &str,
    actions: ActionCatalog,
) -> Result<Document, Vec<Diagnostic>> {
    let node = Node::from_yaml(text).map_err(|error| vec![not_yaml(file, text, &error)])?;
    reader::document(&node, file, text, actions).map_err(|issues| located(file, text, issues))
}

/// What the parser says in terms of its own, and what its reader has to know.
const NOT_YAML: [(&str, &str, &str); 3] = [
    (
        "multiple YAML documents",
        "a second YAML document begins here",
        "give each document a file of its own",
    ),
    ("non-finite float", "this number is too large for any comparison", "write a smaller one"),
    ("found a tab", "YAML does not allow a tab here or on the next line", "indent with spaces"),
];

fn not_yaml(file: &str, text: &str, error: &serde_saphyr::Error) -> Diagnostic {
    let place = error.location().map(SourcePosition::from).unwrap_or_default();
    let whole = error.without_snippet().to_string();
    let first = whole.lines().next().unwrap_or_default();
    if let Some((_, message, help)) = NOT_YAML.iter().find(|(said, ..)| first.contains(said)) {
        let (message, help) = ((*message).to_owned(), Some((*help).to_owned()));
        return diagnostic(file, text, Issue { place, message, help });
    }
    // The place stands before the message already, and the parser's options are
    // not the reader's business.
    let end = [" at line ", ", set "].into_iter().filter_map(|text| first.find(text)).min();
    let message = end.and_then(|end| first.get(..end)).unwrap_or(first).to_owned();
    diagnostic(file, text, Issue { place, message, help: None })
}

pub(super) fn diagnostic(file: &str, text: &str, mistake: Issue) -> Diagnostic {
    let Issue { place: SourcePosition { line, column, length }, message, help } = mistake;
    let index = usize::try_from(line).unwrap_or_default().checked_sub(1);
    let source = index.and_then(|index| text.lines().nth(index)).unwrap_or_default();
    Diagnostic {
        file: file.to_owned(),
        line,
        column,
        message,
        help,
        source: source.trim_end().to_owned(),
        length: usize::try_from(length).unwrap_or_default(),
    }
}

/// How much of a long line is shown.
const SHOWN: usize = 160;

impl Diagnostic {
    /// A file that cannot be read at all.
    pub fn unreadable(file: &str, why: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: format!("it cannot be read: {why}"),
            help: None,
            source: String::new(),
            length: 0,
        }
    }

    /// Place, message and help, for where only one line fits.
    pub fn in_one_line(&self) -> String {
        let Self { line, column, message, help, .. } = self;
        let help = help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("line {line}:{column}: {message}{help}")
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, help, source, length } = self;
        match line {
            0 => write!(formatter, "{file}: {message}")?,
            _ => write!(formatter, "{file}:{line}:{column}: {message}")?,
        }
        if !source.trim().is_empty() {
            let before = usize::try_from(column.saturating_sub(1)).unwrap_or_default();
            let skipped =
                if source.chars().count() > SHOWN { before.saturating_sub(40) } else { 0 };
            let source: String = source.chars().skip(skipped).take(SHOWN).collect();
            let before = before - skipped;
            let left = source.chars().count().saturating_sub(before);
            // What goes on over several lines is underlined in its first.
            let width = (*length).min(left).max(1);
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let under = format!("{}{}", " ".repeat(before), "^".repeat(width));
            write!(formatter, "\n{margin} |\n{number} | {source}\n{margin} | {under}")?;
        }
        match help {
            Some(help) => write!(formatter, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}
