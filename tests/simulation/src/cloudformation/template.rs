//! A template as it was written: its sections read and checked, nothing
//! evaluated.
//!
//! What this loader does not know it refuses, and says where it stands: a
//! section, a key, a function, a YAML tag. The short forms (`!Sub`) are not
//! read; the long ones (`Fn::Sub`) say the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::functions;
use super::parameters::{self, Parameter};
use super::resources;

/// The largest template that a call may bring (CloudFormation user guide,
/// "Quotas").
pub const TEMPLATE_BYTES: usize = 51_200;

/// Why a template, or a stack made of it, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{template}: {at}: {why}")]
pub struct Refusal {
    /// The template's name.
    pub template: String,
    /// Where: `Resources/Role/Properties/Path`.
    pub at: String,
    /// Why.
    pub why: String,
}

/// A resource as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// `AWS::IAM::Role`.
    pub kind: String,
    /// Its properties, not evaluated.
    pub properties: Map<String, Value>,
    /// The condition under which it is made.
    pub condition: Option<String>,
    /// The resources that it refers to or names in `DependsOn`.
    pub needs: BTreeSet<String>,
    /// `DeletionPolicy: Retain`.
    pub is_retained: bool,
}

/// An output as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its value, not evaluated.
    pub value: Value,
    /// The condition under which there is one.
    pub condition: Option<String>,
}

/// One rule on parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// When it holds, if not always.
    pub when: Option<Value>,
    /// What has to be true, and what is said where it is not.
    pub assertions: Vec<(Value, String)>,
}

/// A template.
#[derive(Clone, Debug)]
pub struct Template {
    /// What it is called in errors: its file's name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, Parameter>,
    /// Mappings: two keys, then a value.
    pub mappings: BTreeMap<String, Value>,
    /// Rules by name.
    pub rules: BTreeMap<String, Rule>,
    /// Conditions by name, not evaluated.
    pub conditions: BTreeMap<String, Value>,
    /// Resources by their logical ids.
    pub resources: BTreeMap<String, Resource>,
    /// The logical ids in the order in which they can be made.
    pub order: Vec<String>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, Output>,
}

const SECTIONS: [&str; 9] = [
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
];

const ATTRIBUTES: [&str; 7] = [
    "Condition",
    "DeletionPolicy",
    "DependsOn",
    "Metadata",
    "Properties",
    "Type",
    "UpdateReplacePolicy",
];

/// Where a refusal is at home.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a>(pub(super) &'a str);

impl Of<'_> {
    pub(super) fn refuse(self, at: impl Into<String>, why: impl Into<String>) -> Refusal {
        Refusal { template: self.0.to_owned(), at: at.into(), why: why.into() }
    }
}

impl Template {
    /// Reads a template; `name` is what errors call it.
    pub fn read(name: &str, text: &str) -> Result<Self, Refusal> {
        let of = Of(name);
        if let Some((line, tag)) = tag(text) {
            let why = format!(
                "the simulation reads no tags: write the long form of `{tag}`, such as `Fn::Sub`"
            );
            return Err(of.refuse(format!("line {line}"), why));
        }
        let read: Value = serde_saphyr::from_str(text)
            .map_err(|error| of.refuse("the file", format!("cannot be read: {error}")))?;
        let sections = object(of, "the file", &read)?;
        only(of, "the file", sections, &SECTIONS)?;
        let section = |name: &str| match sections.get(name) {
            None => Ok(Map::new()),
            Some(held) => object(of, name, held).cloned(),
        };
        let mut parameters = BTreeMap::new();
        for (name, declared) in &section("Parameters")? {
            let at = format!("Parameters/{name}");
            let declared = object(of, &at, declared)?;
            parameters.insert(name.clone(), Parameter::read(of, &at, declared)?);
        }
        let conditions = section("Conditions")?.into_iter().collect();
        let mut template = Self {
            name: name.to_owned(),
            text: text.to_owned(),
            parameters,
            mappings: section("Mappings")?.into_iter().collect(),
            rules: rules(of, &section("Rules")?)?,
            conditions,
            resources: BTreeMap::new(),
            order: Vec::new(),
            outputs: outputs(of, &section("Outputs")?)?,
        };
        let declared = section("Resources")?;
        if declared.is_empty() {
            return Err(of.refuse("Resources", "at least one resource has to be there"));
        }
        for (id, declared) in &declared {
            let resource = resource(of, id, declared)?;
            template.resources.insert(id.clone(), resource);
        }
        template.check_references(of)?;
        template.order = order(of, &template.resources)?;
        Ok(template)
    }

