//! EventBridge event patterns, the match language that AWS users know.
//!
//! A pattern is an object of the shape of the event. A leaf is a list of
//! alternatives: literal values or operators. Every field must match; a field
//! that the event lacks matches `exists: false` only. An array in the event is
//! a set: one element that matches is enough. Nested objects in an array must
//! match within one element. Source: "Creating Amazon EventBridge event
//! patterns" and its pages on comparison operators.

use std::cmp::Ordering;
use std::net::IpAddr;

use serde_json::{Map, Value};

/// A pattern that was read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    root: Node,
    source: Value,
}

/// Why a pattern is not one, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct PatternError {
    /// The fields down to the mistake, joined with dots.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

/// An object: all of its fields, and one of each list of alternatives.
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

#[derive(Clone, Debug, PartialEq)]
enum Matcher {
    Exact(Value),
    Text(TextTest),
    AnythingBut(Vec<Value>),
    AnythingButText(Vec<TextTest>),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
    Cidr(IpAddr, u8),
}

#[derive(Clone, Debug, PartialEq)]
enum TextTest {
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    EqualsIgnoreCase(String),
    Wildcard(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    Star,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(source: &Value) -> Result<Self, PatternError> {
        let object = source.as_object().ok_or_else(|| PatternError {
            path: String::new(),
            reason: "a pattern is an object of the event's shape".to_owned(),
        })?;
        Ok(Self { root: node(object, "")?, source: source.clone() })
    }

    /// As it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.root.matches(Some(event))
    }

    /// The first field, with its path, that keeps an event from matching.
    pub fn first_mismatch(&self, event: &Value) -> Option<String> {
        self.root.first_mismatch(Some(event), "")
    }

    /// Whether any part of it looks at this top-level field.
    pub fn depends_on(&self, field: &str) -> bool {
        self.root.depends_on(field)
    }
}

fn fail<T>(path: &str, reason: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError { path: path.to_owned(), reason: reason.into() })
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn node(object: &Map<String, Value>, path: &str) -> Result<Node, PatternError> {
    if object.is_empty() {
        return fail(path, "an empty object matches nothing that can be named; leave it out");
    }
    let mut fields = Vec::new();
    let mut any_of = None;
    for (name, value) in object {
        let path = below(path, name);
        // `$or` with two objects or more is the operator; otherwise it is a
        // field of that name (EventBridge user guide, "Or matching").
        if name == "$or"
            && let Some(alternatives) = alternatives(value, &path)?
        {
            any_of = Some(alternatives);
            continue;
        }
        let field = match value {
            Value::Object(object) => Field::Object(node(object, &path)?),
            Value::Array(values) => Field::Leaf(leaf(values, &path)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return fail(&path, format!("the value must be a list, as in [{value}]"));
            }
        };
        fields.push((name.clone(), field));
    }
    Ok(Node { fields, any_of })
}

fn alternatives(value: &Value, path: &str) -> Result<Option<Vec<Node>>, PatternError> {
    let Value::Array(values) = value else { return Ok(None) };
    if values.len() < 2 || !values.iter().any(Value::is_object) {
        return Ok(None);
    }
    let operators = [
        "exists",
        "equals-ignore-case",
        "prefix",
        "suffix",
        "anything-but",
        "numeric",
        "cidr",
        "wildcard",
    ];
    let mut nodes = Vec::new();
    for value in values {
        let Value::Object(object) = value else {
            return fail(path, "every alternative of $or is an object");
        };
        if let Some(key) = object.keys().find(|key| operators.contains(&key.as_str())) {
            return fail(path, format!("`{key}` is an operator and needs a field around it"));
        }
        nodes.push(node(object, path)?);
    }
    Ok(Some(nodes))
}

fn leaf(values: &[Value], path: &str) -> Result<Vec<Matcher>, PatternError> {
    if values.is_empty() {
        return fail(path, "an empty list matches nothing");
    }
    values.iter().map(|value| matcher(value, path)).collect()
}

fn matcher(value: &Value, path: &str) -> Result<Matcher, PatternError> {
    let object = match value {
        Value::Object(object) => object,
        Value::Array(_) => return fail(path, "a list within a list is not a pattern"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Ok(Matcher::Exact(value.clone()));
        }
    };
    let (operator, operand) = only_entry(object, path)?;
    let path = &below(path, operator);
    match operator {
        "exists" => match operand {
            Value::Bool(exists) => Ok(Matcher::Exists(*exists)),
            _ => fail(path, "it takes true or false"),
        },
        "numeric" => numeric(operand, path).map(Matcher::Numeric),
        "cidr" => cidr(operand, path),
        "anything-but" => anything_but(operand, path),
        _ => text_test(operator, operand, path).map(Matcher::Text),
    }
}

