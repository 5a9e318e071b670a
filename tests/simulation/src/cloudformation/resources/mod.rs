//! Resource types: how each is made, changed and deleted, in the same state that
//! the services' calls read and change.
//!
//! A type, and of a type a property, that is not modelled is refused. A property
//! that changes nothing which the simulation can show (a description, say) is
//! named with the others.

mod dynamodb;
mod events;
mod iam;
mod lambda;
mod monitoring;
mod organizations;
mod s3;
mod sns;
mod sqs;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::parameters::scalar;
use crate::state::State;

/// What was made: what `Ref` and `Fn::GetAtt` tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Physical {
    /// The physical id.
    pub id: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

impl Physical {
    fn new<const N: usize>(id: impl Into<String>, attributes: [(&str, String); N]) -> Self {
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
        Self { id: id.into(), attributes: attributes.into() }
    }
}

/// Where a resource is made, and for which stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a> {
    pub(super) account: &'a str,
    pub(super) region: &'a str,
    pub(super) now: Timestamp,
    pub(super) stack: &'a str,
    /// The logical id.
    pub(super) logical: &'a str,
}

impl Here<'_> {
    /// The name that CloudFormation makes up for a resource without one, or the
    /// one that it made up before.
    fn name(
        &self,
        state: &mut State,
        given: Option<String>,
        before: Option<&Before<'_>>,
    ) -> String {
        let made_up =
            |state: &mut State| format!("{}-{}-{:012}", self.stack, self.logical, state.unique());
        given
            .or_else(|| before.map(|before| before.physical.id.clone()))
            .unwrap_or_else(|| made_up(state))
    }
}

/// What stands before a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    pub(super) physical: &'a Physical,
    pub(super) properties: &'a Properties,
}

/// Refuses to take over what somebody else made.
fn not_taken(
    kind: &str,
    id: &str,
    is_there: bool,
    before: Option<&Before<'_>>,
) -> Result<(), String> {
    if is_there && before.is_none_or(|before| before.physical.id != id) {
        return Err(format!("Resource of type '{kind}' with identifier '{id}' already exists."));
    }
    Ok(())
}

type Made = Result<Physical, String>;
type Put = fn(&mut State, Here<'_>, &Properties, Option<&Before<'_>>) -> Made;
type Delete = fn(&mut State, Here<'_>, &Before<'_>);

/// A resource type.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Makes a resource, or changes the one from before.
    pub(super) put: Put,
    /// Deletes it; without effect where it is gone.
    pub(super) delete: Delete,
}

/// A type that the simulation models.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let kinds = [
        dynamodb::kind,
        events::kind,
        iam::kind,
        lambda::kind,
        monitoring::kind,
        organizations::kind,
        s3::kind,
        sns::kind,
        sqs::kind,
    ];
    kinds.iter().find_map(|kind| kind(name))
}

/// A resource's properties, evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Properties(pub(super) Map<String, Value>);

impl Properties {
    /// Refuses properties that are not modelled.
    fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(format!("the simulation does not model the property `{key}`")),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(scalar)
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.text(name).ok_or_else(|| format!("Required property `{name}` cannot be empty"))
    }

    fn list(&self, name: &str) -> Result<Vec<Value>, String> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values.clone()),
            Some(_) => Err(format!("`{name}` is no list")),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let values = self.list(name)?;
        values
            .iter()
            .map(|value| scalar(value).ok_or_else(|| format!("`{name}` is no list of texts")))
            .collect()
    }

    fn object(&self, name: &str) -> Result<Option<Properties>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(held)) => Ok(Some(Self(held.clone()))),
            Some(_) => Err(format!("`{name}` is no mapping")),
        }
    }

    fn objects(&self, name: &str) -> Result<Vec<Properties>, String> {
        let each = self.list(name)?.into_iter().map(|value| match value {
            Value::Object(held) => Ok(Self(held)),
            _ => Err(format!("`{name}` is no list of mappings")),
        });
        each.collect()
    }

    /// A policy document: statements at least, each with an effect and actions.
    fn policy(&self, name: &str) -> Result<Value, String> {
        let held =
            self.get(name).ok_or_else(|| format!("Required property `{name}` is missing"))?;
        let document = match held {
            Value::String(text) => serde_json::from_str(text)
                .map_err(|error| format!("`{name}` is no JSON: {error}"))?,
            other => other.clone(),
        };
        let statements = crate::policy::list(document.get("Statement"));
        if statements.is_empty() {
            return Err(format!("`{name}` has no statement"));
        }
        for statement in statements {
            let effect = statement.get("Effect").and_then(Value::as_str);
            let acts = statement.get("Action").or(statement.get("NotAction")).is_some();
            if !effect.is_some_and(|it| it == "Allow" || it == "Deny") || !acts {
                return Err(format!("`{name}` has a statement without effect or action"));
            }
        }
        Ok(document)
    }
}
