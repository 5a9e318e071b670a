//! A crash at every call: each scenario is played undisturbed, then once for each
//! of its AWS calls and each way to stop there. The lease runs out, the message
//! comes again, the sweep runs; and then the account, the records, all else in
//! the hub's table and Security Hub have to be as in the undisturbed run.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

mod clusters;
mod play;
mod scenarios;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use firebreak_simulation::Effect;
use firebreak_testkit::canonical::difference;

use crate::crash::play::{Played, play};
use crate::crash::scenarios::{Scenario, scenarios};

/// The ways in which a call stops.
const STOPS: [Effect; 2] = [Effect::CrashBefore, Effect::CrashAfter];

/// What went wrong, by what it means.
#[derive(Default)]
struct Wrong {
    lost: Vec<String>,
    doubled: Vec<String>,
    open: Vec<String>,
    different: Vec<String>,
}

impl Wrong {
    fn compare(&mut self, what: &str, undisturbed: &Played, played: &Played) {
        let mut report = |list: fn(&mut Self) -> &mut Vec<String>, why: &str| {
            list(self).push(format!("{what}: {why}"));
        };
        for why in &played.lost {
            report(|it| &mut it.lost, why);
        }
        for why in &played.doubled {
            report(|it| &mut it.doubled, why);
        }
        for why in &played.open {
            report(|it| &mut it.open, why);
        }
        if played.responses < undisturbed.responses {
            report(|it| &mut it.lost, "a response is missing");
        }
        if played.responses > undisturbed.responses {
            report(|it| &mut it.doubled, "there is one more response");
        }
        if played.reaches_internet && !undisturbed.reaches_internet {
            report(|it| &mut it.open, "the instance reaches the internet");
        }
        if let Some(place) = difference("", &undisturbed.state, &played.state) {
            report(|it| &mut it.different, &place);
        }
    }

    fn described(&self) -> String {
        let all = [&self.lost, &self.doubled, &self.open, &self.different];
        all.into_iter().flatten().map(|it| format!("{it}\n")).collect()
    }
}

/// Work that several threads take from one list.
fn in_parallel<T: Sync, R: Send>(work: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) = work.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let result = each(one);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

/// Plays a scenario in a world of its own, on a clock of its own.
fn alone(scenario: &Scenario, stop: Option<(usize, &Effect)>) -> Played {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(play(scenario, stop))
}

#[test]
fn whatever_call_it_dies_at_the_end_is_the_same() {
    let scenarios = scenarios();
    let (mut pairs, mut wrong) = (0, Wrong::default());
    for scenario in &scenarios {
        let undisturbed = alone(scenario, None);
        let Played { calls, lost, doubled, open, .. } = &undisturbed;
        let fine = lost.is_empty() && doubled.is_empty() && open.is_empty();
        assert!(fine, "{}, undisturbed: {lost:?} {doubled:?} {open:?}", scenario.name);
        let stops: Vec<(usize, &Effect)> =
            (0..calls.len()).flat_map(|nth| STOPS.iter().map(move |stop| (nth, stop))).collect();
        let played = in_parallel(&stops, |&(nth, stop)| {
            let what = format!("{}, call {nth} ({}), {stop:?}", scenario.name, calls[nth]);
            (what, alone(scenario, Some((nth, stop))))
        });
        for (what, played) in &played {
            assert!(played.stopped, "{what}: it was not stopped");
            wrong.compare(what, &undisturbed, played);
        }
        pairs += stops.len();
        println!("{}: {} calls, {} pairs", scenario.name, calls.len(), stops.len());
    }
    let described = wrong.described();
    print!("{described}");
    let Wrong { lost, doubled, open, different } = &wrong;
    let (lost, doubled, open) = (lost.len(), doubled.len(), open.len());
    println!("pairs={pairs} lost={lost} doubled={doubled} open={open}");
    assert!(
        lost + doubled + open + different.len() == 0,
        "{} differ\n{described}",
        different.len()
    );
}
