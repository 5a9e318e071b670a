//! How long a decision takes as the organization grows, and how many stored
//! findings a backtest replays in a second.
//!
//! The policy is the same at every size, 1,000 OUs five deep with 2,000 rules,
//! and so is how much of it is used: at each size accounts are found in all OUs,
//! in the smallest as if they moved. What grows is the number of accounts. That
//! ten accounts which stay in ten OUs are decided faster, because the processor
//! keeps the documents of these ten at hand, is a line of its own.
//!
//! The last line is for programs: the median of a decision at the largest size,
//! in microseconds, and how many times the smallest size's that is.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that fails may panic")]
#![expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]

use firebreak_spoke::registry;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_policy::{Backtest, Policy, Tags, read_files, replay};

use firebreak_model::resource::AccountId;
use firebreak_testkit::repository::fixture;

const OUS: usize = 1_000;
const DEPTH: usize = 5;
const RULES: usize = 2_000;
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// How many decisions are made for one size before it is the next one's turn.
const DECISIONS_A_TURN: usize = 200;
/// How many findings are replayed in one go.
const REPLAYED: usize = 1_000;

fn ou(number: usize) -> String {
    format!("ou-be01-{number:08}")
}

/// OU `n` is below OU `n / 4`, as deep as five; the paths from the root down.
fn paths() -> Vec<Vec<String>> {
    let mut paths: Vec<Vec<String>> = Vec::new();
    for number in 0..OUS {
        let mut path = match number {
            0..4 => vec!["r-be01".to_owned()],
            _ => paths[number / 4 - 1].clone(),
        };
        // Four levels of four are 340; the others hang below the fourth.
        if path.len() > DEPTH {
            path.clone_from(&paths[84 + number % 256]);
        }
        path.push(ou(number));
        paths.push(path);
    }
    paths
}

/// A document at the root and one at each OU, with rules as people write them.
fn policy(rules_at_root: usize) -> Policy {
    let rule = |number: usize| {
        let kind = ["*:EC2/*", "*:IAMUser/*", "*:S3/*", "*:Runtime/*"][number % 4];
        format!(
            "  - name: rule-{number}\n    when:\n      type: [{{ wildcard: \"{kind}\" }}, {{ prefix: \"Backdoor:{number}/\" }}]\n      severity: [{{ numeric: [\">=\", {}] }}]\n      region: [us-east-1, eu-west-1, eu-central-1]\n    mode: approve\n    then: [isolate-instance, deactivate-access-key, block-public-access]\n",
            7.5 + 0.6 * (number % 4) as f64
        )
    };
    let root: String = (0..rules_at_root).map(rule).collect();
    let mut files = vec![(
        "root.yaml".to_owned(),
        format!(
            "attach: r-be01\nceiling: approve\nprotect:\n  tags: [{{ firebreak: exempt }}]\n  principals: [\"arn:*:iam::*:role/BreakGlass*\"]\nbudgets: [{{ actions: 100, per: 1h }}]\nrules:\n{root}  - {{ name: watch, mode: observe }}\n"
        ),
    )];
    let at_ous = RULES - rules_at_root;
    for number in 0..OUS {
        let rules: String = (0..at_ous / OUS).map(|index| rule(2 * number + index)).collect();
        let rules = if rules.is_empty() { String::new() } else { format!("rules:\n{rules}") };
        files.push((format!("{number}.yaml"), format!("attach: {}\n{rules}", ou(number))));
    }
    read_files(&files, registry::catalog()).unwrap()
}

fn fixtures() -> Vec<String> {
    let names = [
        "guardduty-instance.json",
        "guardduty-access-key-user.json",
        "guardduty-access-key-role.json",
        "guardduty-s3-two-buckets.json",
    ];
    names.iter().map(|name| fixture(name)).collect()
}

fn account(number: usize) -> AccountId {
    format!("{:012}", 100_000_000_000 + number).parse().unwrap()
}

/// The findings of an organization: some texts, and the place of each account.
struct Cases {
    texts: Vec<String>,
    places: Vec<Place>,
}

/// So many accounts that, one after another, are found in so many OUs.
fn cases(accounts: usize, ous: usize) -> Cases {
    let paths = paths();
    // Neighbours in this order are in OUs that have nothing to do with each other.
    let path = |number: usize| paths[number % ous * 617 % OUS].join("/").parse().unwrap();
    let account = |number: usize| account(number % accounts);
    let place = |number| Place { account: account(number), ou_path: path(number) };
    Cases { texts: fixtures(), places: (0..accounts.max(ous)).map(place).collect() }
}

