//! The keys of a document, and how it is read.

use firebreak_model::action::ActionCatalog;
use firebreak_model::resource::AccountId;
use serde_json::{Value, json};

use super::key::{FromNode, Key, Keyed, Keys};
use super::node::{Content, Node};
use super::reader::Reader;
use super::rule::Rules;
use super::values::{PrincipalPattern, ResourcePattern};
use crate::model::{
    Budget, CountedBy, Document, Extends, Mode, Protect, TagSet, Window, is_attach_point,
};

const VERSION: Key<Version> = Key::optional("version", "The version of this form.");
pub(super) const ATTACH: Key<AttachPoint> = Key::required(
    "attach",
    "The root, OU or account that the document is attached to; it applies there and below.",
);
pub(super) const CEILING: Key<Mode> =
    Key::optional("ceiling", "The strongest mode allowed here and below.");
const PROTECT: Key<Protect> = Key::optional("protect", "What is never touched here and below.");
const BUDGETS: Key<Vec<Budget>> = Key::optional(
    "budgets",
    "How many actions may be executed without a person within a window of time, here and below together.",
);
const EXTENDS: Key<Extends> = Key::optional(
    "extends",
    "Whether rules above are evaluated if none here matches (`parent`, the default). Ceilings, protections and budgets above apply in any case.",
);
pub(super) const RULES: Key<Rules> =
    Key::optional("rules", "In order: the first that matches decides.");

impl Keyed for Document {
    const WHAT: &'static str = "a document";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        keys.take(&VERSION);
        let attach = keys.take(&ATTACH);
        let ceiling = keys.take(&CEILING);
        let protect = keys.take(&PROTECT).unwrap_or_default();
        let budgets = keys.take(&BUDGETS).unwrap_or_default();
        let extends = keys.take(&EXTENDS).unwrap_or_default();
        let rules = keys.take(&RULES).unwrap_or_default().0;
        Some(Self {
            attach: attach?.0,
            file: keys.reader.file.to_owned(),
            ceiling,
            protect,
            budgets,
            extends,
            rules,
            text: keys.reader.source.to_owned(),
        })
    }
}

const TAGS: Key<Vec<TagSet>> = Key::optional(
    "tags",
    "Resources that have all tags of one of these sets. `*` matches any text.",
);
const PRINCIPALS: Key<Vec<PrincipalPattern>> =
    Key::optional("principals", "Users and roles, and their credentials.");
const RESOURCES: Key<Vec<ResourcePattern>> =
    Key::optional("resources", "Resources; for users and roles their credentials too.");
const ACCOUNTS: Key<Vec<AccountId>> = Key::optional("accounts", "Everything in these accounts.");

impl Keyed for Protect {
    const WHAT: &'static str = "`protect`";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let tags = keys.take(&TAGS).unwrap_or_default();
        let principals = keys.take(&PRINCIPALS).unwrap_or_default();
        let resources = keys.take(&RESOURCES).unwrap_or_default();
        let accounts = keys.take(&ACCOUNTS).unwrap_or_default();
        Some(Self {
            tags,
            principals: principals.into_iter().map(|it| it.0).collect(),
            resources: resources.into_iter().map(|it| it.0).collect(),
            accounts,
        })
    }
}

const ACTIONS: Key<ActionCount> =
    Key::required("actions", "How many actions may be executed without a person.");
const PER: Key<Window> = Key::required("per", "Within any window of this length.");
const BY: Key<CountedBy> = Key::optional(
    "by",
    "Gives each account, OU, action or rule below a budget of its own. Without it all share one.",
);

impl Keyed for Budget {
    const WHAT: &'static str = "a budget";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let actions = keys.take(&ACTIONS);
        let per = keys.take(&PER);
        let by = keys.take(&BY);
        Some(Self { actions: actions?.0, per: per?, by })
    }
}

/// The version of the form of documents and of test files: always 1.
pub(crate) struct Version;

impl FromNode for Version {
    fn from_node(node: &Node, _: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if node.to_json() == 1 {
            return Some(Self);
        }
        let message = format!("this release reads version 1 of this form, not {}", node.describe());
        reader.report(node.place, message, Some("write `version: 1`, or update Firebreak"));
        None
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "const": 1 })
    }

    fn holds() -> String {
        "`1`".to_owned()
    }
}

/// The id of a root, an OU or an account.
pub(super) struct AttachPoint(String);

impl FromNode for AttachPoint {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, what)?;
        if !is_attach_point(text) {
            let message = format!("`{text}` is not a root id, OU id or account id");
            let help = "write r-…, ou-…-… or twelve digits; names can change, ids cannot";
            reader.report(node.place, message, Some(help));
        }
        Some(Self(text.to_owned()))
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({
            "type": "string",
            "pattern": "^(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}|[0-9]{12})$",
        })
    }

    fn holds() -> String {
        "root id (`r-…`), OU id (`ou-…`), or account id in quotes".to_owned()
    }
}

struct ActionCount(u32);

impl FromNode for ActionCount {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let count = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|it| u32::try_from(it).ok()),
            _ => None,
        };
        if let Some(count @ 1..) = count {
            return Some(Self(count));
        }
        let message = format!("{what} is a whole number from 1 up, not {}", node.describe());
        let help = "where nothing may be done without a person, set `ceiling: approve`";
        reader.report(node.place, message, Some(help));
        None
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "integer", "minimum": 1 })
    }

    fn holds() -> String {
        "whole number from 1".to_owned()
    }
}
