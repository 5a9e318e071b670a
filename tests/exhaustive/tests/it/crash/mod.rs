//! A crash at every call: each scenario is played undisturbed, then once for each
//! of its AWS calls and each way to stop there. The lease runs out, the message
//! comes again, the sweep runs; and then the account, the records, all else in
//! the hub's table and Security Hub have to be as in the undisturbed run.

//!
//! `FIREBREAK_EXHAUSTIVE=all` plays every one of them; without it, today's tenth.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

mod clusters;
mod play;
mod scenarios;

use firebreak_exhaustive::in_parallel;
use firebreak_simulation::Effect;
use firebreak_testkit::canonical::difference;
use firebreak_testkit::sample::sample;

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
        let mut report = |kind: fn(&mut Self) -> &mut Vec<String>, why: &str| {
            kind(self).push(format!("{what}: {why}"));
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

    fn list(&self) -> String {
        let all = [&self.lost, &self.doubled, &self.open, &self.different];
        all.into_iter().flatten().map(|it| format!("{it}\n")).collect()
    }
}

/// Plays a scenario in a world of its own, on a clock of its own.
fn alone(scenario: &Scenario, stop: Option<(usize, &Effect)>) -> Played {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(play(scenario, stop))
}

#[test]
fn a_death_at_any_call_changes_nothing_in_the_end() {
    let scenarios = scenarios();
    let undisturbed = in_parallel(&scenarios, |scenario| alone(scenario, None));
    for (scenario, played) in scenarios.iter().zip(&undisturbed) {
        let Played { lost, doubled, open, .. } = played;
        let fine = lost.is_empty() && doubled.is_empty() && open.is_empty();
        assert!(fine, "{}, undisturbed: {lost:?} {doubled:?} {open:?}", scenario.name);
        println!("{}: {} calls", scenario.name, played.calls.len());
    }
    let mut deaths = Vec::new();
    for (scenario, undisturbed) in scenarios.iter().zip(&undisturbed) {
        for nth in 0..undisturbed.calls.len() {
            deaths.extend(STOPS.iter().map(|stop| (scenario, undisturbed, nth, stop)));
        }
    }
    let deaths = sample("deaths at every call of every scenario", deaths);
    let played =
        in_parallel(&deaths, |&(scenario, _, nth, stop)| alone(scenario, Some((nth, stop))));
    let mut wrong = Wrong::default();
    for ((scenario, undisturbed, nth, stop), played) in deaths.iter().zip(&played) {
        let call = &undisturbed.calls[*nth];
        let what = format!("{}, call {nth} ({call}), {stop:?}", scenario.name);
        assert!(played.stopped, "{what}: it was not stopped");
        wrong.compare(&what, undisturbed, played);
    }
    let wrongs = wrong.list();
    print!("{wrongs}");
    let Wrong { lost, doubled, open, different } = &wrong;
    let (lost, doubled, open) = (lost.len(), doubled.len(), open.len());
    println!("pairs={} lost={lost} doubled={doubled} open={open}", deaths.len());
    assert!(lost + doubled + open + different.len() == 0, "{} differ\n{wrongs}", different.len());
}
