//! The steps of a response, and the state that follows from them.

use firebreak_model::action::{Change, Phase, Residual};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::State;

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Recorded, not executed.
    Planned,
    /// Executed and verified by reading back.
    Done,
    /// Not executed, or executed and not confirmed; the detail says which.
    Failed,
    /// There was nothing for the action to do on this target; the detail says why.
    Skipped,
    /// The prior state was restored.
    Undone,
    /// Not fully restored: the resource was changed since.
    Drifted,
}

/// The state before a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriorState {
    /// It could not be read yet; nothing was changed.
    NotCaptured,
    /// As the action captured it.
    Captured(Value),
}

impl PriorState {
    /// The captured state, if there is one.
    pub fn captured(&self) -> Option<&Value> {
        match self {
            Self::NotCaptured => None,
            Self::Captured(prior) => Some(prior),
        }
    }
}

/// One action of a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub action: String,
    pub phase: Phase,
    /// Its parameters as policy gave them.
    pub parameters: Value,
    pub prior: PriorState,
    /// The changes, for people.
    pub changes: Vec<Change>,
    pub state: StepState,
    /// The result, or why it failed; empty while planned.
    pub detail: String,
    /// Executed only if something stays open after the containment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub if_residual: bool,
    /// What may stay open although it is in effect; `None` until that was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<Vec<Residual>>,
}

impl Step {
    /// Whether this step contains the target: those of the phases contain and end do.
    pub fn is_containing(&self) -> bool {
        match self.phase {
            Phase::Contain | Phase::End => true,
            Phase::Protect | Phase::Collect => false,
        }
    }

    /// Whether undo must process it: a planned step may have been applied by a worker
    /// that died before it recorded that.
    pub fn may_have_changed(&self) -> bool {
        match self.state {
            StepState::Planned | StepState::Done | StepState::Failed | StepState::Drifted => {
                self.prior.captured().is_some()
            }
            StepState::Skipped | StepState::Undone => false,
        }
    }

    /// Whether it succeeded; a planned step may have, see [`Self::may_have_changed`].
    pub fn may_have_succeeded(&self) -> bool {
        match self.state {
            StepState::Done | StepState::Drifted | StepState::Undone => true,
            StepState::Planned => self.prior.captured().is_some(),
            StepState::Failed | StepState::Skipped => false,
        }
    }
}

/// Whether the target is contained, even if other steps are still pending: a containing
/// step was verified, and each step of the phase contain was verified or does not apply.
/// A step that depends on what stays open is not waited for.
pub fn is_contained(steps: &[Step]) -> bool {
    let of_the_phase = |step: &&Step| step.phase == Phase::Contain && !step.if_residual;
    let ended = |step: &Step| matches!(step.state, StepState::Done | StepState::Skipped);
    is_contained_in_part(steps) && steps.iter().filter(of_the_phase).all(ended)
}

/// Whether a containing step was verified.
fn is_contained_in_part(steps: &[Step]) -> bool {
    steps.iter().any(|step| step.is_containing() && step.state == StepState::Done)
}

/// What may stay open: of each verified step what no other verified step closes, each path
/// once.
pub fn residual(steps: &[Step]) -> Vec<&Residual> {
    let is_done = |name: &String| {
        steps.iter().any(|step| step.state == StepState::Done && step.action == *name)
    };
    let mut open: Vec<&Residual> = steps
        .iter()
        .filter(|step| step.state == StepState::Done)
        .filter_map(|step| step.residual.as_ref())
        .flatten()
        .filter(|residual| !residual.closed_by.iter().any(is_done))
        .collect();
    open.sort();
    open.dedup();
    open
}

/// The state of a response whose steps have all ended, and the reason. It is
/// `Contained` only if a containing step was verified and no step failed.
pub fn result(steps: &[Step]) -> (State, String) {
    let of = |wanted: StepState| -> Vec<&str> {
        steps.iter().filter(|step| step.state == wanted).map(|step| step.action.as_str()).collect()
    };
    let contained = is_contained_in_part(steps);
    let (done, failed, skipped) =
        (of(StepState::Done), of(StepState::Failed), of(StepState::Skipped));
    let failures = || {
        let reasons: Vec<&str> = steps
            .iter()
            .filter(|step| step.state == StepState::Failed)
            .map(|step| step.detail.as_str())
            .collect();
        reasons.join("; ")
    };
    match (contained, failed.is_empty()) {
        (true, true) => (State::Contained, format!("verified: {}", done.join(", "))),
        (true, false) => (
            State::PartiallyContained,
            format!("verified: {}; failed: {}", done.join(", "), failures()),
        ),
        (false, false) => (State::Failed, failures()),
        (false, true) if done.is_empty() => (
            State::Failed,
            format!("no step applied to this target: skipped {}", skipped.join(", ")),
        ),
        (false, true) => (State::Completed, format!("executed: {}", done.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: &[(Phase, StepState)]) -> Vec<Step> {
        let step = |(phase, state): &(Phase, StepState)| Step {
            action: "some-action".into(),
            phase: *phase,
            parameters: Value::Null,
            prior: PriorState::NotCaptured,
            changes: Vec::new(),
            state: *state,
            detail: "denied".into(),
            if_residual: false,
            residual: None,
        };
        steps.iter().map(step).collect()
    }

    #[test]
    fn a_target_is_contained_once_each_step_of_the_phase_contain_is_verified() {
        use Phase::{Collect, Contain, End};
        use StepState::{Done, Failed, Planned, Skipped};
        let check = |steps: &[(Phase, StepState)], expected| {
            assert_eq!(is_contained(&of(steps)), expected, "{steps:?}");
        };
        check(&[(Contain, Done)], true);
        check(&[(Contain, Done), (Contain, Skipped), (Collect, Planned), (End, Planned)], true);
        check(&[(Contain, Done), (Contain, Planned)], false);
        check(&[(Contain, Done), (Contain, Failed), (Collect, Planned)], false);
        check(&[(Contain, Skipped), (Collect, Done)], false);
        check(&[(End, Done)], true);
    }

    #[test]
    fn containment_is_claimed_only_when_verified_and_nothing_failed() {
        use Phase::{Collect, Contain};
        use StepState::{Done, Failed, Skipped};
        let check = |steps: &[(Phase, StepState)], expected| {
            assert_eq!(result(&of(steps)).0, expected, "{steps:?}");
        };
        check(&[(Contain, Done), (Collect, Done)], State::Contained);
        check(&[(Contain, Done), (Contain, Skipped)], State::Contained);
        check(&[(Contain, Done), (Collect, Failed)], State::PartiallyContained);
        check(&[(Contain, Failed), (Collect, Done)], State::Failed);
        check(&[(Contain, Skipped)], State::Failed);
        check(&[(Collect, Done)], State::Completed);
        check(&[], State::Failed);
    }
}
