//! The keys of a rule, and how it is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use firebreak_event_pattern::Pattern;
use firebreak_model::action::ActionCatalog;
use serde_json::{Value, json};

use super::actions::Actions;
use super::key::{FromNode, Key, Keyed, Keys, MapDescription};
use super::node::{Content, Node, SourcePosition};
use super::reader::Reader;
use crate::model::{Approve, Mode, Otherwise, Rule, RuleRef, Window};

const NAME: Key<RuleName> =
    Key::required("name", "Unique in its document; responses are kept under it.");
const WHEN: Key<Pattern> = Key::optional(
    "when",
    "What the rule matches, by fields of the finding and its target. Without it the rule matches everything.",
);
const EXCEPT: Key<Pattern> = Key::optional(
    "except",
    "What the rule does not match, although `when` does. Where that is not known, nothing is done.",
);
const MODE: Key<Mode> = Key::required("mode", "How far the rule goes.");
const THEN: Key<Actions> = Key::optional("then", "The actions; each runs once for a target.");
const IF_RESIDUAL: Key<Actions> = Key::optional(
    "if-residual",
    "Further actions that run only if something may stay open after the containment, such as a connection through a NAT gateway.",
);
const APPROVE: Key<Approve> = Key::optional(
    "approve",
    "How approval goes, where the mode is `approve` or a guardrail lowers it to that.",
);
const EXPIRES: Key<Window> = Key::optional("expires", "The containment is undone after this time.");
const CONFIRM: Key<bool> = Key::optional(
    "confirm",
    "Whether the finding is fetched from its service and compared before the first change; `true` unless the rule says `false`.",
);
const IRREVERSIBLE: Key<Allow> =
    Key::optional("irreversible", "Lets the rule name actions that cannot be undone.");

impl Keyed for Rule {
    const WHAT: &'static str = "a rule";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let name = keys.take(&NAME);
        let when = keys.take(&WHEN);
        let except = keys.take(&EXCEPT);
        let mode = keys.take(&MODE);
        let then = keys.take(&THEN);
        let if_residual = keys.take(&IF_RESIDUAL).unwrap_or_default();
        let approve = keys.take(&APPROVE).unwrap_or_default();
        let expires = keys.take(&EXPIRES);
        // Fail closed: only a rule that says so acts unconfirmed.
        let confirm = keys.take(&CONFIRM).unwrap_or(true);
        let irreversible = keys.take(&IRREVERSIBLE).is_some();
        let actions = then.unwrap_or_default();
        for actions in [&actions, &if_residual] {
            actions.check_against(keys.node(&WHEN).and_then(matched_types).as_deref(), keys.reader);
            if !irreversible {
                actions.refuse_irreversible(keys.reader);
            }
            if let (Some(name), Some(node)) = (actions.first_irreversible(), keys.node(&EXPIRES)) {
                let message = format!("`{name}` cannot be undone, so it cannot expire");
                let help = "give what cannot be undone a rule of its own, without `expires`";
                keys.reader.report(node.place, message, Some(help));
            }
        }
        if let (Some(expires), Some(node)) = (expires, keys.node(&EXPIRES)) {
            check_expiry(expires, node, &approve, keys.reader);
        }
        if_residual.check_beside(&actions, keys.reader);
        if let Some(node) = keys.node(&IF_RESIDUAL)
            && (if_residual.is_empty() || !actions.contain(keys.reader.actions))
        {
            let message = "`if-residual` has no effect: it needs an action of its own, and one of the phase contain under `then`";
            let help = "name such actions, as in `then: [isolate-instance]` and `if-residual: [stop-instance]`, or remove the key";
            keys.reader.report(node.place, message, Some(help));
        }
        let named = keys
            .node(&THEN)
            .is_some_and(|node| !matches!(&node.content, Content::List(it) if it.is_empty()));
        if !named && matches!(mode, Some(Mode::Approve | Mode::Auto)) {
            let help = "name actions under `then`, or use mode observe";
            keys.reader.report(keys.place, "a rule that acts needs actions", Some(help));
        }
        let reference = RuleRef {
            document: keys.reader.attach.to_owned(),
            file: keys.reader.file.to_owned(),
            rule: name?.0,
        };
        Some(Self {
            reference: Arc::new(reference),
            when,
            except,
            mode: mode?,
            then: [actions.into_rule_actions(), if_residual.into_rule_actions_if_residual()]
                .concat(),
            approve,
            expires,
            confirm,
        })
    }
}

