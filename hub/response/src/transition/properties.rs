//! Properties of transitions, for any event in any state, and a few single transitions.

use firebreak_model::digest::sha256_hex;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use firebreak_model::action::Phase;

use super::testing::{context, events, now, record, step, steps, undo};
use super::{AddedFinding, Event, MAX_FINDINGS, Reason, Record, Transition, Write, apply};
use crate::record::{Drift, State, Step, StepState, Undo, UndoCause};

/// The store with one record, which it writes on condition of the revision; and the time.
struct Stored {
    record: Record,
    now: Timestamp,
}

impl Stored {
    /// Writes a transition of the record `read`, unless the stored one has another revision.
    /// Returns whether it was written.
    fn write(&mut self, read: &Record, transition: Transition) -> bool {
        if read.response.revision != self.record.response.revision {
            return false;
        }
        self.record = transition.record;
        true
    }
}

fn any_step_state() -> impl Strategy<Value = StepState> {
    prop::sample::select(vec![
        StepState::Planned,
        StepState::Done,
        StepState::Failed,
        StepState::Skipped,
        StepState::Undone,
        StepState::Drifted,
    ])
}

/// An event of any kind; its steps, where it has some, are in any state.
fn any_event() -> impl Strategy<Value = Event> {
    let kinds = events().len();
    (0..kinds, any_step_state(), any_step_state(), any::<bool>()).prop_map(
        |(kind, one, other, fails)| {
            let (_, event) = events().swap_remove(kind);
            let steps = steps(one, other);
            match event {
                Event::StepsRecorded { .. } => Event::StepsRecorded { steps },
                Event::HandedOver { waiting, .. } => Event::HandedOver { steps, waiting },
                Event::Executed { .. } => Event::Executed { steps },
                Event::UndoEnded { .. } => {
                    let failures = fails.then(|| "denied".to_owned()).into_iter().collect();
                    Event::UndoEnded { steps, failures }
                }
                other => other,
            }
        },
    )
}

/// Whether the event has an audit event. Those without one only record progress.
fn is_audited(event: &Event) -> bool {
    match event {
        Event::LeaseTaken
        | Event::StepsRecorded { .. }
        | Event::HandedOver { .. }
        | Event::Postponed { .. } => false,
        Event::Executed { .. }
        | Event::RetryStarted { .. }
        | Event::Approved { .. }
        | Event::Denied { .. }
        | Event::PlanChanged { .. }
        | Event::Forbidden { .. }
        | Event::Reminded { .. }
        | Event::UndoRequested { .. }
        | Event::UndoEnded { .. }
        | Event::FindingAdded(_)
        | Event::Suppressed { .. }
        | Event::Released { .. } => true,
    }
}

fn any_state() -> impl Strategy<Value = State> {
    prop::sample::select(State::ALL.to_vec())
}

