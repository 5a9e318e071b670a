//! A template's parameters: what each admits, and the value that a stack gives
//! it.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::template::{Of, Refusal, only};

/// A parameter as it is declared.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// What its value is read as.
    pub kind: Kind,
    /// What it is without a value.
    pub default: Option<String>,
    /// `NoEcho`: its value is never shown.
    pub is_hidden: bool,
    allowed_pattern: Option<Regex>,
    allowed_values: Option<Vec<String>>,
    length: (Option<f64>, Option<f64>),
    value: (Option<f64>, Option<f64>),
}

/// What a parameter's value is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `String`.
    Text,
    /// `Number`.
    Number,
    /// `CommaDelimitedList`.
    List,
}

const KEYS: [&str; 11] = [
    "AllowedPattern",
    "AllowedValues",
    "ConstraintDescription",
    "Default",
    "Description",
    "MaxLength",
    "MaxValue",
    "MinLength",
    "MinValue",
    "NoEcho",
    "Type",
];

/// A scalar as CloudFormation hands it on: as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Parameter {
    pub(super) fn read(
        of: Of<'_>,
        at: &str,
        declared: &Map<String, Value>,
    ) -> Result<Self, Refusal> {
        only(of, at, declared, &KEYS)?;
        let text = |name: &str| declared.get(name).and_then(scalar);
        let number = |name: &str| match text(name) {
            None => Ok(None),
            Some(text) => text
                .parse::<f64>()
                .map(Some)
                .map_err(|_| of.refuse(at, format!("{name} `{text}` is no number"))),
        };
        let kind = match text("Type").as_deref() {
            Some("String") => Kind::Text,
            Some("Number") => Kind::Number,
            Some("CommaDelimitedList") => Kind::List,
            other => {
                let why =
                    format!("the simulation does not model the type `{}`", other.unwrap_or(""));
                return Err(of.refuse(at, why));
            }
        };
        let allowed_pattern =
            match text("AllowedPattern") {
                None => None,
                // Java's regular expressions on AWS; what both write alike is read here.
                Some(pattern) => Some(Regex::new(&pattern).map_err(|error| {
                    of.refuse(format!("{at}/AllowedPattern"), error.to_string())
                })?),
            };
        let allowed_values = match declared.get("AllowedValues") {
            None => None,
            Some(Value::Array(values)) => Some(values.iter().filter_map(scalar).collect()),
            Some(_) => return Err(of.refuse(at, "AllowedValues is no list")),
        };
        let parameter = Self {
            kind,
            default: text("Default"),
            is_hidden: text("NoEcho").as_deref() == Some("true"),
            allowed_pattern,
            allowed_values,
            length: (number("MinLength")?, number("MaxLength")?),
            value: (number("MinValue")?, number("MaxValue")?),
        };
        if let Some(default) = &parameter.default {
            parameter.check(default).map_err(|why| of.refuse(at, format!("its default {why}")))?;
        }
        Ok(parameter)
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let each: Vec<&str> = match self.kind {
            Kind::List => value.split(',').map(str::trim).collect(),
            Kind::Text | Kind::Number => vec![value],
        };
        for value in each {
            if let Some(allowed) = &self.allowed_values
                && !allowed.iter().any(|it| it == value)
            {
                return Err(format!("must be one of {}", allowed.join(", ")));
            }
            if let Some(pattern) = &self.allowed_pattern
                && !pattern.is_match(value)
            {
                return Err(format!("must match pattern {}", pattern.as_str()));
            }
        }
        let number: Option<f64> = value.parse().ok();
        if self.kind == Kind::Number && number.is_none() {
            return Err("must be a number".to_owned());
        }
        #[expect(clippy::cast_precision_loss, reason = "no text is that long")]
        let length = value.chars().count() as f64;
        let within = |(least, most): (Option<f64>, Option<f64>), number: f64| {
            least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
        };
        if self.kind == Kind::Text && !within(self.length, length) {
            return Err("has not the length that it must have".to_owned());
        }
        if !number.is_none_or(|number| within(self.value, number)) {
            return Err("is not within its bounds".to_owned());
        }
        Ok(())
    }

    fn value(&self, text: &str) -> Value {
        match self.kind {
            Kind::Text | Kind::Number => Value::String(text.to_owned()),
            Kind::List if text.is_empty() => Value::Array(Vec::new()),
            Kind::List => text.split(',').map(|it| Value::String(it.trim().to_owned())).collect(),
        }
    }
}

/// The values of all parameters, as `Ref` tells them.
pub(super) fn resolve(
    of: Of<'_>,
    declared: &BTreeMap<String, Parameter>,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Value>, Refusal> {
    if let Some(name) = given.keys().find(|name| !declared.contains_key(*name)) {
        let why = format!("Parameters: [{name}] do not exist in the template");
        return Err(of.refuse("Parameters", why));
    }
    let mut values = BTreeMap::new();
    for (name, parameter) in declared {
        let Some(text) = given.get(name).or(parameter.default.as_ref()) else {
            let why = format!("Parameters: [{name}] must have values");
            return Err(of.refuse(format!("Parameters/{name}"), why));
        };
        parameter.check(text).map_err(|why| {
            of.refuse(format!("Parameters/{name}"), format!("Parameter '{name}' {why}"))
        })?;
        values.insert(name.clone(), parameter.value(text));
    }
    Ok(values)
}
