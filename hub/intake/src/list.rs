//! Lists of anything that is read here, and answers of GetFindings.

use serde_json::Value;

use super::{Findings, Outside, read_value};

pub(super) fn recognizes(value: &Value) -> bool {
    value.is_array() || of_findings(value).is_some()
}

pub(super) fn read(value: &Value, outside: &Outside, findings: &mut Findings) {
    let (name, elements) = match (value, of_findings(value)) {
        (Value::Array(elements), _) => ("", elements),
        (_, Some((name, elements))) => (name, elements),
        (_, None) => return,
    };
    if elements.is_empty() {
        findings
            .push(Err(outside.reject("the list is empty", Some(name).filter(|it| !it.is_empty()))));
    }
    for (index, element) in elements.iter().enumerate() {
        read_value(element, &outside.inside(&format!("{name}[{index}]"), None), findings);
    }
}

/// `Findings` as GetFindings answers, `findings` as events have it.
fn of_findings(value: &Value) -> Option<(&'static str, &Vec<Value>)> {
    let object = value.as_object()?;
    ["Findings", "findings"]
        .into_iter()
        .find_map(|name| Some((name, object.get(name)?.as_array()?)))
        .filter(|_| !object.contains_key("detail-type") && !object.contains_key("Id"))
}
