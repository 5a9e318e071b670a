//! The update of a finding in Security Hub that follows from a response's state, and
//! how it is merged with the present finding. Pure: it neither reads nor writes a
//! finding.

pub mod merge;
mod note;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{Response, State, StepState};

pub use self::note::NOTE_CHARACTERS;

/// Security Hub's workflow status, as far as Firebreak sets it. Only analysts set
/// `SUPPRESSED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Workflow {
    /// Unresolved again, after an undo.
    New,
    /// A person is needed: handled in part, or waiting for approval.
    Notified,
    /// Contained, and verified by reading back.
    Resolved,
}

impl Workflow {
    /// The name in Security Hub.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Notified => "NOTIFIED",
            Self::Resolved => "RESOLVED",
        }
    }
}

/// One update of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// The workflow status; `None` leaves it as it is.
    pub workflow: Option<Workflow>,
    /// The note: it begins with `Firebreak`, and is cut if there is too little room.
    pub note: String,
    /// What the reader can do, after the note; never cut. May be empty.
    pub hint: String,
    pub fields: BTreeMap<String, String>,
}

impl StatusUpdate {
    /// The note with its hint, within the length that Security Hub takes.
    pub fn text(&self) -> String {
        note::ours(self, NOTE_CHARACTERS)
    }

    /// The same for a finding that is unresolved at another target: never `RESOLVED`.
    #[must_use]
    pub fn not_resolved(mut self) -> Self {
        if self.workflow == Some(Workflow::Resolved) {
            self.workflow = Some(Workflow::Notified);
        }
        self
    }
}

/// The update for a response in its present state; `None` while there is nothing to
/// report.
///
/// It is `RESOLVED` only if the containment was verified by reading back, every step
/// succeeded, and nothing may stay open. A response that is contained already and still collects evidence is
/// `NOTIFIED`, with a note that says so.
pub fn of(response: &Response) -> Option<StatusUpdate> {
    let id = &response.id;
    let (arn, reason) = (response.resource.arn(), &response.reason);
    let undo = format!("Undo: firebreak responses undo {id}");
    let open: Vec<&str> = response.residual().iter().map(|it| it.what.as_str()).collect();
    let open = open.join("; ");
    let show = format!("Details: firebreak responses show {id}");
    let (workflow, note, hint) = match response.state {
        State::Undoing => return None,
        State::Running => {
            let going = under_way(response)?;
            let note = format!("Firebreak contained {arn} ({id}); still under way: {going}.");
            (Some(Workflow::Notified), note, undo)
        }
        State::Observed => (None, format!("Firebreak observed ({id}): {reason}"), String::new()),
        State::Refused => (None, format!("Firebreak did not act ({id}): {reason}"), String::new()),
        State::AwaitingApproval => (
            Some(Workflow::Notified),
            format!("Firebreak awaits approval of {id}: {reason}."),
            show,
        ),
        State::Contained if !open.is_empty() => {
            let note = format!(
                "Firebreak contained {arn} ({id}), but may still be open: {open}; {reason}."
            );
            (Some(Workflow::Notified), note, undo)
        }
        State::Contained => {
            (Some(Workflow::Resolved), format!("Firebreak contained {arn} ({id}); {reason}."), undo)
        }
        State::Completed => {
            (Some(Workflow::Notified), format!("Firebreak acted on {arn} ({id}): {reason}."), undo)
        }
        State::PartiallyContained => (
            Some(Workflow::Notified),
            format!("Firebreak contained this in part only ({id}); {reason}."),
            undo,
        ),
        State::Failed => (
            Some(Workflow::Notified),
            format!("Firebreak could not contain this ({id}): {reason}."),
            show,
        ),
        State::Denied => {
            (Some(Workflow::Notified), format!("Firebreak did not act ({id}), {reason}"), show)
        }
        State::Undone | State::Expired => {
            (Some(Workflow::New), format!("Firebreak undid {id}: {reason}"), String::new())
        }
    };
    let fields = BTreeMap::from([
        (merge::RESPONSE.to_owned(), id.to_string()),
        (merge::STATE.to_owned(), response.state.to_string()),
        (merge::RULE.to_owned(), response.key.to_string()),
        (merge::RESIDUAL.to_owned(), paths(response)),
    ]);
    Some(StatusUpdate { workflow, note, hint, fields })
}

/// The paths that may stay open while the response contains its target, each once.
fn paths(response: &Response) -> String {
    let contained = response.state == State::Contained;
    let open = if contained { response.residual() } else { Vec::new() };
    let mut paths: Vec<&str> = open.iter().map(|it| it.path.as_str()).collect();
    paths.dedup();
    if paths.is_empty() { merge::NO_RESIDUAL.to_owned() } else { paths.join(", ") }
}

