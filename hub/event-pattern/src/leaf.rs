//! One alternative of a leaf: a value or an operator.

use std::cmp::Ordering;
use std::net::IpAddr;

use serde_json::Value;

use super::Event;
use super::text::TextTest;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Matcher {
    Exact(Value),
    Text(TextTest),
    AnythingBut(Vec<Value>),
    AnythingButText(Vec<TextTest>),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
    Cidr(Block),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// A block of addresses in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    network: IpAddr,
    bits: u8,
}

/// A single value of the event.
#[derive(Clone, Copy)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
}

impl Matcher {
    /// Whether it matches a field, or one element of a list.
    pub(super) fn holds(&self, event: Event<'_>) -> bool {
        if let Self::Exists(wanted) = self {
            return has_leaf(event) == *wanted;
        }
        match event {
            Event::Absent | Event::Unknown | Event::Object(_) => false,
            Event::Text(text) => self.holds_for(Scalar::Text(text)),
            Event::Number(number) => self.holds_for(Scalar::Number(number)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "JSON's numbers are compared as f64 too"
            )]
            Event::Count(count) => self.holds_for(Scalar::Number(count as f64)),
            Event::Bool(bool) => self.holds_for(Scalar::Bool(bool)),
            Event::Path(path) => path.split('/').any(|text| self.holds_for(Scalar::Text(text))),
            Event::Value(Value::Array(elements)) => {
                elements.iter().any(|element| self.holds(Event::Value(element)))
            }
            Event::Value(value) => Scalar::of(value).is_some_and(|scalar| self.holds_for(scalar)),
        }
    }

    fn holds_for(&self, value: Scalar<'_>) -> bool {
        let text = match value {
            Scalar::Text(text) => Some(text),
            Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => None,
        };
        match self {
            Self::Exact(wanted) => same(wanted, value),
            Self::Text(wanted) => text.is_some_and(|text| wanted.holds(text)),
            Self::AnythingBut(excluded) => !excluded.iter().any(|it| same(it, value)),
            Self::AnythingButText(tests) => {
                !text.is_some_and(|text| tests.iter().any(|test| test.holds(text)))
            }
            Self::Numeric(comparisons) => match value {
                Scalar::Number(value) => {
                    comparisons.iter().all(|(comparison, number)| comparison.holds(value, *number))
                }
                Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) => false,
            },
            Self::Cidr(block) => text
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| block.contains(address)),
            Self::Exists(wanted) => *wanted,
        }
    }
}

impl<'a> Scalar<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(bool) => Some(Self::Bool(*bool)),
            Value::Number(number) => number.as_f64().map(Self::Number),
            Value::String(text) => Some(Self::Text(text)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// `exists` matches leaves only: an object is not a leaf, and an empty list has none.
fn has_leaf(event: Event<'_>) -> bool {
    match event {
        Event::Absent | Event::Unknown | Event::Object(_) | Event::Value(Value::Object(_)) => false,
        Event::Value(Value::Array(elements)) => {
            elements.iter().any(|element| has_leaf(Event::Value(element)))
        }
        Event::Text(_)
        | Event::Number(_)
        | Event::Count(_)
        | Event::Bool(_)
        | Event::Path(_)
        | Event::Value(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => true,
    }
}

/// Numbers are equal by value: 300, 300.0 and 3.0e2 are the same.
fn same(wanted: &Value, value: Scalar<'_>) -> bool {
    match (wanted, value) {
        (Value::String(wanted), Scalar::Text(text)) => wanted == text,
        (Value::Number(wanted), Scalar::Number(number)) => wanted
            .as_f64()
            .is_some_and(|wanted| wanted.partial_cmp(&number) == Some(Ordering::Equal)),
        (Value::Bool(wanted), Scalar::Bool(bool)) => *wanted == bool,
        (Value::Null, Scalar::Null) => true,
        _ => false,
    }
}

impl Comparison {
    fn holds(self, value: f64, number: f64) -> bool {
        match self {
            Self::Less => value < number,
            Self::LessOrEqual => value <= number,
            Self::Equal => value.partial_cmp(&number) == Some(Ordering::Equal),
            Self::GreaterOrEqual => value >= number,
            Self::Greater => value > number,
        }
    }
}

impl Block {
    /// Reads `10.0.0.0/24` or `2001:db8::/32`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (network, bits) = text.split_once('/')?;
        let network: IpAddr = network.parse().ok()?;
        let plain = bits == "0" || !bits.starts_with(['0', '+']);
        let bits: u8 = bits.parse().ok().filter(|_| plain)?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        (bits <= longest).then_some(Self { network, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        let shared = |one: u128, other: u128, width: u32| {
            // A shift by the whole width overflows: a block of no bits holds all.
            let host = width - u32::from(self.bits);
            one.checked_shr(host) == other.checked_shr(host)
        };
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                shared(u32::from(network).into(), u32::from(address).into(), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                shared(network.into(), address.into(), 128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}
