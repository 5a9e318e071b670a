//! Notices through the write-back queue: each once, whatever is delivered twice.

use firebreak_spoke::registry;
use std::collections::{BTreeMap, BTreeSet};

use firebreak_aws::settings::Settings;
use firebreak_demo::world::{Attack, HOME, HUB};
use firebreak_policy::{Policy, read_files};
use firebreak_response::record::State;
use firebreak_simulation::Options;
use firebreak_simulation::events;
use firebreak_simulation::sns;
use jiff::SignedDuration;
use serde_json::Value;

use crate::queue::mapping::{Hub, Repeats, hub, through_the_queue};

fn acting(budgets: &str) -> Policy {
    let text = format!(
        "attach: r-fb01\n{budgets}rules:\n  - name: act\n    mode: auto\n    then: [isolate-instance]\n"
    );
    read_files(&[("0.yaml".to_owned(), text)], registry::catalog())
        .unwrap_or_else(|diagnostics| panic!("{diagnostics:?}"))
}

fn topic() -> String {
    sns::arn(HUB, HOME, "firebreak-notices")
}

fn bus() -> String {
    events::arn(HUB, HOME, "firebreak-notices")
}

/// A hub with a topic and a bus, all of whose messages are delivered twice.
async fn told_twice(budgets: &str) -> Hub {
    let settings = |settings: Settings, url| Settings {
        topic: Some(topic().parse().unwrap()),
        event_bus: Some("firebreak-notices".parse().unwrap()),
        ..through_the_queue(settings, url)
    };
    let mut hub = hub(12, &acting(budgets), Options::default(), settings).await;
    (hub.intake.repeats, hub.write_back.repeats) = (Repeats::InTheNext, Repeats::InTheNext);
    hub
}

impl Hub {
    /// The details that were published and those that were put on the bus.
    fn delivered(&self) -> [Vec<Value>; 2] {
        self.world.organization.edit(|state| {
            let published = state.sns.topics[&topic()].published.iter();
            let published = published.map(|it| serde_json::from_str(it.text("sqs")).unwrap());
            let put = state.events.buses[&bus()].iter().map(|it| it.detail.clone());
            [published.collect(), put.collect()]
        })
    }

    /// How often each kind was told, after each id was found to be told once.
    fn kinds(&self) -> BTreeMap<String, usize> {
        let [published, put] = self.delivered();
        let mut counted = [BTreeMap::new(), BTreeMap::new()];
        for (counted, details) in counted.iter_mut().zip([&published, &put]) {
            let ids: BTreeSet<String> = details.iter().map(|it| it["id"].to_string()).collect();
            assert_eq!(ids.len(), details.len(), "{ids:#?}");
            for detail in details {
                *counted.entry(detail["kind"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        let [published, put] = counted;
        assert_eq!(published, put, "the topic and the bus are told the same");
        published
    }
}

#[tokio::test(start_paused = true)]
async fn each_notice_is_published_once_though_all_is_delivered_twice() {
    let hub = told_twice("").await;
    for nth in 0..12 {
        let finding = hub.finding(&hub.world.members[nth].clone(), nth + 1);
        hub.send(&finding);
        hub.send(&finding);
    }
    hub.take_in().await;
    assert!(hub.delivered().iter().all(Vec::is_empty), "nothing is told before the queue says so");
    // Half of what is said is said again under another id.
    for message in hub.write_back.messages(&hub.world).iter().step_by(2) {
        hub.write_back.send(&hub.world, &message.body, message.group.as_deref());
    }
    hub.report().await;
    assert_eq!(hub.kinds(), BTreeMap::from([("contained".to_owned(), 12)]));
    for _ in 0..5 {
        hub.world.organization.advance(SignedDuration::from_secs(100));
        hub.sweep().await;
    }
    assert_eq!(hub.kinds(), BTreeMap::from([("contained".to_owned(), 12)]));
    assert!(hub.outbox().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_spent_is_one_notice_for_all_that_waits() {
    let hub = told_twice("budgets: [{ actions: 2, per: 1h }]\n").await;
    for nth in 0..12 {
        hub.send(&hub.finding(&hub.world.members[nth].clone(), nth + 1));
    }
    hub.take_in().await;
    hub.report().await;
    let responses = hub.responses().await;
    let waiting = responses.iter().filter(|it| it.state == State::AwaitingApproval).count();
    assert_eq!((responses.len(), waiting), (12, 10));
    let expected = [("budget-spent", 1), ("contained", 2)];
    assert_eq!(hub.kinds(), expected.map(|(kind, count)| (kind.to_owned(), count)).into());
    // More of the same, while it is spent.
    let member = hub.sandbox(0).clone();
    for number in 20..30 {
        let mut finding = Attack::Instance.finding(&member, number);
        finding["resource"]["instanceDetails"]["instanceId"] = hub.another_instance(&member).into();
        hub.send(&hub.raised(finding));
    }
    hub.take_in().await;
    hub.report().await;
    assert_eq!(hub.kinds(), expected.map(|(kind, count)| (kind.to_owned(), count)).into());
    assert_eq!(hub.responses().await.len(), 22);
    assert!(hub.outbox().await.is_empty());
}
