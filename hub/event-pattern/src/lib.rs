//! EventBridge event patterns: reads them, reports what is wrong with them, and
//! matches events. AWS users know the language from EventBridge rules.
//!
//! ```
//! use firebreak_event_pattern::Pattern;
//! use serde_json::json;
//!
//! let pattern = Pattern::parse(&json!({
//!     "source": ["aws.guardduty"],
//!     "detail": { "severity": [{ "numeric": [">=", 7] }] },
//! }))
//! .unwrap();
//! let event = json!({ "source": "aws.guardduty", "detail": { "severity": 4, "type": "Recon" } });
//! assert!(!pattern.matches(&event));
//! assert_eq!(pattern.first_mismatch(&event).as_deref(), Some("detail.severity"));
//!
//! let errors = Pattern::parse(&json!({ "source": [{ "prefx": "aws." }] })).unwrap_err();
//! assert_eq!(
//!     errors.to_string(),
//!     "`source[0].prefx`: this is not an operator; did you mean `prefix`?"
//! );
//! ```
//!
//! # Semantics
//!
//! - A pattern is an object of the shape of the event. Every field of the pattern must
//!   match; other fields of the event do not matter.
//! - A leaf is a list of alternatives: values, or objects with one operator each:
//!   `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`,
//!   `exists`, `cidr`. `$or` holds a list of patterns of which one must match.
//! - A field that the event lacks matches `exists: false` only.
//! - An array in the event is a set: one element that matches is enough. Fields of a
//!   nested object must match within the same element.
//! - A key with dots, such as `a.b`, is the same as nested keys.
//! - Text is compared with case, numbers by value: 300 and 3.0e2 are equal.
//! - A wildcard that EventBridge refuses as too complex is refused here too.
//!
//! Source: Amazon EventBridge User Guide, "Creating Amazon EventBridge event patterns"
//! and "Comparison operators for use in event patterns".
//!
//! # Beyond EventBridge
//!
//! An event does not have to be JSON: [`Fields`] looks fields up where they are. A field
//! may be [`Event::Unknown`]; [`Pattern::evaluate`] then says whether the unknown part
//! decides.

#![warn(missing_docs)]

mod leaf;
mod parse;
mod text;

#[cfg(test)]
mod cases;

use serde_json::{Map, Value};

use leaf::Matcher;
pub use text::Glob;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    root: Node,
    source: Value,
}

/// Every error in a value that is not a pattern, in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PatternErrors(pub Vec<PatternError>);

/// One error in a pattern, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", written(path))]
pub struct PatternError {
    /// The keys down to the error; an index in a list is written as `[1]`.
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

/// An event, or a value in it.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// The event has no such field.
    Absent,
    /// Whether the event has the field, or which value, is not known.
    Unknown,
    /// A value of the event.
    Value(&'a Value),
    /// As a JSON string.
    Text(&'a str),
    /// As a JSON number.
    Number(f64),
    /// As a JSON number that is whole.
    Count(u64),
    /// As a JSON boolean.
    Bool(bool),
    /// Texts with slashes between them, as a JSON array of strings.
    Path(&'a str),
    /// An object whose fields are looked up where they are, not copied.
    Object(&'a dyn Fields),
}

/// An object of an event that is not JSON.
pub trait Fields {
    /// The value of a field.
    fn field(&self, name: &str) -> Event<'_>;
}

/// How a pattern matches an event of which a part may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternMatch {
    /// It matches for every value of the unknown part.
    Yes,
    /// It does not match for any value of the unknown part.
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

/// What a test of an unknown field is assumed to return. No operator negates another
/// pattern. So a pattern that fails under `Matches` never matches, and one that holds
/// under `Fails` always does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assume {
    Matches,
    Fails,
}

impl Pattern {
    /// Reads a pattern, and returns every error in it.
    pub fn parse(source: &Value) -> Result<Self, PatternErrors> {
        let root = parse::pattern(source).map_err(PatternErrors)?;
        Ok(Self { root, source: source.clone() })
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.evaluate(Event::Value(event)) == PatternMatch::Yes
    }

    /// The path of the first field that does not match; empty where no single element of
    /// an array matches all fields. `None` where the event matches.
    pub fn first_mismatch(&self, event: &Value) -> Option<String> {
        self.mismatch(Event::Value(event))
    }

    /// Whether it matches an event of which a part may be unknown: as [`Pattern::matches`]
    /// where no part is.
    pub fn evaluate(&self, event: Event<'_>) -> PatternMatch {
        if !self.root.holds(event, Assume::Matches) {
            PatternMatch::No
        } else if self.root.holds(event, Assume::Fails) {
            PatternMatch::Yes
        } else {
            PatternMatch::Unknown
        }
    }

    /// As [`Pattern::first_mismatch`], for an event that is not JSON.
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
