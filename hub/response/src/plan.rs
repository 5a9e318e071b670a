//! Makes the steps of a plan from a decision and the captured state. Pure.

use firebreak_model::action::{ActionCatalog, CapturedState, Phase};
use firebreak_model::error::{ActionError, ErrorKind};
use serde_json::Value;

use crate::record::{PriorState, Step, StepState};
use firebreak_policy::ActionCall;

/// One action of a decision, with the result of its capture.
pub type CapturedCall = (ActionCall, Result<CapturedState<Value>, ActionError>);

/// Orders the steps by phase, within a phase by [`part`], and otherwise in the
/// policy's order. An action whose state could not be captured is a step as well, with
/// the reason: no action of the policy is missing from the record.
pub fn steps(observed: Vec<CapturedCall>, actions: ActionCatalog) -> Vec<Step> {
    let mut steps: Vec<Step> = observed.into_iter().map(|one| step(one, actions)).collect();
    let names: Vec<String> = steps.iter().map(|step| step.action.clone()).collect();
    steps.sort_by_key(|step| (step.phase, part(step, &names, actions)));
    steps
}

/// Leaves what depends on what stays open, and could not be captured, to its execution: it is
/// not known yet whether it is needed.
pub fn defer_conditional(steps: &mut [Step]) {
    let failed = |step: &&mut Step| {
        let uncaptured = step.prior == PriorState::NotCaptured;
        step.if_residual && uncaptured && step.state == StepState::Failed
    };
    for step in steps.iter_mut().filter(failed) {
        step.state = StepState::Planned;
    }
}

/// The parts of a phase, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Steps that wait for no other one.
    First,
    /// Steps that wait for others, see [`waits`].
    Waiting,
    /// Steps that are executed only if something stays open.
    IfResidual,
}

/// The part of its phase that a step is in, among steps of these names.
pub fn part(step: &Step, names: &[String], actions: ActionCatalog) -> Part {
    if step.if_residual {
        Part::IfResidual
    } else if waits(&step.action, names, actions) {
        Part::Waiting
    } else {
        Part::First
    }
}

/// Whether an action runs after another one of these, in the second half of
/// its phase.
pub fn waits<T: AsRef<str>>(action: &str, others: &[T], actions: ActionCatalog) -> bool {
    let after = actions.find(action).map_or(&[][..], |facts| facts.after);
    after.iter().any(|name| others.iter().any(|other| other.as_ref() == *name))
}

/// The call that a step came from.
pub fn call(step: &Step) -> ActionCall {
    ActionCall {
        name: step.action.clone(),
        parameters: step.parameters.clone(),
        if_residual: step.if_residual,
    }
}

fn step((call, observation): CapturedCall, actions: ActionCatalog) -> Step {
    // Policy validation admits only actions that exist.
    let phase = actions.find(&call.name).map_or(Phase::Collect, |facts| facts.spec.phase);
    let planned = |prior, changes, state, detail| Step {
        action: call.name.clone(),
        phase,
        parameters: call.parameters.clone(),
        if_residual: call.if_residual,
        prior,
        changes,
        state,
        detail,
        residual: None,
    };
    match observation {
        Ok(CapturedState { prior, changes }) => {
            planned(PriorState::Captured(prior), changes, StepState::Planned, String::new())
        }
        Err(error) => {
            let state = match error.kind {
                ErrorKind::NotApplicable => StepState::Skipped,
                // Tried again when the response is executed.
                ErrorKind::Transient => StepState::Planned,
                ErrorKind::Refused | ErrorKind::Gone | ErrorKind::Denied | ErrorKind::Failed => {
                    StepState::Failed
                }
            };
            planned(PriorState::NotCaptured, Vec::new(), state, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use firebreak_model::action::{ActionFacts, ActionSpec, Reversal};

    use super::*;

    const fn action(
        name: &'static str,
        phase: Phase,
        after: &'static [&'static str],
    ) -> ActionFacts {
        let spec = ActionSpec {
            name,
            sentence: "",
            resource_types: &[],
            reads: &[],
            writes: &[],
            reversal: Reversal::Restored,
            phase,
        };
        let facts = ActionFacts::new(spec, |_| Ok(()), || Value::Bool(true));
        ActionFacts { after, ..facts }
    }

    const ACTIONS: ActionCatalog = ActionCatalog::new(&[
        action("isolate-instance", Phase::Contain, &[]),
        action("revoke-instance-credentials", Phase::Contain, &[]),
        action("tag-resource", Phase::Collect, &[]),
        action("private-acl", Phase::Contain, &[]),
        action("block-public-access", Phase::Contain, &["private-acl"]),
    ]);

    fn call(name: &str) -> ActionCall {
        ActionCall { name: name.to_owned(), parameters: Value::Null, if_residual: false }
    }

    #[test]
    fn containing_steps_come_first_whatever_the_policy_s_order() {
        let observation = || Ok(CapturedState { prior: Value::Bool(true), changes: Vec::new() });
        let steps = steps(
            vec![
                (call("tag-resource"), observation()),
                (call("revoke-instance-credentials"), observation()),
                (call("isolate-instance"), observation()),
            ],
            ACTIONS,
        );
        let names: Vec<&str> = steps.iter().map(|step| step.action.as_str()).collect();
        assert_eq!(names, ["revoke-instance-credentials", "isolate-instance", "tag-resource"]);
    }

    #[test]
    fn within_a_phase_a_step_that_would_block_others_comes_last() {
        let observation = || Ok(CapturedState { prior: Value::Bool(true), changes: Vec::new() });
        let order = |names: &[&str]| -> Vec<String> {
            let observed = names.iter().map(|name| (call(name), observation())).collect();
            steps(observed, ACTIONS).into_iter().map(|step| step.action).collect()
        };
        assert_eq!(
            order(&["block-public-access", "private-acl"]),
            ["private-acl", "block-public-access"]
        );
        assert!(!waits("block-public-access", &["tag-resource"], ACTIONS));
    }

    #[test]
    fn an_action_that_could_not_be_captured_stays_in_the_plan_with_its_reason() {
        let check = |kind, expected| {
            let error = ActionError::new(kind, "why");
            let steps = steps(vec![(call("isolate-instance"), Err(error))], ACTIONS);
            assert_eq!((steps[0].state, steps[0].detail.as_str()), (expected, "why"));
        };
        check(ErrorKind::NotApplicable, StepState::Skipped);
        check(ErrorKind::Transient, StepState::Planned);
        check(ErrorKind::Gone, StepState::Failed);
        check(ErrorKind::Denied, StepState::Failed);
        check(ErrorKind::Refused, StepState::Failed);
    }
}