fn only_entry<'a>(
    object: &'a Map<String, Value>,
    path: &str,
) -> Result<(&'a str, &'a Value), PatternError> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((operator, operand)), None) => Ok((operator, operand)),
        (None, _) => fail(path, "an empty object is no operator"),
        (Some(_), Some(_)) => fail(path, "one operator stands in one object"),
    }
}

fn text_test(operator: &str, operand: &Value, path: &str) -> Result<TextTest, PatternError> {
    let ignore_case = || -> Result<Option<String>, PatternError> {
        let Value::Object(object) = operand else { return Ok(None) };
        match only_entry(object, path)? {
            ("equals-ignore-case", Value::String(text)) => Ok(Some(text.to_lowercase())),
            _ => fail(path, "inside it only `equals-ignore-case` with a text may stand"),
        }
    };
    let text = || match operand {
        Value::String(text) => Ok(text.clone()),
        _ => fail(path, "it takes a text"),
    };
    match operator {
        "prefix" => Ok(match ignore_case()? {
            Some(prefix) => TextTest::PrefixIgnoreCase(prefix),
            None => TextTest::Prefix(text()?),
        }),
        "suffix" => Ok(match ignore_case()? {
            Some(suffix) => TextTest::SuffixIgnoreCase(suffix),
            None => TextTest::Suffix(text()?),
        }),
        "equals-ignore-case" => Ok(TextTest::EqualsIgnoreCase(text()?.to_lowercase())),
        "wildcard" => wildcard(&text()?, path).map(TextTest::Wildcard),
        other => fail(
            path,
            format!(
                "`{other}` is no operator; there are exists, numeric, cidr, anything-but, prefix, suffix, equals-ignore-case, wildcard"
            ),
        ),
    }
}

fn wildcard(text: &str, path: &str) -> Result<Vec<Piece>, PatternError> {
    let mut pieces = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '*' if pieces.last() == Some(&Piece::Star) => {
                return fail(path, "two `*` in a row are not allowed");
            }
            '*' => pieces.push(Piece::Star),
            '\\' => match chars.next() {
                Some(char @ ('*' | '\\')) => pieces.push(Piece::Char(char)),
                _ => return fail(path, "`\\` stands before `*` or `\\` only"),
            },
            char => pieces.push(Piece::Char(char)),
        }
    }
    Ok(pieces)
}

fn numeric(operand: &Value, path: &str) -> Result<Vec<(Comparison, f64)>, PatternError> {
    let wrong = "it takes a comparison and a number, or two of each for a range";
    let Value::Array(parts) = operand else { return fail(path, wrong) };
    if parts.is_empty() || parts.len() > 4 || parts.len() % 2 != 0 {
        return fail(path, wrong);
    }
    let mut comparisons = Vec::new();
    for pair in parts.chunks(2) {
        let [Value::String(sign), Value::Number(number)] = pair else {
            return fail(path, wrong);
        };
        let comparison = match sign.as_str() {
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            "=" => Comparison::Equal,
            ">=" => Comparison::GreaterOrEqual,
            ">" => Comparison::Greater,
            other => return fail(path, format!("`{other}` is not one of <, <=, =, >=, >")),
        };
        let Some(number) = number.as_f64() else { return fail(path, wrong) };
        comparisons.push((comparison, number));
    }
    if let [(first, low), (second, high)] = comparisons.as_slice() {
        let range = matches!(first, Comparison::Greater | Comparison::GreaterOrEqual)
            && matches!(second, Comparison::Less | Comparison::LessOrEqual);
        if !range || low >= high {
            return fail(path, "a range goes from > or >= a lower to < or <= a higher number");
        }
    }
    Ok(comparisons)
}

fn cidr(operand: &Value, path: &str) -> Result<Matcher, PatternError> {
    let wrong = "it takes a block of addresses such as 10.0.0.0/24 or 2001:db8::/32";
    let parsed = operand.as_str().and_then(|text| {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (bits <= longest).then_some((address, bits))
    });
    match parsed {
        Some((address, bits)) => Ok(Matcher::Cidr(address, bits)),
        None => fail(path, wrong),
    }
}

