//! The laws in random states, and which permissions each action really uses.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use firebreak_spoke::actions::{self, Reversal, Undone};
use firebreak_spoke::error::Kind;

use crate::cases::{Case, cases};
use crate::stage::{Stage, pending, settled};

/// States tried of each case.
const SEEDS: u64 = 12;

/// What was tried of one action.
#[derive(Default)]
struct Tried {
    states: BTreeSet<String>,
    used: BTreeSet<String>,
    violations: Vec<String>,
}

#[tokio::test(start_paused = true)]
async fn the_laws_hold_in_random_states_and_every_declared_permission_is_used() {
    let mut tried: BTreeMap<&str, Tried> = BTreeMap::new();
    for case in cases() {
        let action = tried.entry(case.action).or_default();
        for seed in 0..SEEDS {
            let mut stage = Stage::of(&case).await;
            if seed > 0 {
                let mut dice = Rng::with_seed(seed);
                stage.vary(&case, &mut dice);
            }
            action.states.insert(format!("{}{}{}", case.name, case.parameters, stage.before));
            if let Err(why) = lawful(&case, &stage).await {
                action.violations.push(format!("{} seed {seed}: {why}", case.name));
            }
            let calls = stage.organization.calls();
            action.used.extend(calls.into_iter().flat_map(|call| call.needed));
        }
    }
    let (mut violations, mut states) = (Vec::new(), 0);
    for entry in actions::all() {
        let about = &entry.about;
        let Some(action) = tried.remove(about.name) else {
            violations.push(format!("{} has no case", about.name));
            continue;
        };
        println!("{:<32} states {}", about.name, action.states.len());
        states += action.states.len();
        let declared: BTreeSet<&str> = about.reads.iter().chain(about.writes).copied().collect();
        let used: BTreeSet<&str> = action.used.iter().map(String::as_str).collect();
        if declared != used {
            let unused: Vec<_> = declared.difference(&used).collect();
            let undeclared: Vec<_> = used.difference(&declared).collect();
            violations.push(format!(
                "{}: declared and never used: {unused:?}; used and not declared: {undeclared:?}",
                about.name
            ));
        }
        violations.extend(action.violations);
    }
    for violation in &violations {
        println!("violation: {}", violation.chars().take(600).collect::<String>());
    }
    println!("actions={} states={states} violations={}", actions::all().len(), violations.len());
    assert!(violations.is_empty(), "{} violations, printed above", violations.len());
}

/// One state through the whole life of an action.
async fn lawful(case: &Case, stage: &Stage) -> Result<(), String> {
    let before = stage.snapshot();
    let unchanged = |what: &str| {
        if stage.snapshot() == before { Ok(()) } else { Err(format!("{what} changed something")) }
    };
    let observation = match stage.observe().await {
        Ok(observation) => observation,
        // A state in which the action has nothing to do, and says so.
        Err(error)
            if matches!(error.kind, Kind::NotApplicable | Kind::Refused | Kind::Gone)
                && !error.message.is_empty() =>
        {
            return unchanged("a refusal");
        }
        Err(error) => return Err(format!("cannot observe: {error}")),
    };
    unchanged("observing")?;
    let prior = &observation.prior;
    if observation.changes.is_empty() {
        // All is as it should be: the engine only reads back.
        pending(stage, prior).await;
        return unchanged("reading back");
    }
    let undone = stage.undo(prior).await.map_err(|error| format!("undo before apply: {error}"))?;
    if undone != Undone::default() {
        return Err(format!("undo before apply tells {undone:?}"));
    }
    unchanged("undo before apply")?;
    stage.apply(prior).await.map_err(|error| format!("cannot apply: {error}"))?;
    let once = stage.snapshot();
    stage.apply(prior).await.map_err(|error| format!("cannot apply twice: {error}"))?;
    if stage.snapshot() != once {
        return Err("applying twice is not applying once".to_owned());
    }
    settled(stage, prior).await;
    if stage.entry.about.reversal != Reversal::Restored {
        return Ok(());
    }
    let undone = stage.undo(prior).await.map_err(|error| format!("cannot undo: {error}"))?;
    if !undone.drift.is_empty() {
        return Err(format!("nobody changed anything, and undo tells {:?}", undone.drift));
    }
    if stage.snapshot() != before {
        return Err(format!("undo of {} does not restore: {}", case.name, stage.difference()));
    }
    let again = stage.undo(prior).await.map_err(|error| format!("cannot undo twice: {error}"))?;
    if again != Undone::default() {
        return Err(format!("undoing twice tells {again:?}"));
    }
    unchanged("undoing twice")
}
