//! The record of decisions: what is in it, that it is chained whatever happens,
//! and that what somebody does to the table is found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use firebreak_audit::account::{AccountRecord, Range};
use firebreak_audit::chain::{Head, day_of};
use firebreak_audit::export::{Export, ExportScope, FORMAT};
use firebreak_audit::report::AuditReport;
use firebreak_audit::verify::FaultKind;
use firebreak_aws::audit_log::{export_table, verify_table};
use firebreak_demo::example_policy;
use firebreak_demo::world::Attack;
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::record::State;
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;

use crate::scenarios::stage::{Stage, policy, stage, stage_with, whole_undo};

type Item = std::collections::HashMap<String, AttributeValue>;

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// Somebody who can write to the table, past all of Firebreak.
struct Intruder(Client);

impl Intruder {
    async fn at(stage: &Stage) -> Self {
        Self(Client::new(&stage.world.hub_config().await.unwrap()))
    }

    /// Every item of a partition.
    async fn partition(&self, pk: &str) -> Vec<Item> {
        let answer = self
            .0
            .query()
            .table_name("firebreak")
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .send()
            .await
            .unwrap();
        answer.items.unwrap()
    }

    async fn put(&self, item: Item) {
        self.0.put_item().table_name("firebreak").set_item(Some(item)).send().await.unwrap();
    }

    async fn delete(&self, item: &Item) {
        let call = self.0.delete_item().table_name("firebreak");
        call.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
    }

    async fn delete_all(&self, pk: &str) {
        for item in self.partition(pk).await {
            self.delete(&item).await;
        }
    }

    async fn one(&self, pk: &str, sk: &str) -> Item {
        let items = self.partition(pk).await;
        items.into_iter().find(|item| item["sk"] == text(sk)).unwrap()
    }
}

impl Stage {
    fn today(&self) -> Range {
        let today = day_of(self.engine.now());
        Range { since: today, until: today }
    }

    async fn chain(&self) -> usize {
        let now = self.engine.now();
        Box::pin(self.engine.store.chain_due(now, 1_000)).await.unwrap()
    }

    async fn verify(&self, range: Range, anchor: Option<&Export>) -> AuditReport {
        let now = self.engine.now();
        // The futures of a whole test would not fit its thread's stack.
        Box::pin(verify_table(&self.engine.store, now, range, None, anchor)).await.unwrap()
    }

    async fn faults(&self) -> BTreeSet<FaultKind> {
        let report = self.verify(self.today(), None).await;
        report.faults.iter().map(|fault| fault.fault).collect()
    }

    async fn export(&self, range: Range) -> Export {
        let scope = ExportScope {
            format: FORMAT,
            at: self.engine.now(),
            since: range.since,
            until: range.until,
            account: None,
        };
        let mut text = Vec::new();
        Box::pin(export_table(&self.engine.store, &scope, &mut text)).await.unwrap();
        Export::parse(&String::from_utf8(text).unwrap()).unwrap()
    }

    /// All that is kept of the account that was attacked.
    async fn record(&self) -> AccountRecord {
        let account = &self.member("sandbox", 0).account;
        let today = self.today();
        let days = BTreeSet::from([today.since]);
        Box::pin(self.engine.store.account_record(account, &days, today)).await.unwrap()
    }

    fn pk(&self) -> String {
        format!("audit#{}#{}", self.member("sandbox", 0).account, self.today().since)
    }

    /// Somebody notes something about the account that was attacked.
    async fn note(&self, says: &str) {
        let account = &self.member("sandbox", 0).account;
        let event =
            AuditEvent::new(AuditKind::Paused, account, "somebody", says, self.engine.now());
        self.engine.store.write_event(&event).await.unwrap();
    }
}

/// A containment, recorded and not chained yet.
async fn contained() -> Stage {
    let stage = Box::pin(stage()).await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    assert_eq!(Box::pin(stage.deliver(&finding)).await.state(), State::Contained);
    stage
}