/// Reports an expiry that comes before the approval has to.
fn check_expiry(expires: Window, node: &Node, approve: &Approve, reader: &mut Reader<'_>) {
    if let Some(within) = approve.within.filter(|within| *within >= expires) {
        let message =
            format!("the containment would expire after {expires}, the approval after {within}");
        let help = "let it expire after the plan may no longer wait";
        reader.report(node.place, message, Some(help));
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

const WITHIN: Key<Window> = Key::optional("within", "How long a plan waits for a person.");
const OTHERWISE: Key<Otherwise> = Key::optional(
    "otherwise",
    "What happens then: the request is sent again and the plan waits on (`notify`, the default), the plan is executed (`act`), or it is denied.",
);
const APPROVERS: Key<String> =
    Key::optional("approvers", "Who approves, as text for the reader of the notice.");

impl Keyed for Approve {
    const WHAT: &'static str = "`approve`";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let within = keys.take(&WITHIN);
        let otherwise = keys.take(&OTHERWISE);
        let approvers = keys.take(&APPROVERS);
        if let (Some(otherwise), None) = (keys.node(&OTHERWISE), keys.node(&WITHIN)) {
            let help = "say with `within` how long the plan waits";
            let message = "`otherwise` has no effect without `within`";
            keys.reader.report(otherwise.place, message, Some(help));
        }
        Some(Self { within, otherwise: otherwise.unwrap_or_default(), approvers })
    }
}

/// The rules of a document, in order.
#[derive(Default)]
pub(super) struct Rules(pub(super) Vec<Rule>);

impl FromNode for Rules {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let rules = Vec::from_node(node, what, reader)?;
        if let Content::List(nodes) = &node.content {
            refuse_equal_names(nodes, reader);
            refuse_unreachable(nodes, reader);
        }
        Some(Self(rules))
    }

    fn schema(actions: ActionCatalog) -> Value {
        Vec::<Rule>::schema(actions)
    }

    fn holds() -> String {
        Vec::<Rule>::holds()
    }

    fn map() -> Option<MapDescription> {
        Rule::map()
    }
}

/// The patterns of a rule, even where the rule has issues.
pub(super) fn patterns_of(rule: &Node) -> impl Iterator<Item = &Node> {
    [WHEN.name, EXCEPT.name].into_iter().filter_map(|key| rule.get(key))
}

/// The name of a rule and its place, even where the rule has issues.
fn name_of(rule: &Node) -> Option<(&str, SourcePosition)> {
    let node = rule.get(NAME.name)?;
    node.as_text().map(|name| (name, node.place))
}

fn refuse_equal_names(rules: &[Node], reader: &mut Reader<'_>) {
    let mut names = BTreeSet::new();
    for (name, place) in rules.iter().filter_map(name_of) {
        if !names.insert(name) {
            let message = format!("a rule above has the name `{name}` already");
            let help = "responses are kept under the rule's name: give it another";
            reader.report(place, message, Some(help));
        }
    }
}

/// Reports the rules after one that matches everything.
fn refuse_unreachable(rules: &[Node], reader: &mut Reader<'_>) {
    let matches_all = |node: &Node| {
        let has = |key: &str| node.get(key).is_some();
        has(NAME.name) && !has(WHEN.name) && !has(EXCEPT.name)
    };
    let Some(first) = rules.iter().position(matches_all) else { return };
    let Some((first, rest)) = rules.get(first..).and_then(<[_]>::split_first) else { return };
    let name = name_of(first).map_or("", |(name, _)| name);
    for node in rest {
        let place = node.get(NAME.name).map_or(node.place, |name| name.place);
        let message = format!(
            "this rule is never reached: `{name}` above has no `when` and matches everything"
        );
        reader.report(place, message, Some("move the rule that matches everything to the end"));
    }
}

struct RuleName(String);

impl FromNode for RuleName {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.text(node, what)?;
        // Responses are kept under `<attach>/<name>`, in keys that use `#`.
        let sound = name.trim() == name && (1..=100).contains(&name.chars().count());
        if !sound || name.contains(['/', '#']) || name.contains(char::is_control) {
            let message = format!("`{}` is not a rule name", name.escape_debug());
            let help = "write words with dashes, at most 100 characters, without / and #";
            reader.report(node.place, message, Some(help));
        }
        Some(Self(name.to_owned()))
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[^/#]+$" })
    }

    fn holds() -> String {
        "text without `/` and `#`".to_owned()
    }
}

/// The word `allow`.
struct Allow;

impl FromNode for Allow {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if node.as_text() == Some("allow") {
            return Some(Self);
        }
        let message = format!("{what} is `allow` or left out, not {}", node.describe());
        reader.report(node.place, message, None);
        None
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "const": "allow" })
    }

    fn holds() -> String {
        "`allow`".to_owned()
    }
}
