//! EC2's answers: elements written in order, text escaped.

use std::fmt::Write;

/// Writes `<name>text</name>`.
pub fn text(out: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "<{name}>{}</{name}>", quick_xml::escape::escape(value));
}

/// Writes `<name>…</name>` around what `inner` writes.
pub fn element(out: &mut String, name: &str, inner: impl FnOnce(&mut String)) {
    let _ = write!(out, "<{name}>");
    inner(out);
    let _ = write!(out, "</{name}>");
}

/// Writes `<name><item>…</item>…</name>`.
pub fn set<T>(
    out: &mut String,
    name: &str,
    items: impl IntoIterator<Item = T>,
    mut item: impl FnMut(&mut String, T),
) {
    element(out, name, |out| {
        for each in items {
            element(out, "item", |out| item(out, each));
        }
    });
}
