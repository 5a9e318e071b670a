//! The pauses: one item, read together with each target.

use super::{Item, Store, text, unreadable};
use crate::error::{HubError, failed};
use firebreak_response::pauses::{Pause, PauseScope, Pauses};

pub(super) const PAUSES: &str = "pauses";
const SCOPE_PREFIX: &str = "pause#";

impl Store {
    /// All pauses, including those that have ended: one consistent read.
    pub async fn pauses(&self) -> Result<Pauses, HubError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(PAUSES))
            .key("sk", text(PAUSES))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        read_pauses(answer.item.unwrap_or_default())
    }

    /// Pauses a scope; replaces an earlier pause of it.
    pub async fn pause(&self, scope: &PauseScope, pause: &Pause) -> Result<(), HubError> {
        let json = serde_json::to_string(pause).map_err(|error| unreadable(scope, error))?;
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(PAUSES))
            .key("sk", text(PAUSES))
            .update_expression("SET #scope = :pause")
            .expression_attribute_names("#scope", format!("{SCOPE_PREFIX}{scope}"))
            .expression_attribute_values(":pause", text(json))
            .send()
            .await
            .map_err(|error| failed("dynamodb:UpdateItem", &error))?;
        Ok(())
    }

    /// Ends the pause of a scope; does nothing if there is none.
    pub async fn delete_pause(&self, scope: &PauseScope) -> Result<(), HubError> {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(PAUSES))
            .key("sk", text(PAUSES))
            .update_expression("REMOVE #scope")
            .expression_attribute_names("#scope", format!("{SCOPE_PREFIX}{scope}"))
            .send()
            .await
            .map_err(|error| failed("dynamodb:UpdateItem", &error))?;
        Ok(())
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
