//! Reads one file and collects its issues.

use std::fmt::Display;
use std::str::FromStr;

use firebreak_model::action::ActionCatalog;
use firebreak_model::suggest::suggestion;

use super::issue::{Issue, MAX_REPORTED};
use super::node::{Content, Node, SourcePosition};

/// Reads one file. It continues after an issue, so that one run finds them all.
pub(crate) struct Reader<'a> {
    pub(super) source: &'a str,
    pub(crate) file: &'a str,
    /// The attach point of the file's document; empty while it has none.
    pub(super) attach: &'a str,
    pub(super) actions: ActionCatalog,
    pub(super) issues: Vec<Issue>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, source: &'a str, actions: ActionCatalog) -> Self {
        Self { source, file, attach: "", actions, issues: Vec::new() }
    }

    /// Reports an issue.
    pub(crate) fn report(
        &mut self,
        place: SourcePosition,
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let help = help.map(str::to_owned);
        self.issues.push(Issue { place, message: message.into(), help });
    }

    /// The string at a node. `what` names the node in messages, as in all that follow.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Content::Text(text) = &node.content {
            return Some(text);
        }
        if let Content::Number(_) = &node.content {
            // From the file: the parsed number has lost its leading zeros.
            let written = self.written(node.place);
            let message = format!("{what} must be a string, not the number {written}");
            let help = format!("write it in quotes: \"{written}\"");
            self.report(node.place, message, Some(&help));
            return None;
        }
        let message = format!("{what} must be a string, not {}", node.describe());
        self.report(node.place, message, None);
        None
    }

    /// The file's text at a place.
    fn written(&self, place: SourcePosition) -> String {
        // An issue beyond the limit is not reported, so its text is not looked up.
        if self.issues.len() > MAX_REPORTED {
            return String::new();
        }
        let index = |number: u64| usize::try_from(number).unwrap_or_default().saturating_sub(1);
        let line = self.source.lines().nth(index(place.line)).unwrap_or_default();
        let length = usize::try_from(place.length).unwrap_or_default();
        line.chars().skip(index(place.column)).take(length).collect()
    }

    /// The entries of a list; none where there is no list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Content::List(nodes) = &node.content {
            return nodes;
        }
        let message = format!("{what} must be a list, not {}", node.describe());
        self.report(node.place, message, Some("write each entry on a line after a dash"));
        &[]
    }

    /// A string with a form of its own, such as an account id.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        node: &Node,
        what: &str,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.report(node.place, error.to_string(), None);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        let found = all.iter().copied().find(|it| name(*it) == text);
        if found.is_none() {
            let names: Vec<&str> = all.iter().copied().map(name).collect();
            let help = suggestion(text, names.iter().copied(), || {
                format!("it is one of {}", names.join(", "))
            });
            self.report(node.place, format!("`{text}` is not a value of {what}"), Some(&help));
        }
        found
    }
}
