//! `org enable` dies before and after each of its calls and is run again: the
//! organization ends as that of the undisturbed run.

use firebreak_simulation::{CallRecord, Effect, Fault};
use firebreak_testkit::sample::sample;

use crate::deploy::organization::{all_done, enable_in, organization, state};

#[tokio::test(start_paused = true)]
async fn org_enable_that_dies_at_any_call_and_runs_again_ends_the_same() {
    let undisturbed = organization(2);
    all_done(&enable_in(&undisturbed, &undisturbed.process()).await.unwrap());
    let expected = state(&undisturbed);
    let calls = undisturbed.take_calls();

    let mut deaths: Vec<(u32, &CallRecord, Effect)> = Vec::new();
    for (after, call) in (0..).zip(&calls) {
        deaths.push((after, call, Effect::CrashBefore));
        // After a call that reads is before the next one.
        if call.mutating {
            deaths.push((after, call, Effect::CrashAfter));
        }
    }
    assert!(deaths.len() > 100, "{}", deaths.len());
    for (after, call, effect) in sample("deaths at every call of org enable", deaths) {
        let organization = organization(2);
        let process = organization.process();
        organization.inject(Fault { after, times: 1, effect, ..Fault::default() });
        let died = tokio::select! {
            biased;
            () = process.died() => true,
            _ = enable_in(&organization, &process) => false,
        };
        assert!(died, "{}:{} was not met", call.service, call.operation);
        organization.clear_faults();
        let done = enable_in(&organization, &organization.process()).await.unwrap();
        all_done(&done);
        let ended = state(&organization);
        assert!(ended == expected, "{}:{} in {}", call.service, call.operation, call.region);
    }
}
