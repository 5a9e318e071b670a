//! Reads the rules of a document.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::decision::RuleRef;
use super::super::document::{Approve, Mode, Otherwise, Rule, Then};
use super::super::fields;
use super::super::keys::{APPROVE, RULE};
use super::super::node::{Content, Node};
use super::super::window::Window;
use super::{Reader, text_at};
use firebreak_event_pattern::Pattern;

impl<'n> Reader<'_> {
    /// Reads the rules of the document at an attach point, from a file.
    pub(super) fn rules(&mut self, node: &'n Node, attach: &str, file: &str) -> Vec<Rule> {
        let mut names = BTreeSet::new();
        let nodes = self.list(node, "`rules`");
        let reference = |rule| RuleRef { document: attach.to_owned(), file: file.to_owned(), rule };
        let rules =
            nodes.iter().filter_map(|node| self.rule(node, &mut names, reference)).collect();
        self.never_reached(nodes);
        rules
    }

    /// Rules behind one that matches everything.
    fn never_reached(&mut self, nodes: &[Node]) {
        let all =
            nodes.iter().position(|node| node.get("name").is_some() && node.get("when").is_none());
        let Some((all, rest)) = all.and_then(|all| nodes.get(all..)?.split_first()) else { return };
        let name = text_at(all, "name").map_or("", |(name, _)| name);
        for node in rest {
            let place = node.get("name").map_or(node.place, |name| name.place);
            let message = format!(
                "this rule is never reached: `{name}` above has no `when` and matches everything"
            );
            self.mistake(place, message, Some("let the rule that matches everything stand last"));
        }
    }

    fn rule(
        &mut self,
        node: &'n Node,
        names: &mut BTreeSet<&'n str>,
        reference: impl Fn(String) -> RuleRef,
    ) -> Option<Rule> {
        let keys = self.keys(node, "a rule", RULE)?;
        let name = keys.get("name").and_then(|node| self.rule_name(node, names));
        let when = keys.get("when").and_then(|node| self.when(node));
        let mode = keys.get("mode").and_then(|node| self.mode(node));
        let irreversible = keys.get("irreversible").is_some_and(|node| self.allow(node));
        let calls = keys.get("then").map(|node| self.list(node, "`then`")).unwrap_or_default();
        let matched = keys.get("when").and_then(matched_types);
        let then = self.calls(calls, irreversible, matched.as_deref());
        let approve = keys.get("approve").map(|node| self.approve(node)).unwrap_or_default();
        let expires = keys.get("expires").and_then(|node| self.window(node, "`expires`"));
        let confirm = keys.get("confirm").and_then(|node| self.bool(node, "`confirm`"));
        // Fail closed: only a rule that says so acts unconfirmed.
        let confirm = confirm.unwrap_or(true);
        if let (Some(expires), Some(node)) = (expires, keys.get("expires")) {
            self.expiry(expires, node, &then, &approve);
        }
        if calls.is_empty() && matches!(mode, Some(Mode::Approve | Mode::Auto)) {
            let help = "name actions under `then`, or use mode observe";
            self.mistake(node.place, "a rule that acts needs actions", Some(help));
        }
        let reference = Arc::new(reference(name?));
        Some(Rule { reference, when, mode: mode?, then, approve, expires, confirm })
    }

    fn approve(&mut self, node: &'n Node) -> Approve {
        let Some(keys) = self.keys(node, "`approve`", APPROVE) else { return Approve::default() };
        let within = keys.get("within").and_then(|node| self.window(node, "`within`"));
        let otherwise = keys.get("otherwise").and_then(|node| {
            self.one_of(node, "a value of `otherwise`", &Otherwise::ALL, Otherwise::name)
        });
        if let (Some(otherwise), None) = (keys.get("otherwise"), keys.get("within")) {
            let help = "say with `within` how long the plan waits";
            self.mistake(otherwise.place, "`otherwise` without `within` never comes", Some(help));
        }
        let approvers = keys.get("approvers").and_then(|node| self.text(node, "`approvers`"));
        Approve {
            within,
            otherwise: otherwise.unwrap_or_default(),
            approvers: approvers.map(str::to_owned),
        }
    }

    /// What cannot go together with an end of the containment.
    fn expiry(&mut self, expires: Window, node: &Node, then: &[Then], approve: &Approve) {
        if let Some(then) = then.iter().find(|then| !then.reversible) {
            let message = format!("`{}` cannot be undone, so it cannot expire", then.call.name);
            let help = "give what cannot be undone a rule of its own, without `expires`";
            self.mistake(node.place, message, Some(help));
        }
        if let Some(within) = approve.within.filter(|within| *within >= expires) {
            let message = format!(
                "the containment would expire after {expires}, the approval after {within}"
            );
            let help = "let it expire later than the plan may wait";
            self.mistake(node.place, message, Some(help));
        }
    }

    fn rule_name(&mut self, node: &'n Node, names: &mut BTreeSet<&'n str>) -> Option<String> {
        let name = self.text(node, "a rule's name")?;
        // Responses are kept under `<attach>/<name>`, in keys that use `#`.
        let sound = name.trim() == name && (1..=100).contains(&name.chars().count());
        if !sound || name.contains(['/', '#']) || name.contains(char::is_control) {
            let message = format!("`{}` is no rule name", name.escape_debug());
            self.mistake(
                node.place,
                message,
                Some("write words with dashes, at most 100 characters, without / and #"),
            );
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
                self.issues.extend(fields::check(node));
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
}

/// The resource types that a pattern admits, where it names them one by one.
fn matched_types(when: &Node) -> Option<Vec<&str>> {
    let types = when
        .get("resource")
        .and_then(|resource| resource.get("type"))
        .or_else(|| when.get("resource.type"))?;
    let Content::List(types) = &types.content else { return None };
    types
        .iter()
        .map(|node| match &node.content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}
