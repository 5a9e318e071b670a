//! Shows an error with its file, line, column and the line's text.

use std::fmt;

use serde::Serialize;

use super::issue::{Issue, MAX_REPORTED};
use super::node::SourcePosition;

/// One error in one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub file: String,
    /// The line, from 1; 0 where the place is not known.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    #[serde(skip)]
    source: String,
    /// How many characters of it are underlined.
    length: usize,
}

/// Issues with the text at their places, in the order of the file. Of too many issues
/// only the first are returned, with the number of the others.
pub(super) fn located(file: &str, text: &str, mut issues: Vec<Issue>) -> Vec<Diagnostic> {
    issues.sort_by_key(|issue| (issue.place.line, issue.place.column));
    let more = issues.len().saturating_sub(MAX_REPORTED);
    if more > 0 {
        let place = issues.get(MAX_REPORTED).map(|it| it.place).unwrap_or_default();
        issues.truncate(MAX_REPORTED);
        let message = format!("{more} more error(s) from here on");
        issues.push(Issue { place, message, help: None });
    }
    issues.into_iter().map(|it| diagnostic(file, text, it)).collect()
}

/// A part of the parser's message, the message that replaces it, and the help.
const NOT_YAML: [(&str, &str, &str); 4] = [
    (
        "multiple YAML documents",
        "a second YAML document begins here",
        "give each document a file of its own",
    ),
    ("non-finite float", "this number is too large for any comparison", "write a smaller one"),
    ("tabs disallowed", "YAML does not allow a tab here", "indent with spaces"),
    ("found a tab", "YAML does not allow a tab here or on the next line", "indent with spaces"),
];

pub(super) fn not_yaml(file: &str, text: &str, error: &serde_saphyr::Error) -> Diagnostic {
    let place = error.location().map(SourcePosition::from).unwrap_or_default();
    let whole = error.without_snippet().to_string();
    let first = whole.lines().next().unwrap_or_default();
    if let Some((_, message, help)) = NOT_YAML.iter().find(|(said, ..)| first.contains(said)) {
        let (message, help) = ((*message).to_owned(), Some((*help).to_owned()));
        return diagnostic(file, text, Issue { place, message, help });
    }
    // The place is in front of the message already, and the reader does not know the
    // parser's options.
    let end = [" at line ", ", set "].into_iter().filter_map(|text| first.find(text)).min();
    let message = end.and_then(|end| first.get(..end)).unwrap_or(first).to_owned();
    diagnostic(file, text, Issue { place, message, help: None })
}

fn diagnostic(file: &str, text: &str, issue: Issue) -> Diagnostic {
    let Issue { place: SourcePosition { line, column, length }, message, help } = issue;
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
            // A part that spans several lines is underlined in its first.
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
