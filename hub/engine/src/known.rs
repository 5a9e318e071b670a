//! What is known before anything is decided: of the finding itself, and of its
//! target. Pure.

use firebreak_model::digest::sha256_hex_of_parts;
use firebreak_model::resource::Resource;
use firebreak_spoke::actions;
use jiff::Timestamp;
use serde_json::Value;

use firebreak_model::finding::Finding;
use firebreak_policy::{Decision, Mode};
use firebreak_response::record::{Hold, ResponseId, State, Step};
use firebreak_response::status::merge;
use firebreak_response::target::{Entry, TargetItem};

/// What is known of a finding at its target.
pub(super) enum Known {
    /// Nothing that keeps it from being decided.
    New,
    /// It was handled, under this rule.
    Handled { rule: String, entry: Entry },
    /// A worker is at this target.
    UnderWay { response: ResponseId },
    /// A worker was at it, and its lease has run out.
    Abandoned { rule: String, entry: Entry },
}

/// What the finding itself says against acting on it, before any call.
pub(super) fn ignored(finding: &Finding) -> Option<String> {
    if finding.sample {
        return Some("a sample finding is never acted on".to_owned());
    }
    if finding.archived {
        return Some("an archived or suppressed finding is never acted on".to_owned());
    }
    // Our own updates come back as events with another status than NEW; so do
    // an analyst's.
    let status = finding.workflow_status.as_deref().filter(|status| *status != "NEW");
    if let Some(status) = status {
        return Some(format!("its workflow status is {status}: somebody is at it already"));
    }
    // Those that leave the status at NEW, or put it back, are told by their note.
    is_our_echo(&finding.detail).then(|| {
        "nothing was imported of it since Firebreak noted how it stands: its own update".to_owned()
    })
}

/// Whether an ASFF finding is as it was when we wrote our note: Security Hub has
/// taken nothing in since (`ProcessedAt`), and nobody has set another status
/// than the one that we wrote. Both times are Security Hub's own, so that no
/// newer version of the finding is taken for an echo. OCSF tells neither time:
/// there an echo with the status New costs the look-up of its target.
fn is_our_echo(detail: &Value) -> bool {
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

pub(super) fn known(seen: &TargetItem, finding: &Finding, now: Timestamp) -> Known {
    for (rule, entry) in &seen.entries {
        // What only waits is in nobody's way.
        if matches!(entry.state, State::Running | State::Undoing) && !entry.waiting {
            if entry.lease_until.is_none_or(|until| until <= now) {
                return Known::Abandoned { rule: rule.clone(), entry: entry.clone() };
            }
            // Its record is there, and the sweep sees to its end.
            if entry.findings.contains_key(&finding.id) {
                return Known::Handled { rule: rule.clone(), entry: entry.clone() };
            }
            return Known::UnderWay { response: entry.response.clone() };
        }
    }
    for (rule, entry) in &seen.entries {
        let Some(handled) = entry.findings.get(&finding.id) else { continue };
        let settled = match entry.state {
            // What was not contained is decided anew when the finding is seen
            // again: somebody may have mended what stood in the way.
            State::Observed | State::Refused | State::Failed | State::PartiallyContained => {
                *handled >= finding.updated_at
            }
            // What ended by the clock was not taken back by anybody: an attack
            // that goes on is answered again.
            State::Expired => *handled >= finding.updated_at,
            // After an undo or a denial by a person the same finding is held off
            // for good.
            State::AwaitingApproval
            | State::Denied
            | State::Running
            | State::Contained
            | State::Completed
            | State::Undoing
            | State::Undone => true,
        };
        if settled {
            return Known::Handled { rule: rule.clone(), entry: entry.clone() };
        }
    }
    Known::New
}

/// Why findings of this type leave the target alone now, if they do.
pub(super) fn held_off(seen: &TargetItem, finding: &Finding, now: Timestamp) -> Option<String> {
    let hold = seen.holds.get(&finding.kind).filter(|hold| hold.until > now)?;
    let Hold { until, by, response, reason } = hold;
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(format!(
        "held off until {}, by {by} for response `{response}`{why}; `firebreak responses release {response}` ends that",
        until.strftime("%Y-%m-%d %H:%M:%SZ")
    ))
}

/// How many entries of single findings a target may have: its item has a limit.
const PER_FINDING_AT_MOST: usize = 200;

/// Under which key a decision is recorded at its target: its rule's, so that one
/// response answers all findings of a rule. Where all that the rule does is about
/// what the finding itself names, such as its remote addresses, other addresses
/// are another response.
pub(super) fn entry_key(
    decision: &Decision,
    finding: &Finding,
    seen: &TargetItem,
) -> Option<String> {
    let rule = decision.rule_key()?;
    let per_finding = |name: &str| actions::find(name).is_some_and(|entry| entry.facts.per_finding);
    let mut calls = decision.actions.iter();
    let all = !decision.actions.is_empty() && calls.all(|call| per_finding(&call.name));
    if !all || !decision.acts() {
        return Some(rule);
    }
    let mut digits = sha256_hex_of_parts(finding.remote_addresses());
    digits.truncate(8);
    let key = format!("{rule}#{digits}");
    let crowded = seen.entries.len() >= PER_FINDING_AT_MOST && !seen.entries.contains_key(&key);
    Some(if crowded { format!("{rule}#crowded") } else { key })
}

/// Whether a target has so many entries of single findings that one more is
/// refused: none of the others answers it.
pub(super) fn is_crowded(decision: &Decision, finding: &Finding, seen: &TargetItem) -> bool {
    entry_key(decision, finding, seen).is_some_and(|key| key.ends_with("#crowded"))
}

/// The id and epoch that the next response of this rule on this target has.
pub(super) fn next_response(
    seen: &TargetItem,
    resource: &Resource,
    rule: &str,
) -> (ResponseId, u64) {
    let epoch = seen.entries.get(rule).map_or(1, |entry| entry.epoch + 1);
    (ResponseId::of(&resource.arn(), rule, epoch), epoch)
}

/// In which state a decision is recorded first; `None` for one that is not.
pub(super) fn opening_state(decision: &Decision, steps: &[Step]) -> Option<(State, String)> {
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
    fn an_echo_is_told_from_an_import_and_from_an_analyst() {
        let (before, after) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        let check = |by: &str, noted: &str, processed: Value, status: &str, ours: Value, echo| {
            let detail = json!({
                "ProcessedAt": processed, "Workflow": { "Status": status },
                "Note": { "UpdatedBy": by, "UpdatedAt": noted, "Text": "Firebreak" },
                "UserDefinedFields": { "firebreak_workflow": ours },
            });
            assert_eq!(is_our_echo(&detail), echo, "{detail}");
        };
        check("firebreak", after, json!(before), "NEW", json!(null), true);
        check("firebreak", after, json!(before), "NEW", json!("NEW"), true);
        // An import since, or at the same moment.
        check("firebreak", before, json!(after), "NEW", json!(null), false);
        check("firebreak", before, json!(before), "NEW", json!(null), false);
        // Opened again by a person, or noted by one.
        check("firebreak", after, json!(before), "NEW", json!("RESOLVED"), false);
        check("ann", after, json!(before), "NEW", json!(null), false);
        // Where the time of the import is not told, nothing is taken for an echo.
        check("firebreak", after, json!(null), "NEW", json!(null), false);
        assert!(!is_our_echo(&json!({})));
    }
}
