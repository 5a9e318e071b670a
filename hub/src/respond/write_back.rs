//! Telling Security Hub how a response stands, at once or when a repeat finds
//! that it was not told.

use tracing::{instrument, warn};

use super::Responder;
use super::outcome::{Disposition, Outcome, outcome};
use crate::aws::error::HubError;
use crate::aws::ledger::{Entry, Written};
use crate::finding::{Finding, Target};
use crate::record::Response;
use crate::status;

impl Responder {
    pub(super) async fn repeat(
        &self,
        finding: &Finding,
        target: &Target,
        rule: &str,
        mut entry: Entry,
    ) -> Result<Outcome, HubError> {
        let reason = format!(
            "handled before: response `{}` of rule `{rule}` is {}",
            entry.response, entry.state
        );
        let mut outcome = outcome(finding, Some(&target.resource), Disposition::Repeat, reason);
        if entry.unsent {
            let response = self.load(&entry.response).await?;
            outcome.written_back = self.write_back(&response, &mut entry).await?;
            outcome.response = Some(response);
        }
        Ok(outcome)
    }

    /// Tells Security Hub how a response stands, and records that it knows.
    /// Returns the workflow status that was written.
    #[instrument(name = "write-back", skip_all, fields(response.id = %response.id))]
    pub(super) async fn write_back(
        &self,
        response: &Response,
        entry: &mut Entry,
    ) -> Result<Option<String>, HubError> {
        let (Some(update), Some(id)) = (status::of(response), &response.finding.security_hub)
        else {
            return Ok(None);
        };
        let findings = std::slice::from_ref(id);
        self.security_hub.update(&response.finding.region, findings, &update).await.map_err(
            |error| {
                error.context(format_args!(
                    "`{}` is {}, but Security Hub was not told",
                    response.id, response.state
                ))
            },
        )?;
        entry.unsent = false;
        let arn = response.resource.arn();
        let seen = self.ledger.target(&arn).await?;
        // Losing here means that somebody wrote a newer entry; theirs stands,
        // and at worst the same status is written once more.
        if self.ledger.note(&seen, &arn, &response.rule, entry).await? == Written::Lost {
            warn!(response.id = %response.id, "the target's entry changed during write-back");
        }
        Ok(Some(update.workflow.map_or("unchanged", status::Workflow::name).to_owned()))
    }
}

pub(super) fn is_unsent(response: &Response) -> bool {
    response.finding.security_hub.is_some() && status::of(response).is_some()
}