/// The actions that have not ended yet, of a response that is contained already; `None`
/// before that.
fn under_way(response: &Response) -> Option<String> {
    let going: Vec<&str> = response
        .steps
        .iter()
        .filter(|step| step.state == StepState::Planned)
        .map(|step| step.action.as_str())
        .collect();
    (response.is_contained() && !going.is_empty()).then(|| going.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{FORMAT, Step};
    use firebreak_model::action::Phase;
    use serde_json::{Value, json};

    fn response(state: State, steps: &[(Phase, StepState)]) -> Response {
        let response: Response = serde_json::from_value(json!({
            "format": FORMAT, "id": "r-0123456789abcdef", "revision": 1, "state": state.name(),
            "reason": "the reason", "ou_path": "r-fb01/ou-fb01-prod1111",
            "rule": "r-fb01/isolate", "epoch": 1, "steps": [],
            "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z",
            "lease_until": null,
            "resource": {"partition": "aws", "account": "222222222222", "region": "eu-central-1",
                "type": "Instance", "instanceId": "i-0abc"},
            "finding": {"id": "f", "type": "t", "severity": 8.0, "title": "",
                "product": "GuardDuty", "account": "222222222222", "region": "eu-central-1",
                "security_hub": null},
        }))
        .unwrap();
        let steps = steps
            .iter()
            .enumerate()
            .map(|(index, (phase, state))| Step {
                action: format!("action-{index}"),
                phase: *phase,
                parameters: Value::Null,
                prior: crate::record::PriorState::NotCaptured,
                changes: Vec::new(),
                state: *state,
                detail: String::new(),
                if_residual: false,
                residual: None,
            })
            .collect();
        Response { steps, ..response }
    }

    #[test]
    fn only_a_containment_sets_resolved_and_only_an_undo_sets_new() {
        for state in State::ALL {
            let workflow = of(&response(state, &[])).and_then(|update| update.workflow);
            let expected = match state {
                State::Running | State::Undoing | State::Observed | State::Refused => None,
                State::AwaitingApproval
                | State::Denied
                | State::Completed
                | State::PartiallyContained
                | State::Failed => Some(Workflow::Notified),
                State::Contained => Some(Workflow::Resolved),
                State::Undone | State::Expired => Some(Workflow::New),
            };
            assert_eq!(workflow, expected, "{state}");
        }
    }

    #[test]
    fn every_note_names_its_response_and_says_how_to_undo_it_if_a_resource_may_be_changed() {
        for state in State::ALL {
            let Some(update) = of(&response(state, &[])) else { continue };
            let text = update.text();
            assert!(text.starts_with("Firebreak "), "{text}");
            assert!(text.contains("r-0123456789abcdef"), "{text}");
            assert_eq!(
                text.contains("firebreak responses undo"),
                state.may_have_changed_resource(),
                "{text}"
            );
        }
    }

    #[test]
    fn the_hint_is_never_cut_however_long_the_reason_is() {
        for state in State::ALL {
            let long = "é".repeat(2_000);
            let Some(update) = of(&Response { reason: long, ..response(state, &[]) }) else {
                continue;
            };
            let text = update.text();
            assert_eq!(text.chars().count(), NOTE_CHARACTERS, "{state}");
            assert!(text.ends_with(&update.hint), "{text}");
        }
    }

    #[test]
    fn a_verified_containment_is_reported_while_other_steps_are_pending() {
        use Phase::{Collect, Contain};
        use StepState::{Done, Failed, Planned, Skipped};
        let check = |steps: &[(Phase, StepState)], expected: Option<&str>| {
            let update = of(&response(State::Running, steps));
            let described = update.as_ref().map(|it| it.note.rsplit(": ").next().unwrap());
            assert_eq!(described, expected, "{steps:?}");
            if let Some(update) = update {
                assert_eq!(update.workflow, Some(Workflow::Notified));
                assert!(update.note.contains("contained"), "{}", update.note);
            }
        };
        check(
            &[(Contain, Done), (Collect, Planned), (Collect, Planned)],
            Some("action-1, action-2."),
        );
        check(&[(Contain, Done), (Contain, Skipped), (Collect, Planned)], Some("action-2."));
        check(&[(Contain, Planned), (Collect, Planned)], None);
        check(&[(Contain, Done), (Contain, Planned)], None);
        check(&[(Contain, Done), (Contain, Failed), (Collect, Planned)], None);
        check(&[(Contain, Done), (Collect, Done)], None);
        check(&[(Contain, Skipped), (Collect, Planned)], None);
        check(&[], None);
    }
}
