//! A storm: many findings at once over a whole organization, with latency,
//! throttling and dying processes, through Lambda's event source mapping.
//!
//! Time is simulated but for the first figure of the last line, which is how
//! many findings one core gets through. One account has a tenth of all findings,
//! on instances of its own; every tenth account has a single one, and how long
//! that takes to be contained is `quiet_p99_ms`. The memory is that of the hub's
//! processes and of the whole simulated organization together.
//!
//! With `--ratio true` it runs once more without the loud account: `quiet_ratio` is how much
//! longer the quiet ones wait beside it.
//!
//! Ends with 1 when a finding was lost, a change was made twice, an account was called
//! faster than AWS documents, or the quiet accounts wait more than 1.5 times as long.

#![expect(clippy::unwrap_used, reason = "a bench that fails may panic")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and rates of a bench are small"
)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use firebreak_demo::world::{Attack, HUB, Member, World, event};
use firebreak_engine::Engine;
use firebreak_response::record::Response;
use firebreak_simulation::{Chaos, Options};
use firebreak_testkit::arrange::policy;
use firebreak_testkit::fleet::{DeliveredBy, Fleet, settle};
use firebreak_testkit::player::{INTAKE, Player};
use firebreak_testkit::rates::Rates;
use firebreak_testkit::truth;
use jiff::{SignedDuration, Timestamp};

const POLICY: &str = "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, revoke-instance-credentials, snapshot-volumes, tag-resource, deactivate-access-key, revoke-sessions, block-public-access]\n";

/// How many calls an invocation makes about: `--crash` is the share of
/// invocations that die, and the dice fall for each call.
const CALLS_OF_AN_INVOCATION: f64 = 60.0;

/// In the loud account: findings to one instance.
const FINDINGS_OF_AN_INSTANCE: usize = 50;

#[derive(Clone, Copy, Debug)]
struct Arguments {
    findings: usize,
    accounts: usize,
    /// The function's maximum concurrency.
    workers: u32,
    latency_ms: u64,
    throttle: f64,
    crash: f64,
    /// The loud account's share of the findings.
    loud: f64,
    /// Whether it runs once more without the loud account, to compare.
    ratio: bool,
}

