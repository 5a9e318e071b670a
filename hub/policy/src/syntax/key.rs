//! The keys of maps. A key is declared once, with its name, its description and
//! the type of its value. The type says how the value is read, and its schema.
//!
//! ```text
//! const MODE: Key<Mode> = Key::required("mode", "How far the rule goes.");
//!
//! let mode = keys.take(&MODE);
//! ```
//!
//! A map's keys are those that [`Keyed::read`] takes: there is no second list that
//! could differ. It takes them from an empty map when they are described.

use std::marker::PhantomData;

use firebreak_model::action::ActionCatalog;
use firebreak_model::suggest::suggestion;
use serde_json::Value;

use super::node::{Content, MapEntry, Node, SourcePosition};
use super::reader::Reader;

/// A key of a map.
pub(crate) struct Key<T> {
    pub(crate) name: &'static str,
    description: &'static str,
    required: bool,
    value: PhantomData<fn() -> T>,
}

impl<T: FromNode> Key<T> {
    /// A key without which its map is refused.
    pub(crate) const fn required(name: &'static str, description: &'static str) -> Self {
        Self { name, description, required: true, value: PhantomData }
    }

    /// A key that may be left out.
    pub(crate) const fn optional(name: &'static str, description: &'static str) -> Self {
        Self { name, description, required: false, value: PhantomData }
    }
}

/// A value of a document.
pub(crate) trait FromNode: Sized {
    /// Reads the value, and reports everything that is wrong with it. `what` names
    /// it in messages, such as `` `mode` ``.
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self>;

    /// The JSON Schema of such values, for editors.
    fn schema(actions: ActionCatalog) -> Value;

    /// What such a value is, for the reference.
    fn holds() -> String;

    /// The map that such a value is or contains, for the reference.
    fn map() -> Option<MapDescription> {
        None
    }
}

/// A value that is a map with certain keys.
pub(crate) trait Keyed: Sized {
    /// What the map is called, such as `a rule`.
    const WHAT: &'static str;

    /// Takes every key and checks keys that depend on each other. It returns early only
    /// after the last key was taken: a key that was not taken counts as unknown.
    fn read(keys: &mut Keys<'_, '_>) -> Option<Self>;
}

impl<T: Keyed> FromNode for T {
    fn from_node(node: &Node, _: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Content::Map(entries) = &node.content else {
            let names = MapDescription::of::<T>().names();
            let message = format!("expected {}, found {}", T::WHAT, node.describe());
            reader.report(node.place, message, Some(&format!("it has the keys {names}")));
            return None;
        };
        let place = node.place;
        let mut keys = Keys { reader, entries, place, what: T::WHAT, taken: Vec::new() };
        let value = T::read(&mut keys);
        keys.refuse_unknown();
        value
    }

    fn schema(actions: ActionCatalog) -> Value {
        MapDescription::of::<T>().schema(actions)
    }

    fn holds() -> String {
        format!("keys of {}", T::WHAT)
    }

    fn map() -> Option<MapDescription> {
        Some(MapDescription::of::<T>())
    }
}

/// The keys of one map while they are read.
pub(crate) struct Keys<'k, 'a> {
    pub(crate) reader: &'k mut Reader<'a>,
    entries: &'k [MapEntry],
    /// The place of the map.
    pub(crate) place: SourcePosition,
    what: &'static str,
    taken: Vec<DescribedKey>,
}

impl<'k> Keys<'k, '_> {
    /// Reads the value of a key, if it is there.
    pub(crate) fn take<T: FromNode>(&mut self, key: &Key<T>) -> Option<T> {
        self.taken.push(DescribedKey::of(key));
        if let Some(node) = self.node(key) {
            return T::from_node(node, &format!("`{}`", key.name), self.reader);
        }
        if key.required {
            self.reader.report(self.place, format!("{} needs `{}`", self.what, key.name), None);
        }
        None
    }

    /// The node under a key, for checks of several keys together.
    pub(crate) fn node<T>(&self, key: &Key<T>) -> Option<&'k Node> {
        self.entries.iter().find(|entry| entry.key == key.name).map(|entry| &entry.node)
    }

    /// Whether no key is there at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn refuse_unknown(self) {
        let known = |name: &str| self.taken.iter().any(|key| key.name == name);
        for MapEntry { key, place, .. } in self.entries.iter().filter(|it| !known(&it.key)) {
            let names: Vec<&str> = self.taken.iter().map(|key| key.name).collect();
            let help =
                suggestion(key, names.iter().copied(), || format!("it has {}", names.join(", ")));
            self.reader.report(*place, format!("{} has no key `{key}`", self.what), Some(&help));
        }
    }
}

/// A key as its schema and the reference have it.
pub(crate) struct DescribedKey {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) required: bool,
    pub(super) schema: fn(ActionCatalog) -> Value,
    #[cfg_attr(not(test), expect(dead_code, reason = "the reference is written by tests"))]
    pub(super) holds: fn() -> String,
    #[cfg_attr(not(test), expect(dead_code, reason = "the reference is written by tests"))]
    pub(super) map: fn() -> Option<MapDescription>,
}

impl DescribedKey {
    fn of<T: FromNode>(key: &Key<T>) -> Self {
        Self {
            name: key.name,
            description: key.description,
            required: key.required,
            schema: T::schema,
            holds: T::holds,
            map: T::map,
        }
    }
}

/// A map as its schema and the reference have it.
pub(crate) struct MapDescription {
    #[cfg_attr(not(test), expect(dead_code, reason = "the reference is written by tests"))]
    pub(super) what: &'static str,
    pub(super) keys: Vec<DescribedKey>,
}

impl MapDescription {
    /// The keys that [`Keyed::read`] takes.
    pub(super) fn of<T: Keyed>() -> Self {
        let mut reader = Reader::new("", "", ActionCatalog::new(&[]));
        let mut keys = Keys {
            reader: &mut reader,
            entries: &[],
            place: SourcePosition::default(),
            what: T::WHAT,
            taken: Vec::new(),
        };
        T::read(&mut keys);
        Self { what: T::WHAT, keys: keys.taken }
    }

    fn names(&self) -> String {
        self.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
    }
}
