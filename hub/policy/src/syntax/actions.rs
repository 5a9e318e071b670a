//! Reads lists of actions with their parameters.

use std::collections::BTreeSet;

use firebreak_model::action::{ActionCatalog, ActionFacts, Phase};
use firebreak_model::suggest::suggestion;
use serde_json::{Value, json};

use super::key::FromNode;
use super::node::{Content, MapEntry, Node, SourcePosition};
use super::reader::Reader;
use crate::model::{
    ActionCall, RuleAction, VARIABLES, fill_with_samples, has_variables, variable_names,
};

/// The actions of one rule, each with the place of its name.
#[derive(Default)]
pub(crate) struct Actions(Vec<(SourcePosition, RuleAction)>);

impl Actions {
    /// What a rule executes.
    pub(super) fn into_rule_actions(self) -> Vec<RuleAction> {
        self.0.into_iter().map(|(_, action)| action).collect()
    }

    /// What a rule executes if something stays open.
    pub(super) fn into_rule_actions_if_residual(self) -> Vec<RuleAction> {
        let conditional = |action: RuleAction| {
            let call = ActionCall { if_residual: true, ..action.call };
            RuleAction { call, ..action }
        };
        self.into_rule_actions().into_iter().map(conditional).collect()
    }

    /// Reports what must not be beside the other list of the rule, `then`.
    pub(super) fn check_beside(&self, then: &Self, reader: &mut Reader<'_>) {
        for (place, action) in &self.0 {
            let name = &action.call.name;
            if then.names().any(|other| other == name) {
                let message = format!("`{name}` is in `then` already");
                reader.report(*place, message, Some("an action runs once for a target"));
            }
            let catalog = reader.actions;
            let facts = |name: &str| catalog.find(name);
            let excludes = |one: &str, other: &str| {
                facts(one).is_some_and(|facts| facts.excludes.contains(&other))
            };
            let after = |one: &str, other: &str| {
                facts(one).is_some_and(|facts| facts.after.contains(&other))
            };
            if let Some(other) = then.names().find(|it| excludes(name, it) || excludes(it, name)) {
                report_exclusion(*place, name, other, reader);
            }
            if let Some(other) = then.names().find(|other| after(other, name)) {
                let message = format!("`{name}` has to run before `{other}`, which is in `then`");
                reader.report(*place, message, Some("name both under `then`"));
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, action)| action.call.name.as_str())
    }

    /// Whether one of these actions contains its target.
    pub(super) fn contain(&self, catalog: ActionCatalog) -> bool {
        self.0.iter().any(|(_, action)| {
            let facts = catalog.find(&action.call.name);
            facts.is_some_and(|facts| facts.spec.phase == Phase::Contain)
        })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names with their parameters.
    pub(crate) fn into_calls(self) -> Vec<ActionCall> {
        self.0.into_iter().map(|(_, action)| action.call).collect()
    }

    pub(super) fn first_irreversible(&self) -> Option<&str> {
        let found = self.0.iter().find(|(_, action)| !action.reversible)?;
        Some(&found.1.call.name)
    }

    pub(super) fn refuse_irreversible(&self, reader: &mut Reader<'_>) {
        for (place, action) in self.0.iter().filter(|(_, action)| !action.reversible) {
            let message = format!("`{}` cannot be undone", action.call.name);
            let help = "add `irreversible: allow` to the rule if that is meant";
            reader.report(*place, message, Some(help));
        }
    }

    /// Reports actions for other resource types than the rule matches, where it names
    /// these.
    pub(super) fn check_against(&self, matched: Option<&[&str]>, reader: &mut Reader<'_>) {
        let Some(matched) = matched else { return };
        for (place, RuleAction { call, resource_types, .. }) in &self.0 {
            if resource_types.iter().any(|it| matched.contains(it)) {
                continue;
            }
            let (types, matched) = (resource_types.join(", "), matched.join(", "));
            let message =
                format!("`{}` acts on {types}, and this rule matches {matched} only", call.name);
            let help =
                "it would never run here: give it a rule that matches resources of its types";
            reader.report(*place, message, Some(help));
        }
    }
}

impl FromNode for Actions {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let (mut names, mut actions) = (BTreeSet::new(), Vec::new());
        for node in reader.list(node, what) {
            let Some((name, place, parameters)) = name(node, reader) else { continue };
            if !names.insert(name) {
                let message = format!("`{name}` is in this list already");
                reader.report(place, message, Some("an action runs once for a target"));
            }
            actions.extend(action(name, place, parameters, reader).map(|it| (place, it)));
        }
        refuse_exclusions(&actions, reader);
        Some(Self(actions))
    }

    /// A name alone, or each name with its parameters.
    fn schema(actions: ActionCatalog) -> Value {
        let names: Vec<&str> = actions.all().iter().map(|action| action.name()).collect();
        let with_parameters = actions.all().iter().map(|action| {
            let mut parameters = (action.schema)();
            if let Some(parameters) = parameters.as_object_mut() {
                parameters.remove("$schema");
            }
            json!({
                "type": "object",
                "properties": { action.name(): parameters },
                "required": [action.name()],
                "additionalProperties": false,
            })
        });
        let all: Vec<Value> =
            std::iter::once(json!({ "enum": names })).chain(with_parameters).collect();
        json!({ "type": "array", "items": { "anyOf": all } })
    }