#[tokio::test(start_paused = true)]
async fn a_containment_is_recorded_and_chained_and_its_audit_log_verifies() {
    let stage = Box::pin(contained()).await;
    let before = stage.verify(stage.today(), None).await;
    assert_eq!((before.faults.as_slice(), before.events().0), (&[][..], 0));
    assert!(before.events().1 >= 2, "{before:?}");

    assert_eq!(stage.chain().await, before.events().1);
    let after = stage.verify(stage.today(), None).await;
    assert_eq!(after.faults, []);
    assert_eq!(after.events(), (before.events().1, 0));
    assert_eq!(after.responses, 1);

    let chain = stage.record().await.chains.into_values().next().unwrap();
    let mut events: BTreeMap<u64, AuditEvent> = BTreeMap::new();
    for event in chain.events {
        events.insert(event.seq, serde_json::from_str(&event.body).unwrap());
    }
    let kinds: Vec<(AuditKind, Option<State>)> =
        events.values().map(|event| (event.what, event.state)).collect();
    assert_eq!(kinds.first(), Some(&(AuditKind::Decided, Some(State::Running))), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&(AuditKind::StateChanged, Some(State::Contained))), "{kinds:?}");
    for event in events.values() {
        assert!(event.response.is_some() && event.record.is_some(), "{event:?}");
        assert!(!event.by.is_empty() && !event.reason.is_empty(), "{event:?}");
    }

    // Nothing is left to chain, and to see that costs one query a shard.
    stage.world.organization.forget_calls();
    assert_eq!(stage.chain().await, 0);
    assert!(stage.calls().iter().all(|call| call.operation == "Query"), "{:?}", stage.calls());
}

/// `record-ahead` rests on it: no state of a response without its event.
#[tokio::test(start_paused = true)]
async fn a_response_from_its_plan_to_its_undo_is_without_fault_at_each_step() {
    let stage = Box::pin(contained()).await;
    let event: AuditEvent = {
        stage.chain().await;
        let chain = stage.record().await.chains.into_values().next().unwrap();
        serde_json::from_str(&chain.events[0].body).unwrap()
    };
    let id = event.response.unwrap();
    stage.world.organization.advance(SignedDuration::from_secs(1));
    assert_eq!(stage.faults().await, BTreeSet::new());
    let undone = Box::pin(stage.engine.undo(&id, whole_undo())).await.unwrap();
    assert_eq!(undone.state, State::Undone);
    stage.world.organization.advance(SignedDuration::from_secs(1));
    assert_eq!(stage.faults().await, BTreeSet::new());
    assert!(stage.chain().await >= 2);
    assert_eq!(stage.faults().await, BTreeSet::new());
}

