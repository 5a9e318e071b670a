//! How long it takes from a finding's message to the cut, at 30 ms a call and with the
//! settings, queues and roles that the templates of `stacksets/` deploy.
//!
//! Time is simulated. The cut of an instance is the moment at which every interface has
//! been read back in the isolation group alone; of a key or a role session, when it has
//! been read back as off or denied. Other processes of the function, as many as the
//! template's Concurrency allows, have the same account warm.
//!
//! Ends with 1 when a bar is missed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that fails may panic")]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use firebreak_demo::world::{Attack, Member, World, event};
use firebreak_engine::Engine;
use firebreak_function::Handled;
use firebreak_policy::Policy;
use firebreak_response::record::State;
use firebreak_simulation::{CallRecord, Options};
use firebreak_testkit::arrange::{FIVE_TYPES, policy};
use firebreak_testkit::fleet::{DeliveredBy, Fleet};
use firebreak_testkit::player::{INTAKE, Player};
use jiff::SignedDuration;
use serde_json::Value;

const LATENCY: Duration = Duration::from_millis(30);

/// Concurrency of hub.yaml, less write-back and the sweep: findings at once.
const CONCURRENCY: [(u32, usize); 6] = [(1, 1), (5, 2), (10, 7), (25, 22), (50, 47), (100, 97)];

const FIRST: u128 = 1_000;
const FURTHER: u128 = 500;
const EACH_INTERFACE: u128 = 100;
const KEY_OFF: u128 = 500;
const SESSIONS_DENIED: u128 = 700;

/// What was measured against its bar.
struct Row {
    what: String,
    millis: u128,
    bar: u128,
    calls: usize,
}

impl Row {
    fn print(&self) {
        let Self { what, millis, bar, calls } = self;
        let mark = if millis > bar { "MISSED" } else { "" };
        println!("{what:<72} {millis:>6} ms  (bar {bar:>5})  {calls:>4} calls  {mark}");
    }
}

struct Bench {
    world: World,
    engines: Vec<Engine>,
    intake: Player,
    number: usize,
}

impl Bench {
    async fn new(policy: &Policy, workers: usize) -> Self {
        let options = Options { latency: LATENCY, ..Options::default() };
        let world = World::new(24, options);
        world.engine(policy).await.unwrap();
        let config = world.hub_config().await.unwrap();
        let engine = || Engine::new(&config, world.deployed_settings().unwrap());
        let engines = (0..workers).map(|_| engine()).collect();
        let intake = Player::of(&world, INTAKE);
        // The sweep runs each minute, also before the first finding.
        engine().sweep().await;
        Self { world, engines, intake, number: 0 }
    }

    fn members(&self) -> Vec<Member> {
        self.world.members.iter().filter(|it| it.unit.ends_with("sandbox1")).cloned().collect()
    }

    fn instance(&self, member: &Member, interfaces: usize) -> Member {
        let instance = self.world.organization.edit(|state| {
            let ec2 = state.ec2(&member.account, &member.region);
            let (web, group) = ec2.groups.iter().find(|(_, it)| it.name == "web").unwrap();
            let (web, vpc) = (web.clone(), group.vpc.clone());
            let instance = ec2.add_instance(&vpc, &[&web]);
            for _ in 1..interfaces {
                ec2.attach_interface(&instance, &vpc, &[&web]);
            }
            instance
        });
        Member { instance, ..member.clone() }
    }

    fn raise(&mut self, attack: Attack, member: &Member) -> Value {
        self.number += 1;
        let finding = attack.finding(member, self.number);
        self.world.raise(&finding);
        self.world.import(&finding);
        finding
    }

    /// Sends findings, has one process handle them, and returns what was called.
    async fn handle(
        &self,
        nth: usize,
        findings: &[Value],
    ) -> (SignedDuration, Vec<Handled>, Vec<CallRecord>) {
        let organization = &self.world.organization;
        organization.take_calls();
        let began = organization.now();
        for finding in findings {
            let account = finding["accountId"].as_str();
            self.intake.send(&self.world, &event(finding).to_string(), account);
        }
        let engine = &self.engines[nth % self.engines.len()];
        let mut handled = Vec::new();
        while let Some(ended) = self.intake.poll(&self.world, engine).await {
            handled.extend(ended.into_iter().map(|(_, handled)| handled));
        }
        let calls = organization.take_calls();
        let base = began.duration_since(jiff::Timestamp::UNIX_EPOCH);
        (base, handled, calls)
    }
}