    /// Whether IAM entities with names of their own are made: CloudFormation
    /// wants that acknowledged by `CAPABILITY_NAMED_IAM`.
    pub fn names_iam(&self) -> bool {
        self.resources.values().any(|it| {
            let named =
                ["RoleName", "UserName", "GroupName", "ManagedPolicyName", "InstanceProfileName"];
            it.kind.starts_with("AWS::IAM::")
                && named.iter().any(|name| it.properties.contains_key(*name))
        })
    }

    /// Refuses parameters that no stack could be made with.
    pub fn check(&self, given: &BTreeMap<String, String>) -> Result<(), Refusal> {
        parameters::resolve(Of(&self.name), &self.parameters, given).map(drop)
    }

    fn check_references(&self, of: Of<'_>) -> Result<(), Refusal> {
        let pseudo = functions::PSEUDO;
        let known = |name: &str| {
            pseudo.contains(&name)
                || self.parameters.contains_key(name)
                || self.resources.contains_key(name)
        };
        for (id, resource) in &self.resources {
            let at = format!("Resources/{id}");
            for name in &resource.needs {
                if !known(name) {
                    return Err(of.refuse(at, format!("refers to `{name}`, which is nowhere")));
                }
            }
            let conditions = resource.condition.iter();
            for name in conditions {
                if !self.conditions.contains_key(name) {
                    return Err(of.refuse(at, format!("the condition `{name}` is nowhere")));
                }
            }
        }
        for (name, output) in &self.outputs {
            let at = format!("Outputs/{name}");
            for name in functions::references(of, &at, &output.value)? {
                if !known(&name) {
                    return Err(of.refuse(at, format!("refers to `{name}`, which is nowhere")));
                }
            }
            if let Some(name) = &output.condition
                && !self.conditions.contains_key(name)
            {
                return Err(of.refuse(at, format!("the condition `{name}` is nowhere")));
            }
        }
        for (name, condition) in &self.conditions {
            let at = format!("Conditions/{name}");
            for name in functions::references(of, &at, condition)? {
                if !(self.parameters.contains_key(&name) || pseudo.contains(&name.as_str())) {
                    let why = format!("refers to `{name}`, which is no parameter");
                    return Err(of.refuse(at, why));
                }
            }
        }
        Ok(())
    }
}

fn resource(of: Of<'_>, id: &str, declared: &Value) -> Result<Resource, Refusal> {
    let at = format!("Resources/{id}");
    let declared = object(of, &at, declared)?;
    only(of, &at, declared, &ATTRIBUTES)?;
    let text = |name: &str| declared.get(name).and_then(Value::as_str);
    let kind = text("Type").ok_or_else(|| of.refuse(&at, "has no Type"))?.to_owned();
    if resources::kind(&kind).is_none() {
        let why = format!("the simulation does not model the type `{kind}`");
        return Err(of.refuse(at, why));
    }
    let policies = ["DeletionPolicy", "UpdateReplacePolicy"];
    for name in policies {
        if let Some(policy) = declared.get(name)
            && !["Retain", "Delete", "RetainExceptOnCreate"].iter().any(|it| policy == it)
        {
            let why = format!("the simulation does not model the {name} {policy}");
            return Err(of.refuse(at, why));
        }
    }
    let properties = match declared.get("Properties") {
        None => Map::new(),
        Some(held) => object(of, &format!("{at}/Properties"), held)?.clone(),
    };
    let mut needs =
        functions::references(of, &format!("{at}/Properties"), &Value::Object(properties.clone()))?;
    let depends = match declared.get("DependsOn") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(_) => return Err(of.refuse(at, "DependsOn is neither a name nor a list")),
    };
    needs.extend(depends);
    let is_retained = text("DeletionPolicy").is_some_and(|it| it.starts_with("Retain"));
    let condition = text("Condition").map(str::to_owned);
    Ok(Resource { kind, properties, condition, needs, is_retained })
}

