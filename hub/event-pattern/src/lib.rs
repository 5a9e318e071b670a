//! EventBridge event patterns, the match language that AWS users know.
//!
//! A pattern is an object of the shape of the event. A leaf is a list of
//! alternatives: literal values or operators. Every field must match; a field
//! that the event lacks matches `exists: false` only. An array in the event is
//! a set: one element that matches is enough, and fields of a nested object
//! must match within one and the same element. Source: "Creating Amazon
//! EventBridge event patterns" and its page on comparison operators.
//!
//! ```text
//! JSON → parse → Pattern → matches(event)
//! ```

#![warn(missing_docs)]

mod leaf;
mod parse;
mod text;

#[cfg(test)]
mod cases;

use serde_json::{Map, Value};

use leaf::Matcher;
pub use text::Glob;

/// A pattern that was read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    root: Node,
    source: Value,
}

/// Why a value is no pattern, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", written(path))]
pub struct PatternError {
    /// The keys down to the mistake; the place in a list is written as `[1]`.
    pub path: Vec<String>,
    /// What is wrong.
    pub reason: String,
}

/// A path as people write it, such as `type[1].prefix`, and a colon.
fn written(path: &[String]) -> String {
    let mut written = String::new();
    for key in path {
        if !written.is_empty() && !key.starts_with('[') {
            written.push('.');
        }
        written.push_str(key);
    }
    if written.is_empty() { written } else { format!("`{written}`: ") }
}

/// What a pattern looks at.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// The event has no such field.
    Absent,
    /// It has one, or not: that could not be found out.
    Unknown,
    /// A value of the event.
    Value(&'a Value),
    /// A text, as if it were a JSON string.
    Text(&'a str),
    /// A number, as if it were a JSON number.
    Number(f64),
    /// A whole number.
    Count(u64),
    /// A truth value.
    Bool(bool),
    /// Texts with slashes between them, as if they were a JSON array.
    Path(&'a str),
    /// An object whose fields are looked up where they are, not copied.
    Object(&'a dyn Fields),
}

/// An object of the event that is no JSON.
pub trait Fields {
    /// What stands under a name.
    fn field(&self, name: &str) -> Event<'_>;
}

/// Whether a pattern matches an event of which a part may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternMatch {
    /// It matches, whatever the unknown part is.
    Yes,
    /// It does not match, whatever the unknown part is.
    No,
    /// The unknown part decides.
    Unknown,
}

/// An object of the pattern: all fields, and one alternative of each `$or`.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    fields: Vec<(String, Field)>,
    any_of: Option<Vec<Node>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Object(Node),
    Leaf(Vec<Matcher>),
}

/// What a test of something unknown is taken to say. No operator negates
/// another pattern, so a pattern that fails under `Matches` can never match,
/// and one that holds under `Fails` always does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assume {
    Matches,
    Fails,
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(source: &Value) -> Result<Self, PatternError> {
        Ok(Self { root: parse::pattern(source)?, source: source.clone() })
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.verdict(Event::Value(event)) == PatternMatch::Yes
    }

    /// The first field, with its path, that keeps an event from matching.
    pub fn first_mismatch(&self, event: &Value) -> Option<String> {
        self.mismatch(Event::Value(event))
    }

    /// Whether it matches an event of which a part may be unknown.
    pub fn verdict(&self, event: Event<'_>) -> PatternMatch {
        if !self.root.holds(event, Assume::Matches) {
            PatternMatch::No
        } else if self.root.holds(event, Assume::Fails) {
            PatternMatch::Yes
        } else {
            PatternMatch::Unknown
        }
    }

    /// The first field, with its path, that keeps an event from matching.
    pub fn mismatch(&self, event: Event<'_>) -> Option<String> {
        self.root.mismatch(event, "")
    }
}

impl<'a> Event<'a> {
    fn get(self, name: &str) -> Self {
        let found = match self {
            Self::Absent => Self::Absent,
            Self::Unknown => Self::Unknown,
            Self::Value(value) => value.get(name).map_or(Self::Absent, Self::Value),
            Self::Text(_) | Self::Number(_) | Self::Count(_) | Self::Bool(_) | Self::Path(_) => {
                Self::Absent
            }
            Self::Object(object) => object.field(name),
        };
        let Self::Absent = found else { return found };
        // EventBridge joins nested keys with dots: `a.b` is also `b` within `a`.
        match name.split_once('.').map(|(first, rest)| (self.get(first), rest)) {
            None | Some((Self::Absent, _)) => Self::Absent,
            Some((below, rest)) => below.get(rest),
        }
    }

    /// The object, if one of its own keys starts with the name and a dot.
    fn dotted(self, name: &str) -> Option<&'a Map<String, Value>> {
        let Self::Value(Value::Object(object)) = self else { return None };
        let starts = |key: &String| key.strip_prefix(name).is_some_and(|it| it.starts_with('.'));
        object.keys().any(starts).then_some(object)
    }
}

impl Node {
    fn holds(&self, event: Event<'_>, assume: Assume) -> bool {
        if let Event::Value(Value::Array(elements)) = event
            && !elements.is_empty()
        {
            return elements.iter().any(|element| self.holds(Event::Value(element), assume));
        }
        self.fields.iter().all(|(name, field)| field.holds_in(event, name, assume))
            && self.one_holds(|node| node.holds(event, assume))
    }

    fn one_holds(&self, holds: impl FnMut(&Self) -> bool) -> bool {
        self.any_of.as_ref().is_none_or(|nodes| nodes.iter().any(holds))
    }

    /// Whether it holds for keys that are written in one, such as `a.b.c`.
    fn holds_dotted(&self, object: &Map<String, Value>, path: &str) -> bool {
        self.fields.iter().all(|(name, field)| {
            let path = parse::below(path, name);
            match field {
                Field::Object(node) => node.holds_dotted(object, &path),
                Field::Leaf(matchers) => {
                    let value = object.get(&path).map_or(Event::Absent, Event::Value);
                    matchers.iter().any(|matcher| matcher.holds(value))
                }
            }
        }) && self.one_holds(|node| node.holds_dotted(object, path))
    }

    fn mismatch(&self, event: Event<'_>, path: &str) -> Option<String> {
        if self.holds(event, Assume::Matches) {
            return None;
        }
        for (name, field) in &self.fields {
            if field.holds_in(event, name, Assume::Matches) {
                continue;
            }
            let value = event.get(name);
            let path = parse::below(path, name);
            return match field {
                Field::Object(node) => node.mismatch(value, &path).or(Some(path)),
                Field::Leaf(_) => Some(path),
            };
        }
        // Each field on its own matches: the alternatives do not, or no single
        // element of an array matches them all.
        Some(if self.any_of.is_some() { parse::below(path, "$or") } else { path.to_owned() })
    }
}

impl Field {
    fn holds_in(&self, event: Event<'_>, name: &str, assume: Assume) -> bool {
        match (self, event.get(name)) {
            (_, Event::Unknown) => assume == Assume::Matches,
            (Self::Object(node), Event::Absent) => {
                node.holds(Event::Absent, assume)
                    || event.dotted(name).is_some_and(|object| node.holds_dotted(object, name))
            }
            (Self::Object(node), value) => node.holds(value, assume),
            (Self::Leaf(matchers), value) => matchers.iter().any(|matcher| matcher.holds(value)),
        }
    }
}