/// A denial, by a person and by the clock, was once recorded with the digest of the
/// record before it had its answer: each looked like tampering.
#[tokio::test(start_paused = true)]
async fn a_plan_that_is_denied_or_approved_is_without_fault() {
    let asking = "attach: r-fb01\nrules:\n  - name: ask\n    mode: approve\n    then: [isolate-instance]\n    approve: { within: 30m, otherwise: deny }\n";
    let stage = Box::pin(stage_with(policy(&[asking]), Options::default())).await;
    let mut plans = Vec::new();
    for (number, unit) in ["sandbox", "production", "security"].into_iter().enumerate() {
        let finding = stage.finding(Attack::Instance, stage.member(unit, 0), number);
        let delivered = Box::pin(stage.deliver(&finding)).await;
        assert_eq!(delivered.state(), State::AwaitingApproval);
        plans.push(delivered.response().id.clone());
    }
    assert_eq!(stage.faults().await, BTreeSet::new());
    stage.engine.deny(&plans[0], Some("a test".to_owned())).await.unwrap();
    Box::pin(stage.engine.approve(&plans[1], None, None)).await.unwrap();
    stage.world.organization.advance(SignedDuration::from_mins(31));
    let swept = Box::pin(stage.engine.sweep()).await.responses;
    let denied = swept.iter().flatten().filter(|it| it.state == State::Denied).count();
    assert_eq!(denied, 1, "by the clock: {swept:?}");
    stage.world.organization.advance(SignedDuration::from_secs(1));
    assert_eq!(stage.faults().await, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_chained_within_ten_minutes_is_reported() {
    let stage = Box::pin(contained()).await;
    stage.world.organization.advance(SignedDuration::from_mins(11));
    assert_eq!(stage.faults().await, BTreeSet::from([FaultKind::Unchained]));
    stage.chain().await;
    assert_eq!(stage.faults().await, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn tampering_with_the_table_is_detected() {
    let expected: [(&str, &[FaultKind]); 11] = [
        ("an event changed", &[FaultKind::Changed]),
        ("an event deleted", &[FaultKind::Missing]),
        ("events reordered", &[FaultKind::Moved]),
        ("an event put in", &[FaultKind::Inserted]),
        ("the head deleted", &[FaultKind::NoHead]),
        ("the day deleted", &[FaultKind::NoChain, FaultKind::Unrecorded]),
        ("the account's item deleted", &[FaultKind::NoAccount]),
        ("everything of the account deleted", &[FaultKind::Unrecorded]),
        ("the response's record changed", &[FaultKind::RecordChanged]),
        ("the response's record deleted", &[FaultKind::RecordMissing]),
        ("the response's record moved on", &[FaultKind::RecordAhead]),
    ];
    for (what, wrong) in expected {
        let stage = Box::pin(contained()).await;
        // Between the first and the last, so that nothing else refers to it.
        for says in ["one", "two", "three", "four"] {
            stage.world.organization.advance(SignedDuration::from_secs(1));
            stage.note(says).await;
        }
        stage.chain().await;
        assert_eq!(stage.faults().await, BTreeSet::new(), "{what}");
        stage.world.organization.advance(SignedDuration::from_secs(1));
        Box::pin(tamper(&stage, what)).await;
        assert_eq!(stage.faults().await, wrong.iter().copied().collect(), "{what}");
    }
}

async fn tamper(stage: &Stage, what: &str) {
    let intruder = Intruder::at(stage).await;
    let pk = stage.pk();
    let account_pk = format!("audit#{}", stage.member("sandbox", 0).account);
    let record = stage.record().await;
    let chain = record.chains.values().next().unwrap();
    let seq = |seq: u64| chain.events.iter().find(|event| event.seq == seq).unwrap();
    let response = {
        let event: AuditEvent = serde_json::from_str(&seq(1).body).unwrap();
        format!("response#{}", event.response.unwrap())
    };
    let last = chain.events.len() as u64;
    let second = intruder.one(&pk, &["k#", &seq(last - 2).key].concat()).await;
    let third = intruder.one(&pk, &["k#", &seq(last - 1).key].concat()).await;
    match what {
        "an event changed" => {
            let mut item = second;
            let body = item["body"].as_s().unwrap().replace("somebody", "nobody");
            item.insert("body".to_owned(), text(body));
            intruder.put(item).await;
        }
        "an event deleted" => intruder.delete(&second).await,
        "events reordered" => {
            let (mut one, mut other) = (second, third);
            std::mem::swap(one.get_mut("seq").unwrap(), other.get_mut("seq").unwrap());
            intruder.put(one).await;
            intruder.put(other).await;
        }
        "an event put in" => {
            let mut item = second;
            item.insert("sk".to_owned(), text("k#0123456789abcdef0123456789abcdef"));
            let body = item["body"].as_s().unwrap().replace("somebody", "nobody");
            let previous = item["previous"].as_s().unwrap();
            let key = "0123456789abcdef0123456789abcdef";
            let hash = chain.id.hash(previous, last - 2, key, &body);
            item.insert("body".to_owned(), text(body));
            item.insert("hash".to_owned(), text(hash));
            intruder.put(item).await;
        }
        "the head deleted" => intruder.delete(&intruder.one(&pk, "head").await).await,
        "the day deleted" => intruder.delete_all(&pk).await,
        "the account's item deleted" => intruder.delete_all(&account_pk).await,
        "everything of the account deleted" => {
            intruder.delete_all(&pk).await;
            intruder.delete_all(&account_pk).await;
        }
        "the response's record changed" => {
            let mut item = intruder.one(&response, "record").await;
            let body = item["body"].as_s().unwrap().replace("isolate-instance", "nothing");
            item.insert("body".to_owned(), text(body));
            intruder.put(item).await;
        }
        "the response's record deleted" => intruder.delete_all(&response).await,
        "the response's record moved on" => {
            let mut item = intruder.one(&response, "record").await;
            let mut body: serde_json::Value =
                serde_json::from_str(item["body"].as_s().unwrap()).unwrap();
            body["revision"] = 99.into();
            body["state"] = "undone".into();
            item.insert("body".to_owned(), text(body.to_string()));
            intruder.put(item).await;
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_chain_at_once_one_loses_and_the_chain_verifies() {
    let options = Options { latency: Duration::from_millis(5), ..Options::default() };
    let stage = Box::pin(stage_with(example_policy().unwrap(), options)).await;
    for number in 0..250 {
        stage.note(&format!("note {number}")).await;
    }
    let others = [stage.another_responder().await, stage.another_responder().await];
    let now = stage.engine.now();
    let [one, other] = &others;
    let (one, other) =
        tokio::join!(one.store.chain_due(now, 1_000), other.store.chain_due(now, 1_000));
    let chained = one.unwrap() + other.unwrap();
    // Together they have not chained anything twice, and a third finds the rest.
    assert_eq!(chained + stage.chain().await, 250);
    let report = stage.verify(stage.today(), None).await;
    assert_eq!((report.faults.as_slice(), report.events()), (&[][..], (250, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_chainer_that_dies_at_any_call_leaves_a_chain_that_verifies() {
    let stage = Box::pin(contained()).await;
    stage.world.organization.forget_calls();
    stage.chain().await;
    let calls = stage.calls().len();
    assert!(calls >= 7, "{:?}", stage.calls());
    let mut deaths = 0;
    for effect in [Effect::CrashBefore, Effect::CrashAfter] {
        for call in 0..calls {
            let stage = Box::pin(contained()).await;
            let after = u32::try_from(call).unwrap();
            let (times, effect) = (1, effect.clone());
            stage.world.organization.inject(Fault { after, times, effect, ..Fault::default() });
            tokio::select! {
                chained = stage.chain() => panic!("it chained {chained} and should have died"),
                () = stage.world.organization.crashed() => deaths += 1,
            }
            stage.world.organization.clear_faults();
            // That process is dead for good.
            let engine = stage.another_responder().await;
            let stage = Stage { engine, ..stage };
            assert_eq!(stage.faults().await, BTreeSet::new(), "call {call}");
            stage.chain().await;
            let report = stage.verify(stage.today(), None).await;
            assert_eq!((report.faults.as_slice(), report.events().1), (&[][..], 0), "call {call}");
        }
    }
    assert_eq!(deaths, 2 * calls);
}

#[tokio::test(start_paused = true)]
async fn a_missing_day_is_found_by_the_next_one() {
    let stage = Box::pin(contained()).await;
    let first = stage.today();
    let pk = stage.pk();
    stage.chain().await;
    let account = stage.member("sandbox", 0).account.clone();
    let late = AuditEvent::new(AuditKind::Paused, &account, "somebody", "late", stage.engine.now());
    stage.world.organization.advance(SignedDuration::from_hours(24));
    stage.note("the next day").await;
    stage.chain().await;
    stage.engine.store.write_event(&late).await.unwrap();
    assert_eq!(stage.chain().await, 1);
    let both = Range { since: first.since, ..stage.today() };
    assert_eq!(stage.verify(both, None).await.faults, []);
    assert_eq!(stage.verify(first, None).await.faults, []);
    assert_eq!(stage.verify(stage.today(), None).await.faults, []);
    Intruder::at(&stage).await.delete_all(&pk).await;
    let faults = stage.verify(both, None).await.faults;
    let day = Some(first.since);
    let missing = faults.iter().filter(|it| it.fault == FaultKind::NoChain && it.day == day);
    // By the day that began after it, and of the late event by the account's item.
    assert_eq!(missing.count(), 2, "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_was_cut_consistently_is_found_by_an_export_only() {
    let stage = Box::pin(contained()).await;
    stage.note("the first").await;
    stage.world.organization.advance(SignedDuration::from_secs(1));
    stage.note("what shall be forgotten").await;
    stage.chain().await;
    let export = stage.export(stage.today()).await;
    assert_eq!(export.verify(), []);
    assert_eq!(stage.verify(stage.today(), Some(&export)).await.faults, []);

    let intruder = Intruder::at(&stage).await;
    let record = stage.record().await;
    let chain = record.chains.values().next().unwrap();
    let mut events = chain.events.clone();
    events.sort_by_key(|event| event.seq);
    let last = events.pop().unwrap();
    assert!(last.body.contains("what shall be forgotten"));
    let pk = stage.pk();
    intruder.delete(&intruder.one(&pk, &["k#", &last.key].concat()).await).await;
    let mut head = intruder.one(&pk, "head").await;
    head.insert("seq".to_owned(), AttributeValue::N((last.seq - 1).to_string()));
    head.insert("hash".to_owned(), text(&last.previous));
    intruder.put(head).await;
    let account_pk = format!("audit#{}", record.account);
    let mut item = intruder.one(&account_pk, "account").await;
    let was = chain.head.clone().unwrap();
    let end = Head { seq: last.seq - 1, hash: last.previous.clone(), ..was }.link();
    item.insert("tails".to_owned(), text(serde_json::to_string(&[end]).unwrap()));
    intruder.put(item).await;

    assert_eq!(stage.verify(stage.today(), None).await.faults, []);
    let faults = stage.verify(stage.today(), Some(&export)).await.faults;
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!((fault.fault, fault.seq), (FaultKind::Cut, Some(last.seq)));
    assert_eq!(fault.key.as_ref(), Some(&last.key));
}
