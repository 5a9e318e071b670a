//! Reads all findings of a time, as Security Hub writes them: what a backtest
//! replays. Changes nothing.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_securityhub::types::{AwsSecurityFindingFilters, DateFilter};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use firebreak_spoke::resource::Region;
use jiff::Timestamp;

use super::SecurityHub;
use crate::aws::error::{HubError, failed};

/// "MaxResults: maximum value of 100" (Security Hub API reference, GetFindings).
const FINDINGS_PER_PAGE: i32 = 100;

impl SecurityHub {
    /// Reads every finding that was updated since, page by page, as Security Hub
    /// writes them. `each` gets the text of a page's answer.
    pub async fn findings_since(
        &self,
        from: Timestamp,
        to: Timestamp,
        mut each: impl FnMut(String),
    ) -> Result<(), HubError> {
        let own = self.config.region().map(ToString::to_string).unwrap_or_default();
        let own = own.parse().map_err(|error| HubError::Failed(format!("{error}")));
        let region: Region = self.aggregator_region.clone().map_or(own, Ok)?;
        let client = self.client(&region);
        let range = DateFilter::builder().start(from.to_string()).end(to.to_string()).build();
        let filters = AwsSecurityFindingFilters::builder().updated_at(range).build();
        let mut token = None;
        loop {
            self.rates.read(&region).await;
            let text = AnswerText::default();
            let answer = client
                .get_findings()
                .filters(filters.clone())
                .max_results(FINDINGS_PER_PAGE)
                .set_next_token(token)
                .customize()
                .interceptor(text.clone())
                .send()
                .await
                .map_err(|error| failed("securityhub:GetFindings", &error))?;
            if !answer.findings().is_empty() {
                let text = text.take();
                if text.is_empty() {
                    let why = "securityhub:GetFindings answered without a text to read".to_owned();
                    return Err(HubError::Failed(why));
                }
                each(text);
            }
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(());
            }
        }
    }
}

/// The text of an answer. The SDK's own types leave out what they do not know,
/// and cannot be written as JSON again.
#[derive(Clone, Debug, Default)]
struct AnswerText(Arc<Mutex<String>>);

impl AnswerText {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for AnswerText {
    fn name(&self) -> &'static str {
        "AnswerText"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let bytes = context.response().body().bytes().unwrap_or_default();
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *text = String::from_utf8_lossy(bytes).into_owned();
        Ok(())
    }
}
