//! A document as a tree of nodes, each with its place in the file. Documents are
//! read from this tree, so that one run finds every error.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

/// How deep a document may be nested: more than any pattern needs, and few enough
/// for a thread's stack in every build.
const DEEPEST: usize = 32;

/// A place in a file, counted from 1, and its length in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourcePosition {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) length: u64,
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: SourcePosition,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<MapEntry>),
}

/// One key of a map and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MapEntry {
    pub(crate) key: String,
    /// The place of the key.
    pub(crate) place: SourcePosition,
    pub(crate) node: Node,
}

impl Node {
    /// Reads YAML. `off` and `yes` are texts here, not YAML 1.1's booleans.
    pub(crate) fn from_yaml(text: &str) -> Result<Self, serde_saphyr::Error> {
        let options = serde_saphyr::options! {
            strict_booleans: true,
            budget: serde_saphyr::budget! { max_depth: DEEPEST },
        };
        serde_saphyr::from_str_with_options::<Spanned<Content>>(text, options).map(Self::from)
    }

    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(bool) => Value::Bool(*bool),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(nodes) => Value::Array(nodes.iter().map(Self::to_json).collect()),
            Content::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value of a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The text, where it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text under a key and its place, where there is one.
    pub(super) fn text_at(&self, key: &str) -> Option<(&str, SourcePosition)> {
        let node = self.get(key)?;
        Some((node.as_text()?, node.place))
    }

    /// The content, for a message.
    pub(crate) fn describe(&self) -> String {
        match &self.content {
            Content::Null => "nothing".to_owned(),
            Content::Bool(bool) => format!("the boolean `{bool}`"),
            Content::Number(number) => format!("the number {number}"),
            Content::Text(text) => format!("the text `{text}`"),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "keys with values".to_owned(),
        }
    }

    /// The place of the part that a path of keys leads to, or of the last part
    /// on the way that is there. A list's place is written as `[1]`.
    pub(super) fn place_of(&self, path: &[String]) -> SourcePosition {
        let Some((first, rest)) = path.split_first() else { return self.place };
        let found = match &self.content {
            Content::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == *first)
                .map(|entry| if rest.is_empty() { entry.place } else { entry.node.place_of(rest) }),
            Content::List(nodes) => first
                .trim_matches(['[', ']'])
                .parse()
                .ok()
                .and_then(|index: usize| nodes.get(index))
                .map(|node| node.place_of(rest)),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => None,
        };
        found.unwrap_or(self.place)
    }
}

impl From<Location> for SourcePosition {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column(), length: location.span().len() }
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Self { place: spanned.referenced.into(), content: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Content, E> {
        Ok(Content::Bool(bool))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Content, E> {
        Ok(Content::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Content, E> {
        Ok(Content::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Content, E> {
        let number = Number::from_f64(number);
        number.map(Content::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element::<Spanned<Content>>()? {
            nodes.push(node.into());
        }
        Ok(Content::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value::<Spanned<Content>>()?.into();
            entries.push(MapEntry { key: key.value, place: key.referenced.into(), node });
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_node_has_its_line_and_column_and_off_is_a_text() {
        let node = Node::from_yaml("mode: off\nwhen:\n  type: [a, { prefix: \"b\" }]\n").unwrap();
        let json = json!({"mode": "off", "when": {"type": ["a", {"prefix": "b"}]}});
        assert_eq!(node.to_json(), json);
        let check = |path: &[&str], line, column, length| {
            let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(node.place_of(&path), SourcePosition { line, column, length }, "{path:?}");
        };
        check(&["mode"], 1, 1, 4);
        check(&["when", "type"], 3, 3, 4);
        check(&["when", "type", "[0]"], 3, 10, 1);
        check(&["when", "type", "[1]", "prefix"], 3, 15, 6);
        // A missing part has the place of the last part on the way that exists.
        check(&["when", "type", "[1]", "suffix"], 3, 13, 1);
    }
}
