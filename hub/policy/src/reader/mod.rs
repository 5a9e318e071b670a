//! Reads a document's tree and collects every mistake in it.

mod call;
mod case;
mod rule;

use std::fmt::Display;
use std::str::FromStr;

use firebreak_model::resource::AccountId;

use super::arn::{ArnPattern, NoArnPattern};
use super::budget::{Budget, CountedBy};
use super::diagnostics::TOLD;
use super::document::{Document, Extends, Mode, Protect};
use super::keys::{BUDGET, DOCUMENT, Key, PROTECT};
use super::node::{Content, MapEntry, Node, SourcePosition};
use super::suite::Case;
use super::window::Window;
use firebreak_event_pattern::Glob;
use firebreak_model::action::ActionCatalog;
use firebreak_model::suggest::suggestion;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    pub(super) place: SourcePosition,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Reads one document from its tree; `text` is what the tree was read from.
pub(super) fn document(
    node: &Node,
    file: &str,
    text: &str,
    actions: ActionCatalog,
) -> Result<Document, Vec<Issue>> {
    let mut reader = Reader { source: text, actions, issues: Vec::new() };
    let document = reader.document(node, file, text);
    match document {
        Some(document) if reader.issues.is_empty() => Ok(document),
        _ => Err(reader.issues),
    }
}

/// Reads a file of policy tests from its tree.
pub(super) fn suite(
    node: &Node,
    file: &str,
    text: &str,
    actions: ActionCatalog,
) -> Result<Vec<Case>, Vec<Issue>> {
    let mut reader = Reader { source: text, actions, issues: Vec::new() };
    let cases = reader.suite(node, file);
    if reader.issues.is_empty() { Ok(cases) } else { Err(reader.issues) }
}

/// The text under a key of a document, even where other parts are mistaken.
pub(super) fn text_at<'n>(node: &'n Node, key: &str) -> Option<(&'n str, SourcePosition)> {
    let found = node.get(key)?;
    match &found.content {
        Content::Text(text) => Some((text, found.place)),
        _ => None,
    }
}

/// Reads on after a mistake: what a reading function returns then only serves
/// to find further mistakes.
struct Reader<'a> {
    /// What the tree was read from.
    source: &'a str,
    actions: ActionCatalog,
    issues: Vec<Issue>,
}

impl<'n> Reader<'_> {
    fn mistake(&mut self, place: SourcePosition, message: impl Into<String>, help: Option<&str>) {
        let help = help.map(str::to_owned);
        self.issues.push(Issue { place, message: message.into(), help });
    }

    fn document(&mut self, node: &'n Node, file: &str, text: &str) -> Option<Document> {
        let keys = self.keys(node, "a document", DOCUMENT)?;
        self.version(&keys);
        let attach = keys.get("attach").and_then(|node| self.attach_point(node));
        let ceiling = keys.get("ceiling").and_then(|node| self.mode(node));
        let protect = keys.get("protect").map(|node| self.protect(node)).unwrap_or_default();
        let budgets = keys.get("budgets").map(|node| self.list(node, "`budgets`"));
        let budgets =
            budgets.unwrap_or_default().iter().filter_map(|node| self.budget(node)).collect();
        let extends = keys.get("extends").and_then(|node| {
            self.one_of(node, "a value of `extends`", &Extends::ALL, Extends::name)
        });
        let point = attach.as_deref().unwrap_or_default();
        let rules = keys.get("rules").map(|node| self.rules(node, point, file));
        Some(Document {
            attach: attach?,
            file: file.to_owned(),
            ceiling,
            protect,
            budgets,
            extends: extends.unwrap_or_default(),
            rules: rules.unwrap_or_default(),
            text: text.to_owned(),
        })
    }

    fn version(&mut self, keys: &Keys<'_>) {
        if let Some(version) = keys.get("version")
            && version.to_json() != 1
        {
            let message =
                format!("unsupported version: this release supports 1, not {}", version.describe());
            self.mistake(version.place, message, None);
        }
    }

