//! `org enable` dies before and after each of its calls and is run again: the
//! organization ends as that of the undisturbed run.

use firebreak_simulation::{Effect, Fault};

use crate::deploy::organization::{all_done, enable_in, organization, state};

#[tokio::test(start_paused = true)]
async fn interrupted_at_any_call_and_run_again_it_ends_the_same() {
    let undisturbed = organization(2);
    all_done(&enable_in(&undisturbed, &undisturbed.process()).await.unwrap());
    let expected = state(&undisturbed);
    let calls = undisturbed.take_calls();

    let mut pairs = 0;
    for (after, call) in calls.iter().enumerate() {
        // After a call that reads is before the next one.
        let effects = [Effect::CrashBefore, Effect::CrashAfter];
        let effects = effects.into_iter().take(if call.mutating { 2 } else { 1 });
        for effect in effects {
            let organization = organization(2);
            let process = organization.process();
            let after = u32::try_from(after).unwrap();
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
            pairs += 1;
        }
    }
    println!("org enable: calls={} pairs={pairs}", calls.len());
    assert!(pairs > 100, "{pairs}");
}