/// From `began` until the first read after the last change of this operation has ended.
fn read_back(began: SignedDuration, calls: &[CallRecord], change: &str, read: &str) -> u128 {
    let changed = calls.iter().filter(|it| it.operation == change).map(|it| it.ended).max();
    let Some(changed) = changed else { return u128::MAX };
    let read = calls
        .iter()
        .filter(|it| it.operation == read && it.began >= changed)
        .map(|it| it.ended)
        .min();
    let Some(read) = read else { return u128::MAX };
    let since = read.duration_since(jiff::Timestamp::UNIX_EPOCH) - began;
    u128::try_from(since.as_millis()).unwrap_or(u128::MAX)
}

fn contained(handled: &[Handled]) -> bool {
    !handled.is_empty()
        && handled.iter().all(|it| {
            it.outcomes.iter().all(|outcome| {
                outcome.response.as_ref().is_some_and(|response| response.state == State::Contained)
            })
        })
}

const CUT: (&str, &str) = ("ModifyNetworkInterfaceAttribute", "DescribeNetworkInterfaces");

async fn cut(bench: &mut Bench, nth: usize, member: &Member, what: String, bar: u128) -> Row {
    let finding = bench.raise(Attack::Instance, member);
    let (began, handled, calls) = bench.handle(nth, &[finding]).await;
    assert!(contained(&handled), "{what}: {handled:?}");
    Row { what, millis: read_back(began, &calls, CUT.0, CUT.1), bar, calls: calls.len() }
}

fn acting(actions: &str) -> Policy {
    policy(&[&format!(
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [{actions}]\n"
    )])
}

/// What is measured: all with `cargo bench`, a part where `cargo test` runs it.
#[derive(Clone, Copy)]
struct Extent {
    concurrency: &'static [(u32, usize)],
    interfaces: usize,
    many: bool,
}

impl Extent {
    const WHOLE: Self = Self { concurrency: &CONCURRENCY, interfaces: 15, many: true };
    const PART: Self = Self { concurrency: &[(10, 7)], interfaces: 4, many: false };
}

async fn instances(rows: &mut Vec<Row>, extent: Extent) {
    let policies = [
        ("shipped sandbox rule", firebreak_demo::example_policy().unwrap()),
        (
            "isolate, revoke, tag",
            acting("isolate-instance, revoke-instance-credentials, tag-resource"),
        ),
        ("isolate, snapshot, tag", acting("isolate-instance, snapshot-volumes, tag-resource")),
    ];
    for (name, policy) in policies {
        for &(concurrency, workers) in extent.concurrency {
            let mut bench = Bench::new(&policy, workers).await;
            let member = bench.members().remove(0);
            for (nth, which) in ["first", "second", "third"].into_iter().enumerate() {
                let of = if nth == 0 { member.clone() } else { bench.instance(&member, 1) };
                let what =
                    format!("{name}, Concurrency {concurrency}, {which} instance of an account");
                let bar = if nth == 0 { FIRST } else { FURTHER };
                rows.push(cut(&mut bench, nth, &of, what, bar).await);
            }
        }
    }
    let mut bench = Bench::new(&acting("isolate-instance"), 1).await;
    let member = bench.members().remove(0);
    cut(&mut bench, 0, &member, String::new(), FIRST).await;
    for interfaces in 1..=extent.interfaces {
        // Each starts with full buckets, and with the policy that another finding has read.
        tokio::time::sleep(Duration::from_secs(60)).await;
        bench.engines[0].policies.in_force().await.unwrap();
        let of = bench.instance(&member, interfaces);
        let further = u128::try_from(interfaces.saturating_sub(4)).unwrap();
        let what = format!("an instance with {interfaces} interface(s)");
        rows.push(cut(&mut bench, 0, &of, what, FURTHER + further * EACH_INTERFACE).await);
    }
}

