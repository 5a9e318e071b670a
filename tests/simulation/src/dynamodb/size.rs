//! How large items are, by the rules of "DynamoDB item sizes and formats"
//! (developer guide).

use winterbaume_dynamodb::Item;
use winterbaume_dynamodb::types::AttributeValue;

/// "The maximum item size in DynamoDB is 400 KB" (developer guide, "Quotas").
pub(super) const ITEM: usize = 400 * 1_024;

/// "A single Query only returns a result set that fits within the 1 MB size
/// limit" (developer guide, "Paginating table query results"); a Scan likewise.
pub(super) const PAGE: usize = 1_024 * 1_024;

/// The size of an item.
pub(super) fn of(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + of_value(value)).sum()
}

fn of_value(value: &AttributeValue) -> usize {
    // One byte for two digits and one more; three quarters of what base64 has.
    let number = |text: &String| text.len().div_ceil(2) + 1;
    let binary = |text: &String| text.len() / 4 * 3;
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(text) => number(text),
        AttributeValue::B(text) => binary(text),
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        AttributeValue::SS(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::NS(texts) => texts.iter().map(number).sum(),
        AttributeValue::BS(texts) => texts.iter().map(binary).sum(),
        AttributeValue::L(values) => 3 + values.iter().map(|it| 1 + of_value(it)).sum::<usize>(),
        AttributeValue::M(values) => 3 + values.len() + of(values),
    }
}
