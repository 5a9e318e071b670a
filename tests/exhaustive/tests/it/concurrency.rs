//! Sixty-four processes get the same thousand findings, each five times, in any
//! order: one response to each, and nothing made twice.
//!
//! `FIREBREAK_EXHAUSTIVE=all` sends all thousand; without it, a hundred.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use firebreak_demo::world::{Attack, World, event};
use firebreak_response::record::State;
use firebreak_simulation::Options;
use firebreak_testkit::arrange::policy;
use firebreak_testkit::fleet::{DeliveredBy, Fleet, Report, settle};
use firebreak_testkit::player::{INTAKE, Player};
use firebreak_testkit::sample::{Extent, say};
use firebreak_testkit::truth;

const POLICY: &str = "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, deactivate-access-key, revoke-sessions, block-public-access]\n";

/// Accounts differ by OU, Region, IPv6 and number of interfaces, alike again
/// after so many.
const KINDS_OF_ACCOUNT: usize = 24;

/// With a finding of each kind.
const ACCOUNTS: usize = 250;

const MODIFY: &str = "ec2:ModifyNetworkInterfaceAttribute";

struct Run {
    world: World,
    report: Report,
    /// For each account the calls that changed something, and how often.
    changes: Vec<BTreeMap<String, usize>>,
    /// For each account how many responses are on record.
    responses: Vec<usize>,
    contained: usize,
}

async fn run(accounts: usize, workers: u32, times: usize, seed: u64) -> Run {
    // Throttled calls are the storm's and the faults' matter: here it is who wins.
    let latency = Duration::from_millis(5);
    let options = Options { latency, throttling: false, ..Options::default() };
    let world = World::new(accounts, options);
    world.engine(&policy(&[POLICY])).await.unwrap();
    let mut messages = Vec::new();
    for (nth, member) in world.members.iter().enumerate() {
        for (kind, attack) in Attack::ALL.into_iter().enumerate() {
            let finding = attack.finding(member, Attack::ALL.len() * nth + kind + 1);
            world.raise(&finding);
            world.import(&finding);
            let message = (member.account.clone(), event(&finding).to_string());
            messages.extend(std::iter::repeat_n(message, times));
        }
    }
    Rng::with_seed(seed).shuffle(&mut messages);
    let mut intake = Player::of(&world, INTAKE);
    // So many processes have so little of an account's rate each that one resource can
    // take longer than a minute.
    intake.set_timeout(&world, Duration::from_secs(120));
    // Whoever comes while another process is at work gets the message back.
    intake.receive_at_most(&world, 10);
    for (group, body) in messages {
        intake.send(&world, &body, Some(&group));
    }
    let fleet = Fleet { workers, delivered_by: DeliveredBy::WriteBackQueue };
    let report = fleet.run(&world, &intake, std::future::ready(())).await;
    assert_eq!(intake.dead_letters(&world).len(), 0, "{:?}", report.errors);
    // What took longer than an invocation is the sweep's to end.
    assert_eq!(settle(&world, 2).await, None);
    assert_eq!(report.killed, 0, "handed back before its time was over");

    let place: BTreeMap<&str, usize> =
        world.members.iter().enumerate().map(|(nth, it)| (it.account.as_str(), nth)).collect();
    let mut made = vec![BTreeMap::new(); accounts];
    for call in world.organization.calls() {
        let changed = call.mutating && call.error.is_none();
        let services = ["dynamodb", "events", "guardduty", "securityhub", "sns", "sqs"];
        let hub = services.contains(&call.service.as_str());
        if let Some(&nth) = place.get(call.account.as_str()).filter(|_| changed && !hub) {
            let name = format!("{}:{}", call.service, call.operation);
            *made.get_mut(nth).unwrap().entry(name).or_default() += 1;
        }
    }
    let mut responses = vec![0; accounts];
    let (mut contained, mut keys) = (0, BTreeSet::new());
    let recorded = truth::responses(&world).await;
    for response in &recorded {
        assert!(keys.insert((response.resource.arn(), response.key.clone())), "{response:?}");
        let account = response.resource.account.to_string();
        *responses.get_mut(place.get(account.as_str()).copied().unwrap()).unwrap() += 1;
        contained += usize::from(response.state == State::Contained);
    }
    assert_eq!(truth::doubled(&world, &recorded), Vec::<String>::new());
    assert_eq!(truth::open(&world, &recorded), Vec::<String>::new());
    Run { world, report, changes: made, responses, contained }
}

#[tokio::test(start_paused = true)]
async fn sixty_four_processes_respond_to_each_finding_once() {
    let extent = Extent::of_this_run();
    let (accounts, seed) = (extent.share(ACCOUNTS), extent.seed());
    say(&format!(
        "sample of accounts before 64 processes: {accounts} of {ACCOUNTS} by seed {seed}; FIREBREAK_EXHAUSTIVE=all runs all"
    ));
    let expected = run(KINDS_OF_ACCOUNT, 1, 1, seed).await;
    let found = run(accounts, 64, 5, seed).await;
    for (nth, changes) in found.changes.iter().enumerate() {
        let kind = nth % KINDS_OF_ACCOUNT;
        let mut changes = changes.clone();
        let once = expected.changes.get(kind).unwrap();
        // So many processes have so little of an account's rate each that an
        // invocation's time can be over between two interfaces: whoever resumes
        // it sets groups that are set already.
        let modified = changes.insert(MODIFY.to_owned(), once[MODIFY]).unwrap();
        assert!(modified >= once[MODIFY], "account {nth}: {modified}");
        assert_eq!(&changes, once, "account {nth}");
        assert_eq!(found.responses.get(nth), expected.responses.get(kind), "account {nth}");
    }
    let findings = Attack::ALL.len() * accounts;
    assert_eq!(found.contained, findings);
    assert_eq!(found.report.acknowledged.len(), 5 * findings);
    println!(
        "workers=64 findings={findings} deliveries={} responses={} calls={}",
        5 * findings,
        found.responses.iter().sum::<usize>(),
        found.world.organization.call_count(),
    );
}
