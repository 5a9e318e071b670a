//! The JSON Schema of documents, for editors.

use firebreak_model::action::ActionCatalog;
use serde_json::{Map, Value, json};

use super::key::{Keyed, MapDescription};
use crate::model::Document;

/// The JSON Schema of a document.
pub fn schema(actions: ActionCatalog) -> Value {
    schema_of::<Document>("A Firebreak policy document", actions)
}

/// The JSON Schema of a file that is one map.
pub(crate) fn schema_of<T: Keyed>(title: &str, actions: ActionCatalog) -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
    });
    if let (Some(schema), Value::Object(whole)) =
        (schema.as_object_mut(), MapDescription::of::<T>().schema(actions))
    {
        schema.extend(whole);
    }
    schema
}

impl MapDescription {
    pub(super) fn schema(&self, actions: ActionCatalog) -> Value {
        let properties: Map<String, Value> = self
            .keys
            .iter()
            .map(|key| {
                let mut property = (key.schema)(actions);
                if let Some(property) = property.as_object_mut() {
                    property.insert("description".to_owned(), json!(key.description));
                }
                (key.name.to_owned(), property)
            })
            .collect();
        let required: Vec<&str> =
            self.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}
