//! Reads the actions of a rule and their parameters.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::actions::ActionCall;
use super::super::document::Then;
use super::super::node::{Content, MapEntry, Node, SourcePosition};
use super::super::variables;
use super::Reader;
use firebreak_model::action::ActionFacts;
use firebreak_model::suggest::suggestion;

impl<'n> Reader<'_> {
    /// Reads the actions of one rule. `matched` is what resource types the rule
    /// matches, where it names them.
    pub(super) fn calls(
        &mut self,
        nodes: &'n [Node],
        irreversible: bool,
        matched: Option<&[&str]>,
    ) -> Vec<Then> {
        let (mut names, mut places) = (BTreeSet::new(), Vec::new());
        let mut calls = Vec::new();
        for node in nodes {
            let Some((name, place, parameters)) = self.name(node) else { continue };
            if !names.insert(name) {
                let message = format!("`{name}` stands in this rule already");
                self.mistake(place, message, Some("an action runs once for a target"));
            }
            let call = self.call(name, place, parameters, irreversible, matched);
            if call.is_some() {
                places.push((name, place));
            }
            calls.extend(call);
        }
        self.exclusions(&places);
        calls
    }

    /// Two actions that set one attribute would undo one another's work.
    fn exclusions(&mut self, places: &[(&str, SourcePosition)]) {
        for (name, place) in places {
            let facts = self.actions.find(name);
            let excludes = facts.map_or(&[][..], |facts| facts.excludes);
            let Some(other) = excludes.iter().find(|it| places.iter().any(|(name, _)| name == *it))
            else {
                continue;
            };
            let message =
                format!("`{name}` and `{other}` both change the same setting of a resource");
            self.mistake(*place, message, Some("keep one of them in a rule"));
        }
    }

    /// An action's name, its place, and what stands under it.
    fn name(&mut self, node: &'n Node) -> Option<(&'n str, SourcePosition, Option<&'n Node>)> {
        match &node.content {
            Content::Text(name) => return Some((name, node.place, None)),
            Content::Map(entries) => {
                if let [MapEntry { key, place, node }] = entries.as_slice() {
                    return Some((key, *place, Some(node)));
                }
            }
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::List(_) => {}
        }
        let message = format!("expected an action, found {}", node.describe());
        let help = "write `- isolate-instance`, or the name with its parameters below it";
        self.mistake(node.place, message, Some(help));
        None
    }

    fn call(
        &mut self,
        name: &str,
        place: SourcePosition,
        parameters: Option<&Node>,
        irreversible: bool,
        matched: Option<&[&str]>,
    ) -> Option<Then> {
        let actions = self.actions;
        let Some(facts) = actions.find(name) else {
            let names = actions.all().iter().map(|facts| facts.name());
            let help = suggestion(name, names, || {
                "`firebreak actions list` shows what there is".to_owned()
            });
            self.mistake(place, format!("there is no action `{name}`"), Some(&help));
            return None;
        };
        if !facts.is_reversible() && !irreversible {
            let help = "add `irreversible: allow` to the rule if that is meant";
            self.mistake(place, format!("`{name}` cannot be undone"), Some(help));
        }
        if let Some(matched) = matched
            && !facts.spec.resource_types.iter().any(|it| matched.contains(it))
        {
            let message = format!(
                "`{name}` acts on {}, and this rule matches {} only",
                facts.spec.resource_types.join(", "),
                matched.join(", ")
            );
            let help = "it would never run here: give it a rule that matches what it acts on";
            self.mistake(place, message, Some(help));
        }
        let given = parameters.map_or(Value::Null, Node::to_json);
        match parameters {
            Some(parameters) => self.parameters(facts, place, parameters),
            None => {
                if let Err(why) = (facts.check)(&Value::Null) {
                    let message = format!("`{name}` cannot do without parameters: {why}");
                    let help = format!("write `- {name}: {{ … }}` with what it needs");
                    self.mistake(place, message, Some(&help));
                }
            }
        }
        Some(Then {
            has_variables: variables::any(&given),
            call: ActionCall { name: name.to_owned(), parameters: given },
            resource_types: facts.spec.resource_types,
            reversible: facts.is_reversible(),
        })
    }

    /// Parameters as the action's own schema has them.
    fn parameters(&mut self, facts: &ActionFacts, place: SourcePosition, node: &Node) {
        let before = self.issues.len();
        if !matches!(node.content, Content::Map(_) | Content::Null) {
            let message = format!("parameters are keys with values, not {}", node.describe());
            self.mistake(node.place, message, Some("write them as in { name: value }"));
            return;
        }
        self.variables(node);
        let schema = (facts.schema)();
        let known: Vec<&str> = match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => properties.keys().map(String::as_str).collect(),
            None => Vec::new(),
        };
        if let Content::Map(entries) = &node.content {
            for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
                let help = suggestion(&entry.key, known.iter().copied(), || {
                    if known.is_empty() {
                        "it takes none".to_owned()
                    } else {
                        format!("it takes {}", known.join(", "))
                    }
                });
                let message = format!("`{}` takes no `{}`", facts.name(), entry.key);
                self.mistake(entry.place, message, Some(&help));
            }
        }
        if self.issues.len() > before {
            return;
        }
        let filled = variables::fill_with_samples(&node.to_json());
        if let Err(why) = (facts.check)(&filled) {
            // A map has no place of its own that could be underlined.
            let place = match &node.content {
                Content::Map(entries) => entries.first().map_or(place, |entry| entry.node.place),
                _ => node.place,
            };
            self.mistake(place, format!("`{}` does not take this: {why}", facts.name()), None);
        }
    }

    /// Every `${…}` in the texts of parameters.
    fn variables(&mut self, node: &Node) {
        match &node.content {
            Content::Text(text) => {
                let all = || variables::NAMES.map(|(name, _)| name);
                for name in variables::names(text) {
                    let Some(name) = name else {
                        let message = format!("`{text}` opens a variable and does not close it");
                        self.mistake(node.place, message, Some("write it as in ${account.id}"));
                        continue;
                    };
                    if !all().contains(&name) {
                        let help =
                            suggestion(name, all(), || format!("there are {}", all().join(", ")));
                        let message = format!("there is no variable `${{{name}}}`");
                        self.mistake(node.place, message, Some(&help));
                    }
                }
            }
            Content::List(nodes) => nodes.iter().for_each(|node| self.variables(node)),
            Content::Map(entries) => {
                for entry in entries {
                    if entry.key.contains("${") {
                        let message =
                            format!("variables are not filled in keys, as in `{}`", entry.key);
                        self.mistake(entry.place, message, Some("let it stand in the value"));
                    }
                    self.variables(&entry.node);
                }
            }
            Content::Null | Content::Bool(_) | Content::Number(_) => {}
        }
    }
}
