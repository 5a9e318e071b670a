//! GuardDuty, as its delegated administrator sees it: reads the findings of every
//! member by id, as the service wrote them, and archives and unarchives them. Changes
//! nothing else.
//!
//! The administrator's detector in a Region has its members' findings in that Region
//! (GuardDuty API reference, GetFindings). Its id is read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_sdk_guardduty::operation::get_findings::GetFindingsOutput;
use aws_smithy_runtime_api::client::interceptors::context::Output;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use firebreak_client::batcher::LookupBatcher;
use firebreak_client::rate_limit::{Class, RateLimits};
use firebreak_model::resource::Region;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::error::{HubError, failed};
use crate::raw_response::RawResponse;

/// "Array Members: maximum number of 50 items" (GuardDuty API reference,
/// GetFindings, ArchiveFindings, UnarchiveFindings).
const IDS_PER_CALL: usize = 50;

/// The clients of GuardDuty, one for each Region that has findings.
#[derive(Debug)]
pub struct GuardDuty {
    config: SdkConfig,
    rate_limits: RateLimits,
    regions: Mutex<HashMap<Region, Arc<Regional>>>,
}

#[derive(Debug)]
struct Regional {
    region: Region,
    client: aws_sdk_guardduty::Client,
    detector: OnceCell<String>,
    findings: LookupBatcher<String, Value, HubError>,
}

impl GuardDuty {
    /// Uses the hub's credentials, which must be those of the delegated administrator.
    pub fn new(config: &SdkConfig, rate_limits: &RateLimits) -> Self {
        Self { config: config.clone(), rate_limits: rate_limits.clone(), regions: Mutex::default() }
    }

    /// The present finding as the service has it; `None` if it has none of this id.
    ///
    /// # Errors
    ///
    /// `Failed` if the Region has no detector, or the permission is missing.
    pub async fn finding(&self, region: &Region, id: &str) -> Result<Option<Value>, HubError> {
        let regional = self.regional(region);
        let regional = &regional;
        let look_up = |ids: Vec<String>| async move {
            let call = "guardduty:GetFindings";
            let detector = self.detector(regional).await?;
            self.rate_limits.permit_hub(region, Class::GuardDuty).await;
            let text = RawResponse::new(|| Output::erase(GetFindingsOutput::builder().build()));
            let output = regional
                .client
                .get_findings()
                .detector_id(detector)
                .set_finding_ids(Some(ids))
                .customize()
                .interceptor(text.clone())
                .send()
                .await;
            output.map_err(|error| self.failed(regional, call, &error))?;
            let mut output = text.json(call)?;
            let Some(Value::Array(found)) = output.get_mut("findings").map(Value::take) else {
                return Err(HubError::transient(format!("{call} answered without `findings`")));
            };
            let id = |finding: &Value| Some(finding.get("id")?.as_str()?.to_owned());
            Ok(found.into_iter().filter_map(|finding| Some((id(&finding)?, finding))).collect())
        };
        regional.findings.ask(id.to_owned(), look_up).await
    }

    /// Archives findings: sets their `service.archived`.
    pub async fn archive(&self, region: &Region, ids: &[String]) -> Result<(), HubError> {
        let regional = self.regional(region);
        for ids in ids.chunks(IDS_PER_CALL) {
            let detector = self.detector(&regional).await?;
            self.rate_limits.permit_hub(region, Class::GuardDuty).await;
            let call = regional.client.archive_findings().detector_id(detector);
            let output = call.set_finding_ids(Some(ids.to_vec())).send().await;
            output.map_err(|error| self.failed(&regional, "guardduty:ArchiveFindings", &error))?;
        }
        Ok(())
    }

    /// Unarchives findings.
    pub async fn unarchive(&self, region: &Region, ids: &[String]) -> Result<(), HubError> {
        let regional = self.regional(region);
        for ids in ids.chunks(IDS_PER_CALL) {
            let detector = self.detector(&regional).await?;
            self.rate_limits.permit_hub(region, Class::GuardDuty).await;
            let call = regional.client.unarchive_findings().detector_id(detector);
            let output = call.set_finding_ids(Some(ids.to_vec())).send().await;
            output
                .map_err(|error| self.failed(&regional, "guardduty:UnarchiveFindings", &error))?;
        }
        Ok(())
    }

    /// The hub account's detector in a Region, of which there is at most one.
    async fn detector<'a>(&self, regional: &'a Regional) -> Result<&'a str, HubError> {
        let region = &regional.region;
        let detector = regional.detector.get_or_try_init(|| async {
            self.rate_limits.permit_hub(region, Class::GuardDuty).await;
            let output = regional.client.list_detectors().send().await;
            let output = output.map_err(|error| failed("guardduty:ListDetectors", &error))?;
            output.detector_ids().first().cloned().ok_or_else(|| {
                HubError::failed(format!(
                    "GuardDuty has no detector in {region} in the hub's account\nhelp: turn GuardDuty on there, with the hub's account as its delegated administrator"
                ))
            })
        });
        Ok(detector.await?.as_str())
    }

    fn failed<E>(
        &self,
        regional: &Regional,
        call: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> HubError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        // The cached detector may not exist any more: the next call reads the id again.
        if error.code() == Some("BadRequestException") {
            self.regions.lock().unwrap_or_else(PoisonError::into_inner).remove(&regional.region);
        }
        failed(call, error)
    }

    fn regional(&self, region: &Region) -> Arc<Regional> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions
            .entry(region.clone())
            .or_insert_with(|| {
                let config = aws_sdk_guardduty::config::Builder::from(&self.config)
                    .region(aws_sdk_guardduty::config::Region::new(region.to_string()))
                    .build();
                Arc::new(Regional {
                    region: region.clone(),
                    client: aws_sdk_guardduty::Client::from_conf(config),
                    detector: OnceCell::new(),
                    findings: LookupBatcher::new(IDS_PER_CALL, 1),
                })
            })
            .clone()
    }
}