proptest! {
    #[test]
    fn a_transition_has_an_audit_event_unless_it_only_records_progress(
        start in any_state(),
        happened in prop::collection::vec((any_event(), 0_i64..600), 1..12),
    ) {
        let mut stored = Stored { record: record(start), now: now() };
        for (event, seconds) in happened {
            stored.now += SignedDuration::from_secs(seconds);
            let (read, audited) = (stored.record.clone(), is_audited(&event));
            let Ok(transition) = apply(&read, event, &context(stored.now)) else { continue };
            prop_assert_eq!(transition.audit.is_some(), audited);
            let changed = transition.record.response.state != read.response.state;
            prop_assert!(!changed || audited, "a change of state without an audit event");
            prop_assert!(stored.write(&read, transition));
        }
    }

    #[test]
    fn an_audit_event_of_a_response_has_the_digest_and_revision_of_the_record_that_is_stored(
        start in any_state(),
        event in any_event(),
    ) {
        let read = record(start);
        let Ok(transition) = apply(&read, event, &context(now())) else { return Ok(()) };
        let Some(audit) = transition.audit else { return Ok(()) };
        // The decision about another finding has an audit event, but changes no record.
        let Some(digest) = audit.record else { return Ok(()) };
        let json = serde_json::to_string(&transition.record.response).unwrap();
        prop_assert_eq!(digest, sha256_hex(json));
        prop_assert_eq!(audit.revision, Some(transition.record.response.revision));
    }

    #[test]
    fn a_transition_that_writes_the_response_raises_its_revision_by_one(
        start in any_state(),
        event in any_event(),
    ) {
        let read = record(start);
        let Ok(transition) = apply(&read, event, &context(now())) else { return Ok(()) };
        match transition.write {
            Write::Entry { .. } | Write::Suppression => {
                prop_assert_eq!(&transition.record.response, &read.response);
            }
            Write::New { .. } | Write::RecordAndEntry | Write::Record | Write::Added { .. } => {
                let (before, after) = (&read.response, &transition.record.response);
                prop_assert_eq!(after.revision, before.revision + 1);
                prop_assert_eq!(after.updated, now());
            }
        }
    }

    #[test]
    fn a_response_becomes_contained_only_if_it_was_verified_and_no_step_failed_or_is_left(
        start in any_state(),
        event in any_event(),
    ) {
        let read = record(start);
        let Ok(transition) = apply(&read, event, &context(now())) else { return Ok(()) };
        let response = &transition.record.response;
        if response.state == State::Contained && read.response.state != State::Contained {
            prop_assert!(response.is_contained());
            prop_assert!(response.steps.iter().all(|step| step.state != StepState::Failed));
            prop_assert!(response.steps.iter().all(|step| step.state != StepState::Planned));
        }
    }

    /// Two workers read the same record, and one of them takes the lease. The other one's
    /// transition is not written, whatever it is.
    #[test]
    fn a_worker_that_read_before_the_lease_was_taken_cannot_write(
        running in prop::sample::select(vec![State::Running, State::Undoing]),
        late in any_event(),
        seconds in 0_i64..600,
    ) {
        let mut stored = Stored { record: record(running), now: now() };
        let read = stored.record.clone();
        let taken = apply(&read, Event::LeaseTaken, &context(stored.now)).unwrap();
        prop_assert!(stored.write(&read, taken));
        let lease_until = stored.record.response.lease_until;
        stored.now += SignedDuration::from_secs(seconds);
        if let Ok(transition) = apply(&read, late, &context(stored.now)) {
            prop_assert!(!stored.write(&read, transition));
        }
        prop_assert_eq!(stored.record.response.lease_until, lease_until);
        // Nor does the other worker get the lease before it expires.
        let again = apply(&stored.record, Event::LeaseTaken, &context(stored.now));
        if lease_until.is_some_and(|until| until > stored.now) {
            prop_assert_eq!(again.unwrap_err().reason, Reason::Leased);
        }
    }

    #[test]
    fn the_targets_entry_agrees_with_the_record(start in any_state(), event in any_event()) {
        let read = record(start);
        let Ok(transition) = apply(&read, event, &context(now())) else { return Ok(()) };
        let (entry, response) = (transition.record.entry(), &transition.record.response);
        prop_assert_eq!(&entry.response, &response.id);
        prop_assert_eq!((entry.state, entry.lease_until), (response.state, response.lease_until));
        let in_progress = matches!(response.state, State::Running | State::Undoing);
        prop_assert!(in_progress || (entry.lease_until.is_none() && !entry.waiting));
    }
}

#[test]
fn a_handed_over_response_counts_as_waiting_only_once_its_containing_steps_have_ended() {
    let handed_over = |contain| {
        let waiting = "a snapshot".to_owned();
        let event = Event::HandedOver { steps: steps(contain, StepState::Planned), waiting };
        apply(&record(State::Running), event, &context(now())).unwrap().record.entry()
    };
    assert!(handed_over(StepState::Done).waiting);
    assert!(!handed_over(StepState::Planned).waiting);
}

#[test]
fn a_response_with_a_planned_step_does_not_end() {
    let event = Event::Executed { steps: steps(StepState::Done, StepState::Planned) };
    let illegal = apply(&record(State::Running), event, &context(now())).unwrap_err();
    assert_eq!(illegal.reason, Reason::StepsLeft);
}

fn requested(undo: Undo) -> Event {
    Event::UndoRequested { undo }
}

#[test]
fn a_response_that_a_worker_holds_is_neither_taken_nor_undone_before_its_lease_expires() {
    let mut held = record(State::Running);
    held.response.lease_until = Some(now() + SignedDuration::from_secs(1));
    for event in [Event::LeaseTaken, requested(undo())] {
        let illegal = apply(&held, event.clone(), &context(now())).unwrap_err();
        assert_eq!(illegal.reason, Reason::Leased);
        // A lease has expired at the time that it names.
        assert!(apply(&held, event, &context(now() + SignedDuration::from_secs(1))).is_ok());
    }
}

