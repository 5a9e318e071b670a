//! Looks up a present finding in Security Hub by its id, as the service wrote it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use firebreak_client::batcher::LookupBatcher;
use firebreak_model::resource::Region;
use serde_json::Value;

use super::SecurityHub;
use super::read::{IDS_PER_CALL, schema_of};
use crate::error::HubError;
use firebreak_model::finding::SecurityHubId;
use firebreak_response::status::merge::Schema;

type Lookup = LookupBatcher<SecurityHubId, Value, HubError>;

/// The lookups in progress, by Region and schema.
#[derive(Debug, Default)]
pub(super) struct Lookups(Mutex<HashMap<(Region, Schema), Arc<Lookup>>>);

impl Lookups {
    fn of(&self, region: &Region, schema: Schema) -> Arc<Lookup> {
        let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lookups
            .entry((region.clone(), schema))
            .or_insert_with(|| Arc::new(LookupBatcher::new(IDS_PER_CALL, 1)))
            .clone()
    }
}

impl SecurityHub {
    /// The present finding, in the schema of its id; `None` if Security Hub has none of
    /// this id. `region` is where it was raised; with an aggregator the home Region is
    /// called.
    pub async fn finding(
        &self,
        region: &Region,
        id: &SecurityHubId,
    ) -> Result<Option<Value>, HubError> {
        let asked = self.aggregator_region.as_ref().unwrap_or(region);
        let schema = schema_of(id);
        let look_up = |ids: Vec<SecurityHubId>| async move {
            self.fetch(asked, schema, &ids).await.map_err(|failure| failure.error)
        };
        self.lookups.of(asked, schema).ask(id.clone(), look_up).await
    }
}
