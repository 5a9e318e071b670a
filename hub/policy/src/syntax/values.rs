//! How the values of keys are read that are not maps with keys of their own.

use std::collections::BTreeMap;

use firebreak_event_pattern::{Glob, Pattern, PatternErrors};
use firebreak_model::action::ActionCatalog;
use firebreak_model::organization::OuPath;
use firebreak_model::resource::{AccountId, Region};
use serde_json::{Value, json};

use super::fields;
use super::key::{FromNode, MapDescription};
use super::node::{Content, Node};
use super::reader::Reader;
use crate::model::{ArnPattern, ArnPatternError, TagSet, Window};

impl FromNode for String {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(node, what).map(str::to_owned)
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "string" })
    }

    fn holds() -> String {
        "text".to_owned()
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if let Content::Bool(bool) = &node.content {
            return Some(*bool);
        }
        let message = format!("{what} is true or false, not {}", node.describe());
        reader.report(node.place, message, None);
        None
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "boolean" })
    }

    fn holds() -> String {
        "`true` or `false`".to_owned()
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let entry = format!("an entry of {what}");
        let nodes = reader.list(node, what);
        Some(nodes.iter().filter_map(|node| T::from_node(node, &entry, reader)).collect())
    }

    fn schema(actions: ActionCatalog) -> Value {
        json!({ "type": "array", "items": T::schema(actions) })
    }

    fn holds() -> String {
        format!("list: {}", T::holds())
    }

    fn map() -> Option<MapDescription> {
        T::map()
    }
}

impl FromNode for Window {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let help = "write it as in 30m, 72h or 7d: from a minute to 30 days";
        let Content::Text(text) = &node.content else {
            let message = format!("{what} is a length of time, not {}", node.describe());
            reader.report(node.place, message, Some(help));
            return None;
        };
        match Self::parse(text) {
            Ok(window) => Some(window),
            Err(why) => {
                reader.report(node.place, format!("{what}: `{text}` {why}"), Some(help));
                None
            }
        }
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "string", "pattern": "^[0-9]", "examples": ["30m"] })
    }

    fn holds() -> String {
        "`1m` to `30d`".to_owned()
    }
}

impl FromNode for Pattern {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        // Also of a pattern with errors, so that one run finds them all.
        reader.issues.extend(fields::check(node, what));
        match Self::parse(&node.to_json()) {
            Ok(pattern) => Some(pattern),
            Err(PatternErrors(errors)) => {
                for error in errors {
                    reader.report(node.place_of(&error.path), error.to_string(), None);
                }
                None
            }
        }
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "object", "minProperties": 1 })
    }

    fn holds() -> String {
        "event pattern".to_owned()
    }
}

impl FromNode for TagSet {
    fn from_node(node: &Node, _: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Content::Map(entries) = &node.content else {
            let message = format!("expected a set of tags, found {}", node.describe());
            reader.report(node.place, message, Some("write it as in { firebreak: exempt }"));
            return None;
        };
        if entries.is_empty() {
            reader.report(node.place, "an empty set of tags would protect everything", None);
        }
        entries
            .iter()
            .map(|entry| {
                let value = reader.text(&entry.node, "a tag's value")?;
                Some((entry.key.clone(), Glob::new(value)))
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": { "type": "string" },
        })
    }

    fn holds() -> String {
        "a set of tags".to_owned()
    }
}

/// Tags with their values.
impl FromNode for BTreeMap<String, String> {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Content::Map(entries) = &node.content else {
            let message = format!("{what} are keys with values, not {}", node.describe());
            reader.report(node.place, message, Some("write them as in { team: payments }"));
            return None;
        };
        entries
            .iter()
            .map(|entry| {
                let value = reader.text(&entry.node, "a tag's value")?;
                Some((entry.key.clone(), value.to_owned()))
            })
            .collect()
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }

    fn holds() -> String {
        "tags".to_owned()
    }
}

/// Any JSON.
impl FromNode for Value {
    fn from_node(node: &Node, _: &str, _: &mut Reader<'_>) -> Option<Self> {
        Some(node.to_json())
    }

    fn schema(_: ActionCatalog) -> Self {
        json!({})
    }

    fn holds() -> String {
        "anything".to_owned()
    }
}

/// A pattern of users and roles.
pub(super) struct PrincipalPattern(pub(super) ArnPattern);

/// A pattern of any resource.
pub(super) struct ResourcePattern(pub(super) ArnPattern);

fn arn_pattern(
    node: &Node,
    what: &str,
    reader: &mut Reader<'_>,
    parse: fn(&str) -> Result<ArnPattern, ArnPatternError>,
) -> Option<ArnPattern> {
    let text = reader.text(node, what)?;
    match parse(text) {
        Ok(pattern) => Some(pattern),
        Err(ArnPatternError { why, help }) => {
            reader.report(node.place, format!("`{text}` protects nothing: {why}"), Some(help));
            None
        }
    }
}

impl FromNode for PrincipalPattern {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        arn_pattern(node, what, reader, ArnPattern::parse_principal).map(Self)
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "string" })
    }

    fn holds() -> String {
        "ARN pattern of users or roles".to_owned()
    }
}

impl FromNode for ResourcePattern {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        arn_pattern(node, what, reader, ArnPattern::parse_resource).map(Self)
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "string" })
    }

    fn holds() -> String {
        "ARN pattern".to_owned()
    }
}

/// Implements [`FromNode`] for types with `ALL` and `name`: a value is one of a few
/// words. A blanket implementation would meet that of maps.
macro_rules! words {
    ($($type:ty),+) => {$(
        impl $crate::syntax::FromNode for $type {
            fn from_node(
                node: &$crate::syntax::Node,
                what: &str,
                reader: &mut $crate::syntax::Reader<'_>,
            ) -> Option<Self> {
                reader.word(node, what, &Self::ALL, Self::name)
            }

            fn schema(_: ::firebreak_model::action::ActionCatalog) -> ::serde_json::Value {
                ::serde_json::json!({ "enum": Self::ALL.map(Self::name) })
            }

            fn holds() -> String {
                Self::ALL.map(|it| format!("`{}`", it.name())).join(", ")
            }
        }
    )+};
}
pub(crate) use words;

words!(
    crate::model::Mode,
    crate::model::Extends,
    crate::model::CountedBy,
    crate::model::Otherwise,
    crate::model::PolicyOutcome
);

/// Implements [`FromNode`] for types that parse a string and say what is wrong with it.
macro_rules! parsed {
    ($($type:ty: $holds:literal, $pattern:literal;)+) => {$(
        impl FromNode for $type {
            fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
                reader.parsed(node, what)
            }

            fn schema(_: ActionCatalog) -> Value {
                json!({ "type": "string", "pattern": $pattern })
            }

            fn holds() -> String {
                $holds.to_owned()
            }
        }
    )+};
}

parsed!(
    AccountId: "account id in quotes", "^[0-9]{12}$";
    Region: "Region", "^[a-z0-9-]+$";
    OuPath: "ids with slashes between them", "^(o-[0-9a-z]+/)?r-[0-9a-z]+(/|$)";
);