impl Cases {
    /// The time of one decision. As in the hub, its finding is read right
    /// before; only the decision is timed.
    fn decide(&self, policy: &Policy, number: usize) -> Duration {
        // In no order that a processor could learn.
        let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let text = &self.texts[number % self.texts.len()];
        let finding: Finding = firebreak_intake::read(text).swap_remove(0).unwrap();
        let place = self.places[number / 4 % self.places.len()].clone();
        let mut target: Target = finding.targets[0].clone();
        target.resource.account = place.account.clone();
        let tags = Tags::Known(target.tags.clone());
        let start = Instant::now();
        black_box(policy.decide(black_box(&finding), &target, &place, &tags));
        start.elapsed()
    }
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, policy: &Policy, cases: &Cases) {
    let mut numbers = 0..;
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let each = numbers.by_ref().take(usize::try_from(iterations).unwrap());
            each.map(|number| cases.decide(policy, number)).sum()
        });
    });
}

/// The medians of decisions for several organizations. They take turns, so that
/// whatever else the machine does in the meantime meets all of them alike. Each decides
/// about other findings: with the same ones the first in a turn would pay for the
/// processor's cold cache, and the others would not.
fn medians(policy: &Policy, organizations: &[Cases]) -> Vec<Duration> {
    let mut times = vec![Vec::new(); organizations.len()];
    for turn in 0..400 {
        for (index, (cases, times)) in organizations.iter().zip(&mut times).enumerate() {
            let numbers = turn * DECISIONS_A_TURN..(turn + 1) * DECISIONS_A_TURN;
            let own = index * 10_000_019;
            times.extend(numbers.map(|number| cases.decide(policy, own + number)));
        }
    }
    times
        .into_iter()
        .map(|mut times| {
            times.sort();
            times[times.len() / 2]
        })
        .collect()
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let spread = policy(0);
    let in_one = policy(RULES);

    let mut group = criterion.benchmark_group("decision");
    group.throughput(Throughput::Elements(1));
    let organizations = SIZES.map(|accounts| cases(accounts, OUS));
    for (accounts, cases) in SIZES.iter().zip(&organizations) {
        bench(&mut group, &format!("{accounts} accounts"), &spread, cases);
    }
    // Nobody writes it so: every rule of the organization in one document.
    bench(&mut group, "1000 accounts, all rules at the root", &in_one, &organizations[1]);
    group.finish();

    let texts: Vec<String> = fixtures();
    let mut replayed_in = Vec::new();
    let mut group = criterion.benchmark_group("backtest, one core");
    group.throughput(Throughput::Elements(REPLAYED as u64)).sample_size(20);
    group.bench_function("findings read, decided twice and counted", |bencher| {
        let path = paths().pop().unwrap().join("/").parse().unwrap();
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                let mut replayed = Vec::new();
                for text in texts.iter().cycle().take(REPLAYED) {
                    for finding in firebreak_intake::read(text).into_iter().flatten() {
                        let place = |_: &AccountId| Some(Clone::clone(&path));
                        replayed.extend(replay(&finding, (&spread, &spread), place).0);
                    }
                }
                black_box(Backtest::tally(replayed));
            }
            let sum = start.elapsed();
            replayed_in.push(sum.div_f64(iterations as f64));
            sum
        });
    });
    group.finish();
    criterion.final_summary();
    // `cargo test` only shows that all this still runs.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }

    replayed_in.sort();
    let replayed_in = replayed_in.get(replayed_in.len() / 2).copied().unwrap_or(Duration::MAX);
    println!();
    let [small, medium, large] = organizations;
    let staying = cases(SIZES[0], SIZES[0]);
    let medians = medians(&spread, &[small, medium, large, staying]);
    for (accounts, median) in SIZES.iter().zip(&medians) {
        println!("{accounts:>6} accounts: {:.3} us a decision", us(*median));
    }
    println!("    10 accounts that stay in 10 OUs: {:.3} us a decision", us(medians[3]));
    println!(
        "backtest: {:.0} findings a second on one core",
        REPLAYED as f64 / replayed_in.as_secs_f64()
    );
    let (smallest, largest) = (us(medians[0]), us(medians[2]));
    println!("decision_us={largest:.3} flat={:.3}", largest / smallest);
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
