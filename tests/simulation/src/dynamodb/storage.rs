//! The tables of an account, where winterbaume keeps what it is told: it takes
//! requests apart and evaluates expressions, and every item is here.
//!
//! A call costs what it reads and writes, however much a table holds.
//! winterbaume's own storage copies all of it after every call, for listeners
//! that there are none of, and looks at every item for a query of an index.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use winterbaume_dynamodb::types::{self, AttributeValue, SortKeyCondition, TransactOp};
use winterbaume_dynamodb::{
    DynamoDbBackend, DynamoDbError, DynamoDbState, DynamodbStateView, Item, QueryResult,
    StateViewError,
};

use super::place::{Key, invalid};
use super::select::{Direction, Page, Query};
use super::table::{Table, Write};
use super::unmodelled::unmodelled;

/// One account's tables in every Region.
#[derive(Debug, Default)]
pub(super) struct Storage {
    regions: Mutex<BTreeMap<String, Tables>>,
}

type Tables = BTreeMap<String, Table>;

/// What the library waits for.
pub(super) type Answer<T> = Pin<Box<dyn Future<Output = Result<T, DynamoDbError>> + Send>>;

impl Storage {
    /// Every item of a table, in any Region.
    pub(super) fn items(&self, table: &str) -> Vec<Item> {
        let regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = regions.values().filter_map(|tables| tables.get(table));
        tables.flat_map(|table| table.items.values().cloned()).collect()
    }

    /// The item that a request's `TableName` and `Key` name.
    pub(super) fn item(&self, region: &str, request: &Value) -> Option<Item> {
        let table = request.get("TableName")?.as_str()?;
        let part = |name: &str| AttributeValue::deserialize(request.get("Key")?.get(name)?).ok();
        let key = self.key(region, table, part).ok()?;
        self.with(region, table, |table| Ok(table.items.get(&key).cloned())).ok()?
    }

    /// The key of an item of a table: `part` gives the value of an attribute.
    pub(super) fn key(
        &self,
        region: &str,
        table: &str,
        part: impl Fn(&str) -> Option<AttributeValue>,
    ) -> Result<Key, DynamoDbError> {
        self.with(region, table, |table| {
            let names = table.schema.attributes().map(|it| &it.name);
            let item = names.filter_map(|name| Some((name.clone(), part(name)?))).collect();
            table.key(&item)
        })
    }

    fn within<T>(&self, region: &str, act: impl FnOnce(&mut Tables) -> T) -> T {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        act(regions.entry(region.to_owned()).or_default())
    }

    fn with<T>(
        &self,
        region: &str,
        table: &str,
        act: impl FnOnce(&mut Table) -> Result<T, DynamoDbError>,
    ) -> Result<T, DynamoDbError> {
        self.within(region, |tables| act(held(tables, table)?))
    }
}

fn held<'a>(tables: &'a mut Tables, name: &str) -> Result<&'a mut Table, DynamoDbError> {
    tables.get_mut(name).ok_or_else(|| DynamoDbError::ResourceNotFound(name.to_owned()))
}

/// The table as it is told.
fn described(table: &Table) -> types::Table {
    types::Table { item_count: table.items.len(), ..table.description.clone() }
}

/// Makes all writes ready, and only then writes.
fn transact(tables: &mut Tables, parts: Vec<TransactOp>) -> Result<(), DynamoDbError> {
    let mut ready: Vec<(String, Write)> = Vec::new();
    let mut targets = BTreeSet::new();
    for part in parts {
        let table = held(tables, part.table_name())?;
        if !targets.insert((part.table_name().to_owned(), table.key(part.target())?)) {
            return Err(DynamoDbError::TransactionConflict);
        }
        ready.push(match part {
            TransactOp::Put { table_name, item } => (table_name, table.put(item)?),
            TransactOp::Delete { table_name, key } => (table_name, table.delete(&key)?),
            TransactOp::Update { table_name, key, actions } => {
                (table_name, table.update(key, &actions)?)
            }
        });
    }
    for (name, write) in ready {
        held(tables, &name)?.write(write);
    }
    Ok(())
}

fn now<T: Send + 'static>(answer: Result<T, DynamoDbError>) -> Answer<T> {
    Box::pin(std::future::ready(answer))
}

