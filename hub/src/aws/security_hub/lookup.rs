//! A finding as Security Hub has it now, by its id, read as the service wrote it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_securityhub::operation::get_findings::GetFindingsOutput;
use aws_sdk_securityhub::types::{AwsSecurityFindingFilters, StringFilter, StringFilterComparison};
use aws_smithy_runtime_api::client::interceptors::context::Output;
use firebreak_spoke::resource::Region;
use serde_json::Value;

use super::SecurityHub;
use crate::aws::answer_text::AnswerText;
use crate::aws::error::{HubError, failed};
use crate::aws::together::Together;
use crate::finding::SecurityHubId;

/// "You can filter by up to 20 attributes… each with up to 20 filter values"
/// (Security Hub API reference, GetFindings).
const IDS_PER_CALL: usize = 20;
type Lookup = Together<SecurityHubId, Value>;

/// The look-ups that are under way, by the Region that is asked.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    regions: Mutex<HashMap<Region, Arc<Lookup>>>,
}

impl Lookups {
    fn of(&self, region: &Region) -> Arc<Lookup> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions
            .entry(region.clone())
            .or_insert_with(|| Arc::new(Together::new(IDS_PER_CALL)))
            .clone()
    }
}

impl SecurityHub {
    /// A finding as Security Hub has it now, in ASFF; `None` when it has none of
    /// this id. `region` is where it was raised; the home Region is asked where
    /// there is an aggregator.
    pub async fn finding(
        &self,
        region: &Region,
        id: &SecurityHubId,
    ) -> Result<Option<Value>, HubError> {
        let asked = self.aggregator_region.as_ref().unwrap_or(region);
        let look_up = |ids: Vec<SecurityHubId>| self.findings_of(asked, ids);
        self.lookups.of(asked).ask(id.clone(), look_up).await
    }

    async fn findings_of(
        &self,
        region: &Region,
        ids: Vec<SecurityHubId>,
    ) -> Result<HashMap<SecurityHubId, Value>, HubError> {
        let call = "securityhub:GetFindings";
        let equals = |text: &str| {
            StringFilter::builder().value(text).comparison(StringFilterComparison::Equals).build()
        };
        let mut filters = AwsSecurityFindingFilters::builder();
        let mut products: Vec<&str> = Vec::new();
        // OCSF's are not read by this call: they stay unfound.
        for id in &ids {
            let SecurityHubId::Asff { id, product_arn } = id else { continue };
            filters = filters.id(equals(id));
            if !products.contains(&product_arn.as_str()) {
                products.push(product_arn);
                filters = filters.product_arn(equals(product_arn));
            }
        }
        let filters = filters.build();
        let client = self.client(region);
        let mut found = HashMap::new();
        let mut token = None;
        loop {
            self.rates.read(region).await;
            let text = AnswerText::new(|| Output::erase(GetFindingsOutput::builder().build()));
            client
                .get_findings()
                .filters(filters.clone())
                .max_results(100)
                .set_next_token(token)
                .customize()
                .interceptor(text.clone())
                .send()
                .await
                .map_err(|error| failed(call, &error))?;
            let mut page = text.json(call)?;
            let Some(Value::Array(findings)) = page.get_mut("Findings").map(Value::take) else {
                return Err(HubError::Transient(format!("{call} answered without `Findings`")));
            };
            for finding in findings {
                let text = |name: &str| Some(finding.get(name)?.as_str()?.to_owned());
                if let (Some(id), Some(product_arn)) = (text("Id"), text("ProductArn")) {
                    found.insert(SecurityHubId::Asff { id, product_arn }, finding);
                }
            }
            token = page.get("NextToken").and_then(Value::as_str).map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}
