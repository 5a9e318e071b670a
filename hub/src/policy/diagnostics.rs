//! Policy files read, and every mistake in them told at its place.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::document::{
    ActionFacts, Allow, At, Document, Mode, Written, WrittenProtect, WrittenRule,
};
use super::tree::Policy;

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    source: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, help, source } = self;
        write!(formatter, "{file}:{line}:{column}: {message}")?;
        if !source.trim().is_empty() {
            let before = usize::try_from(column.saturating_sub(1)).unwrap_or_default();
            let text = source.chars().skip(before).collect::<String>();
            let width = text.trim_end().chars().count().max(1);
            write!(formatter, "\n    {source}\n    {}{}", " ".repeat(before), "^".repeat(width))?;
        }
        match help {
            Some(help) => write!(formatter, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// Reads files, each a name and its text. Every mistake of every file comes
/// back in one go, in the order of the files and lines.
pub fn read_files(
    files: &[(String, String)],
    actions: &[ActionFacts],
) -> Result<Policy, Vec<Diagnostic>> {
    let mut documents: Vec<Document> = Vec::new();
    let mut diagnostics = Vec::new();
    let mut attached: HashMap<String, String> = HashMap::new();
    for (file, text) in files {
        let read = match serde_saphyr::from_str::<Located>(text) {
            Ok(read) => read,
            Err(error) => {
                diagnostics.push(structural(file, text, &error));
                continue;
            }
        };
        let place = |location: Location| (location.line(), location.column());
        if let Some(other) = attached.insert(read.attach.value.clone(), file.clone()) {
            let attach = &read.attach.value;
            let message = format!("`{attach}` has a document already, in {other}");
            let help = "one point of the tree has one document: put the rules together".to_owned();
            let at = place(read.attach.referenced);
            diagnostics.push(diagnostic(file, text, at, message, Some(help)));
        }
        match Document::check(read.written(), file, actions) {
            Ok(document) => documents.push(document),
            Err(mistakes) => diagnostics.extend(mistakes.into_iter().map(|mistake| {
                let at = place(read.location(mistake.at));
                diagnostic(file, text, at, mistake.message, mistake.help)
            })),
        }
    }
    if diagnostics.is_empty() { Ok(Policy::new(documents)) } else { Err(diagnostics) }
}

/// A mistake that the reader of YAML found. It stops at the first in a file.
fn structural(file: &str, text: &str, error: &serde_saphyr::Error) -> Diagnostic {
    let at = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    let whole = error.without_snippet().to_string();
    let message = whole.lines().next().unwrap_or_default().to_owned();
    let later = ["budgets", "approve", "expires", "confirm", "extends"];
    let named = later.iter().find(|key| message.contains(&format!("unknown field `{key}`")));
    let help = named.map(|key| {
        format!("`{key}` is not in this version; a guardrail that is skipped would be none, so the file is refused")
    });
    diagnostic(file, text, at, message, help)
}

fn diagnostic(
    file: &str,
    text: &str,
    (line, column): (u64, u64),
    message: String,
    help: Option<String>,
) -> Diagnostic {
    let index = usize::try_from(line.saturating_sub(1)).unwrap_or_default();
    let source = if line == 0 { "" } else { text.lines().nth(index).unwrap_or_default() };
    Diagnostic { file: file.to_owned(), line, column, message, help, source: source.to_owned() }
}

/// The written form with the place of each part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Located {
    #[serde(default)]
    version: Option<Spanned<u32>>,
    attach: Spanned<String>,
    #[serde(default)]
    ceiling: Option<Mode>,
    #[serde(default)]
    protect: LocatedProtect,
    #[serde(default)]
    rules: Vec<LocatedRule>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct LocatedProtect {
    tags: Vec<Spanned<BTreeMap<String, String>>>,
    principals: Vec<Spanned<String>>,
    resources: Vec<Spanned<String>>,
    accounts: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocatedRule {
    name: Spanned<String>,
    #[serde(default)]
    when: Option<Spanned<Value>>,
    mode: Mode,
    #[serde(default)]
    then: Vec<Spanned<Value>>,
    #[serde(default)]
    irreversible: Option<Allow>,
}

fn values<T: Clone>(spanned: &[Spanned<T>]) -> Vec<T> {
    spanned.iter().map(|spanned| spanned.value.clone()).collect()
}

impl Located {
    fn written(&self) -> Written {
        Written {
            version: self.version.as_ref().map_or(1, |version| version.value),
            attach: self.attach.value.clone(),
            ceiling: self.ceiling,
            protect: WrittenProtect {
                tags: values(&self.protect.tags),
                principals: values(&self.protect.principals),
                resources: values(&self.protect.resources),
                accounts: values(&self.protect.accounts),
            },
            rules: self
                .rules
                .iter()
                .map(|rule| WrittenRule {
                    name: rule.name.value.clone(),
                    when: rule.when.as_ref().map(|when| when.value.clone()),
                    mode: rule.mode,
                    then: values(&rule.then),
                    irreversible: rule.irreversible,
                })
                .collect(),
        }
    }

    fn location(&self, at: At) -> Location {
        let protect = &self.protect;
        let rule = |index: usize| self.rules.get(index);
        let found = match at {
            At::Version => self.version.as_ref().map(|it| it.referenced),
            At::Attach => None,
            At::Tag(index) => protect.tags.get(index).map(|it| it.referenced),
            At::Principal(index) => protect.principals.get(index).map(|it| it.referenced),
            At::Resource(index) => protect.resources.get(index).map(|it| it.referenced),
            At::Account(index) => protect.accounts.get(index).map(|it| it.referenced),
            At::RuleName(index) | At::Then(index) => rule(index).map(|it| it.name.referenced),
            At::When(index) => rule(index).and_then(|it| it.when.as_ref()).map(|it| it.referenced),
            At::Call(index, nth) => {
                rule(index).and_then(|it| it.then.get(nth)).map(|it| it.referenced)
            }
        };
        found.unwrap_or(self.attach.referenced)
    }
}