    fn holds() -> String {
        "list: an action's name, or its name with parameters".to_owned()
    }
}

/// Reports two actions that change one setting: they would undo one another's work.
fn refuse_exclusions(actions: &[(SourcePosition, RuleAction)], reader: &mut Reader<'_>) {
    let there = |name: &str| actions.iter().any(|(_, action)| action.call.name == name);
    for (place, RuleAction { call: ActionCall { name, .. }, .. }) in actions {
        let excludes = reader.actions.find(name).map_or(&[][..], |facts| facts.excludes);
        let Some(other) = excludes.iter().find(|it| there(it)) else { continue };
        report_exclusion(*place, name, other, reader);
    }
}

fn report_exclusion(place: SourcePosition, name: &str, other: &str, reader: &mut Reader<'_>) {
    let message = format!("`{name}` and `{other}` both change the same setting of a resource");
    reader.report(place, message, Some("keep one of them in a rule"));
}

/// An action's name, its place, and the node under it.
fn name<'n>(
    node: &'n Node,
    reader: &mut Reader<'_>,
) -> Option<(&'n str, SourcePosition, Option<&'n Node>)> {
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
    reader.report(node.place, message, Some(help));
    None
}

fn action(
    name: &str,
    place: SourcePosition,
    parameters: Option<&Node>,
    reader: &mut Reader<'_>,
) -> Option<RuleAction> {
    let catalog = reader.actions;
    let Some(facts) = catalog.find(name) else {
        let names = catalog.all().iter().map(|facts| facts.name());
        let help =
            suggestion(name, names, || "`firebreak actions list` shows all actions".to_owned());
        reader.report(place, format!("there is no action `{name}`"), Some(&help));
        return None;
    };
    match parameters {
        Some(parameters) => check_parameters(facts, place, parameters, reader),
        None => {
            if let Err(why) = (facts.check)(&Value::Null) {
                let message = format!("`{name}` needs parameters: {why}");
                let help = format!("write `- {name}: {{ … }}` with its parameters");
                reader.report(place, message, Some(&help));
            }
        }
    }
    let parameters = parameters.map_or(Value::Null, Node::to_json);
    Some(RuleAction {
        has_variables: has_variables(&parameters),
        call: ActionCall { name: name.to_owned(), parameters, if_residual: false },
        resource_types: facts.spec.resource_types,
        reversible: facts.is_reversible(),
    })
}

/// Checks parameters against the action's own schema.
fn check_parameters(
    facts: &ActionFacts,
    place: SourcePosition,
    node: &Node,
    reader: &mut Reader<'_>,
) {
    let before = reader.issues.len();
    if !matches!(node.content, Content::Map(_) | Content::Null) {
        let message = format!("parameters are keys with values, not {}", node.describe());
        reader.report(node.place, message, Some("write them as in { name: value }"));
        return;
    }
    check_variables(node, reader);
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
            reader.report(entry.place, message, Some(&help));
        }
    }
    if reader.issues.len() > before {
        return;
    }
    if let Err(why) = (facts.check)(&fill_with_samples(&node.to_json())) {
        // A map has no place of its own that could be underlined.
        let place = match &node.content {
            Content::Map(entries) => entries.first().map_or(place, |entry| entry.node.place),
            _ => node.place,
        };
        let message = format!("`{}` does not take these parameters: {why}", facts.name());
        reader.report(place, message, None);
    }
}

/// Checks every `${…}` in the texts of parameters.
fn check_variables(node: &Node, reader: &mut Reader<'_>) {
    match &node.content {
        Content::Text(text) => check_variables_of_text(text, node.place, reader),
        Content::List(nodes) => nodes.iter().for_each(|node| check_variables(node, reader)),
        Content::Map(entries) => {
            for entry in entries {
                if entry.key.contains("${") {
                    let message =
                        format!("variables are not filled in keys, as in `{}`", entry.key);
                    reader.report(entry.place, message, Some("write the variable in a value"));
                }
                check_variables(&entry.node, reader);
            }
        }
        Content::Null | Content::Bool(_) | Content::Number(_) => {}
    }
}

fn check_variables_of_text(text: &str, place: SourcePosition, reader: &mut Reader<'_>) {
    let all = || VARIABLES.map(|(name, _)| name);
    for name in variable_names(text) {
        let Some(name) = name else {
            let message = format!("`{text}` opens a variable and does not close it");
            reader.report(place, message, Some("write it as in ${account.id}"));
            continue;
        };
        if !all().contains(&name) {
            let help = suggestion(name, all(), || format!("there are {}", all().join(", ")));
            let message = format!("there is no variable `${{{name}}}`");
            reader.report(place, message, Some(&help));
        }
    }
}