fn anything_but(operand: &Value, path: &str) -> Result<Matcher, PatternError> {
    match operand {
        Value::String(_) | Value::Number(_) => Ok(Matcher::AnythingBut(vec![operand.clone()])),
        Value::Array(values) => {
            let all_text = values.iter().all(Value::is_string);
            let all_numbers = values.iter().all(Value::is_number);
            if values.is_empty() || !(all_text || all_numbers) {
                return fail(path, "it takes texts only or numbers only");
            }
            Ok(Matcher::AnythingBut(values.clone()))
        }
        Value::Object(object) => {
            let (operator, operand) = only_entry(object, path)?;
            let path = &below(path, operator);
            if !matches!(operator, "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
                return fail(
                    path,
                    "within it prefix, suffix, equals-ignore-case or wildcard may stand",
                );
            }
            let operands = match operand {
                Value::Array(operands) => operands.clone(),
                one => vec![one.clone()],
            };
            if operands.is_empty() || !operands.iter().all(|it| it.as_str().is_some()) {
                return fail(path, "it takes a text or a list of texts");
            }
            let empty = |it: &Value| it.as_str().is_some_and(str::is_empty);
            if matches!(operator, "prefix" | "suffix") && operands.iter().any(empty) {
                return fail(path, "an empty text is at the end of every text");
            }
            let tests = operands.iter().map(|operand| text_test(operator, operand, path));
            Ok(Matcher::AnythingButText(tests.collect::<Result<_, _>>()?))
        }
        Value::Null | Value::Bool(_) => fail(
            path,
            "it takes texts, numbers or one of prefix, suffix, equals-ignore-case, wildcard",
        ),
    }
}

impl Node {
    /// `None` stands for what the event lacks: `exists: false` may still match.
    fn matches(&self, event: Option<&Value>) -> bool {
        if let Some(Value::Array(elements)) = event
            && !elements.is_empty()
        {
            return elements.iter().any(|element| self.matches(Some(element)));
        }
        let object = event.and_then(Value::as_object);
        self.fields
            .iter()
            .all(|(name, field)| field.matches(object.and_then(|object| object.get(name))))
            && self.any_of.as_ref().is_none_or(|nodes| nodes.iter().any(|it| it.matches(event)))
    }

    fn first_mismatch(&self, event: Option<&Value>, path: &str) -> Option<String> {
        if self.matches(event) {
            return None;
        }
        let object = event.and_then(Value::as_object);
        for (name, field) in &self.fields {
            let value = object.and_then(|object| object.get(name));
            let path = below(path, name);
            if let Field::Object(node) = field
                && let Some(deeper) = node.first_mismatch(value, &path)
            {
                return Some(deeper);
            }
            if !field.matches(value) {
                return Some(path);
            }
        }
        Some(below(path, "$or"))
    }

    fn depends_on(&self, wanted: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == wanted)
            || self.any_of.iter().flatten().any(|node| node.depends_on(wanted))
    }
}

impl Field {
    fn matches(&self, event: Option<&Value>) -> bool {
        match self {
            Self::Object(node) => node.matches(event),
            Self::Leaf(matchers) => matchers.iter().any(|matcher| matcher.matches(event)),
        }
    }
}

impl Matcher {
    fn matches(&self, event: Option<&Value>) -> bool {
        if let Self::Exists(wanted) = self {
            // An object is no leaf, and an empty list has none (EventBridge
            // user guide, "Exists matching": only on leaf nodes).
            let exists = event.is_some_and(has_leaf);
            return exists == *wanted;
        }
        match event {
            None | Some(Value::Object(_)) => false,
            Some(Value::Array(elements)) => {
                elements.iter().any(|element| self.matches(Some(element)))
            }
            Some(value) => self.matches_value(value),
        }
    }

    fn matches_value(&self, value: &Value) -> bool {
        match self {
            Self::Exact(wanted) => same(wanted, value),
            Self::Text(test) => value.as_str().is_some_and(|text| test.holds(text)),
            Self::AnythingBut(excluded) => !excluded.iter().any(|it| same(it, value)),
            Self::AnythingButText(tests) => {
                !value.as_str().is_some_and(|text| tests.iter().any(|test| test.holds(text)))
            }
            Self::Numeric(comparisons) => value.as_f64().is_some_and(|value| {
                comparisons.iter().all(|(comparison, number)| comparison.holds(value, *number))
            }),
            Self::Cidr(network, bits) => value
                .as_str()
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| is_within(address, *network, *bits)),
            // Answered by the caller, for lists and absence alike.
            Self::Exists(wanted) => *wanted,
        }
    }
}

