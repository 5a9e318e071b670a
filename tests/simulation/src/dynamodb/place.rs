//! Where an item stands in a table or in an index: strings by the bytes of their
//! UTF-8, numbers by their value ("Data types", DynamoDB developer guide). Keys
//! of any other type are refused.

use std::cmp::Reverse;

use winterbaume_dynamodb::types::{AttributeDefinition, AttributeValue, KeySchemaElement};
use winterbaume_dynamodb::{DynamoDbError, Item};

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A number.
    Number(Number),
    /// A string's bytes.
    Text(Vec<u8>),
    /// After every other: nothing is there, and a range ends there.
    Last,
}

/// The parts of a key, the hash key first. A key stands before all that it begins.
pub(super) type Key = Vec<Place>;

/// A number, exactly: the order of the variants and of their parts is by value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Number {
    /// Below zero: the larger its magnitude, the earlier.
    Negative(Reverse<Magnitude>),
    /// Zero.
    Zero,
    /// Above zero.
    Positive(Magnitude),
}

/// `0.digits` times ten to the power of the exponent, without zeros at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Magnitude {
    exponent: i64,
    digits: String,
}

/// "Numbers can have up to 38 digits of precision" (developer guide, "Data types").
const DIGITS: usize = 38;

impl Number {
    /// The number that a text is; `None` where it is none.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_start_matches('0');
        let whole = i64::try_from(whole.len()).ok()?;
        let leading = i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self::Zero);
        }
        if digits.len() > DIGITS {
            return None;
        }
        let magnitude = Magnitude { exponent: i64::from(exponent) + whole - leading, digits };
        Some(match negative {
            true => Self::Negative(Reverse(magnitude)),
            false => Self::Positive(magnitude),
        })
    }
}

/// The attributes that are a table's or an index's key.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    /// The hash key.
    pub(super) hash: Attribute,
    /// The range key, where there is one.
    pub(super) range: Option<Attribute>,
}

/// One attribute of a key.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    /// Its name.
    pub(super) name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Number,
    Text,
}

impl Schema {
    /// The keys of a schema, whose types are defined beside it.
    pub(super) fn new(
        schema: &[KeySchemaElement],
        definitions: &[AttributeDefinition],
    ) -> Result<Self, DynamoDbError> {
        let attribute = |key_type: &str| {
            let key = schema.iter().find(|key| key.key_type == key_type)?;
            Some(Attribute::new(&key.attribute_name, definitions))
        };
        let hash = attribute("HASH").ok_or(DynamoDbError::NoHashKey)??;
        Ok(Self { hash, range: attribute("RANGE").transpose()? })
    }

    /// The attributes, the hash key first.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        std::iter::once(&self.hash).chain(&self.range)
    }

    /// The key that an item has; `None` where one of its attributes is not there.
    pub(super) fn key(&self, item: &Item) -> Result<Option<Key>, DynamoDbError> {
        self.attributes()
            .map(|attribute| item.get(&attribute.name).map(|it| attribute.place(it)).transpose())
            .collect()
    }
}

impl Attribute {
    fn new(name: &str, definitions: &[AttributeDefinition]) -> Result<Self, DynamoDbError> {
        let defined = definitions.iter().find(|it| it.attribute_name == name);
        let kind = match defined.map(|it| it.attribute_type.as_str()) {
            Some("S") => Kind::Text,
            Some("N") => Kind::Number,
            Some(other) => {
                return Err(invalid(format!(
                    "the simulation does not model keys of the type {other}"
                )));
            }
            None => {
                return Err(invalid(format!(
                    "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [{name}]"
                )));
            }
        };
        Ok(Self { name: name.to_owned(), kind })
    }

    /// Where a value of this attribute stands.
    pub(super) fn place(&self, value: &AttributeValue) -> Result<Place, DynamoDbError> {
        let Self { name, kind } = self;
        match (kind, value) {
            (Kind::Text, AttributeValue::S(text)) if text.is_empty() => Err(invalid(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: {name}"
            ))),
            (Kind::Text, AttributeValue::S(text)) => Ok(Place::Text(text.clone().into_bytes())),
            (Kind::Number, AttributeValue::N(text)) => match Number::of(text) {
                Some(number) => Ok(Place::Number(number)),
                None => Err(invalid(format!(
                    "The parameter cannot be converted to a numeric value: {text}"
                ))),
            },
            (Kind::Text | Kind::Number, _) => Err(invalid(format!(
                "One or more parameter values were invalid: Type mismatch for key {name}"
            ))),
        }
    }
}

/// A request that DynamoDB refuses as invalid.
pub(super) fn invalid(message: impl Into<String>) -> DynamoDbError {
    DynamoDbError::ValidationError(message.into())
}
