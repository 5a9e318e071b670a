//! The write-back queue: what it says is delivered at once, together, and once; what
//! it loses the sweep delivers.

use std::time::Duration;

use firebreak_aws::settings::Settings;
use firebreak_demo::example_policy;
use firebreak_response::outbox::OutboxKey;
use firebreak_response::record::State;
use firebreak_simulation::sqs::Counts;
use firebreak_simulation::{Effect, Fault, Options};
use firebreak_testkit::arrange::whole_undo;
use firebreak_testkit::player::Repeats;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::queue::hub::{Hub, hub, responded, through_the_queue};

async fn queued() -> Hub {
    hub(12, &example_policy().unwrap(), Options::default(), through_the_queue).await
}

impl Hub {
    fn status(&self, finding: &Value) -> String {
        self.world.security_hub_status(finding).unwrap()
    }

    /// A finding as Security Hub holds it now.
    fn held(&self, finding: &Value) -> Value {
        let arn = finding["arn"].as_str().unwrap();
        self.world.organization.edit(|state| state.security_hub.finding(arn).unwrap().clone())
    }

    /// The outbox items, the oldest of a response first.
    async fn items(&self) -> Vec<OutboxKey> {
        let mut items = self.outbox().await;
        items.sort_by(|one, other| one.sk.cmp(&other.sk));
        items
    }

