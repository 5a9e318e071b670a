//! The keys of documents and of tests, declared once: the reader refuses all
//! others, and the JSON Schemas list them.

mod document;
mod suite;

use serde_json::{Map, Value, json};

use super::document::Mode;
pub(super) use document::{APPROVE, BUDGET, DOCUMENT, PROTECT, RULE};
use firebreak_model::action::ActionCatalog;
pub(super) use suite::{CASE, EXPECT, FINDING, GIVEN, PRINCIPAL, RESOURCE, SUITE};

/// One key of a map.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) required: bool,
    about: &'static str,
    shape: Shape,
}

/// What a key holds.
enum Shape {
    Version,
    Attach,
    Mode,
    Text,
    Texts,
    TagSets,
    Pattern,
    Actions,
    Allow,
    Bool,
    Count,
    Window,
    OneOf(fn() -> Vec<&'static str>),
    Number,
    Tags,
    Anything,
    Map(&'static [Key]),
    Maps(&'static [Key]),
    TextOrMap(&'static [Key]),
}

/// The JSON Schema of a document, for editors.
pub fn schema(actions: ActionCatalog) -> Value {
    schema_of("A Firebreak policy document", DOCUMENT, actions)
}

/// The JSON Schema of a file of policy tests, for editors.
pub fn test_schema(actions: ActionCatalog) -> Value {
    schema_of("Tests of Firebreak policies", SUITE, actions)
}

fn schema_of(title: &str, keys: &[Key], actions: ActionCatalog) -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
    });
    if let (Some(schema), Value::Object(whole)) =
        (schema.as_object_mut(), map_schema(keys, actions))
    {
        schema.extend(whole);
    }
    schema
}

fn map_schema(keys: &[Key], actions: ActionCatalog) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut described = shape_schema(&key.shape, actions);
            if let Some(described) = described.as_object_mut() {
                described.insert("description".to_owned(), json!(key.about));
            }
            (key.name.to_owned(), described)
        })
        .collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn shape_schema(shape: &Shape, actions: ActionCatalog) -> Value {
    match shape {
        Shape::Version => json!({ "const": 1 }),
        Shape::Attach => json!({
            "type": "string",
            "pattern": "^(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}|[0-9]{12})$",
        }),
        Shape::Mode => json!({ "enum": Mode::ALL.map(Mode::name) }),
        Shape::Text => json!({ "type": "string", "minLength": 1 }),
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::TagSets => json!({
            "type": "array",
            "items": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": { "type": "string" },
            },
        }),
        Shape::Pattern => json!({ "type": "object", "minProperties": 1 }),
        Shape::Actions => json!({ "type": "array", "items": { "anyOf": calls(actions) } }),
        Shape::Allow => json!({ "const": "allow" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Count => json!({ "type": "integer", "minimum": 1 }),
        Shape::Window => json!({ "type": "string", "pattern": "^[0-9]", "examples": ["30m"] }),
        Shape::OneOf(names) => json!({ "enum": names() }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Tags => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Shape::Anything => json!({}),
        Shape::Map(keys) => map_schema(keys, actions),
        Shape::TextOrMap(keys) => {
            json!({ "anyOf": [{ "type": "string" }, map_schema(keys, actions)] })
        }
        Shape::Maps(keys) => json!({ "type": "array", "items": map_schema(keys, actions) }),
    }
}

/// A name alone, or each name with its parameters.
fn calls(actions: ActionCatalog) -> Vec<Value> {
    let names: Vec<&str> = actions.all().iter().map(|action| action.name()).collect();
    let with_parameters = actions.all().iter().map(|action| {
        let mut parameters = (action.schema)();
        if let Some(parameters) = parameters.as_object_mut() {
            parameters.remove("$schema");
        }
        json!({
            "type": "object",
            "properties": { action.name(): parameters },
            "required": [action.name()],
            "additionalProperties": false,
        })
    });
    std::iter::once(json!({ "enum": names })).chain(with_parameters).collect()
}
