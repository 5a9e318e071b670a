//! One table: its items in the order of their keys, and its indexes.
//!
//! What is written is first made ready, which can fail, and then written, which
//! cannot: so a transaction writes all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use winterbaume_dynamodb::types::{self, AttributeDefinition, KeySchemaElement, UpdateAction};
use winterbaume_dynamodb::{DynamoDbError, Item, expr};

use super::place::{Key, Place, Schema, invalid};
use super::size;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// As DescribeTable tells it, but for the number of items.
    pub(super) description: types::Table,
    pub(super) schema: Schema,
    pub(super) items: BTreeMap<Key, Item>,
    pub(super) indexes: BTreeMap<String, Index>,
}

/// An index: its key and the item's, for each item that has the index's key.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) schema: Schema,
    /// The attributes it has besides the keys; `None` for all.
    projected: Option<Vec<String>>,
    pub(super) entries: BTreeSet<Key>,
}

/// A write that cannot fail any more.
#[derive(Debug)]
pub(super) enum Write {
    /// An item, and its entry in each index, in the indexes' order.
    Put { key: Key, entries: Vec<Option<Key>>, item: Item },
    /// No item.
    Delete(Key),
}

impl Table {
    /// An empty table.
    pub(super) fn new(description: types::Table) -> Result<Self, DynamoDbError> {
        let definitions = &description.attribute_definitions;
        let global = description.global_secondary_indexes.iter().map(|it| {
            (&it.index_name, &it.key_schema, &it.projection_type, &it.non_key_attributes)
        });
        let local = description.local_secondary_indexes.iter().map(|it| {
            (&it.index_name, &it.key_schema, &it.projection_type, &it.non_key_attributes)
        });
        let indexes = global
            .chain(local)
            .map(|(name, keys, projection, others)| {
                Ok((name.clone(), Index::new(keys, definitions, projection, others)?))
            })
            .collect::<Result<_, DynamoDbError>>()?;
        let schema = Schema::new(&description.key_schema, definitions)?;
        Ok(Self { description, schema, items: BTreeMap::new(), indexes })
    }

    /// The key of an item that is to be written or compared.
    pub(super) fn key(&self, item: &Item) -> Result<Key, DynamoDbError> {
        self.schema.key(item)?.ok_or_else(|| {
            let missing = self.schema.attributes().find(|it| !item.contains_key(&it.name));
            DynamoDbError::MissingKey(missing.map(|it| it.name.clone()).unwrap_or_default())
        })
    }

    /// The key that a request names an item by: nothing else is to be in it.
    pub(super) fn named(&self, key: &Item) -> Result<Key, DynamoDbError> {
        let found = self.schema.key(key)?.filter(|_| key.len() == self.schema.attributes().count());
        found.ok_or_else(|| invalid("The provided key element does not match the schema"))
    }

    /// Makes an item ready to be written.
    pub(super) fn put(&self, item: Item) -> Result<Write, DynamoDbError> {
        let key = self.key(&item)?;
        if size::of(&item) > size::ITEM {
            return Err(invalid("Item size has exceeded the maximum allowed size"));
        }
        let entries = self.indexes.values().map(|index| index.entry(&key, &item));
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Write::Put { key, entries, item })
    }

    /// Makes a deletion ready.
    pub(super) fn delete(&self, key: &Item) -> Result<Write, DynamoDbError> {
        Ok(Write::Delete(self.named(key)?))
    }

    /// Makes ready what an update leaves of an item.
    pub(super) fn update(
        &self,
        name: Item,
        actions: &[UpdateAction],
    ) -> Result<Write, DynamoDbError> {
        let before = self.named(&name)?;
        let mut item = self.items.get(&before).cloned().unwrap_or(name);
        expr::apply_update_actions(&mut item, actions).map_err(invalid)?;
        let write = self.put(item)?;
        match &write {
            Write::Put { key, .. } if *key != before => Err(invalid(
                "One or more parameter values were invalid: Cannot update an attribute that is part of the key",
            )),
            Write::Put { .. } | Write::Delete(_) => Ok(write),
        }
    }

    /// Writes, and answers what was there before.
    pub(super) fn write(&mut self, write: Write) -> Option<Item> {
        match write {
            Write::Put { key, entries, item } => {
                let before = self.remove(&key);
                for (index, entry) in self.indexes.values_mut().zip(entries) {
                    index.entries.extend(entry);
                }
                self.items.insert(key, item);
                before
            }
            Write::Delete(key) => self.remove(&key),
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Item> {
        let before = self.items.remove(key)?;
        for index in self.indexes.values_mut() {
            if let Ok(Some(entry)) = index.entry(key, &before) {
                index.entries.remove(&entry);
            }
        }
        Some(before)
    }
}

impl Index {
    fn new(
        keys: &[KeySchemaElement],
        definitions: &[AttributeDefinition],
        projection: &str,
        others: &[String],
    ) -> Result<Self, DynamoDbError> {
        let projected = match projection {
            "ALL" => None,
            "KEYS_ONLY" => Some(Vec::new()),
            "INCLUDE" => Some(others.to_vec()),
            other => return Err(invalid(format!("Unknown ProjectionType: {other}"))),
        };
        let schema = Schema::new(keys, definitions)?;
        Ok(Self { schema, projected, entries: BTreeSet::new() })
    }

    /// An item's place in the index; `None` where it has none.
    pub(super) fn entry(&self, key: &[Place], item: &Item) -> Result<Option<Key>, DynamoDbError> {
        let entry = self.schema.key(item)?;
        Ok(entry.map(|mut entry| {
            entry.extend_from_slice(key);
            entry
        }))
    }

    /// What the index has of an item of a table.
    pub(super) fn project(&self, table: &Schema, item: &Item) -> Item {
        let Some(others) = &self.projected else { return item.clone() };
        let keys = table.attributes().chain(self.schema.attributes()).map(|it| &it.name);
        let held = keys.chain(others);
        held.filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect()
    }
}
