//! Intrinsic functions, in their long form: from a value as it is written to
//! the value that a resource gets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::parameters::scalar;
use super::resources::Physical;
use super::template::{Of, Refusal};

/// Pseudo parameters.
pub(super) const PSEUDO: [&str; 8] = [
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

const FUNCTIONS: [&str; 12] = [
    "Condition",
    "Fn::And",
    "Fn::Equals",
    "Fn::FindInMap",
    "Fn::GetAtt",
    "Fn::If",
    "Fn::Join",
    "Fn::Not",
    "Fn::Or",
    "Fn::Select",
    "Fn::Split",
    "Fn::Sub",
];

/// What a value is evaluated in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) of: Of<'a>,
    pub(super) account: &'a str,
    pub(super) region: &'a str,
    pub(super) stack: (&'a str, &'a str),
    pub(super) parameters: &'a BTreeMap<String, Value>,
    pub(super) mappings: &'a BTreeMap<String, Value>,
    pub(super) conditions: &'a BTreeMap<String, Value>,
    pub(super) resources: &'a BTreeMap<String, Physical>,
}

/// The one function that an object is, with its argument. A policy's key
/// `Condition` beside others is none.
fn function(value: &Value) -> Option<(&str, &Value)> {
    let held = value.as_object().filter(|held| held.len() == 1)?;
    let (name, argument) = held.iter().next()?;
    let is_function =
        name == "Ref" || name.starts_with("Fn::") || (name == "Condition" && argument.is_string());
    is_function.then_some((name.as_str(), argument))
}

/// The names that a value refers to: parameters, resources, pseudo parameters.
/// A function that is not known is refused here, before anything is made.
pub(super) fn references(of: Of<'_>, at: &str, value: &Value) -> Result<BTreeSet<String>, Refusal> {
    let mut found = BTreeSet::new();
    collect(of, at, value, &mut found)?;
    Ok(found)
}

fn collect(
    of: Of<'_>,
    at: &str,
    value: &Value,
    found: &mut BTreeSet<String>,
) -> Result<(), Refusal> {
    match function(value) {
        Some(("Ref", Value::String(name))) => {
            found.insert(name.clone());
            return Ok(());
        }
        Some(("Ref", _)) => return Err(of.refuse(at, "Ref wants a name")),
        Some(("Fn::GetAtt", argument)) => {
            found.insert(attribute(of, at, argument)?.0.to_owned());
            return Ok(());
        }
        Some(("Fn::Sub", argument)) => {
            let (text, own) = substitution(of, at, argument)?;
            for part in variables(of, at, text)? {
                let Part::Variable(name) = part else { continue };
                let name = name.split('.').next().unwrap_or_default();
                if own.is_none_or(|own| !own.contains_key(name)) {
                    found.insert(name.to_owned());
                }
            }
            return own.into_iter().flatten().try_for_each(|(_, it)| collect(of, at, it, found));
        }
        Some((name, _)) if !FUNCTIONS.contains(&name) => {
            let why = format!("the simulation does not model the function `{name}`");
            return Err(of.refuse(at, why));
        }
        Some(_) | None => {}
    }
    match value {
        Value::Array(values) => values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| collect(of, &format!("{at}/{index}"), value, found)),
        Value::Object(held) => held
            .iter()
            .try_for_each(|(key, value)| collect(of, &format!("{at}/{key}"), value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn attribute<'a>(of: Of<'_>, at: &str, argument: &'a Value) -> Result<(&'a str, &'a str), Refusal> {
    let named = match argument {
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(id), Value::String(name)] => Some((id.as_str(), name.as_str())),
            _ => None,
        },
        Value::String(text) => text.split_once('.'),
        _ => None,
    };
    named.ok_or_else(|| of.refuse(at, "Fn::GetAtt wants a resource and an attribute"))
}

type Own<'a> = Option<&'a Map<String, Value>>;

fn substitution<'a>(
    of: Of<'_>,
    at: &str,
    argument: &'a Value,
) -> Result<(&'a str, Own<'a>), Refusal> {
    match argument {
        Value::String(text) => Ok((text, None)),
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(text), Value::Object(own)] => Ok((text, Some(own))),
            _ => Err(of.refuse(at, "Fn::Sub wants a text and its variables")),
        },
        _ => Err(of.refuse(at, "Fn::Sub wants a text")),
    }
}