    fn archived(&self, finding: &Value) -> bool {
        let id = finding["id"].as_str().unwrap();
        self.world.organization.edit(|state| {
            state.guardduty.finding_mut(id).unwrap()["service"]["archived"].as_bool().unwrap()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_queues_its_outbox_items_and_the_queue_delivers_them() {
    let hub = queued().await;
    let finding = hub.finding(hub.sandbox(0), 1);
    hub.send(&finding);
    let ended = hub.take_in().await;
    let outcome = &ended[0].1.outcomes[0];
    assert_eq!((&outcome.written_back, &outcome.undelivered), (&None, &None));
    assert_eq!((hub.status(&finding).as_str(), hub.count("BatchUpdateFindings")), ("NEW", 0));
    let messages = hub.write_back.messages(&hub.world);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].group.as_ref(), Some(&hub.sandbox(0).account));
    let body: Value = serde_json::from_str(&messages[0].body).unwrap();
    assert_eq!(body, json!({ "outbox": hub.outbox().await }));
    let delivered = hub.report().await;
    assert_eq!(delivered[0].1.delivery.as_ref().unwrap().delivered.len(), 1);
    assert_eq!((hub.status(&finding).as_str(), hub.count("BatchUpdateFindings")), ("RESOLVED", 1));
    assert!(hub.outbox().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outbox_message_that_is_sent_twice_is_delivered_once() {
    for repeats in [Repeats::None, Repeats::InTheBatch, Repeats::InTheNext] {
        let mut hub = queued().await;
        hub.write_back.repeats = repeats;
        let finding = hub.finding(hub.sandbox(0), 1);
        hub.send(&finding);
        hub.take_in().await;
        // The same under another id: the answer to the first was lost.
        let body = hub.write_back.messages(&hub.world)[0].body.clone();
        hub.write_back.send(&hub.world, &body, None);
        let delivered = hub.report().await;
        let delivered: usize = delivered
            .iter()
            .filter_map(|(_, it)| Some(it.delivery.as_ref()?.delivered.len()))
            .sum();
        assert_eq!((delivered, hub.count("BatchUpdateFindings")), (1, 1), "{repeats:?}");
        hub.write_back.send(&hub.world, &body, None);
        hub.report().await;
        assert_eq!(hub.count("BatchUpdateFindings"), 1, "{repeats:?}");
        assert_eq!(hub.status(&finding), "RESOLVED");
        assert!(hub.write_back.dead_letters(&hub.world).is_empty(), "{repeats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn poison_in_the_write_back_queue_does_not_prevent_other_deliveries() {
    let hub = queued().await;
    let finding = hub.finding(hub.sandbox(0), 1);
    hub.send(&finding);
    hub.take_in().await;
    let response = hub.responses().await.remove(0);
    let poison = [
        json!({ "outbox": [{ "pk": "", "sk": "" }] }),
        // A key of another kind of item.
        json!({ "outbox": [{ "pk": format!("response#{}", response.id), "sk": "record" }] }),
        json!({ "outbox": [{ "pk": "outbox#x", "sk": "1" }], "more": 1 }),
    ];
    for body in &poison {
        hub.write_back.send(&hub.world, &body.to_string(), None);
    }
    hub.report().await;
    assert_eq!(hub.status(&finding), "RESOLVED");
    assert_eq!(hub.write_back.dead_letters(&hub.world).len(), poison.len());
    let still = hub.engine.store.response(&response.id).await.unwrap().unwrap();
    assert_eq!(still, response, "what a message names is not changed for its being named");
}

#[tokio::test(start_paused = true)]
async fn the_sweep_delivers_what_the_queue_lost_after_ninety_seconds() {
    let hub = queued().await;
    let lost = hub.finding(hub.sandbox(0), 1);
    hub.send(&lost);
    hub.take_in().await;
    // With the queue go its messages; what comes then cannot be put into it.
    hub.world.organization.edit(|state| state.sqs.queues.remove(&hub.write_back.queue)).unwrap();
    let unsent = hub.finding(hub.sandbox(1), 2);
    hub.send(&unsent);
    let ended = hub.take_in().await;
    let outcome = &ended[0].1.outcomes[0];
    assert_eq!(outcome.response.as_ref().unwrap().state, State::Contained);
    let undelivered = outcome.undelivered.as_deref().unwrap();
    assert!(undelivered.contains("sqs:SendMessage"), "{undelivered}");
    hub.sweep().await;
    assert_eq!([&lost, &unsent].map(|it| hub.status(it)), ["NEW", "NEW"], "too early");
    hub.world.organization.advance(SignedDuration::from_secs(91));
    let swept = hub.sweep().await;
    assert_eq!((swept.delivered, swept.failures()), (2, Vec::new()));
    assert_eq!([&lost, &unsent].map(|it| hub.status(it)), ["RESOLVED", "RESOLVED"]);
    assert_eq!(hub.count("BatchUpdateFindings"), 2);
    assert!(hub.outbox().await.is_empty());
    assert_eq!(hub.sweep().await.delivered, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_further_findings_of_one_target_are_delivered_in_two_calls() {
    let hub = queued().await;
    let member = hub.sandbox(0).clone();
    let findings: Vec<Value> = (0..101).map(|number| hub.finding(&member, number + 1)).collect();
    hub.send(&findings[0]);
    assert_eq!(responded(&hub.take_in().await), 1);
    for finding in &findings[1..] {
        hub.send(finding);
    }
    let ended = hub.take_in().await;
    assert_eq!(responded(&ended), 0);
    assert_eq!(hub.responses().await.len(), 1);
    assert_eq!(hub.count("BatchUpdateFindings"), 0);
    assert_eq!(hub.write_back.counts(&hub.world), Counts { visible: 101, ..Counts::default() });
    hub.report().await;
    let statuses: Vec<String> = findings.iter().map(|it| hub.status(it)).collect();
    assert!(statuses.iter().all(|it| it == "RESOLVED"), "{statuses:?}");
    let calls = hub.count("BatchUpdateFindings");
    println!("101 findings: {calls} BatchUpdateFindings");
    assert!(calls <= 2, "{calls}");
    assert!(hub.outbox().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn findings_of_different_responses_are_delivered_concurrently() {
    let hub = queued().await;
    let findings: Vec<Value> = (0..3).map(|nth| hub.finding(hub.sandbox(nth), nth + 1)).collect();
    for finding in &findings {
        hub.send(finding);
    }
    hub.take_in().await;
    let delivered = hub.report().await;
    assert_eq!(delivered[0].1.delivery.as_ref().unwrap().delivered.len(), 3, "in one go");
    assert!(findings.iter().all(|it| hub.status(it) == "RESOLVED"));
    // Each note names its own response, so each is a call.
    assert_eq!(hub.count("BatchUpdateFindings"), 3);
}

#[tokio::test(start_paused = true)]
async fn guardduty_archives_what_is_contained_and_takes_it_out_after_an_undo() {
    let settings = |settings: Settings, url| Settings {
        archive_resolved: true,
        ..through_the_queue(settings, url)
    };
    let mut hub = hub(12, &example_policy().unwrap(), Options::default(), settings).await;
    hub.write_back.repeats = Repeats::InTheNext;
    let finding = hub.finding(hub.sandbox(0), 1);
    hub.send(&finding);
    hub.take_in().await;
    assert!(!hub.archived(&finding), "nothing is delivered before the queue says so");
    hub.report().await;
    assert!(hub.archived(&finding));
    assert_eq!((hub.count("ArchiveFindings"), hub.status(&finding).as_str()), (1, "RESOLVED"));
    let id = hub.responses().await[0].id.clone();
    let undone = hub.engine.undo(&id, whole_undo()).await.unwrap();
    assert_eq!(undone.state, State::Undone);
    assert!(hub.archived(&finding));
    hub.report().await;
    assert!(!hub.archived(&finding));
    assert_eq!((hub.count("UnarchiveFindings"), hub.status(&finding).as_str()), (1, "NEW"));
    assert!(hub.outbox().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_updates_the_older_delivered_last_does_not_replace_the_newer() {
    let hub = queued().await;
    let finding = hub.finding(hub.sandbox(0), 1);
    hub.send(&finding);
    hub.take_in().await;
    let response = hub.responses().await.remove(0);
    hub.engine.undo(&response.id, whole_undo()).await.unwrap();
    let items = hub.items().await;
    assert_eq!(items.len(), 2);
    // As SQS may deliver them.
    for item in items.iter().rev() {
        hub.engine.deliver_keys(std::slice::from_ref(item)).await.unwrap();
        assert_eq!(hub.status(&finding), "NEW", "{}", item.sk);
        let delivered = hub.held(&finding)["UserDefinedFields"]["firebreak_state"].clone();
        assert_eq!(delivered, "undone", "{}", item.sk);
    }
    assert!(hub.outbox().await.is_empty());
}

/// Security Hub has no conditional update: a delivery that was overtaken delivers the
/// response as it is then.
#[tokio::test(start_paused = true)]
async fn an_update_that_was_overtaken_during_its_delivery_does_not_remain() {
    let hub = queued().await;
    let finding = hub.finding(hub.sandbox(0), 1);
    hub.send(&finding);
    hub.take_in().await;
    let response = hub.responses().await.remove(0);
    let contained = hub.items().await;
    let other = hub.another().await;
    let slow = Effect::Slow(Duration::from_secs(5));
    hub.world.organization.inject(Fault::once("BatchUpdateFindings", slow));
    let (first, ()) = tokio::join!(hub.engine.deliver_keys(&contained), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        other.undo(&response.id, whole_undo()).await.unwrap();
        let mut undone = hub.items().await;
        undone.retain(|item| !contained.contains(item));
        assert_eq!(other.deliver_keys(&undone).await.unwrap().delivered.len(), 1);
        assert_eq!(hub.status(&finding), "NEW");
    });
    let later = first.unwrap().pending;
    assert!(later.iter().any(|why| why.contains("changed while it was delivered")), "{later:?}");
    hub.world.organization.advance(SignedDuration::from_secs(91));
    hub.sweep().await;
    assert_eq!(hub.status(&finding), "NEW");
    assert_eq!(hub.held(&finding)["UserDefinedFields"]["firebreak_state"], "undone");
    assert!(hub.outbox().await.is_empty());
}
