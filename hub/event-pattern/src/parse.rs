//! Reads a pattern, and reports every error in a value that is no pattern.

use serde_json::{Map, Value};

use super::leaf::{Block, Comparison, Matcher};
use super::text::{Glob, TextTest};
use super::{Field, Node, PatternError};
use firebreak_model::suggest::suggestion;

/// The operators, in the order in which messages list them.
const OPERATORS: [&str; 8] = [
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
];

/// A part of the pattern, or every error in it.
type Parsed<T> = Result<T, Vec<PatternError>>;

/// The path to a part of the pattern. It is kept on the stack, because most parts have
/// no error.
#[derive(Clone, Copy)]
struct Path<'a> {
    above: Option<&'a Path<'a>>,
    key: Key<'a>,
}

#[derive(Clone, Copy)]
enum Key<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    fn name(&'a self, name: &'a str) -> Self {
        Self { above: Some(self), key: Key::Name(name) }
    }

    fn index(&'a self, index: usize) -> Self {
        Self { above: Some(self), key: Key::Index(index) }
    }

    fn keys(&self) -> Vec<String> {
        let mut keys = self.above.map(Path::keys).unwrap_or_default();
        match self.key {
            Key::Root => {}
            Key::Name(name) => keys.push(name.to_owned()),
            Key::Index(index) => keys.push(format!("[{index}]")),
        }
        keys
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        Err(vec![PatternError { path: self.keys(), reason: reason.into() }])
    }
}

/// The path of a field in an event, as people write it.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

pub(super) fn pattern(source: &Value) -> Parsed<Node> {
    let root = Path { above: None, key: Key::Root };
    match source {
        Value::Object(object) => node(object, root),
        _ => root.fail("a pattern is an object of the event's shape"),
    }
}

fn node(object: &Map<String, Value>, path: Path<'_>) -> Parsed<Node> {
    if object.is_empty() {
        return path.fail("an empty object tests nothing; leave it out");
    }
    let mut any_of = None;
    let fields = object.iter().filter_map(|(name, value)| {
        let path = path.name(name);
        if name == "$or" {
            match alternatives(value, path) {
                Ok(None) => {}
                Ok(found) => {
                    any_of = found;
                    return None;
                }
                Err(errors) => return Some(Err(errors)),
            }
        }
        Some(field(value, path).map(|field| (name.clone(), field)))
    });
    let fields = all(fields)?;
    Ok(Node { fields, any_of })
}

fn field(value: &Value, path: Path<'_>) -> Parsed<Field> {
    match value {
        Value::Object(object) => node(object, path).map(Field::Object),
        Value::Array(values) => leaf(values, path).map(Field::Leaf),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            path.fail(format!("a value must be in a list: write [{value}]"))
        }
    }
}

/// All parts, or every error in any of them.
fn all<T>(parts: impl Iterator<Item = Parsed<T>>) -> Parsed<Vec<T>> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Ok(part) => all.push(part),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// `$or` over two objects or more is the operator; anything else is a field of
/// that name (EventBridge user guide, "Or matching").
fn alternatives(value: &Value, path: Path<'_>) -> Parsed<Option<Vec<Node>>> {
    let Value::Array(values) = value else { return Ok(None) };
    if values.len() < 2 || !values.iter().any(Value::is_object) {
        return Ok(None);
    }
    let nodes =
        values.iter().enumerate().map(|(index, value)| alternative(value, path.index(index)));
    all(nodes).map(Some)
}

fn alternative(value: &Value, path: Path<'_>) -> Parsed<Node> {
    let Value::Object(object) = value else {
        return path.fail("every alternative of `$or` is an object");
    };
    if let Some(key) = object.keys().find(|key| OPERATORS.contains(&key.as_str())) {
        return path.name(key).fail("an operator needs a field around it");
    }
    node(object, path)
}

fn leaf(values: &[Value], path: Path<'_>) -> Parsed<Vec<Matcher>> {
    if values.is_empty() {
        return path.fail("an empty list matches nothing");
    }
    all(values.iter().enumerate().map(|(index, value)| matcher(value, path.index(index))))
}

fn matcher(value: &Value, path: Path<'_>) -> Parsed<Matcher> {
    let object = match value {
        Value::Object(object) => object,
        Value::Array(_) => return path.fail("a list within a list is not an alternative"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Ok(Matcher::Exact(value.clone()));
        }
    };
    let (operator, operand) = only_entry(object, path)?;
    let path = path.name(operator);
    match operator {
        "exists" => match operand {
            Value::Bool(exists) => Ok(Matcher::Exists(*exists)),
            _ => path.fail("it takes true or false"),
        },
        "numeric" => numeric(operand, path).map(Matcher::Numeric),
        "cidr" => match operand.as_str().and_then(Block::parse) {
            Some(block) => Ok(Matcher::Cidr(block)),
            None => path.fail("it takes a block such as 10.0.0.0/24 or 2001:db8::/32"),
        },
        "anything-but" => anything_but(operand, path),
        other => text_test(other, operand, path).map(Matcher::Text),
    }
}