async fn principals(rows: &mut Vec<Row>, extent: Extent) {
    let policy = acting("deactivate-access-key, revoke-sessions");
    for &(concurrency, workers) in extent.concurrency {
        let mut bench = Bench::new(&policy, workers).await;
        let member = bench.members().remove(0);
        let finding = bench.raise(Attack::UserKey, &member);
        let (began, handled, calls) = bench.handle(0, &[finding]).await;
        assert!(contained(&handled), "{handled:?}");
        let what = format!("a user's key is off, Concurrency {concurrency}");
        let millis = read_back(began, &calls, "UpdateAccessKey", "ListAccessKeys");
        rows.push(Row { what, millis, bar: KEY_OFF, calls: calls.len() });
        let finding = bench.raise(Attack::RoleSession, &member);
        let (began, handled, calls) = bench.handle(1, &[finding]).await;
        assert!(contained(&handled), "{handled:?}");
        let what = format!("a role's sessions are denied, Concurrency {concurrency}");
        let millis = read_back(began, &calls, "PutRolePolicy", "GetRolePolicy");
        rows.push(Row { what, millis, bar: SESSIONS_DENIED, calls: calls.len() });
    }
    let mut bench = Bench::new(&policy, 7).await;
    let member = bench.members().remove(0);
    let findings: Vec<Value> = (0..10)
        .map(|nth| {
            let user = format!("user-{nth}");
            let allowed = serde_json::json!({ "Statement": [] });
            let key = bench.world.organization.add_user(&member.account, &user, allowed);
            bench.raise(Attack::UserKey, &Member { user, key, ..member.clone() })
        })
        .collect();
    let (began, handled, calls) = bench.handle(0, &findings).await;
    assert!(contained(&handled) && handled.len() == 10, "{handled:?}");
    let millis = read_back(began, &calls, "PutUserPolicy", "GetUserPolicy");
    let what = "ten keys of one account in a batch, the last one".to_owned();
    rows.push(Row { what, millis, bar: 5_000, calls: calls.len() });
}

/// Prints how often each operation was called, the most frequent first.
fn print_by_operation(calls: &[CallRecord]) {
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    for call in calls {
        *counts.entry((&call.service, &call.operation)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| Reverse(count));
    for ((service, operation), count) in counts {
        println!("{count:>6}  {service}:{operation}");
    }
}

/// The calls that 100 findings may cost in one process, apart from their write-back.
const CALLS_OF_A_HUNDRED: u128 = 600;

/// A hundred findings of five types on twenty instances of two accounts.
fn hundred(bench: &mut Bench) -> Vec<Value> {
    let members = bench.members();
    let instances: Vec<Member> = (0..20).map(|nth| bench.instance(&members[nth % 2], 1)).collect();
    let mut findings = Vec::new();
    for kind in FIVE_TYPES {
        for member in &instances {
            let mut finding = bench.raise(Attack::Instance, member);
            finding["type"] = kind.into();
            bench.world.raise(&finding);
            bench.world.import(&finding);
            findings.push(finding);
        }
    }
    findings
}

/// The hundred findings in one process, and in as many as Concurrency 10 has, which meet at
/// the same targets and therefore call more often.
async fn many(rows: &mut Vec<Row>) {
    let policy = acting("isolate-instance, revoke-instance-credentials, tag-resource");
    let mut bench = Bench::new(&policy, 1).await;
    let findings = hundred(&mut bench);
    let (began, handled, calls) = bench.handle(0, &findings).await;
    assert!(handled.len() == 100 && contained(&handled), "{handled:?}");
    print_by_operation(&calls);
    let millis = read_back(began, &calls, CUT.0, CUT.1);
    let what = "100 findings of 5 types on 20 instances, one process, the last cut".to_owned();
    rows.push(Row { what, millis, bar: 10_000, calls: calls.len() });
    let what = "the same, calls (as many as milliseconds here)".to_owned();
    let millis = calls.len() as u128;
    rows.push(Row { what, millis, bar: CALLS_OF_A_HUNDRED, calls: calls.len() });

    let mut bench = Bench::new(&policy, 1).await;
    let findings = hundred(&mut bench);
    let organization = bench.world.organization.clone();
    organization.take_calls();
    let began = organization.now();
    for finding in &findings {
        let account = finding["accountId"].as_str();
        bench.intake.send(&bench.world, &event(finding).to_string(), account);
    }
    let fleet = Fleet { workers: 7, delivered_by: DeliveredBy::WriteBackQueue };
    let report = fleet.run(&bench.world, &bench.intake, std::future::pending()).await;
    assert_eq!(report.acknowledged.len(), 100, "{:?}", report.errors);
    let calls = organization.take_calls();
    let base = began.duration_since(jiff::Timestamp::UNIX_EPOCH);
    let millis = read_back(base, &calls, CUT.0, CUT.1);
    let what = "the same in seven processes, with the write-back, the last cut".to_owned();
    rows.push(Row { what, millis, bar: 10_000, calls: calls.len() });
}

fn main() -> ExitCode {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let extent = if whole { Extent::WHOLE } else { Extent::PART };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    let rows = runtime.block_on(async {
        let mut rows = Vec::new();
        instances(&mut rows, extent).await;
        principals(&mut rows, extent).await;
        if extent.many {
            many(&mut rows).await;
        }
        rows
    });
    rows.iter().for_each(Row::print);
    let missed = rows.iter().filter(|row| row.millis > row.bar).count();
    println!("measured={} missed={missed}", rows.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
