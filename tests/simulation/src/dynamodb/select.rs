//! What a query or a scan reads: a range of keys, from one side, a page at a time.
//!
//! A page ends at the limit or at 1 MB. What DynamoDB does and this does not: it
//! may tell a key to go on from where nothing follows.

use std::collections::BTreeMap;
use std::iter;

use winterbaume_dynamodb::types::SortKeyCondition;
use winterbaume_dynamodb::{DynamoDbError, Item, QueryResult};

use super::place::{Attribute, Key, Place, Schema, invalid};
use super::size;
use super::table::{Index, Table};

/// What is asked.
#[derive(Debug)]
pub(super) struct Query {
    /// The index, where it is not the table itself.
    pub(super) index: Option<String>,
    /// What attributes of the key equal.
    pub(super) equal: Item,
    /// What else is asked of the range key.
    pub(super) condition: Option<SortKeyCondition>,
    pub(super) direction: Direction,
    pub(super) page: Page,
}

/// Which side is first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Forwards,
    Backwards,
}

/// Which part of it is to be told.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) limit: Option<usize>,
    /// The last key of the page before.
    pub(super) after: Option<Item>,
}

/// From the first key, to before the second.
type Bounds = (Key, Key);

impl Table {
    /// Answers a query.
    pub(super) fn query(&self, query: &Query) -> Result<QueryResult, DynamoDbError> {
        let index = query.index.as_ref().map(|name| {
            let unknown =
                || invalid(format!("The table does not have the specified index: {name}"));
            self.indexes.get(name).ok_or_else(unknown)
        });
        let index = index.transpose()?;
        let schema = index.map_or(&self.schema, |index| &index.schema);
        let bounds = bounds(schema, &query.equal, query.condition.as_ref())?;
        self.select(index, bounds, query.direction, &query.page)
    }

    /// Answers a scan.
    pub(super) fn scan(&self, page: &Page) -> Result<QueryResult, DynamoDbError> {
        self.select(None, (Vec::new(), vec![Place::Last]), Direction::Forwards, page)
    }

    fn select(
        &self,
        index: Option<&Index>,
        (mut lower, mut upper): Bounds,
        direction: Direction,
        page: &Page,
    ) -> Result<QueryResult, DynamoDbError> {
        if let Some(after) = &page.after {
            let start = self.start(index, after)?;
            match direction {
                Direction::Forwards => lower = lower.max(beyond(start)),
                Direction::Backwards => upper = upper.min(start),
            }
        }
        let found: Box<dyn Iterator<Item = &Item> + '_> = match index {
            // A range that ends before it begins is no range.
            _ if lower >= upper => Box::new(iter::empty()),
            None => {
                let items: &BTreeMap<Key, Item> = &self.items;
                directed(items.range(lower..upper).map(|(_, item)| item), direction)
            }
            Some(index) => {
                let own = index.schema.attributes().count();
                let item = move |entry: &Key| self.items.get(entry.get(own..)?);
                directed(index.entries.range(lower..upper).filter_map(item), direction)
            }
        };
        Ok(self.page(index, found, page.limit))
    }

    fn page<'a>(
        &'a self,
        index: Option<&Index>,
        found: impl Iterator<Item = &'a Item>,
        limit: Option<usize>,
    ) -> QueryResult {
        let (mut items, mut held, mut last) = (Vec::new(), 0, None);
        for item in found {
            let rendered = index.map_or_else(|| item.clone(), |it| it.project(&self.schema, item));
            held += size::of(&rendered);
            let full = items.len() >= limit.unwrap_or(usize::MAX) || held > size::PAGE;
            if full && !items.is_empty() {
                last = items.last().map(|item| self.keys(index, item));
                break;
            }
            items.push(rendered);
        }
        let count = items.len();
        QueryResult { items, count, scanned_count: count, last_evaluated_key: last }
    }

    /// The attributes that say where a page ended.
    fn keys(&self, index: Option<&Index>, item: &Item) -> Item {
        let own = index.into_iter().flat_map(|index| index.schema.attributes());
        self.schema
            .attributes()
            .chain(own)
            .filter_map(|it| Some((it.name.clone(), item.get(&it.name)?.clone())))
            .collect()
    }

    /// Where the page before ended.
    fn start(&self, index: Option<&Index>, after: &Item) -> Result<Key, DynamoDbError> {
        let unsound = || invalid("The provided starting key is invalid");
        let key = self.schema.key(after)?.ok_or_else(unsound)?;
        match index {
            None => Ok(key),
            Some(index) => index.entry(&key, after)?.ok_or_else(unsound),
        }
    }
}

/// What begins with a key is before this, and what follows it is not.
fn beyond(mut key: Key) -> Key {
    key.push(Place::Last);
    key
}

fn directed<'a>(
    found: impl DoubleEndedIterator<Item = &'a Item> + 'a,
    direction: Direction,
) -> Box<dyn Iterator<Item = &'a Item> + 'a> {
    match direction {
        Direction::Forwards => Box::new(found),
        Direction::Backwards => Box::new(found.rev()),
    }
}

/// The keys that are asked for.
fn bounds(
    schema: &Schema,
    equal: &Item,
    condition: Option<&SortKeyCondition>,
) -> Result<Bounds, DynamoDbError> {
    let Schema { hash, range } = schema;
    let value = equal.get(&hash.name).ok_or(DynamoDbError::QueryConditionMissedKey)?;
    let hash = hash.place(value)?;
    let same = range.as_ref().and_then(|range| Some((range, equal.get(&range.name)?)));
    let unsupported = || invalid("Query key condition not supported");
    if equal.len() != 1 + usize::from(same.is_some()) || same.is_some() && condition.is_some() {
        return Err(unsupported());
    }
    if let Some((range, value)) = same {
        let key = vec![hash, range.place(value)?];
        return Ok((key.clone(), beyond(key)));
    }
    let Some(condition) = condition else { return Ok((vec![hash.clone()], beyond(vec![hash]))) };
    let range = range.as_ref().ok_or_else(unsupported)?;
    ranged(&hash, range, condition)
}

fn ranged(
    hash: &Place,
    range: &Attribute,
    condition: &SortKeyCondition,
) -> Result<Bounds, DynamoDbError> {
    let at = |value| Ok::<Key, DynamoDbError>(vec![hash.clone(), range.place(value)?]);
    let first = || vec![hash.clone()];
    let end = || beyond(first());
    Ok(match condition {
        SortKeyCondition::LessThan(value) => (first(), at(value)?),
        SortKeyCondition::LessThanOrEqual(value) => (first(), beyond(at(value)?)),
        SortKeyCondition::GreaterThan(value) => (beyond(at(value)?), end()),
        SortKeyCondition::GreaterThanOrEqual(value) => (at(value)?, end()),
        SortKeyCondition::Between(low, high) => (at(low)?, beyond(at(high)?)),
        SortKeyCondition::BeginsWith(prefix) => match range.place(prefix)? {
            Place::Text(prefix) => {
                // No UTF-8 has this byte: it stands after all that begins so.
                let over = [prefix.as_slice(), &[0xFF]].concat();
                let at = |text| vec![hash.clone(), Place::Text(text)];
                (at(prefix), at(over))
            }
            Place::Number(_) | Place::Last => {
                return Err(invalid(
                    "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
                ));
            }
        },
    })
}