    /// The keys of a map, of which only those of the table may be there.
    fn keys(&mut self, node: &'n Node, what: &str, table: &[Key]) -> Option<Keys<'n>> {
        let Content::Map(entries) = &node.content else {
            let names: Vec<&str> = table.iter().map(|key| key.name).collect();
            let help = format!("it has the keys {}", names.join(", "));
            let message = format!("expected {what}, found {}", node.describe());
            self.mistake(node.place, message, Some(&help));
            return None;
        };
        for entry in entries {
            if !table.iter().any(|key| key.name == entry.key) {
                self.unknown_key(entry, what, table);
            }
        }
        for key in table.iter().filter(|key| key.required) {
            if !entries.iter().any(|entry| entry.key == key.name) {
                self.mistake(node.place, format!("{what} needs `{}`", key.name), None);
            }
        }
        Some(Keys(entries))
    }

    fn unknown_key(&mut self, entry: &MapEntry, what: &str, table: &[Key]) {
        let name = &entry.key;
        let names: Vec<&str> = table.iter().map(|key| key.name).collect();
        let help =
            suggestion(name, names.iter().copied(), || format!("it has {}", names.join(", ")));
        self.mistake(entry.place, format!("{what} has no key `{name}`"), Some(&help));
    }

    fn text(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Content::Text(text) = &node.content {
            return Some(text);
        }
        if let Content::Number(_) = &node.content {
            // As it stands there: a number forgets its leading zeros.
            let written = self.written(node.place);
            let help = format!("write it in quotes: \"{written}\"");
            self.mistake(
                node.place,
                format!("{what} must be a string, not the number {written}"),
                Some(&help),
            );
            return None;
        }
        self.mistake(node.place, format!("{what} must be a string, not {}", node.describe()), None);
        None
    }

    /// What stands at a place of the file.
    fn written(&self, place: SourcePosition) -> String {
        // Beyond the reported number it is not looked up either.
        if self.issues.len() > TOLD {
            return String::new();
        }
        let from = |number: u64| usize::try_from(number).unwrap_or_default().saturating_sub(1);
        let line = self.source.lines().nth(from(place.line)).unwrap_or_default();
        let length = usize::try_from(place.length).unwrap_or_default();
        line.chars().skip(from(place.column)).take(length).collect()
    }

    fn list(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Content::List(nodes) = &node.content {
            return nodes;
        }
        let message = format!("{what} is a list, not {}", node.describe());
        self.mistake(node.place, message, Some("write each entry on a line after a dash"));
        &[]
    }

    fn attach_point(&mut self, node: &'n Node) -> Option<String> {
        let text = self.text(node, "`attach`")?;
        if !is_attach_point(text) {
            let message = format!("`{text}` is no root id, OU id or account id");
            let help = "write r-…, ou-…-… or twelve digits; names can change, ids cannot";
            self.mistake(node.place, message, Some(help));
        }
        Some(text.to_owned())
    }

    fn mode(&mut self, node: &'n Node) -> Option<Mode> {
        self.one_of(node, "a mode", &Mode::ALL, Mode::name)
    }

    /// A text that has a form of its own, such as an account id.
    fn parsed<T: FromStr<Err: Display>>(&mut self, node: &'n Node, what: &str) -> Option<T> {
        let text = self.text(node, what)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.mistake(node.place, error.to_string(), None);
                None
            }
        }
    }

    /// One of a few words.
    fn one_of<T: Copy>(
        &mut self,
        node: &'n Node,
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
            self.mistake(node.place, format!("`{text}` is not {what}"), Some(&help));
        }
        found
    }

    fn window(&mut self, node: &'n Node, what: &str) -> Option<Window> {
        let help = "write it as in 30m, 72h or 7d: from a minute to 30 days";
        let Content::Text(text) = &node.content else {
            let message = format!("{what} is a window of time, not {}", node.describe());
            self.mistake(node.place, message, Some(help));
            return None;
        };
        match Window::parse(text) {
            Ok(window) => Some(window),
            Err(why) => {
                self.mistake(node.place, format!("{what}: `{text}` {why}"), Some(help));
                None
            }
        }
    }

    fn bool(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Content::Bool(bool) = &node.content {
            return Some(*bool);
        }
        let message = format!("{what} is true or false, not {}", node.describe());
        self.mistake(node.place, message, None);
        None
    }

    fn budget(&mut self, node: &'n Node) -> Option<Budget> {
        let keys = self.keys(node, "a budget", BUDGET)?;
        let actions = keys.get("actions").and_then(|node| self.count(node));
        let per = keys.get("per").and_then(|node| self.window(node, "`per`"));
        let by = keys.get("by").and_then(|node| {
            self.one_of(node, "a value of `by`", &CountedBy::ALL, CountedBy::name)
        });
        Some(Budget { actions: actions?, per: per?, by })
    }

    fn count(&mut self, node: &Node) -> Option<u32> {
        let count = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|it| u32::try_from(it).ok()),
            _ => None,
        };
        if let Some(count @ 1..) = count {
            return Some(count);
        }
        let message = format!("`actions` is a whole number from 1 up, not {}", node.describe());
        let help = "where nothing may be done without a person, set `ceiling: approve`";
        self.mistake(node.place, message, Some(help));
        None
    }

    fn protect(&mut self, node: &'n Node) -> Protect {
        let mut protect = Protect::default();
        let Some(keys) = self.keys(node, "`protect`", PROTECT) else { return protect };
        for set in keys.get("tags").map(|it| self.list(it, "`tags`")).unwrap_or_default() {
            protect.tags.extend(self.tags(set));
        }
        for node in
            keys.get("principals").map(|it| self.list(it, "`principals`")).unwrap_or_default()
        {
            protect.principals.extend(self.arn(node, ArnPattern::principal));
        }
        for node in keys.get("resources").map(|it| self.list(it, "`resources`")).unwrap_or_default()
        {
            protect.resources.extend(self.arn(node, ArnPattern::resource));
        }
        for node in keys.get("accounts").map(|it| self.list(it, "`accounts`")).unwrap_or_default() {
            protect.accounts.extend(self.parsed::<AccountId>(node, "an account id"));
        }
        protect
    }

    fn tags(&mut self, node: &Node) -> Option<Vec<(String, Glob)>> {
        let Content::Map(entries) = &node.content else {
            let message = format!("expected a set of tags, found {}", node.describe());
            self.mistake(node.place, message, Some("write it as in { firebreak: exempt }"));
            return None;
        };
        if entries.is_empty() {
            self.mistake(node.place, "an empty set of tags would protect everything", None);
        }
        entries
            .iter()
            .map(|entry| {
                let value = self.text(&entry.node, "a tag's value")?;
                Some((entry.key.clone(), Glob::new(value)))
            })
            .collect()
    }

    fn arn(
        &mut self,
        node: &Node,
        read: fn(&str) -> Result<ArnPattern, NoArnPattern>,
    ) -> Option<ArnPattern> {
        let text = self.text(node, "an ARN pattern")?;
        match read(text) {
            Ok(pattern) => Some(pattern),
            Err(NoArnPattern { why, help }) => {
                self.mistake(node.place, format!("`{text}` protects nothing: {why}"), Some(help));
                None
            }
        }
    }
}

/// The entries of a map, looked up by key.
struct Keys<'n>(&'n [MapEntry]);

impl<'n> Keys<'n> {
    fn get(&self, name: &str) -> Option<&'n Node> {
        self.0.iter().find(|entry| entry.key == name).map(|entry| &entry.node)
    }
}

/// Ids as AWS Organizations documents them: `^r-[0-9a-z]{4,32}$` and
/// `^ou-[0-9a-z]{4,32}-[a-z0-9]{8,32}$`.
pub fn is_attach_point(text: &str) -> bool {
    let word = |part: &str, shortest: usize| {
        (shortest..=32).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["r", root] => word(root, 4),
        ["ou", root, unit] => word(root, 4) && word(unit, 8),
        [account] => account.parse::<AccountId>().is_ok(),
        _ => false,
    }
}
