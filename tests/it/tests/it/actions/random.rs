//! The laws in random states, and which permissions each action really uses and
//! cannot do without.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_spoke::contract::{Reversal, Undone, Verification};
use firebreak_spoke::registry;

use crate::actions::cases::{Case, cases};
use crate::actions::stage::{Stage, empty, pending, settled};

/// States tried of each case.
const SEEDS: u64 = 12;

/// What was tried of one action.
#[derive(Default)]
struct Tried {
    states: BTreeSet<String>,
    /// The permissions, with each case that used them and the seed that did first.
    used: BTreeMap<String, BTreeMap<usize, u64>>,
    violations: Vec<String>,
}

#[tokio::test(start_paused = true)]
async fn the_laws_hold_in_random_states_and_every_declared_permission_is_used_and_needed() {
    let mut tried: BTreeMap<&str, Tried> = BTreeMap::new();
    let cases = cases();
    for (number, case) in cases.iter().enumerate() {
        let action = tried.entry(case.action).or_default();
        for seed in 0..SEEDS {
            let stage = state(case, seed, None).await;
            action.states.insert(format!("{}{}{}", case.name, case.parameters, stage.before));
            if let Err(why) = lawful(case, &stage).await {
                action.violations.push(format!("{} seed {seed}: {why}", case.name));
            }
            let calls = stage.organization.calls();
            for permission in calls.into_iter().flat_map(|call| call.needed) {
                action.used.entry(permission).or_default().entry(number).or_insert(seed);
            }
        }
    }
    let (mut violations, mut states, mut needs) = (Vec::new(), 0, 0);
    for entry in registry::all() {
        let about = &entry.spec;
        let Some(action) = tried.remove(about.name) else {
            violations.push(format!("{} has no case", about.name));
            continue;
        };
        println!("{:<32} states {}", about.name, action.states.len());
        states += action.states.len();
        let declared: BTreeSet<&str> = about.reads.iter().chain(about.writes).copied().collect();
        let used: BTreeSet<&str> = action.used.keys().map(String::as_str).collect();
        if declared != used {
            let unused: Vec<_> = declared.difference(&used).collect();
            let undeclared: Vec<_> = used.difference(&declared).collect();
            violations.push(format!(
                "{}: declared and never used: {unused:?}; used and not declared: {undeclared:?}",
                about.name
            ));
        }
        violations.extend(action.violations);
        for (permission, by) in &action.used {
            let mut spared = Vec::new();
            for (number, seed) in by {
                let case = cases.get(*number).unwrap();
                match needed(case, *seed, permission).await {
                    Ok(()) => {
                        spared.clear();
                        break;
                    }
                    Err(why) => spared.push(format!("{} seed {seed}: {why}", case.name)),
                }
            }
            needs += 1;
            if !spared.is_empty() {
                violations.push(format!("without {permission}: {}", spared.join("; ")));
            }
        }
    }
    for violation in &violations {
        println!("violation: {}", violation.chars().take(600).collect::<String>());
    }
    println!(
        "actions={} states={states} permissions taken away={needs} violations={}",
        registry::all().len(),
        violations.len()
    );
    assert!(violations.is_empty(), "{} violations, printed above", violations.len());
}

/// A case as it is arranged, or, from the second seed on, in a random state.
async fn state(case: &Case, seed: u64, lacking: Option<&str>) -> Stage {
    let mut stage = Stage::lacking(case, empty(Duration::ZERO), lacking).await;
    if seed > 0 {
        stage.vary(case, &mut Rng::with_seed(seed));
    }
    stage
}

/// Lives through a state, in which the action used a permission, without it: it
/// must fail for that, or, where it goes on with the rest, say so.
async fn needed(case: &Case, seed: u64, permission: &str) -> Result<(), String> {
    let stage = state(case, seed, Some(permission)).await;
    let denied = format!("is not authorized to perform {permission}");
    match life(&stage).await {
        Err(error)
            if matches!(error.kind, ErrorKind::Denied | ErrorKind::Refused)
                && error.message.contains(&denied) =>
        {
            Ok(())
        }
        Err(error) => Err(format!("another failure, {:?}: {}", error.kind, error.message)),
        Ok(described) if described.iter().any(|it| it.contains(&denied)) => Ok(()),
        Ok(described) => Err(format!("nothing fails: {described:?}")),
    }
}

/// All that the laws do to an action, up to the first error.
async fn life(stage: &Stage) -> Result<Vec<String>, ActionError> {
    let captured = stage.capture().await?;
    let prior = &captured.prior;
    let mut described = Vec::new();
    if !captured.changes.is_empty() {
        stage.undo(prior).await?;
        stage.apply(prior).await?;
        stage.apply(prior).await?;
    }
    for _ in 0..50 {
        let verified = stage.read_back(prior).await?;
        described.push(format!("{verified:?}"));
        if !matches!(verified, Verification::InProgress(_)) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
        stage.apply(prior).await?;
    }
    described.push(format!("{:?}", stage.residual(prior).await?));
    if !captured.changes.is_empty() {
        described.push(format!("{:?}", stage.undo(prior).await?));
    }
    Ok(described)
}

/// One state through the whole life of an action.
async fn lawful(case: &Case, stage: &Stage) -> Result<(), String> {
    let before = stage.snapshot();
    let unchanged = |what: &str| {
        if stage.snapshot() == before { Ok(()) } else { Err(format!("{what} changed something")) }
    };
    let captured = match stage.capture().await {
        Ok(captured) => captured,
        // A state in which the action has nothing to do, and says so.
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::NotApplicable | ErrorKind::Refused | ErrorKind::Gone
            ) && !error.message.is_empty() =>
        {
            return unchanged("a refusal");
        }
        Err(error) => return Err(format!("cannot observe: {error}")),
    };
    unchanged("observing")?;
    let prior = &captured.prior;
    if captured.changes.is_empty() {
        // All is as it should be: the engine only reads back.
        pending(stage, prior).await;
        let residual = stage.residual(prior).await;
        residual.map_err(|error| format!("residual: {error}"))?;
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
    stage.residual(prior).await.map_err(|error| format!("residual: {error}"))?;
    if stage.entry.spec.reversal != Reversal::Restored {
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
