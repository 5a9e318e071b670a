//! Reads a document's tree and collects every mistake in it.

use std::collections::BTreeSet;

use firebreak_spoke::resource::AccountId;
use serde_json::Value;

use super::actions::{ActionCall, ActionFacts};
use super::arn::{ArnPattern, NoArnPattern};
use super::document::{Document, Mode, Protect, Rule, Then};
use super::fields;
use super::keys::{DOCUMENT, Key, LATER, PROTECT, RULE};
use super::node::{Content, Entry, Node, Place};
use super::pattern::{Glob, Pattern};
use super::spelling::suggestion;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Reads one document.
pub(super) fn document(
    node: &Node,
    file: &str,
    actions: &[ActionFacts],
) -> Result<Document, Vec<Mistake>> {
    let mut reader = Reader { actions, mistakes: Vec::new() };
    let document = reader.document(node, file);
    match document {
        Some(document) if reader.mistakes.is_empty() => Ok(document),
        _ => Err(reader.mistakes),
    }
}

/// The attach point that a tree names, even where other parts are mistaken.
pub(super) fn attach(node: &Node) -> Option<(&str, Place)> {
    let Content::Map(entries) = &node.content else { return None };
    let entry = entries.iter().find(|entry| entry.key == "attach")?;
    match &entry.node.content {
        Content::Text(text) => Some((text, entry.node.place)),
        _ => None,
    }
}

/// Reads on after a mistake: what a reading function returns then only serves
/// to find further mistakes.
struct Reader<'a> {
    actions: &'a [ActionFacts],
    mistakes: Vec<Mistake>,
}

impl<'n> Reader<'_> {
    fn mistake(&mut self, place: Place, message: impl Into<String>, help: Option<&str>) {
        let help = help.map(str::to_owned);
        self.mistakes.push(Mistake { place, message: message.into(), help });
    }

    fn document(&mut self, node: &'n Node, file: &str) -> Option<Document> {
        let keys = self.keys(node, "a document", DOCUMENT)?;
        if let Some(version) = keys.get("version")
            && version.to_json() != 1
        {
            let message = format!("version 1 is known, not {}", version.describe());
            self.mistake(version.place, message, None);
        }
        let attach = keys.get("attach").and_then(|node| self.attach_point(node));
        let ceiling = keys.get("ceiling").and_then(|node| self.mode(node));
        let protect = keys.get("protect").map(|node| self.protect(node)).unwrap_or_default();
        let rules = keys.get("rules").map(|node| self.rules(node)).unwrap_or_default();
        let mut written = node.to_json();
        if let Some(object) = written.as_object_mut() {
            object.insert("version".to_owned(), Value::from(1));
        }
        Some(Document { attach: attach?, file: file.to_owned(), ceiling, protect, rules, written })
    }