fn outputs(of: Of<'_>, declared: &Map<String, Value>) -> Result<BTreeMap<String, Output>, Refusal> {
    let mut read = BTreeMap::new();
    for (name, declared) in declared {
        let at = format!("Outputs/{name}");
        let declared = object(of, &at, declared)?;
        only(of, &at, declared, &["Condition", "Description", "Value"])?;
        let value = declared.get("Value").ok_or_else(|| of.refuse(&at, "has no Value"))?.clone();
        let condition = declared.get("Condition").and_then(Value::as_str).map(str::to_owned);
        read.insert(name.clone(), Output { value, condition });
    }
    Ok(read)
}

fn rules(of: Of<'_>, declared: &Map<String, Value>) -> Result<BTreeMap<String, Rule>, Refusal> {
    let mut read = BTreeMap::new();
    for (name, declared) in declared {
        let at = format!("Rules/{name}");
        let declared = object(of, &at, declared)?;
        only(of, &at, declared, &["Assertions", "RuleCondition"])?;
        let listed = declared.get("Assertions").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| of.refuse(&at, "has no Assertions"))?;
        let mut assertions = Vec::new();
        for assertion in listed {
            let assertion = object(of, &at, assertion)?;
            only(of, &at, assertion, &["Assert", "AssertDescription"])?;
            let assert = assertion.get("Assert").ok_or_else(|| of.refuse(&at, "has no Assert"))?;
            let rendered = assertion.get("AssertDescription").and_then(Value::as_str);
            assertions.push((assert.clone(), rendered.unwrap_or("an assertion fails").to_owned()));
        }
        let when = declared.get("RuleCondition").cloned();
        read.insert(name.clone(), Rule { when, assertions });
    }
    Ok(read)
}

/// The order in which resources can be made: each after what it needs.
fn order(of: Of<'_>, resources: &BTreeMap<String, Resource>) -> Result<Vec<String>, Refusal> {
    let mut order: Vec<String> = Vec::new();
    let mut made: BTreeSet<&str> = BTreeSet::new();
    while order.len() < resources.len() {
        let ready: Vec<&String> = resources
            .iter()
            .filter(|(id, resource)| {
                let met =
                    |need: &String| !resources.contains_key(need) || made.contains(need.as_str());
                !made.contains(id.as_str()) && resource.needs.iter().all(met)
            })
            .map(|(id, _)| id)
            .collect();
        if ready.is_empty() {
            let left: Vec<&str> =
                resources.keys().map(String::as_str).filter(|id| !made.contains(id)).collect();
            return Err(
                of.refuse("Resources", format!("they need each other: {}", left.join(", ")))
            );
        }
        made.extend(ready.iter().map(|id| id.as_str()));
        order.extend(ready.into_iter().cloned());
    }
    Ok(order)
}

pub(super) fn object<'a>(
    of: Of<'_>,
    at: &str,
    value: &'a Value,
) -> Result<&'a Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| of.refuse(at, "is no mapping"))
}

pub(super) fn only(
    of: Of<'_>,
    at: &str,
    held: &Map<String, Value>,
    known: &[&str],
) -> Result<(), Refusal> {
    match held.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(of.refuse(format!("{at}/{key}"), "the simulation does not model it")),
    }
}

/// The first YAML tag of a text, with its line: `serde-saphyr` reads over tags
/// that it does not know, and `!Ref` would become a plain text.
fn tag(text: &str) -> Option<(usize, String)> {
    for (number, line) in text.lines().enumerate() {
        let (mut quote, mut begins, mut before) = (None, true, ' ');
        let mut rest = line.chars();
        while let Some(char) = rest.next() {
            match quote {
                Some(end) if char == end => quote = None,
                None if begins && (char == '"' || char == '\'') => quote = Some(char),
                None if begins && char == '#' => break,
                None if begins && char == '!' => {
                    let name: String = rest.clone().take_while(|it| !it.is_whitespace()).collect();
                    return Some((number + 1, format!("!{name}")));
                }
                Some(_) | None => {}
            }
            // `${!name}` is a text of Fn::Sub's.
            begins = char.is_whitespace() || (before != '$' && "[{,".contains(char));
            before = char;
        }
    }
    None
}