fn only_entry<'a>(object: &'a Map<String, Value>, path: Path<'_>) -> Parsed<(&'a str, &'a Value)> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((operator, operand)), None) => Ok((operator, operand)),
        (None, _) => path.fail("an empty object is not an operator"),
        (Some(_), Some(_)) => path.fail("one object holds one operator"),
    }
}

fn text_test(operator: &str, operand: &Value, path: Path<'_>) -> Parsed<TextTest> {
    let text = || match operand {
        Value::String(text) => Ok(text.clone()),
        _ => path.fail("it takes a text"),
    };
    match operator {
        "prefix" => Ok(match ignoring_case(operand, path)? {
            Some(prefix) => TextTest::PrefixIgnoreCase(prefix),
            None => TextTest::Prefix(text()?),
        }),
        "suffix" => Ok(match ignoring_case(operand, path)? {
            Some(suffix) => TextTest::SuffixIgnoreCase(suffix),
            None => TextTest::Suffix(text()?),
        }),
        "equals-ignore-case" => Ok(TextTest::EqualsIgnoreCase(text()?)),
        "wildcard" => match Glob::wildcard(&text()?) {
            Ok(glob) => Ok(TextTest::Wildcard(glob)),
            Err(why) => path.fail(why),
        },
        _ => {
            let help =
                suggestion(operator, OPERATORS, || format!("there are {}", OPERATORS.join(", ")));
            path.fail(format!("this is not an operator; {help}"))
        }
    }
}

/// The text of `{ equals-ignore-case: … }`, where the operand is that.
fn ignoring_case(operand: &Value, path: Path<'_>) -> Parsed<Option<String>> {
    let Value::Object(object) = operand else { return Ok(None) };
    match only_entry(object, path)? {
        ("equals-ignore-case", Value::String(text)) => Ok(Some(text.clone())),
        _ => path.fail("only `equals-ignore-case` with a string is allowed inside it"),
    }
}

fn numeric(operand: &Value, path: Path<'_>) -> Parsed<Vec<(Comparison, f64)>> {
    let wrong = "it takes a comparison and a number, as in [\">=\", 7], or two of each for a range";
    let Value::Array(parts) = operand else { return path.fail(wrong) };
    if parts.is_empty() || parts.len() > 4 || parts.len() % 2 != 0 {
        return path.fail(wrong);
    }
    let mut comparisons = Vec::new();
    for pair in parts.chunks(2) {
        let [Value::String(sign), Value::Number(number)] = pair else { return path.fail(wrong) };
        let comparison = match sign.as_str() {
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            "=" => Comparison::Equal,
            ">=" => Comparison::GreaterOrEqual,
            ">" => Comparison::Greater,
            other => return path.fail(format!("`{other}` is not one of <, <=, =, >=, >")),
        };
        let Some(number) = number.as_f64() else { return path.fail(wrong) };
        comparisons.push((comparison, number));
    }
    if let [(first, low), (second, high)] = comparisons.as_slice() {
        let range = matches!(first, Comparison::Greater | Comparison::GreaterOrEqual)
            && matches!(second, Comparison::Less | Comparison::LessOrEqual);
        if !range || low >= high {
            return path.fail("a range goes from > or >= the lower to < or <= the higher number");
        }
    }
    Ok(comparisons)
}

fn anything_but(operand: &Value, path: Path<'_>) -> Parsed<Matcher> {
    match operand {
        Value::String(_) | Value::Number(_) => Ok(Matcher::AnythingBut(vec![operand.clone()])),
        Value::Array(values) => {
            let alike = values.iter().all(Value::is_string) || values.iter().all(Value::is_number);
            if values.is_empty() || !alike {
                return path.fail("it takes texts only or numbers only");
            }
            Ok(Matcher::AnythingBut(values.clone()))
        }
        Value::Object(object) => {
            let (operator, operand) = only_entry(object, path)?;
            anything_but_text(operator, operand, path.name(operator))
        }
        Value::Null | Value::Bool(_) => {
            path.fail("it takes texts, numbers or an operator on texts")
        }
    }
}

fn anything_but_text(operator: &str, operand: &Value, path: Path<'_>) -> Parsed<Matcher> {
    if !matches!(operator, "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
        return path.fail("only prefix, suffix, equals-ignore-case or wildcard are allowed inside");
    }
    let operands = match operand {
        Value::Array(operands) => operands.as_slice(),
        one => std::slice::from_ref(one),
    };
    if operands.is_empty() || !operands.iter().all(Value::is_string) {
        return path.fail("it takes a text or a list of texts");
    }
    let empty = |operand: &Value| operand.as_str().is_some_and(str::is_empty);
    if matches!(operator, "prefix" | "suffix") && operands.iter().any(empty) {
        return path.fail("every text starts and ends with an empty one");
    }
    let tests = operands.iter().map(|operand| text_test(operator, operand, path));
    Ok(Matcher::AnythingButText(tests.collect::<Parsed<_>>()?))
}
