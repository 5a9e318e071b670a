//! Deduplicates: classifies a finding against the existing responses of its target. Pure.

use firebreak_model::action::ActionCatalog;
use firebreak_model::digest::sha256_hex_of_parts;
use jiff::Timestamp;
use serde_json::Value;

use crate::record::{ResponseId, State, Step, Suppression};
use crate::status::merge;
use crate::target::{KeySubject, TargetEntry, TargetKey, TargetState, Unanswered};
use firebreak_model::finding::Finding;
use firebreak_policy::{Decision, Mode};

/// The existing response to a finding on its target.
pub enum PriorResponse {
    /// None: the finding has to be decided.
    New,
    /// It was handled under this rule.
    Handled { key: TargetKey, entry: TargetEntry },
    /// A worker holds the lease of this target.
    UnderWay { response: ResponseId },
    /// A worker had the lease, and it has expired.
    Abandoned { key: TargetKey, entry: TargetEntry },
}

/// Why this finding is skipped before any call is made; `None` if it is not.
pub fn skip_reason(finding: &Finding) -> Option<String> {
    if finding.sample {
        return Some("a sample finding is never acted on".to_owned());
    }
    if finding.archived {
        return Some("an archived or suppressed finding is never acted on".to_owned());
    }
    // Our own updates come back as events with a status other than NEW, and so do an
    // analyst's.
    let status = finding.workflow_status.as_deref().filter(|status| *status != "NEW");
    if let Some(status) = status {
        return Some(format!("its workflow status is {status}: an analyst is working on it"));
    }
    // Updates that leave the status at NEW, or restore it, are recognized by their note.
    is_own_update(&finding.detail)
        .then(|| "this event is Firebreak's own update: nothing was imported since".to_owned())
}

/// Whether an ASFF finding is as it was when we wrote our note: Security Hub has not
/// imported it since (`ProcessedAt`), and nobody has changed the status that we wrote.
/// Both times are Security Hub's own, so that no newer version of the finding counts as
/// our own update. OCSF has neither time: an event of our own update with the status
/// New costs a lookup of its target.
fn is_own_update(detail: &Value) -> bool {
    let text = |pointer: &str| detail.pointer(pointer).and_then(Value::as_str);
    let moment = |pointer: &str| text(pointer)?.parse::<Timestamp>().ok();
    let (Some(noted), Some(processed)) = (moment("/Note/UpdatedAt"), moment("/ProcessedAt")) else {
        return false;
    };
    let written = text(&format!("/UserDefinedFields/{}", merge::WORKFLOW));
    text("/Note/UpdatedBy") == Some(merge::AUTHOR)
        && noted > processed
        && written.is_none_or(|written| Some(written) == text("/Workflow/Status"))
}

pub fn prior_response(
    target_state: &TargetState,
    finding: &Finding,
    now: Timestamp,
) -> PriorResponse {
    for (key, entry) in &target_state.entries {
        // A response that waits for the sweep does not block other findings.
        if matches!(entry.state, State::Running | State::Undoing) && !entry.waiting {
            if entry.lease_until.is_none_or(|until| until <= now) {
                return PriorResponse::Abandoned { key: key.clone(), entry: entry.clone() };
            }
            // Its record exists, and the sweep completes it.
            if entry.findings.contains_key(&finding.id) {
                return PriorResponse::Handled { key: key.clone(), entry: entry.clone() };
            }
            return PriorResponse::UnderWay { response: entry.response.clone() };
        }
    }
    for (key, entry) in &target_state.entries {
        let Some(handled) = entry.findings.get(&finding.id) else { continue };
        let settled = match entry.state {
            // A target that was not contained is decided again when the finding is
            // delivered again: the obstacle may be gone.
            State::Observed | State::Refused | State::Failed | State::PartiallyContained => {
                *handled >= finding.updated_at
            }
            // Nobody undid an expired response: if the attack continues, it is handled
            // again.
            State::Expired => *handled >= finding.updated_at,
            // After an undo or a denial by a person the same finding is never handled
            // again.
            State::AwaitingApproval
            | State::Denied
            | State::Running
            | State::Contained
            | State::Completed
            | State::Undoing
            | State::Undone => true,
        };
        if settled {
            return PriorResponse::Handled { key: key.clone(), entry: entry.clone() };
        }
    }
    PriorResponse::New
}