impl DynamoDbBackend for Storage {
    fn create_table(
        &self,
        account: String,
        region: String,
        name: String,
        keys: Vec<types::KeySchemaElement>,
        attributes: Vec<types::AttributeDefinition>,
        billing: Option<String>,
        throughput: Option<types::ProvisionedThroughput>,
        stream: bool,
        stream_view: Option<String>,
        global: Vec<types::GlobalSecondaryIndexDef>,
        local: Vec<types::LocalSecondaryIndexDef>,
    ) -> Answer<types::Table> {
        // How a table is described is the library's; it keeps nothing of it.
        let mut state = DynamoDbState::default();
        let made = state.create_table(
            &name,
            &account,
            &region,
            keys,
            attributes,
            billing.as_deref(),
            throughput,
            stream,
            stream_view,
            global,
            local,
        );
        let table = made.cloned().and_then(Table::new);
        now(self.within(&region, |tables| {
            if tables.contains_key(&name) {
                return Err(DynamoDbError::ResourceInUse(name));
            }
            let table = table?;
            let rendered = described(&table);
            tables.insert(name, table);
            Ok(rendered)
        }))
    }

    fn delete_table(&self, _: String, region: String, name: String) -> Answer<types::Table> {
        now(self.within(&region, |tables| {
            let table = tables.remove(&name).ok_or(DynamoDbError::ResourceNotFound(name))?;
            Ok(types::Table { table_status: "DELETING".to_owned(), ..described(&table) })
        }))
    }

    fn describe_table(&self, _: String, region: String, name: String) -> Answer<types::Table> {
        now(self.with(&region, &name, |table| Ok(described(table))))
    }

    fn list_tables(&self, _: String, region: String) -> Answer<Vec<String>> {
        now(Ok(self.within(&region, |tables| tables.keys().cloned().collect())))
    }

    fn put_item(
        &self,
        _: String,
        region: String,
        table: String,
        item: Item,
    ) -> Answer<Option<Item>> {
        now(self.with(&region, &table, |table| {
            let write = table.put(item)?;
            Ok(table.write(write))
        }))
    }

    /// `key` may have more than the key: for the condition of a put it is the item.
    fn get_item(
        &self,
        _: String,
        region: String,
        table: String,
        key: Item,
    ) -> Answer<Option<Item>> {
        now(self.with(&region, &table, |table| {
            let key = table.schema.key(&key)?;
            let key =
                key.ok_or_else(|| invalid("The provided key element does not match the schema"))?;
            Ok(table.items.get(&key).cloned())
        }))
    }

    fn delete_item(
        &self,
        _: String,
        region: String,
        table: String,
        key: Item,
    ) -> Answer<Option<Item>> {
        now(self.with(&region, &table, |table| {
            let write = table.delete(&key)?;
            Ok(table.write(write))
        }))
    }

    fn update_item(
        &self,
        _: String,
        region: String,
        table: String,
        key: Item,
        actions: Vec<types::UpdateAction>,
    ) -> Answer<Option<Item>> {
        now(self.with(&region, &table, |table| {
            let write = table.update(key, &actions)?;
            let after = match &write {
                Write::Put { item, .. } => Some(item.clone()),
                Write::Delete(_) => None,
            };
            table.write(write);
            Ok(after)
        }))
    }

    fn batch_get_item(
        &self,
        _: String,
        region: String,
        table: String,
        keys: Vec<Item>,
    ) -> Answer<Vec<Item>> {
        now(self.with(&region, &table, |table| {
            let (mut seen, mut items) = (BTreeSet::new(), Vec::new());
            for key in &keys {
                let key = table.named(key)?;
                items.extend(table.items.get(&key).cloned());
                if !seen.insert(key) {
                    return Err(invalid("Provided list of item keys contains duplicates"));
                }
            }
            Ok(items)
        }))
    }

    fn query(
        &self,
        _: String,
        region: String,
        table: String,
        equal: Item,
        condition: Option<SortKeyCondition>,
        limit: Option<usize>,
        forwards: bool,
        after: Option<Item>,
        index: Option<String>,
    ) -> Answer<QueryResult> {
        let direction = if forwards { Direction::Forwards } else { Direction::Backwards };
        let query = Query { index, equal, condition, direction, page: Page { limit, after } };
        now(self.with(&region, &table, |table| table.query(&query)))
    }

    fn scan(
        &self,
        _: String,
        region: String,
        table: String,
        limit: Option<usize>,
        after: Option<Item>,
    ) -> Answer<QueryResult> {
        now(self.with(&region, &table, |table| table.scan(&Page { limit, after })))
    }

    fn transact_write_items(
        &self,
        _: String,
        region: String,
        parts: Vec<TransactOp>,
    ) -> Answer<()> {
        now(self.within(&region, |tables| transact(tables, parts)))
    }

    unmodelled!();
}