#[test]
fn an_undone_response_is_undone_again_only_to_overwrite_drift() {
    let leaves = Undo { drift: Drift::Leave, ..undo() };
    let illegal = apply(&record(State::Undone), requested(leaves), &context(now())).unwrap_err();
    assert_eq!(illegal.reason, Reason::NothingToUndo);
    assert!(apply(&record(State::Undone), requested(undo()), &context(now())).is_ok());
    let mut without_drift = record(State::Undone);
    without_drift.response.steps = steps(StepState::Undone, StepState::Undone);
    let illegal = apply(&without_drift, requested(undo()), &context(now())).unwrap_err();
    assert_eq!(illegal.reason, Reason::NothingToUndo);
}

/// One step is undone. The response is contained if every containing step that is left was
/// executed, and partially contained if one of them never was.
#[test]
fn after_the_undo_of_one_step_a_planned_containing_step_is_not_contained() {
    let state_after_undo = |left| {
        let mut undoing = record(State::Undoing);
        let step = Some("tag-resource".to_owned());
        undoing.response.undo = Some(Undo { step, ..undo() });
        let mut steps = steps(StepState::Done, StepState::Undone);
        steps.push(step_of("revoke-instance-credentials", left));
        let event = Event::UndoEnded { steps, failures: Vec::new() };
        apply(&undoing, event, &context(now())).unwrap().record.response.state
    };
    assert_eq!(state_after_undo(StepState::Done), State::Contained);
    assert_eq!(state_after_undo(StepState::Planned), State::PartiallyContained);
}

fn step_of(action: &str, state: StepState) -> Step {
    step(action, Phase::Contain, state)
}

#[test]
fn an_expiry_that_fails_is_reported_once_and_retried_after_a_longer_wait_each_time() {
    let mut handed_over = record(State::Running);
    handed_over.response.tries = 3;
    let executed = Event::Executed { steps: steps(StepState::Done, StepState::Done) };
    let mut contained = apply(&handed_over, executed, &context(now())).unwrap().record;
    let mut waits = Vec::new();
    for _ in 0..3 {
        let expiry = Undo { cause: UndoCause::Expiry, drift: Drift::Leave, ..undo() };
        let undoing = apply(&contained, requested(expiry), &context(now())).unwrap().record;
        let failures = vec!["isolate-instance: denied".to_owned()];
        let event = Event::UndoEnded { steps: undoing.response.steps.clone(), failures };
        let failed = apply(&undoing, event, &context(now())).unwrap();
        let due = failed.record.response.due.unwrap();
        waits.push((due.duration_since(now()).as_secs(), failed.outbox.len()));
        contained = failed.record;
    }
    assert_eq!(waits, [(15, 2), (30, 0), (60, 0)]);
}

#[test]
fn an_undo_of_another_step_during_an_undo_widens_it_to_all_steps() {
    let of = |step: &str| Undo { step: Some(step.to_owned()), ..undo() };
    let mut undoing = record(State::Undoing);
    undoing.response.undo = Some(of("tag-resource"));
    let both = apply(&undoing, requested(of("isolate-instance")), &context(now())).unwrap();
    assert_eq!(both.record.response.undo.unwrap().step, None);
}

#[test]
fn when_there_are_too_many_findings_the_oldest_is_dropped() {
    let mut full = record(State::Contained);
    full.findings = (0..MAX_FINDINGS)
        .map(|number| {
            let seconds = i64::try_from(number).unwrap();
            (format!("f-{number:04}"), Timestamp::from_second(seconds + 1).ok())
        })
        .collect();
    let added = events().into_iter().find(|(name, _)| *name == "finding-added").unwrap().1;
    let findings = apply(&full, added, &context(now())).unwrap().record.findings;
    assert_eq!(findings.len(), MAX_FINDINGS);
    assert!(findings.contains_key("f-2") && !findings.contains_key("f-0000"));
}

#[test]
fn a_finding_whose_id_in_security_hub_is_known_changes_the_entry_alone() {
    let known = record(State::Contained);
    let added = events().into_iter().find(|(name, _)| *name == "finding-added").unwrap().1;
    let Event::FindingAdded(added) = added else { unreachable!("the event is of this kind") };
    let again =
        AddedFinding { security_hub: known.response.finding.security_hub.clone(), ..*added };
    let event = Event::FindingAdded(Box::new(again));
    let transition = apply(&known, event, &context(now())).unwrap();
    assert_eq!(transition.write, Write::Entry { target_revision: 3 });
    assert_eq!((transition.record.response, transition.outbox), (known.response, Vec::new()));
}
