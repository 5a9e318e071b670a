//! `firebreak demo`: a simulated organization is attacked, contained and restored.
//! Nothing leaves the process; the code path is the Lambda function's.

mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use clap::Args;
use firebreak_simulation::Options;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::report::{DemoReport, FindingReport};
use super::{Failure, Output};
use firebreak_demo::attacker;
use firebreak_demo::example_policy;
use firebreak_demo::world::{Attack, Member, UNITS, World, event};
use firebreak_engine::Engine;
use firebreak_function::handle_batch;
use firebreak_response::record::{Drift, State, Undo, UndoCause};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Number of member accounts (spread over four OUs).
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=100_000))]
    accounts: u32,
    /// Number of findings.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    findings: u32,
    /// Random seed for the order of findings.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Latency of each simulated AWS call, in milliseconds.
    #[arg(long, default_value_t = 2)]
    latency_ms: u64,
}

/// Exit code 0 if every outcome is what the policies require and every undo restores
/// exactly.
pub async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let began = tokio::time::Instant::now();
    let accounts = usize::try_from(arguments.accounts).unwrap_or(usize::MAX);
    let options =
        Options { latency: Duration::from_millis(arguments.latency_ms), ..Options::default() };
    let world = World::new(accounts, options);
    let before = snapshots(&world);
    let engine = world.engine(&example_policy()?).await?;
    let total = usize::try_from(arguments.findings).unwrap_or(usize::MAX);
    let mut report = DemoReport::new(output, accounts, total);
    report.begin()?;
    for (number, index) in order(total, arguments.seed).into_iter().enumerate() {
        let member = world.members.get(index % accounts).ok_or_else(|| unknown(index))?;
        // With four accounts or more, each attack hits each OU in turn.
        let attack = Attack::ALL.get(index / UNITS.len() % Attack::ALL.len());
        let attack = *attack.ok_or_else(|| unknown(index))?;
        let shown = play(&world, &engine, member, attack, index, number).await?;
        report.finding(&shown)?;
    }
    let exact = undo_all(&world, &engine, &before, &mut report).await?;
    report.end(exact, began.elapsed())
}

fn unknown(index: usize) -> Failure {
    Failure::Check(format!("the demo has no member or attack of number {index}"))
}

/// The order of the findings: a permutation chosen by the seed.
fn order(total: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..total).collect();
    // SplitMix64 gives each index a key of its own; sorting by it shuffles.
    order.sort_by_key(|index| {
        let index = u64::try_from(*index).unwrap_or_default();
        let mut key = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        key ^ (key >> 31)
    });
    order
}

fn snapshots(world: &World) -> BTreeMap<String, Value> {
    let accounts = world.members.iter().map(|member| &member.account);
    accounts.map(|account| (account.clone(), world.organization.snapshot(account))).collect()
}

/// Delivers and handles one finding; records what the attacker can do before and after.
async fn play(
    world: &World,
    engine: &Engine,
    member: &Member,
    attack: Attack,
    index: usize,
    number: usize,
) -> Result<FindingReport, Failure> {
    let finding = attack.finding(member, index);
    world.raise(&finding);
    world.import(&finding);
    let could = attacker::abilities(world, member, attack);
    let calls_before = world.organization.call_count();
    let batch: SqsEvent = serde_json::from_value(json!({ "Records": [{
        "messageId": format!("message-{index}"),
        "eventSource": "aws:sqs",
        "body": event(&finding).to_string(),
    }]}))
    .map_err(|error| Failure::Check(format!("the demo's own batch is unreadable: {error}")))?;
    let (response, handled) = handle_batch(engine, batch).await;
    let (_, handled) = handled
        .into_iter()
        .next()
        .ok_or_else(|| Failure::Check("the handler lost the message".to_owned()))?;
    let errors: Vec<String> = handled.errors.iter().map(ToString::to_string).collect();
    if !response.batch_item_failures.is_empty() && errors.is_empty() {
        return Err(Failure::Check("the handler failed a message without a reason".to_owned()));
    }
    // The demo's findings have one target each.
    let outcome = handled.outcomes.into_iter().next();
    Ok(FindingReport {
        number,
        unit: member.unit.clone(),
        calls: world.organization.call_count() - calls_before,
        security_hub_status: world.security_hub_status(&finding),
        could,
        can: attacker::abilities(world, member, attack),
        outcome,
        errors,
    })
}

/// Undoes every response that changed something; true when this restores each account to
/// its state before the first finding.
async fn undo_all(
    world: &World,
    engine: &Engine,
    before: &BTreeMap<String, Value>,
    report: &mut DemoReport,
) -> Result<bool, Failure> {
    let began: Timestamp = world.began();
    let responses = engine.store.responses(began, engine.now()).await?;
    let mut failed = Vec::new();
    let mut undone = 0;
    let request = Undo {
        cause: UndoCause::Person("demo".to_owned()),
        step: None,
        drift: Drift::Leave,
        suppress_until: None,
    };
    for response in responses.iter().filter(|response| response.state.may_have_changed_resource()) {
        let response = engine.undo(&response.id, request.clone()).await?;
        if response.state == State::Undone {
            undone += 1;
        } else {
            failed.push(response.reason);
        }
    }
    let after = snapshots(world);
    let differing: Vec<&String> = before
        .iter()
        .filter(|(account, state)| after.get(*account) != Some(*state))
        .map(|it| it.0)
        .collect();
    report.undone(undone, &failed, &differing)?;
    Ok(failed.is_empty() && differing.is_empty())
}
