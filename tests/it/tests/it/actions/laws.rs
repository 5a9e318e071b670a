//! The laws that every action obeys, for every case.

use firebreak_model::error::ErrorKind;
use firebreak_simulation::Effect;
use firebreak_spoke::contract::{Reversal, Undone};
use firebreak_spoke::registry;
use firebreak_testkit::sample::sample;

use crate::actions::cases::{Case, cases};
use crate::actions::stage::{Stage, holds, settled};
use crate::actions::stops::{stopped, stops};

/// The cases of the actions whose undo puts the prior state back.
fn restoring() -> impl Iterator<Item = Case> {
    cases()
        .into_iter()
        .filter(|case| registry::find(case.action).unwrap().spec.reversal == Reversal::Restored)
}

/// Cases with each way to stop them, as many as this run plays; each is stopped at
/// every call.
fn stopped_cases(suite: &str, cases: impl IntoIterator<Item = Case>) -> Vec<(Case, Effect)> {
    let every = |case: Case| stops().map(|effect| (case.clone(), effect));
    sample(suite, cases.into_iter().flat_map(every).collect())
}

#[test]
fn every_action_has_a_case() {
    let cases = cases();
    for entry in registry::all() {
        let name = entry.spec.name;
        assert!(cases.iter().any(|case| case.action == name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn observing_changes_nothing_and_uses_reads_only() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let captured = stage.capture().await.unwrap();
        assert!(!captured.changes.is_empty(), "{}", case.name);
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
        assert!(stage.organization.calls().iter().all(|call| !call.mutating), "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_in_effect_after_apply_and_not_before() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        let verified = stage.verify(&prior).await;
        assert!(!holds(&verified), "{}: {verified:?}", case.name);
        stage.apply(&prior).await.unwrap();
        let verified = settled(&stage, &prior).await;
        assert!(holds(&verified), "{}: {verified:?}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn applying_twice_equals_applying_once() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let once = stage.snapshot();
        assert_ne!(once, stage.before, "{}", case.name);
        stage.apply(&prior).await.unwrap();
        assert_eq!(stage.snapshot(), once, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn undo_restores_exactly_and_undoing_twice_equals_undoing_once() {
    for case in restoring() {
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let undone = stage.undo(&prior).await.unwrap();
        assert!(
            !undone.restored.is_empty() && undone.drift.is_empty(),
            "{}: {undone:?}",
            case.name
        );
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
        assert_eq!(stage.undo(&prior).await.unwrap(), Undone::default(), "{}", case.name);
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_undo_keeps_exists_after_the_undo() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        if stage.entry.spec.reversal != Reversal::Kept {
            continue;
        }
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let kept = stage.snapshot();
        let undone = stage.undo(&prior).await.unwrap();
        assert!(undone.drift.is_empty(), "{}: {undone:?}", case.name);
        // Where it can put something back after all, it does so as a whole.
        let expected = if undone.restored.is_empty() { &kept } else { &stage.before };
        assert_eq!(stage.snapshot(), *expected, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn undo_without_apply_changes_nothing() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        assert_eq!(stage.undo(&prior).await.unwrap(), Undone::default(), "{}", case.name);
        assert_eq!(stage.snapshot(), stage.before, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_change_is_kept_by_undo_and_reported_as_drift() {
    for case in restoring() {
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let theirs = stage.organization.edit(|state| {
            (case.disturb)(state, &stage.resource);
            (case.witness)(state, &stage.resource)
        });
        let undone = stage.undo(&prior).await.unwrap();
        assert!(!undone.drift.is_empty(), "{}: {undone:?}", case.name);
        let now = stage.organization.edit(|state| (case.witness)(state, &stage.resource));
        assert_eq!(now, theirs, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_resource_is_reported_and_nothing_is_changed() {
    for case in cases() {
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.organization.edit(|state| (case.remove)(state, &stage.resource));
        let gone = stage.snapshot();
        if gone == stage.before {
            continue; // An account is never gone.
        }
        assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Gone, "{}", case.name);
        if !case.outlives {
            assert_eq!(
                stage.apply(&prior).await.unwrap_err().kind,
                ErrorKind::Gone,
                "{}",
                case.name
            );
            assert_eq!(stage.snapshot(), gone, "{}", case.name);
        }
        let undone = stage.undo(&prior).await.unwrap();
        assert!(undone.restored.is_empty(), "{}: {undone:?}", case.name);
        assert_eq!(stage.snapshot(), gone, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_of_another_account_is_refused_before_any_call() {
    for case in cases() {
        let mut stage = Stage::of(&case).await;
        stage.resource.account = "222222222222".parse().unwrap();
        assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Refused, "{}", case.name);
        assert_eq!(stage.organization.call_count(), 0, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_stops_at_any_call_is_undone_exactly() {
    for (case, effect) in
        stopped_cases("an apply that stops at every call and is undone", restoring())
    {
        for after in 0.. {
            let stage = Stage::of(&case).await;
            let prior = stage.capture().await.unwrap().prior;
            stage.organization.forget_calls();
            let work = stage.apply(&prior);
            let ended = stopped(&stage.organization, after, &effect, work).await;
            let whole = u32::try_from(stage.organization.call_count()).unwrap() <= after;
            stage.undo(&prior).await.unwrap();
            let text = format!("{} {effect:?} at call {after}: {ended:?}", case.name);
            assert_eq!(stage.snapshot(), stage.before, "{text}");
            if whole {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_stops_at_any_call_converges_when_it_runs_again() {
    for (case, effect) in stopped_cases("an apply that stops at every call and runs again", cases())
    {
        for after in 0.. {
            let stage = Stage::of(&case).await;
            let prior = stage.capture().await.unwrap().prior;
            stage.organization.forget_calls();
            let work = stage.apply(&prior);
            let ended = stopped(&stage.organization, after, &effect, work).await;
            let whole = u32::try_from(stage.organization.call_count()).unwrap() <= after;
            let text = format!("{} {effect:?} at call {after}: {ended:?}", case.name);
            stage.apply(&prior).await.unwrap();
            let verified = settled(&stage, &prior).await;
            assert!(holds(&verified), "{text}: {verified:?}");
            // What it left half done may still be under way: undo then waits.
            if stage.entry.spec.reversal == Reversal::Restored {
                stage.undo(&prior).await.unwrap();
                assert_eq!(stage.snapshot(), stage.before, "{text}");
            }
            if whole {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_stops_at_any_call_converges_when_it_runs_again() {
    for (case, effect) in
        stopped_cases("an undo that stops at every call and runs again", restoring())
    {
        for after in 0.. {
            let stage = Stage::of(&case).await;
            let prior = stage.capture().await.unwrap().prior;
            stage.apply(&prior).await.unwrap();
            stage.organization.forget_calls();
            let work = stage.undo(&prior);
            let ended = stopped(&stage.organization, after, &effect, work).await;
            let whole = u32::try_from(stage.organization.call_count()).unwrap() <= after;
            stage.undo(&prior).await.unwrap();
            let text = format!("{} {effect:?} at call {after}: {ended:?}", case.name);
            assert_eq!(stage.snapshot(), stage.before, "{text}");
            if whole {
                break;
            }
        }
    }
}