enum Part<'a> {
    Text(&'a str),
    /// `${!name}` stays as `${name}`.
    Literal(&'a str),
    Variable(&'a str),
}

fn variables<'a>(of: Of<'_>, at: &str, text: &'a str) -> Result<Vec<Part<'a>>, Refusal> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').ok_or_else(|| of.refuse(at, "Fn::Sub has `${` without `}`"))?;
        parts.push(Part::Text(before));
        parts.push(name.strip_prefix('!').map_or(Part::Variable(name), Part::Literal));
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

impl Scope<'_> {
    /// The value that a resource gets; `None` for `AWS::NoValue`, which is as if
    /// the key were not there.
    pub(super) fn evaluate(&self, at: &str, value: &Value) -> Result<Option<Value>, Refusal> {
        if let Some((name, argument)) = function(value) {
            return self.call(at, name, argument);
        }
        Ok(Some(match value {
            Value::Array(values) => {
                let mut evaluated = Vec::with_capacity(values.len());
                for value in values {
                    evaluated.extend(self.evaluate(at, value)?);
                }
                Value::Array(evaluated)
            }
            Value::Object(held) => {
                let mut evaluated = Map::new();
                for (key, value) in held {
                    if let Some(value) = self.evaluate(at, value)? {
                        evaluated.insert(key.clone(), value);
                    }
                }
                Value::Object(evaluated)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }))
    }

    /// A value that has to be there.
    pub(super) fn value(&self, at: &str, value: &Value) -> Result<Value, Refusal> {
        self.evaluate(at, value)?.ok_or_else(|| self.of.refuse(at, "has no value"))
    }

    fn text(&self, at: &str, value: &Value) -> Result<String, Refusal> {
        let value = self.value(at, value)?;
        scalar(&value).ok_or_else(|| self.of.refuse(at, format!("`{value}` is no text")))
    }

    fn list(&self, at: &str, value: &Value) -> Result<Vec<Value>, Refusal> {
        match self.value(at, value)? {
            Value::Array(values) => Ok(values),
            other => Err(self.of.refuse(at, format!("`{other}` is no list"))),
        }
    }

    fn arguments<'v>(
        &self,
        at: &str,
        name: &str,
        argument: &'v Value,
        count: std::ops::RangeInclusive<usize>,
    ) -> Result<&'v [Value], Refusal> {
        let values = argument.as_array().filter(|values| count.contains(&values.len()));
        let why = format!("{name} has not the arguments that it wants");
        values.map(Vec::as_slice).ok_or_else(|| self.of.refuse(at, why))
    }

    fn call(&self, at: &str, name: &str, argument: &Value) -> Result<Option<Value>, Refusal> {
        let several = |count| self.arguments(at, name, argument, count);
        Ok(Some(match name {
            "Ref" => {
                let name = argument.as_str().unwrap_or_default();
                if name == "AWS::NoValue" {
                    return Ok(None);
                }
                self.reference(at, name)?
            }
            "Fn::GetAtt" => {
                let (id, name) = attribute(self.of, at, argument)?;
                Value::String(self.attribute(at, id, name)?)
            }
            "Fn::Sub" => Value::String(self.substitute(at, argument)?),
            "Fn::Join" => {
                let [separator, values] = several(2..=2)? else { return Ok(None) };
                let values = self.list(at, values)?;
                let texts: Result<Vec<String>, Refusal> =
                    values.iter().map(|value| self.text(at, value)).collect();
                Value::String(texts?.join(&self.text(at, separator)?))
            }
            "Fn::Split" => {
                let [separator, text] = several(2..=2)? else { return Ok(None) };
                let (separator, text) = (self.text(at, separator)?, self.text(at, text)?);
                text.split(&separator).map(|part| Value::String(part.to_owned())).collect()
            }
            "Fn::Select" => {
                let [index, values] = several(2..=2)? else { return Ok(None) };
                let index: Option<usize> = self.text(at, index)?.parse().ok();
                let values = self.list(at, values)?;
                let selected = index.and_then(|index| values.get(index));
                selected.cloned().ok_or_else(|| self.of.refuse(at, "Fn::Select finds nothing"))?
            }
            "Fn::FindInMap" => {
                let [map, first, second] = several(3..=3)? else { return Ok(None) };
                let (map, first, second) =
                    (self.text(at, map)?, self.text(at, first)?, self.text(at, second)?);
                let rows = self.mappings.get(&map);
                let found = rows.and_then(|rows| rows.get(&first)?.get(&second));
                let why = format!("Fn::FindInMap finds no `{map}` `{first}` `{second}`");
                found.cloned().ok_or_else(|| self.of.refuse(at, why))?
            }
            "Fn::If" => {
                let [condition, then, otherwise] = several(3..=3)? else { return Ok(None) };
                let holds = self.holds(at, condition.as_str().unwrap_or_default())?;
                return self.evaluate(at, if holds { then } else { otherwise });
            }
            _ => Value::Bool(self.test(at, name, argument)?),
        }))
    }

    /// What is true or false.
    fn test(&self, at: &str, name: &str, argument: &Value) -> Result<bool, Refusal> {
        let several = |count| self.arguments(at, name, argument, count);
        Ok(match name {
            "Condition" => self.holds(at, argument.as_str().unwrap_or_default())?,
            "Fn::Equals" => {
                let [one, other] = several(2..=2)? else { return Ok(false) };
                let (one, other) = (self.value(at, one)?, self.value(at, other)?);
                // Numbers and texts are one to CloudFormation.
                match (scalar(&one), scalar(&other)) {
                    (Some(one), Some(other)) => one == other,
                    _ => one == other,
                }
            }
            "Fn::Not" => {
                let [one] = several(1..=1)? else { return Ok(false) };
                !self.is_true(at, one)?
            }
            "Fn::And" | "Fn::Or" => {
                let mut every = true;
                let mut any = false;
                for one in several(2..=10)? {
                    let holds = self.is_true(at, one)?;
                    every &= holds;
                    any |= holds;
                }
                if name == "Fn::And" { every } else { any }
            }
            other => {
                let why = format!("the simulation does not model the function `{other}`");
                return Err(self.of.refuse(at, why));
            }
        })
    }

    /// Whether a condition's expression is true.
    pub(super) fn is_true(&self, at: &str, value: &Value) -> Result<bool, Refusal> {
        match self.value(at, value)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(self.of.refuse(at, format!("`{other}` is neither true nor false"))),
        }
    }

    /// Whether a condition of the template holds.
    pub(super) fn holds(&self, at: &str, name: &str) -> Result<bool, Refusal> {
        let condition = self.conditions.get(name);
        let condition = condition
            .ok_or_else(|| self.of.refuse(at, format!("the condition `{name}` is nowhere")))?;
        self.is_true(&format!("Conditions/{name}"), condition)
    }

    fn reference(&self, at: &str, name: &str) -> Result<Value, Refusal> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone());
        }
        let text = match name {
            "AWS::AccountId" => self.account.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::Region" => self.region.to_owned(),
            "AWS::StackId" => self.stack.1.to_owned(),
            "AWS::StackName" => self.stack.0.to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            _ => {
                let made = self.resources.get(name).map(|made| made.id.clone());
                let why = format!("`{name}` is not made, because its condition does not hold");
                made.ok_or_else(|| self.of.refuse(at, why))?
            }
        };
        Ok(Value::String(text))
    }

    fn attribute(&self, at: &str, id: &str, name: &str) -> Result<String, Refusal> {
        let made = self.resources.get(id).ok_or_else(|| {
            self.of.refuse(at, format!("`{id}` is not made, because its condition does not hold"))
        })?;
        made.attributes.get(name).cloned().ok_or_else(|| {
            let why = format!("the simulation does not model the attribute `{name}` of `{id}`");
            self.of.refuse(at, why)
        })
    }

    fn substitute(&self, at: &str, argument: &Value) -> Result<String, Refusal> {
        let (text, own) = substitution(self.of, at, argument)?;
        let mut rendered = String::with_capacity(text.len());
        for part in variables(self.of, at, text)? {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Literal(name) => {
                    rendered.push_str("${");
                    rendered.push_str(name);
                    rendered.push('}');
                }
                Part::Variable(name) => {
                    if let Some(own) = own.and_then(|own| own.get(name)) {
                        rendered.push_str(&self.text(at, own)?);
                    } else if let Some((id, name)) = name.split_once('.') {
                        rendered.push_str(&self.attribute(at, id, name)?);
                    } else {
                        let value = self.reference(at, name)?;
                        let why = format!("`{name}` is no text");
                        let text = scalar(&value).ok_or_else(|| self.of.refuse(at, why))?;
                        rendered.push_str(&text);
                    }
                }
            }
        }
        Ok(rendered)
    }
}
