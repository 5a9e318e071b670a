//! XML documents as values: an element is a text or an object of its children,
//! and children of one name are a list. Neither order nor attributes matter to
//! the configurations that S3 holds.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::Event;
use serde_json::{Map, Value};

/// Reads a document; `None` for one that is not well formed.
pub(super) fn read(body: &str) -> Option<Value> {
    let mut reader = Reader::from_str(body);
    // The elements that are open, each with what it holds so far; the first
    // stands for the document.
    let mut open = vec![(String::new(), Map::new(), String::new())];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                let mut name = String::new();
                start.local_name().as_ref().clone_into(&mut name);
                open.push((name, Map::new(), String::new()));
            }
            Event::Empty(empty) => {
                let mut name = String::new();
                empty.local_name().as_ref().clone_into(&mut name);
                add(&mut open.last_mut()?.1, name, Value::String(String::new()));
            }
            Event::Text(text) => open.last_mut()?.2.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let reference = reference.xml10_content();
                let text = resolve_xml_entity(&reference).unwrap_or_default();
                open.last_mut()?.2.push_str(text);
            }
            Event::End(_) => {
                let (name, children, text) = open.pop()?;
                let value =
                    if children.is_empty() { Value::String(text) } else { Value::Object(children) };
                add(&mut open.last_mut()?.1, name, value);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let (_, document, _) = open.pop()?;
    document.into_iter().next().map(|(_, root)| root)
}

fn add(children: &mut Map<String, Value>, name: String, value: Value) {
    match children.get_mut(&name) {
        None => {
            children.insert(name, value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
    }
}

/// Writes a value as an element of this name.
pub(super) fn write(name: &str, value: &Value) -> String {
    let mut out = String::new();
    element(&mut out, name, value);
    out
}

fn element(out: &mut String, name: &str, value: &Value) {
    // Writing to a String cannot fail.
    match value {
        Value::Array(values) => values.iter().for_each(|value| element(out, name, value)),
        Value::Object(children) => {
            let _ = write!(out, "<{name}>");
            children.iter().for_each(|(name, value)| element(out, name, value));
            let _ = write!(out, "</{name}>");
        }
        Value::String(text) => {
            let _ = write!(out, "<{name}>{}</{name}>", escape(text.as_str()));
        }
        other => {
            let _ = write!(out, "<{name}>{other}</{name}>");
        }
    }
}

/// The elements of a name: none, one or a list.
pub(super) fn elements<'a>(parent: &'a Value, name: &str) -> Vec<&'a Value> {
    crate::policy::list(parent.get(name))
}

/// The text of an element.
pub(super) fn text<'a>(parent: &'a Value, name: &str) -> Option<&'a str> {
    parent.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_back_as_it_was_written() {
        let body =
            "<C><Rule><ID>a&amp;b</ID><Filter/></Rule><Rule><ID>2</ID></Rule><Role>r</Role></C>";
        let value = read(body).unwrap();
        assert_eq!(elements(&value, "Rule").len(), 2);
        assert_eq!(elements(&value, "Role").len(), 1);
        assert_eq!(text(elements(&value, "Rule")[0], "ID"), Some("a&b"));
        assert_eq!(read(&write("C", &value)).unwrap(), value);
    }
}
