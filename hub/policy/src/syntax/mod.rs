//! Reads documents. Every key is declared once, next to the code that reads it: the
//! errors, the JSON Schema and the reference in docs/policy.md come from that.

mod actions;
mod ancestry;
mod diagnostics;
mod document;
mod fields;
mod files;
mod issue;
mod key;
mod lints;
mod node;
mod reader;
#[cfg(test)]
mod reference;
mod rule;
mod schema;
mod values;

pub(crate) use actions::Actions;
pub use diagnostics::Diagnostic;
pub(crate) use document::Version;
#[cfg(test)]
pub(crate) use fields::field_table;
pub(crate) use files::{read_documents, read_each, read_stored};
pub(crate) use key::{FromNode, Key, Keyed, Keys, MapDescription};
pub use lints::lints;
pub(crate) use node::{Content, Node};
pub(crate) use reader::Reader;
#[cfg(test)]
pub(crate) use reference::key_tables;
pub use schema::schema;
pub(crate) use schema::schema_of;
pub(crate) use values::words;
