//! Records that a finding was not confirmed, under its own key, so that a forged event
//! never blocks the real finding.

use firebreak_aws::error::HubError;
use firebreak_aws::store::Written;
use firebreak_model::digest::sha256_hex;
use firebreak_model::finding::Finding;
use firebreak_response::record::State;
use firebreak_response::target::{Findings, KeySubject, TargetKey};
use firebreak_response::transition::Transition;
use tracing::error;

use super::assess::Assessment;
use super::deliver::Deliverer;
use super::handle_target::{NewResponse, TargetContext};
use super::outcome::{Disposition, Run, TargetOutcome};
use super::recorder::Recorder;

/// Records what was not confirmed.
#[derive(Clone, Debug)]
pub(super) struct UnconfirmedRecorder {
    pub(super) recorder: Recorder,
    pub(super) deliverer: Deliverer,
}

impl UnconfirmedRecorder {
    /// Records that a finding was not confirmed. Security Hub is not updated: its
    /// finding with this id is another one. `None` when another worker changed
    /// the target's entry meanwhile.
    pub(super) async fn record(
        &self,
        context: TargetContext<'_>,
        assessment: &Assessment,
        (key, why): (&TargetKey, &str),
        run: Run,
    ) -> Result<Option<TargetOutcome>, HubError> {
        let TargetContext { finding, target, target_state, .. } = context;
        let reason = format!("not confirmed: {why}");
        // If recorded under the finding's own id, the real finding would count as
        // handled.
        let key = TargetKey { subject: KeySubject::Unconfirmed, ..key.clone() };
        let recorded_as = format!("{}#{}", finding.id, digest(finding));
        let existing = target_state.entries.get(&key);
        if existing.is_some_and(|entry| entry.findings.contains_key(&recorded_as)) {
            let reason = format!("nothing new: {reason}");
            return Ok(Some(context.finished(assessment, Disposition::Repeat, reason)));
        }
        // Security Hub's finding with this id is another one: it is not updated.
        let unknown = Finding { security_hub: None, ..finding.clone() };
        let findings = Findings::from([(recorded_as, finding.updated_at)]);
        let new_response =
            NewResponse { state: State::Refused, reason, key, steps: Vec::new(), findings };
        let opened = context.open(assessment, &unknown, new_response, &self.recorder);
        let reason = opened.record.response.reason.clone();
        if run == Run::Plan {
            let mut outcome = context.finished(assessment, Disposition::Planned, reason);
            outcome.response = Some(opened.record.response);
            return Ok(Some(outcome));
        }
        match self.recorder.store.commit(self.recorder.now()).transition(&opened)?.write().await? {
            Written::Yes => {}
            Written::Lost | Written::Spent => return Ok(None),
        }
        let Transition { record, outbox: outbox_items, .. } = opened;
        let response = record.response;
        error!(
            response.id = %response.id, finding.id = %finding.id,
            account.id = %target.resource.account,
            "finding `{}` is forged, altered or deleted: {reason}", finding.id
        );
        let mut outcome = context.finished(assessment, Disposition::NotConfirmed, reason);
        (outcome.written_back, outcome.undelivered) =
            Box::pin(self.deliverer.deliver_outbox(&response, outbox_items)).await;
        outcome.response = Some(response);
        Ok(Some(outcome))
    }
}

/// Distinguishes an unconfirmed finding from another with the same id.
fn digest(finding: &Finding) -> String {
    let mut digits = sha256_hex(finding.detail.to_string());
    digits.truncate(16);
    digits
}