fn arguments() -> Result<Arguments, String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` runs this as a test, and small.
    let bench = given.iter().any(|it| it == "--bench" || it == "--findings");
    let (findings, accounts, workers) = if bench { (100_000, 1_000, 5) } else { (500, 20, 2) };
    let (latency_ms, throttle, crash) = (20, 0.05, 0.01);
    let (loud, ratio) = (0.1, false);
    let mut read =
        Arguments { findings, accounts, workers, latency_ms, throttle, crash, loud, ratio };
    let mut given = given.into_iter().filter(|it| it != "--bench");
    while let Some(name) = given.next() {
        if !name.starts_with("--") || ["--nocapture", "--quiet"].contains(&name.as_str()) {
            continue;
        }
        let value = given.next().ok_or_else(|| format!("`{name}` lacks its value"))?;
        let wrong = |error: &dyn std::fmt::Display| format!("`{name} {value}`: {error}");
        match name.as_str() {
            "--findings" => read.findings = value.parse().map_err(|it| wrong(&it))?,
            "--accounts" => read.accounts = value.parse().map_err(|it| wrong(&it))?,
            "--workers" => read.workers = value.parse().map_err(|it| wrong(&it))?,
            "--latency-ms" => read.latency_ms = value.parse().map_err(|it| wrong(&it))?,
            "--throttle" => read.throttle = value.parse().map_err(|it| wrong(&it))?,
            "--crash" => read.crash = value.parse().map_err(|it| wrong(&it))?,
            "--ratio" => read.ratio = value.parse().map_err(|it| wrong(&it))?,
            _ => return Err(format!("there is no `{name}`")),
        }
    }
    Ok(read)
}

/// A finding on each target, and whose it is.
struct Finding {
    account: String,
    body: String,
}

/// The findings in the order in which they are sent.
fn findings(world: &World, arguments: Arguments) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |attack: Attack, member: &Member| {
        let finding = attack.finding(member, findings.len() + 1);
        world.raise(&finding);
        world.import(&finding);
        findings
            .push(Finding { account: member.account.clone(), body: event(&finding).to_string() });
    };
    let (loud, rest) = world.members.split_first().unwrap();
    let of_loud = (arguments.findings as f64 * arguments.loud) as usize;
    let instances = more_instances(world, loud, of_loud / FINDINGS_OF_AN_INSTANCE);
    for nth in 0..of_loud {
        let instance = instances.get(nth % instances.len()).unwrap().clone();
        add(Attack::Instance, &Member { instance, ..loud.clone() });
    }
    let (quiet, others): (Vec<_>, Vec<_>) =
        rest.iter().enumerate().partition(|(nth, _)| nth % 10 == 0);
    for nth in 0..arguments.findings - of_loud - quiet.len() {
        let (_, member) = others.get(nth % others.len()).unwrap();
        let attack = Attack::ALL.get(nth / others.len() % Attack::ALL.len());
        add(*attack.unwrap(), member);
    }
    for (_, member) in quiet {
        add(Attack::Instance, member);
    }
    findings
}

/// The message group that the rules of hub.yaml give a finding: its account's last digit.
fn group(account: &str) -> &str {
    account.get(account.len().saturating_sub(1)..).unwrap_or(account)
}

fn quiet(world: &World) -> BTreeSet<&str> {
    let rest = world.members.iter().skip(1).enumerate();
    rest.filter(|(nth, _)| nth % 10 == 0).map(|(_, member)| member.account.as_str()).collect()
}

fn more_instances(world: &World, member: &Member, more: usize) -> Vec<String> {
    world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let (id, web) = ec2.groups.iter().find(|(_, group)| group.name == "web").unwrap();
        let (id, vpc) = (id.clone(), web.vpc.clone());
        let mut all = vec![member.instance.clone()];
        for _ in 0..more {
            all.push(ec2.add_instance(&vpc, &[&id]));
        }
        all
    })
}

/// What is drained while it runs: the simulation would keep all of it.
#[derive(Default)]
struct Watched {
    rates: Rates,
    calls: usize,
}

impl Watched {
    fn drain(&mut self, world: &World) {
        let calls = world.organization.take_calls();
        self.calls += calls.len();
        self.rates.count(&calls, world.began());
        world.organization.edit(|state| state.security_hub.events.clear());
    }
}

async fn watch(world: &World, intake: &Player, watched: &RefCell<Watched>) {
    for second in 0_u64.. {
        tokio::time::sleep(Duration::from_secs(1)).await;
        watched.borrow_mut().drain(world);
        if second % 10 == 9 {
            let counts = intake.counts(world);
            let left = counts.visible + counts.in_flight;
            eprintln!("after {} simulated seconds: {left} messages left", second + 1);
        }
    }
}

fn percentile(mut durations: Vec<SignedDuration>, percent: usize) -> i128 {
    durations.sort_unstable();
    let place = (durations.len() * percent).div_ceil(100).saturating_sub(1);
    durations.get(place).map_or(0, |it| it.as_millis())
}

/// Peak resident memory, where the system says it.
fn rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() / 1_024
}

fn quiet_p99(world: &World, responses: &[Response], sent: Timestamp) -> i128 {
    let quiet = quiet(world);
    let of = |it: &&Response| quiet.contains(it.resource.account.to_string().as_str());
    let took = responses.iter().filter(of).map(|it| it.updated.duration_since(sent));
    percentile(took.collect(), 99)
}

/// Whether it held, and the quiet accounts' p99 in milliseconds.
async fn storm(arguments: Arguments) -> (bool, i128) {
    let latency = Duration::from_millis(arguments.latency_ms);
    let world = World::new(arguments.accounts.max(12), Options { latency, ..Options::default() });
    world.engine(&policy(&[POLICY])).await.unwrap();
    // The sweep runs each minute, also before the first finding.
    let config = world.hub_config().await.unwrap();
    Engine::new(&config, world.deployed_settings().unwrap()).sweep().await;
    let intake = Player::of(&world, INTAKE);
    intake.take_in_turn(&world);
    let sent = world.organization.now();
    let findings = findings(&world, arguments);
    let total = findings.len();
    let mut all = BTreeSet::new();
    for finding in findings {
        all.insert(intake.send(&world, &finding.body, Some(group(&finding.account))));
    }
    let per_million = |share: f64| (share * 1_000_000.0) as u32;
    world.organization.set_chaos(Some(Chaos {
        seed: 2026,
        throttled: per_million(arguments.throttle),
        crash: per_million(arguments.crash / CALLS_OF_AN_INVOCATION),
        ..Chaos::default()
    }));
    let watched = RefCell::new(Watched::default());
    let began = Instant::now();
    let fleet = Fleet { workers: arguments.workers, delivered_by: DeliveredBy::WriteBackQueue };
    let report = fleet.run(&world, &intake, watch(&world, &intake, &watched)).await;
    let wall = began.elapsed();
    watched.borrow_mut().drain(&world);
    let simulated = world.organization.now().duration_since(sent);
    world.organization.set_chaos(None);
    let failed = settle(&world, 2).await;

    let responses = truth::responses(&world).await;
    let dead = intake.dead_letters(&world);
    let mut lost = truth::lost(&all, &report.acknowledged, &dead, &responses);
    lost.extend(failed);
    // Nothing here keeps a finding from being handled in the end.
    lost.extend(dead.iter().map(|it| format!("{}: {:?}", it.id, report.errors.get(&it.id))));
    let mut doubled = truth::doubled(&world, &responses);
    doubled.extend(truth::open(&world, &responses));
    for why in lost.iter().chain(&doubled).take(20) {
        eprintln!("{why}");
    }
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for response in &responses {
        *states.entry(response.state.name()).or_default() += 1;
    }
    let watched = watched.borrow();
    let members = watched.rates.peak(|account| account != HUB);
    let hub = watched.rates.peak(|account| account == HUB);
    println!("{total} findings, {} responses: {states:?}", responses.len());
    println!(
        "{} calls, {:.1} a finding; {} processes died, {} were killed",
        watched.calls,
        watched.calls as f64 / total as f64,
        report.crashes,
        report.killed
    );
    println!("{:.0} s simulated, {:.1} s on one core", simulated.as_secs_f64(), wall.as_secs_f64());
    println!("queue_age_p99_ms={}", percentile(report.waits, 99));
    println!("fastest called: {} ({:.2}, {} calls)", members.whose, members.share, members.calls);
    println!("fastest called in the hub: {} ({:.2}, {} calls)", hub.whose, hub.share, hub.calls);
    let peak = members.share.max(hub.share);
    let quiet = quiet_p99(&world, &responses, sent);
    println!(
        "findings_per_s={:.0} peak_share={peak:.2} lost={} doubled={} quiet_p99_ms={quiet} rss_mb={}",
        total as f64 / wall.as_secs_f64(),
        lost.len(),
        doubled.len(),
        rss_mb(),
    );
    (lost.is_empty() && doubled.is_empty() && peak <= 1.0, quiet)
}

/// How much longer quiet accounts may wait where another one is loud.
const RATIO: f64 = 1.5;

/// The storm, and where it is asked for the same number of findings without a loud account.
async fn compared(arguments: Arguments) -> bool {
    let (held, loud) = storm(arguments).await;
    if !arguments.ratio {
        return held;
    }
    let (held_alone, alone) = storm(Arguments { loud: 0.0, ..arguments }).await;
    let ratio = loud as f64 / alone.max(1) as f64;
    println!("quiet_ratio={ratio:.2}");
    held && held_alone && ratio <= RATIO
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!(
                "{why}\nhelp: --findings --accounts --workers --latency-ms --throttle --crash --ratio true"
            );
            return ExitCode::from(2);
        }
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    if runtime.block_on(compared(arguments)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
