//! The keys of a document, declared once: the reader refuses all others, and
//! the JSON Schema lists them.

use serde_json::{Map, Value, json};

use super::actions::ActionFacts;
use super::document::Mode;

/// One key of a map in a document.
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
    Map(&'static [Key]),
    Maps(&'static [Key]),
}

/// The keys of a document.
pub(super) const DOCUMENT: &[Key] = &[
    Key {
        name: "version",
        required: false,
        about: "The version of this form: 1.",
        shape: Shape::Version,
    },
    Key {
        name: "attach",
        required: true,
        about: "The id of the root (r-…), of an OU (ou-…), or of an account.",
        shape: Shape::Attach,
    },
    Key {
        name: "ceiling",
        required: false,
        about: "The strongest mode allowed here and below.",
        shape: Shape::Mode,
    },
    Key {
        name: "protect",
        required: false,
        about: "What is never touched here and below.",
        shape: Shape::Map(PROTECT),
    },
    Key {
        name: "rules",
        required: false,
        about: "In order: the first that matches decides.",
        shape: Shape::Maps(RULE),
    },
];

/// The keys under `protect`.
pub(super) const PROTECT: &[Key] = &[
    Key {
        name: "tags",
        required: false,
        about: "Resources that have all tags of one of these sets; * stands for any text.",
        shape: Shape::TagSets,
    },
    Key {
        name: "principals",
        required: false,
        about: "Users and roles, by ARN pattern; * stands for any text.",
        shape: Shape::Texts,
    },
    Key {
        name: "resources",
        required: false,
        about: "Resources, by ARN pattern; * stands for any text.",
        shape: Shape::Texts,
    },
    Key { name: "accounts", required: false, about: "Account ids.", shape: Shape::Texts },
];

/// The keys of a rule.
pub(super) const RULE: &[Key] = &[
    Key {
        name: "name",
        required: true,
        about: "Unique in its document; responses are kept under it.",
        shape: Shape::Text,
    },
    Key {
        name: "when",
        required: false,
        about: "An EventBridge event pattern over the finding and its target; without one the rule matches everything.",
        shape: Shape::Pattern,
    },
    Key { name: "mode", required: true, about: "How far the rule goes.", shape: Shape::Mode },
    Key {
        name: "then",
        required: false,
        about: "Actions: a name, or a name with its parameters.",
        shape: Shape::Actions,
    },
    Key {
        name: "irreversible",
        required: false,
        about: "Lets actions run that cannot be undone.",
        shape: Shape::Allow,
    },
];

/// Keys of the design that this version does not have. They are refused like
/// any unknown key, with a better reason than a likeness to another key.
pub(super) const LATER: &[&str] =
    &["approve", "budgets", "confirm", "expires", "extends", "notify", "variables"];

/// The JSON Schema of a document, for editors.
pub fn schema() -> Value {
    let actions = ActionFacts::all();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A Firebreak policy document",
    });
    if let (Some(schema), Value::Object(document)) =
        (schema.as_object_mut(), map_schema(DOCUMENT, &actions))
    {
        schema.extend(document);
    }
    schema
}

fn map_schema(keys: &[Key], actions: &[ActionFacts]) -> Value {
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

fn shape_schema(shape: &Shape, actions: &[ActionFacts]) -> Value {
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
        Shape::Map(keys) => map_schema(keys, actions),
        Shape::Maps(keys) => json!({ "type": "array", "items": map_schema(keys, actions) }),
    }
}

/// A name alone, or each name with its parameters.
fn calls(actions: &[ActionFacts]) -> Vec<Value> {
    let names: Vec<&str> = actions.iter().map(|action| action.name.as_str()).collect();
    let with_parameters = actions.iter().map(|action| {
        let mut parameters = (action.parameters)(&action.name);
        if let Some(parameters) = parameters.as_object_mut() {
            parameters.remove("$schema");
        }
        json!({
            "type": "object",
            "properties": { action.name.as_str(): parameters },
            "required": [action.name],
            "additionalProperties": false,
        })
    });
    std::iter::once(json!({ "enum": names })).chain(with_parameters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "UPDATE=1 is for the developer who runs it")]
    fn the_schema_beside_the_policies_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/schema.json");
        let fresh = format!("{:#}\n", schema());
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(file, &fresh).unwrap();
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(written == fresh, "policies/schema.json is stale: run the tests with UPDATE=1");
    }
}
