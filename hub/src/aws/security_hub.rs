//! Writes a response's status back to Security Hub, and reads its findings.
//!
//! `BatchUpdateFindings` takes up to 100 findings with *one* update for all,
//! in the finding's Region or, where there is an aggregator, in its home
//! Region. It answers 200 with `UnprocessedFindings`: an update counts as made
//! only when its finding is not among them. A note replaces the one before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_securityhub::types::{
    AwsSecurityFindingFilters, AwsSecurityFindingIdentifier, DateFilter, NoteUpdate,
    WorkflowStatus, WorkflowUpdate,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use firebreak_spoke::resource::Region;
use jiff::Timestamp;

use crate::aws::error::{HubError, failed};
use crate::finding::SecurityHubId;
use crate::settings::Settings;
use crate::status::{StatusUpdate, Workflow};

/// "Note.Text: 1 to 512 characters" (Security Hub API reference, NoteUpdate).
const NOTE_CHARACTERS: usize = 512;
/// "Map Entries: value up to 1024 characters" (same, BatchUpdateFindings).
const FIELD_CHARACTERS: usize = 1_024;
/// "Array Members: maximum number of 100 items" (same, FindingIdentifiers).
const FINDINGS_PER_CALL: usize = 100;
/// "MaxResults: maximum value of 100" (same, GetFindings).
const FINDINGS_PER_PAGE: i32 = 100;
/// GetFindings is limited to 3 calls a second (Security Hub user guide, "Quotas").
const BETWEEN_PAGES: Duration = Duration::from_millis(340);

/// The write-back clients, one for each Region that findings are updated in.
#[derive(Debug)]
pub struct SecurityHub {
    config: SdkConfig,
    aggregator_region: Option<Region>,
    clients: Mutex<HashMap<Region, aws_sdk_securityhub::Client>>,
}

/// What is to be told of some findings.
#[derive(Clone, Debug)]
pub struct Telling {
    /// Where Security Hub keeps them.
    pub region: Region,
    /// Which.
    pub findings: Vec<SecurityHubId>,
    /// What.
    pub update: StatusUpdate,
}

/// What became of one finding's update.
#[derive(Clone, Debug)]
pub struct Told {
    /// The finding.
    pub finding: SecurityHubId,
    /// What became of it.
    pub result: TellResult,
}

/// What became of one finding's update.
#[derive(Clone, Debug)]
pub enum TellResult {
    /// Written.
    Written {
        /// The workflow status.
        workflow: Option<Workflow>,
    },
    /// An analyst's word stands.
    Kept {
        /// It.
        status: String,
        /// Whose.
        by: String,
    },
    /// Unknown, yet.
    NotFound,
    /// Try again.
    Later(String),
    /// Never.
    Refused(String),
}

impl SecurityHub {
    /// Tells.
    pub async fn tell(&self, tellings: &[Telling]) -> Vec<Told> {
        let mut told = Vec::new();
        for Telling { region, findings, update } in tellings {
            for finding in findings {
                let one = std::slice::from_ref(finding);
                let result = match self.update(region, one, update).await {
                    Ok(()) => TellResult::Written { workflow: update.workflow },
                    Err(error) if error.to_string().contains("FindingNotFound") => {
                        TellResult::NotFound
                    }
                    Err(HubError::Transient(why)) => TellResult::Later(why),
                    Err(HubError::Failed(why)) => TellResult::Refused(why),
                };
                told.push(Told { finding: finding.clone(), result });
            }
        }
        told
    }