/// Why no rule answers this finding on the target; `None` if it has to be decided: it is new,
/// or newer, or was decided by another version of the policy.
pub fn unanswered(
    target_state: &TargetState,
    finding: &Finding,
    policy_version: u64,
) -> Option<String> {
    let Unanswered { updated_at, .. } = target_state
        .unanswered
        .filter(|it| it.policy_version == policy_version && it.updated_at == finding.updated_at)?;
    let update =
        updated_at.map_or_else(|| "this finding".to_owned(), |at| format!("its update of {at}"));
    Some(format!("decided before: no rule of policy version {policy_version} answers {update}"))
}

/// Why findings of this type are suppressed on the target now; `None` if they are not.
pub fn suppressed_until(
    target_state: &TargetState,
    finding: &Finding,
    now: Timestamp,
) -> Option<String> {
    let suppression = target_state
        .suppressions
        .get(&finding.kind)
        .filter(|suppression| suppression.until > now)?;
    let Suppression { until, by, response, reason } = suppression;
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(format!(
        "suppressed until {}, by {by} for response `{response}`{why}; `firebreak responses release {response}` ends the suppression",
        until.strftime("%Y-%m-%d %H:%M:%SZ")
    ))
}

/// How many entries of single findings a target may have: its item has a limit.
const MAX_ENTRIES_OF_SINGLE_FINDINGS: usize = 200;

/// The key of a decision on its target: normally its rule, so that one response
/// covers all findings of a rule. If every action of the rule depends on the
/// finding, such as its remote addresses, the key includes a digest of them.
pub fn target_key(
    decision: &Decision,
    finding: &Finding,
    target_state: &TargetState,
    actions: ActionCatalog,
) -> Option<TargetKey> {
    let rule = decision.rule_key()?;
    let per_finding = |name: &str| actions.find(name).is_some_and(|facts| facts.per_finding);
    let mut calls = decision.actions.iter();
    let all = !decision.actions.is_empty() && calls.all(|call| per_finding(&call.name));
    if !all || !decision.acts() {
        return Some(TargetKey::of_rule(rule));
    }
    let mut digits = sha256_hex_of_parts(finding.remote_addresses());
    digits.truncate(8);
    let key = TargetKey { rule, subject: KeySubject::Addresses(digits) };
    let too_many = target_state.entries.len() >= MAX_ENTRIES_OF_SINGLE_FINDINGS
        && !target_state.entries.contains_key(&key);
    Some(if too_many { TargetKey { subject: KeySubject::TooMany, ..key } } else { key })
}

/// The epoch that the next response under this key has.
pub fn next_epoch(target_state: &TargetState, key: &TargetKey) -> u64 {
    target_state.entries.get(key).map_or(1, |entry| entry.epoch + 1)
}

/// In which state a decision is recorded first; `None` for one that is not.
pub fn initial_state(decision: &Decision, steps: &[Step]) -> Option<(State, String)> {
    if decision.is_refused() {
        return Some((State::Refused, decision.reason()));
    }
    match decision.mode {
        Mode::Off => None,
        Mode::Observe => Some((State::Observed, decision.reason())),
        Mode::Approve => Some((State::AwaitingApproval, decision.reason())),
        Mode::Auto if steps.is_empty() => None,
        Mode::Auto => Some((State::Running, decision.reason())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_own_update_is_recognized() {
        let (before, after) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        let check = |by: &str, noted: &str, processed: Value, status: &str, ours: Value, echo| {
            let detail = json!({
                "ProcessedAt": processed, "Workflow": { "Status": status },
                "Note": { "UpdatedBy": by, "UpdatedAt": noted, "Text": "Firebreak" },
                "UserDefinedFields": { "firebreak_workflow": ours },
            });
            assert_eq!(is_own_update(&detail), echo, "{detail}");
        };
        check("firebreak", after, json!(before), "NEW", json!(null), true);
        check("firebreak", after, json!(before), "NEW", json!("NEW"), true);
        // An import since, or at the same moment.
        check("firebreak", before, json!(after), "NEW", json!(null), false);
        check("firebreak", before, json!(before), "NEW", json!(null), false);
        // Opened again by a person, or noted by one.
        check("firebreak", after, json!(before), "NEW", json!("RESOLVED"), false);
        check("ann", after, json!(before), "NEW", json!(null), false);
        // Without the time of the import, nothing counts as our own update.
        check("firebreak", after, json!(null), "NEW", json!(null), false);
        assert!(!is_own_update(&json!({})));
    }
}
