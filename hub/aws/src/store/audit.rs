//! The audit log: events as they were written. `chain` links them.

use aws_sdk_dynamodb::types::Put;
use aws_sdk_dynamodb::types::builders::PutBuilder;

use super::{DueKind, Store, day_of, due_attributes, text, unbuilt, unreadable};
use crate::error::{HubError, failed};
use firebreak_response::audit_event::AuditEvent;

impl Store {
    /// Writes an event on its own; writing it again changes nothing.
    pub async fn write_event(&self, event: &AuditEvent) -> Result<(), HubError> {
        let put = self.event_put(event)?.build().map_err(unbuilt)?;
        let output = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(put.item.into())
            .set_condition_expression(put.condition_expression)
            .send()
            .await;
        match output {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Err(failed("dynamodb:PutItem", &error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// An event that is not chained yet: the sweep chains it.
    pub(super) fn event_put(&self, event: &AuditEvent) -> Result<PutBuilder, HubError> {
        let json = serde_json::to_string(event).map_err(|error| unreadable("an event", error))?;
        let key = event.key();
        let mut put = Put::builder()
            .table_name(&self.table)
            .item("pk", text(format!("audit#{}#{}", event.account, day_of(event.at))))
            .item("sk", text(format!("k#{key}")))
            .item("body", text(json))
            .condition_expression("attribute_not_exists(pk)");
        for (name, value) in due_attributes(DueKind::Audit, &key, event.at) {
            put = put.item(name, value);
        }
        Ok(put)
    }
}
