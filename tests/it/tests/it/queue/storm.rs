//! One account's storm beside quiet accounts, through a fair queue and several
//! processes of the function at once.

use std::time::Duration;

use firebreak_demo::example_policy;
use firebreak_demo::world::Attack;
use firebreak_response::record::State;
use firebreak_simulation::Options;
use firebreak_simulation::sqs::Counts;
use firebreak_testkit::player::Ended;
use futures::future::join_all;

use crate::queue::hub::{Hub, hub, responded, through_the_queue};

const PROCESSES: u32 = 5;
const STORM: usize = 300;

/// One process of the function: polls until nothing is left.
async fn process(hub: &Hub) -> Ended {
    let engine = hub.another().await;
    let mut ended = Vec::new();
    loop {
        match hub.intake.poll(&hub.world, &engine).await {
            Some(handled) => ended.extend(handled),
            None if hub.intake.counts(&hub.world) == Counts::default() => return ended,
            None => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_one_account_does_not_delay_the_quiet_ones() {
    let options = Options { latency: Duration::from_millis(20), ..Options::default() };
    let hub = hub(40, &example_policy().unwrap(), options, through_the_queue).await;
    let stormy = hub.sandbox(0).clone();
    for number in 0..STORM {
        let mut finding = Attack::Instance.finding(&stormy, number + 1);
        let instance = hub.another_instance(&stormy);
        finding["resource"]["instanceDetails"]["instanceId"] = instance.into();
        hub.send(&hub.raised(finding));
    }
    // Behind all of the storm.
    let quiet: Vec<_> = (1..10).map(|nth| hub.sandbox(nth).clone()).collect();
    let of_quiet: Vec<String> = quiet
        .iter()
        .enumerate()
        .map(|(nth, member)| hub.send(&hub.finding(member, 1_000 + nth)))
        .collect();
    let processes = (0..PROCESSES).map(|_| process(&hub));
    let ended: Ended = join_all(processes).await.into_iter().flatten().collect();

    let took = |id: &String| {
        let handled = ended.iter().rev().find(|(it, _)| it == id).map(|(_, it)| it).unwrap();
        assert_eq!(handled.outcomes[0].response.as_ref().unwrap().state, State::Contained);
        handled.times.ended.unwrap().duration_since(handled.times.sent.unwrap()).as_secs_f64()
    };
    let slowest = of_quiet.iter().map(took).fold(0.0, f64::max);
    let all = ended
        .iter()
        .filter_map(|(_, it)| Some(it.times.ended?.duration_since(it.times.sent?).as_secs_f64()));
    let storm = all.fold(0.0, f64::max);
    println!("quiet accounts waited {slowest:.1} s at most, the storm {storm:.1} s");
    assert!(storm > 30.0, "it was no storm: {storm} s");
    assert!(slowest < 10.0, "{slowest} s");
    assert_eq!(responded(&ended), STORM + quiet.len(), "one response each");
    assert!(hub.intake.dead_letters(&hub.world).is_empty());
    for member in &quiet {
        assert!(!hub.reaches_internet(member, &member.instance), "{}", member.account);
    }
    let throttled = hub.world.organization.calls();
    let throttled = throttled.iter().filter(|call| {
        call.service == "ec2" && call.error.as_deref() == Some("RequestLimitExceeded")
    });
    assert_eq!(throttled.count(), 0, "no account is called above its rate");
}