    /// The keys of a map, of which only those of the table may be there.
    fn keys(&mut self, node: &'n Node, what: &str, table: &[Key]) -> Option<Keys<'n>> {
        let Content::Map(entries) = &node.content else {
            let names: Vec<&str> = table.iter().map(|key| key.name).collect();
            let help = format!("it has the keys {}", names.join(", "));
            let message = format!("{what} is expected here, not {}", node.describe());
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

    fn unknown_key(&mut self, entry: &Entry, what: &str, table: &[Key]) {
        let name = &entry.key;
        if LATER.contains(&name.as_str()) {
            let message = format!("`{name}` is not in this version of Firebreak");
            let help = "it is refused, not skipped: a guardrail that is skipped would be none";
            return self.mistake(entry.place, message, Some(help));
        }
        let names: Vec<&str> = table.iter().map(|key| key.name).collect();
        let help =
            suggestion(name, names.iter().copied(), || format!("it has {}", names.join(", ")));
        self.mistake(entry.place, format!("{what} has no key `{name}`"), Some(&help));
    }

    fn text(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Content::Text(text) = &node.content {
            return Some(text);
        }
        let help = match &node.content {
            Content::Number(number) => Some(format!("write it in quotes: \"{number}\"")),
            _ => None,
        };
        let message = format!("{what} is a text, not {}", node.describe());
        self.mistake(node.place, message, help.as_deref());
        None
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
        let text = self.text(node, "a mode")?;
        let found = Mode::ALL.into_iter().find(|mode| mode.name() == text);
        if found.is_none() {
            let names = Mode::ALL.map(Mode::name);
            let help = suggestion(text, names, || format!("it is one of {}", names.join(", ")));
            self.mistake(node.place, format!("`{text}` is no mode"), Some(&help));
        }
        found
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
            protect.accounts.extend(self.account(node));
        }
        protect
    }

    fn tags(&mut self, node: &Node) -> Option<Vec<(String, Glob)>> {
        let Content::Map(entries) = &node.content else {
            let message = format!("a set of tags is expected here, not {}", node.describe());
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

    fn account(&mut self, node: &Node) -> Option<AccountId> {
        let text = self.text(node, "an account id")?;
        match text.parse() {
            Ok(account) => Some(account),
            Err(error) => {
                self.mistake(node.place, error.to_string(), None);
                None
            }
        }
    }

    fn rules(&mut self, node: &'n Node) -> Vec<Rule> {
        let mut names = BTreeSet::new();
        let nodes = self.list(node, "`rules`");
        nodes.iter().filter_map(|node| self.rule(node, &mut names)).collect()
    }

    fn rule(&mut self, node: &'n Node, names: &mut BTreeSet<&'n str>) -> Option<Rule> {
        let keys = self.keys(node, "a rule", RULE)?;
        let name = keys.get("name").and_then(|node| self.rule_name(node, names));
        let when = keys.get("when").and_then(|node| self.when(node));
        let mode = keys.get("mode").and_then(|node| self.mode(node));
        let irreversible = keys.get("irreversible").is_some_and(|node| self.allow(node));
        let calls = keys.get("then").map(|node| self.list(node, "`then`")).unwrap_or_default();
        let then = calls.iter().filter_map(|node| self.then(node, irreversible)).collect();
        if calls.is_empty() && matches!(mode, Some(Mode::Approve | Mode::Auto)) {
            let help = "name actions under `then`, or use mode observe";
            self.mistake(node.place, "a rule that acts needs actions", Some(help));
        }
        Some(Rule { name: name?, when, mode: mode?, then })
    }

    fn rule_name(&mut self, node: &'n Node, names: &mut BTreeSet<&'n str>) -> Option<String> {
        let name = self.text(node, "a rule's name")?;
        // Responses are kept under `<attach>/<name>`, in keys that use `#`.
        if name.is_empty() || name.contains(['/', '#']) {
            let message = format!("`{name}` is no rule name");
            self.mistake(node.place, message, Some("write words with dashes, without / and #"));
        }
        if !names.insert(name) {
            let message = format!("a rule named `{name}` stands above already");
            let help = "responses are kept under the rule's name: give it another";
            self.mistake(node.place, message, Some(help));
        }
        Some(name.to_owned())
    }

    fn when(&mut self, node: &Node) -> Option<Pattern> {
        match Pattern::parse(&node.to_json()) {
            Ok(pattern) => {
                self.mistakes.extend(fields::check(node));
                Some(pattern)
            }
            Err(error) => {
                self.mistake(node.place_of(&error.path), error.to_string(), None);
                None
            }
        }
    }

    fn allow(&mut self, node: &Node) -> bool {
        let allowed = matches!(&node.content, Content::Text(text) if text == "allow");
        if !allowed {
            let message = format!("`irreversible` is `allow` or left out, not {}", node.describe());
            self.mistake(node.place, message, None);
        }
        allowed
    }

    fn then(&mut self, node: &Node, irreversible: bool) -> Option<Then> {
        let (name, place, parameters) = match &node.content {
            Content::Text(name) => (name, node.place, Value::Null),
            Content::Map(entries) => match entries.as_slice() {
                [Entry { key, place, node }] => (key, *place, node.to_json()),
                _ => return self.no_action(node),
            },
            _ => return self.no_action(node),
        };
        let actions = self.actions;
        let Some(facts) = actions.iter().find(|facts| facts.name == *name) else {
            let names = actions.iter().map(|facts| facts.name.as_str());
            let help = suggestion(name, names, || {
                "`firebreak actions list` shows what there is".to_owned()
            });
            self.mistake(place, format!("there is no action `{name}`"), Some(&help));
            return None;
        };
        if let Err(why) = (facts.check)(name, &parameters) {
            self.mistake(place, format!("`{name}` does not take this: {why}"), None);
        }
        if !facts.reversible && !irreversible {
            let help = "add `irreversible: allow` to the rule if that is meant";
            self.mistake(place, format!("`{name}` cannot be undone"), Some(help));
        }
        let call = ActionCall { name: name.clone(), parameters };
        Some(Then { call, resource_types: facts.resource_types.clone() })
    }

    fn no_action(&mut self, node: &Node) -> Option<Then> {
        let message = format!("an action is expected here, not {}", node.describe());
        let help = "write `- isolate-instance`, or the name with its parameters below it";
        self.mistake(node.place, message, Some(help));
        None
    }
}

/// The entries of a map, looked up by key.
struct Keys<'n>(&'n [Entry]);

impl<'n> Keys<'n> {
    fn get(&self, name: &str) -> Option<&'n Node> {
        self.0.iter().find(|entry| entry.key == name).map(|entry| &entry.node)
    }
}

/// Ids as AWS Organizations documents them: `^r-[0-9a-z]{4,32}$` and
/// `^ou-[0-9a-z]{4,32}-[a-z0-9]{8,32}$`.
fn is_attach_point(text: &str) -> bool {
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
