//! A list of messages or findings, and the response of GetFindings.

use serde_json::Value;

use super::Envelope;
use crate::part::{Findings, PartContext};
use crate::read_value;

pub(super) const ENVELOPE: Envelope = Envelope { recognizes, open };

fn recognizes(value: &Value) -> bool {
    value.is_array() || findings_field(value).is_some()
}

fn open(value: &Value, context: &PartContext, findings: &mut Findings) {
    let (name, elements) = match (value, findings_field(value)) {
        (Value::Array(elements), _) => ("", elements),
        (_, Some((name, elements))) => (name, elements),
        (_, None) => return,
    };
    if elements.is_empty() {
        let field = Some(name).filter(|name| !name.is_empty());
        findings.reject(context.reject("the list is empty", field));
    }
    for (index, element) in elements.iter().enumerate() {
        read_value(element, &context.inside(&format!("{name}[{index}]"), None), findings);
    }
}

/// GetFindings returns `Findings`, events have `findings`.
fn findings_field(value: &Value) -> Option<(&'static str, &Vec<Value>)> {
    let object = value.as_object()?;
    ["Findings", "findings"]
        .into_iter()
        .find_map(|name| Some((name, object.get(name)?.as_array()?)))
        .filter(|_| !object.contains_key("detail-type") && !object.contains_key("Id"))
}