fn has_leaf(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(elements) => elements.iter().any(has_leaf),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Numbers are equal by value: 300, 300.0 and 3.0e2 are the same.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.partial_cmp(&other) == Some(Ordering::Equal),
        _ => one == other,
    }
}

impl Comparison {
    fn holds(self, value: f64, number: f64) -> bool {
        match (self, value.partial_cmp(&number)) {
            (_, None) => false,
            (Self::Less, Some(order)) => order == Ordering::Less,
            (Self::LessOrEqual, Some(order)) => order != Ordering::Greater,
            (Self::Equal, Some(order)) => order == Ordering::Equal,
            (Self::GreaterOrEqual, Some(order)) => order != Ordering::Less,
            (Self::Greater, Some(order)) => order == Ordering::Greater,
        }
    }
}

impl TextTest {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::PrefixIgnoreCase(prefix) => text.to_lowercase().starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::SuffixIgnoreCase(suffix) => text.to_lowercase().ends_with(suffix),
            Self::EqualsIgnoreCase(other) => text.to_lowercase() == *other,
            Self::Wildcard(pieces) => glob(pieces, text),
        }
    }
}

/// A text with `*` for any run of characters, as ARN patterns and tag values
/// have it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Glob(Vec<Piece>);

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Self(
            text.chars()
                .map(|char| if char == '*' { Piece::Star } else { Piece::Char(char) })
                .collect(),
        )
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        glob(&self.0, text)
    }
}

