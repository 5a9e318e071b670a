//! The pauses: one item, read together with each target.

use super::{Item, Store, text, unreadable};
use crate::error::{HubError, failed};
use firebreak_response::pauses::Pauses;

pub(super) const PAUSES: &str = "pauses";
pub(super) const SCOPE_PREFIX: &str = "pause#";

impl Store {
    /// All pauses, including those that have ended: one consistent read.
    pub async fn pauses(&self) -> Result<Pauses, HubError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(PAUSES))
            .key("sk", text(PAUSES))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        read_pauses(output.item.unwrap_or_default())
    }
}

/// An unreadable pause is an error: otherwise it would have no effect.
pub(super) fn read_pauses(item: Item) -> Result<Pauses, HubError> {
    let mut pauses = Pauses::default();
    for (name, value) in item {
        let Some(scope) = name.strip_prefix(SCOPE_PREFIX) else { continue };
        let json = value.as_s().map_err(|_| unreadable(PAUSES, "a pause is not text"))?;
        let scope = scope.parse().map_err(|error| unreadable(PAUSES, error))?;
        let pause = serde_json::from_str(json).map_err(|error| unreadable(PAUSES, error))?;
        pauses.0.insert(scope, pause);
    }
    Ok(pauses)
}
