//! One alternative of a leaf: a literal value or an operator.

use std::cmp::Ordering;
use std::net::IpAddr;

use serde_json::Value;

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

impl Matcher {
    /// `None` stands for a field that the event lacks.
    pub(super) fn holds(&self, value: Option<&Value>) -> bool {
        if let Self::Exists(wanted) = self {
            return value.is_some_and(has_leaf) == *wanted;
        }
        match value {
            None | Some(Value::Object(_)) => false,
            Some(Value::Array(elements)) => {
                elements.iter().any(|element| self.holds(Some(element)))
            }
            Some(value) => self.holds_for(value),
        }
    }

    fn holds_for(&self, value: &Value) -> bool {
        match self {
            Self::Exact(wanted) => same(wanted, value),
            Self::Text(test) => value.as_str().is_some_and(|text| test.holds(text)),
            Self::AnythingBut(excluded) => !excluded.iter().any(|it| same(it, value)),
            Self::AnythingButText(tests) => {
                !value.as_str().is_some_and(|text| tests.iter().any(|test| test.holds(text)))
            }
            Self::Numeric(comparisons) => value.as_f64().is_some_and(|value| {
                comparisons.iter().all(|(comparison, number)| comparison.holds(value, *number))
            }),
            Self::Cidr(block) => value
                .as_str()
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| block.contains(address)),
            Self::Exists(wanted) => *wanted,
        }
    }
}

/// `exists` looks at leaves only: an object is none, and an empty list has none.
fn has_leaf(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(elements) => elements.iter().any(has_leaf),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Numbers are equal by value: 300, 300.0 and 3.0e2 are the same.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.partial_cmp(&other) == Some(Ordering::Equal),
        _ => one == other,
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
        let bits: u8 = bits.parse().ok()?;
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