/// Iterative, so that a hostile pattern costs no more than length times length.
fn glob(pieces: &[Piece], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut piece, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match (pieces.get(piece), text.get(at)) {
            (Some(Piece::Star), _) => {
                star = Some((piece, at));
                piece += 1;
            }
            (Some(Piece::Char(wanted)), Some(char)) if wanted == char => {
                piece += 1;
                at += 1;
            }
            _ => match star {
                Some((star_piece, consumed)) => {
                    piece = star_piece + 1;
                    at = consumed + 1;
                    star = Some((star_piece, consumed + 1));
                }
                None => return false,
            },
        }
    }
    pieces.get(piece..).unwrap_or_default().iter().all(|piece| *piece == Piece::Star)
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let share = |address: u128, network: u128, width: u32| {
        let host = width - u32::from(bits);
        host >= width || (address >> host) == (network >> host)
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            share(u32::from(address).into(), u32::from(network).into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            bits == 0 || share(address.into(), network.into(), 128)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "cases read better without references")]
    fn check(pattern: Value, event: Value, expected: bool) {
        let parsed = Pattern::parse(&pattern).unwrap();
        assert_eq!(parsed.matches(&event), expected, "{pattern} on {event}");
        assert_eq!(parsed.first_mismatch(&event).is_none(), expected, "{pattern} on {event}");
    }

    #[test]
    fn operators_match_as_eventbridge_has_them() {
        check(json!({"a": ["x"]}), json!({"a": "x"}), true);
        check(json!({"a": ["x"]}), json!({"a": "X"}), false);
        check(json!({"a": [300]}), json!({"a": 300.0}), true);
        check(json!({"a": [300]}), json!({"a": "300"}), false);
        check(json!({"a": [null]}), json!({"a": null}), true);
        check(json!({"a": [null]}), json!({}), false);
        check(json!({"a": [""]}), json!({"a": ""}), true);
        check(json!({"a": [{"prefix": "Re"}]}), json!({"a": "Recon:EC2/x"}), true);
        let any_case = json!({"a": [{"prefix": {"equals-ignore-case": "re"}}]});
        check(any_case, json!({"a": "RECON"}), true);
        check(json!({"a": [{"suffix": ".png"}]}), json!({"a": "b.png"}), true);
        check(json!({"a": [{"equals-ignore-case": "AB"}]}), json!({"a": "aB"}), true);
        check(json!({"a": [{"wildcard": "*:EC2/*"}]}), json!({"a": "Recon:EC2/Port"}), true);
        check(json!({"a": [{"wildcard": "a\\*b"}]}), json!({"a": "a*b"}), true);
        check(json!({"a": [{"wildcard": "a\\*b"}]}), json!({"a": "aXb"}), false);
        check(json!({"a": [{"numeric": [">=", 7]}]}), json!({"a": 7.0}), true);
        check(json!({"a": [{"numeric": [">", 0, "<=", 5]}]}), json!({"a": 5}), true);
        check(json!({"a": [{"numeric": [">", 0, "<", 5]}]}), json!({"a": 5}), false);
        check(json!({"a": [{"numeric": [">", 0]}]}), json!({"a": "5"}), false);
        check(json!({"a": [{"anything-but": "x"}]}), json!({"a": "y"}), true);
        check(json!({"a": [{"anything-but": ["x", "y"]}]}), json!({"a": "y"}), false);
        check(json!({"a": [{"anything-but": "x"}]}), json!({}), false);
        check(json!({"a": [{"anything-but": {"prefix": "x"}}]}), json!({"a": "xy"}), false);
        check(json!({"a": [{"anything-but": {"wildcard": "*/x"}}]}), json!({"a": "b/y"}), true);
        check(json!({"a": [{"cidr": "10.0.0.0/24"}]}), json!({"a": "10.0.0.255"}), true);
        check(json!({"a": [{"cidr": "10.0.0.0/24"}]}), json!({"a": "10.0.1.0"}), false);
        check(json!({"a": [{"cidr": "2001:db8::/32"}]}), json!({"a": "2001:db8::1"}), true);
        check(json!({"a": [{"cidr": "0.0.0.0/0"}]}), json!({"a": "203.0.113.9"}), true);
    }

    #[test]
    fn absence_is_matched_by_exists_false_and_by_nothing_else() {
        check(json!({"a": [{"exists": true}]}), json!({"a": null}), true);
        check(json!({"a": [{"exists": false}]}), json!({}), true);
        check(json!({"a": [{"exists": false}]}), json!({"a": []}), true);
        check(json!({"a": {"b": [{"exists": false}]}}), json!({}), true);
        check(json!({"a": {"b": ["x"]}}), json!({}), false);
    }

    #[test]
    fn arrays_are_sets_and_nested_objects_match_within_one_element() {
        check(json!({"a": ["x"]}), json!({"a": ["w", "x"]}), true);
        check(json!({"a": ["x"]}), json!({"a": []}), false);
        let both = json!({"a": {"b": ["1"], "c": ["2"]}});
        check(both.clone(), json!({"a": [{"b": "1", "c": "2"}]}), true);
        check(both, json!({"a": [{"b": "1"}, {"c": "2"}]}), false);
    }

    #[test]
    fn one_alternative_of_or_is_enough_and_the_other_fields_still_count() {
        let either = json!({"s": ["g"], "$or": [{"a": ["1"]}, {"b": [{"numeric": [">", 5]}]}]});
        check(either.clone(), json!({"s": "g", "b": 6}), true);
        check(either.clone(), json!({"s": "g", "a": "2"}), false);
        check(either, json!({"s": "h", "a": "1"}), false);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_place() {
        for (pattern, path) in [
            (json!([]), ""),
            (json!({"a": "x"}), "a"),
            (json!({"a": []}), "a"),
            (json!({"a": {"b": 1}}), "a.b"),
            (json!({"a": [["x"]]}), "a"),
            (json!({"a": [{"prefix": 1}]}), "a.prefix"),
            (json!({"a": [{"wildcard": "**"}]}), "a.wildcard"),
            (json!({"a": [{"numeric": [">", 5, "<", 1]}]}), "a.numeric"),
            (json!({"a": [{"numeric": ["!", 5]}]}), "a.numeric"),
            (json!({"a": [{"exists": "yes"}]}), "a.exists"),
            (json!({"a": [{"cidr": "10.0.0.0/33"}]}), "a.cidr"),
            (json!({"a": [{"anything-but": [true]}]}), "a.anything-but"),
            (json!({"a": [{"anything-but": {"numeric": [">", 1]}}]}), "a.anything-but.numeric"),
            (json!({"a": [{"regex": "x"}]}), "a.regex"),
            (json!({"a": [{"prefix": "x", "suffix": "y"}]}), "a"),
        ] {
            assert_eq!(Pattern::parse(&pattern).unwrap_err().path, path, "{pattern}");
        }
    }

    #[test]
    fn the_field_that_fails_first_is_named() {
        let pattern = json!({"a": ["x"], "b": {"c": ["y"]}});
        let pattern = Pattern::parse(&pattern).unwrap();
        let first = |event| pattern.first_mismatch(&event);
        assert_eq!(first(json!({"a": "x", "b": {"c": "z"}})), Some("b.c".to_owned()));
        assert_eq!(first(json!({"a": "w"})), Some("a".to_owned()));
        assert_eq!(first(json!({"a": "x", "b": {"c": "y"}})), None);
    }
}
