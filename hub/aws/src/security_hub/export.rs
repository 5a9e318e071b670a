//! Reads all findings of a period, as Security Hub writes them, for a backtest. Changes
//! nothing.

use aws_sdk_securityhub::operation::get_findings::GetFindingsOutput;
use aws_sdk_securityhub::types::{AwsSecurityFindingFilters, DateFilter};
use aws_smithy_runtime_api::client::interceptors::context::Output;
use firebreak_client::rate_limit::Class;
use firebreak_model::resource::Region;
use jiff::Timestamp;
use serde_json::Value;

use super::SecurityHub;
use crate::error::{HubError, failed};
use crate::raw_response::RawResponse;

/// "MaxResults: maximum value of 100" (Security Hub API reference, GetFindings).
const FINDINGS_PER_PAGE: i32 = 100;

impl SecurityHub {
    /// Reads every finding that was updated since a time, page by page, as Security Hub
    /// writes them. `each` gets the text of each page's response.
    pub async fn findings_since(
        &self,
        from: Timestamp,
        to: Timestamp,
        mut each: impl FnMut(String),
    ) -> Result<(), HubError> {
        let own = self.config.region().map(ToString::to_string).unwrap_or_default();
        let own = own.parse().map_err(|error| HubError::failed(format!("{error}")));
        let region: Region = self.aggregator_region.clone().map_or(own, Ok)?;
        let client = self.client(&region);
        let range = DateFilter::builder().start(from.to_string()).end(to.to_string()).build();
        let filters = AwsSecurityFindingFilters::builder().updated_at(range).build();
        let mut token = None;
        loop {
            self.rate_limits.permit_hub(&region, Class::SecurityHubRead).await;
            let text = RawResponse::new(|| Output::erase(GetFindingsOutput::builder().build()));
            client
                .get_findings()
                .filters(filters.clone())
                .max_results(FINDINGS_PER_PAGE)
                .set_next_token(token)
                .customize()
                .interceptor(text.clone())
                .send()
                .await
                .map_err(|error| failed("securityhub:GetFindings", &error))?;
            let page = text.json("securityhub:GetFindings")?;
            if page.get("Findings").and_then(Value::as_array).is_some_and(|it| !it.is_empty()) {
                each(page.to_string());
            }
            token = page.get("NextToken").and_then(Value::as_str).map(str::to_owned);
            if token.is_none() {
                return Ok(());
            }
        }
    }
}