    /// Updates findings under the hub's credentials, which must be the
    /// delegated administrator's.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Self {
        Self {
            config: config.clone(),
            aggregator_region: settings.aggregator_region.clone(),
            clients: Mutex::default(),
        }
    }

    /// Makes one update of findings that were raised in `region`.
    ///
    /// # Errors
    ///
    /// Names every finding that was not updated and why. `Transient` when all
    /// of them may be tried again: `FindingNotFound` too, because a finding can
    /// be imported minutes after GuardDuty's own event.
    pub async fn update(
        &self,
        region: &Region,
        findings: &[SecurityHubId],
        update: &StatusUpdate,
    ) -> Result<(), HubError> {
        let client = self.client(self.aggregator_region.as_ref().unwrap_or(region));
        for batch in findings.chunks(FINDINGS_PER_CALL) {
            self.update_batch(&client, batch, update).await?;
        }
        Ok(())
    }

    /// Reads every finding that was updated since, page by page, as Security Hub
    /// writes them. `each` gets the text of a page's answer.
    pub async fn findings_since(
        &self,
        from: Timestamp,
        to: Timestamp,
        mut each: impl FnMut(String),
    ) -> Result<(), HubError> {
        let client = match &self.aggregator_region {
            Some(region) => self.client(region),
            None => aws_sdk_securityhub::Client::new(&self.config),
        };
        let range = DateFilter::builder().start(from.to_string()).end(to.to_string()).build();
        let filters = AwsSecurityFindingFilters::builder().updated_at(range).build();
        let mut pace = tokio::time::interval(BETWEEN_PAGES);
        // A slow page is not made up for by faster ones.
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut token = None;
        loop {
            pace.tick().await;
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

    async fn update_batch(
        &self,
        client: &aws_sdk_securityhub::Client,
        findings: &[SecurityHubId],
        update: &StatusUpdate,
    ) -> Result<(), HubError> {
        let mut request = client.batch_update_findings();
        for finding in findings {
            let identifier = AwsSecurityFindingIdentifier::builder()
                .id(&finding.id)
                .product_arn(&finding.product_arn)
                .build();
            request = request.finding_identifiers(identifier);
        }
        let note = NoteUpdate::builder()
            .text(cut(&update.note, NOTE_CHARACTERS))
            .updated_by("firebreak")
            .build();
        request = request.note(note);
        if let Some(workflow) = update.workflow {
            let status = match workflow {
                Workflow::New => WorkflowStatus::New,
                Workflow::Notified => WorkflowStatus::Notified,
                Workflow::Resolved => WorkflowStatus::Resolved,
            };
            request = request.workflow(WorkflowUpdate::builder().status(status).build());
        }
        for (key, value) in &update.fields {
            request = request.user_defined_fields(key, cut(value, FIELD_CHARACTERS));
        }
        let answer = request
            .send()
            .await
            .map_err(|error| failed("securityhub:BatchUpdateFindings", &error))?;

        let mut transient = true;
        let unprocessed: BTreeMap<&str, String> = answer
            .unprocessed_findings()
            .iter()
            .map(|finding| {
                let code = finding.error_code().unwrap_or("unknown");
                transient &=
                    matches!(code, "ConcurrentUpdateError" | "InternalFailure" | "FindingNotFound");
                let id = finding.finding_identifier().and_then(|id| id.id()).unwrap_or("unknown");
                (id, format!("{code}: {}", finding.error_message().unwrap_or("no reason given")))
            })
            .collect();
        if unprocessed.is_empty() {
            return Ok(());
        }
        let list: Vec<String> =
            unprocessed.iter().map(|(id, why)| format!("`{id}` ({why})")).collect();
        let message = format!("securityhub:BatchUpdateFindings did not update {}", list.join(", "));
        Err(if transient { HubError::Transient(message) } else { HubError::Failed(message) })
    }

    fn client(&self, region: &Region) -> aws_sdk_securityhub::Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients
            .entry(region.clone())
            .or_insert_with(|| {
                let config = aws_sdk_securityhub::config::Builder::from(&self.config)
                    .region(aws_sdk_securityhub::config::Region::new(region.to_string()))
                    .build();
                aws_sdk_securityhub::Client::from_conf(config)
            })
            .clone()
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

/// Cuts a text to a number of characters, with an ellipsis where it was longer.
fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_at_characters_not_bytes() {
        assert_eq!(cut("ééé", 3), "ééé");
        assert_eq!(cut("éééé", 3), "éé…");
        assert_eq!(cut(&"x".repeat(600), NOTE_CHARACTERS).chars().count(), 512);
    }
}
