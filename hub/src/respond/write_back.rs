//! Telling Security Hub how a response stands, at once or when a repeat finds
//! that it was not told.

use tracing::warn;

use super::Responder;
use super::outcome::{Disposition, Outcome, outcome};
use crate::aws::error::HubError;
use crate::aws::ledger::{Entry, Written};
use crate::aws::security_hub::{TellResult, Telling, Told};
use crate::finding::{Finding, Target};
use crate::record::Response;
use crate::status::{self, Workflow};

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
    pub(super) async fn write_back(
        &self,
        response: &Response,
        entry: &mut Entry,
    ) -> Result<Option<String>, HubError> {
        let (Some(update), Some(id)) = (status::of(response), &response.finding.security_hub)
        else {
            return Ok(None);
        };
        let telling =
            Telling { region: response.finding.region.clone(), findings: vec![id.clone()], update };
        let told = self.security_hub.tell(std::slice::from_ref(&telling)).await;
        let untold = |why: HubError| {
            let (id, state) = (&response.id, response.state);
            why.context(format_args!("`{id}` is {state}, but Security Hub was not told"))
        };
        let mut written = None;
        for Told { finding, result } in told {
            written = match result {
                TellResult::Written { workflow } => {
                    Some(workflow.map_or("unchanged", Workflow::name).to_owned())
                }
                TellResult::Kept { status, .. } => Some(format!("{status} kept")),
                TellResult::NotFound => {
                    let why = format!("it does not know `{}` yet (FindingNotFound)", finding.id());
                    return Err(untold(HubError::Transient(why)));
                }
                TellResult::Later(why) => return Err(untold(HubError::Transient(why))),
                TellResult::Refused(why) => return Err(untold(HubError::Failed(why))),
            };
        }
        entry.unsent = false;
        let arn = response.resource.arn();
        let seen = self.ledger.target(&arn).await?;
        // Losing here means that somebody wrote a newer entry; theirs stands,
        // and at worst the same status is written once more.
        if self.ledger.note(&seen, &arn, &response.rule, entry).await? == Written::Lost {
            warn!(response.id = %response.id, "the target's entry changed during write-back");
        }
        Ok(written)
    }
}

pub(super) fn is_unsent(response: &Response) -> bool {
    response.finding.security_hub.is_some() && status::of(response).is_some()
}
