use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::answers::{self, Place};
use super::{Address, Counts, Message, Order, Sqs};

const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
const PLACE: Place<'static> = Place { account: "111122223333", region: "eu-central-1", now: START };

fn after(seconds: i64) -> Timestamp {
    START + SignedDuration::from_secs(seconds)
}

fn queue() -> (Sqs, Address) {
    let (mut sqs, queue) = (Sqs::default(), Address::new(PLACE.account, PLACE.region, "intake"));
    sqs.create(&queue, START);
    (sqs, queue)
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

fn ask(sqs: &mut Sqs, operation: &str, input: &Value) -> Result<Value, String> {
    answers::answer(sqs, PLACE, operation, input).unwrap().map_err(|error| error.code)
}

#[test]
fn what_was_received_is_hidden_until_its_time_is_over() {
    let (mut sqs, queue) = queue();
    sqs.send(&queue, "a", None, START).unwrap();
    let first = sqs.receive(&queue, 10, START).unwrap();
    assert_eq!((first[0].receive_count, first[0].sent), (1, START));
    assert!(sqs.receive(&queue, 10, after(29)).unwrap().is_empty());
    let counts = sqs.counts(&queue, after(29)).unwrap();
    assert_eq!(counts, Counts { in_flight: 1, ..Counts::default() });
    let again = sqs.receive(&queue, 10, after(30)).unwrap();
    assert_eq!((again[0].receive_count, again[0].id == first[0].id), (2, true));
    // The first receipt is outdated: it deletes nothing and is no error.
    sqs.delete(&queue, &first[0].receipt).unwrap();
    assert_eq!(sqs.counts(&queue, after(30)).unwrap().in_flight, 1);
    sqs.delete(&queue, &again[0].receipt).unwrap();
    sqs.delete(&queue, &again[0].receipt).unwrap();
    assert_eq!(sqs.counts(&queue, after(99)).unwrap(), Counts::default());
}

#[test]
fn a_released_message_is_there_at_once_and_only_one_in_flight_is_released() {
    let (mut sqs, queue) = queue();
    sqs.send(&queue, "a", None, START).unwrap();
    let first = sqs.receive(&queue, 1, START).unwrap().remove(0);
    sqs.release(&queue, &first.receipt, START).unwrap();
    assert_eq!(sqs.release(&queue, &first.receipt, START).unwrap_err().code, "MessageNotInflight");
    assert_eq!(sqs.receive(&queue, 1, START).unwrap()[0].receive_count, 2);
    let error = sqs.release(&queue, "nonsense", START).unwrap_err();
    assert_eq!(error.code, "ReceiptHandleIsInvalid");
}

#[test]
fn a_delayed_message_comes_when_its_delay_is_over() {
    let (mut sqs, queue) = queue();
    let url = queue.url();
    let input = json!({ "QueueUrl": url, "MessageBody": "late", "DelaySeconds": 60 });
    ask(&mut sqs, "SendMessage", &input).unwrap();
    assert_eq!(sqs.counts(&queue, after(59)).unwrap().delayed, 1);
    assert!(sqs.receive(&queue, 1, after(59)).unwrap().is_empty());
    assert_eq!(bodies(&sqs.receive(&queue, 1, after(60)).unwrap()), ["late"]);
}

#[test]
fn what_was_received_too_often_goes_to_the_dead_letter_queue_and_back() {
    let (mut sqs, queue) = queue();
    let dead = Address::new(PLACE.account, PLACE.region, "intake-dead");
    sqs.create_with_dead_letters(&queue, &dead, 2, START);
    sqs.send(&queue, "poison", Some("tenant"), START).unwrap();
    for round in 0..2 {
        assert_eq!(sqs.receive(&queue, 10, after(30 * round)).unwrap().len(), 1, "{round}");
    }
    assert!(sqs.receive(&queue, 10, after(60)).unwrap().is_empty());
    let letters = sqs.messages(&dead);
    assert_eq!((bodies(&letters), letters[0].sent), (vec!["poison"], START));
    assert_eq!(sqs.counts(&queue, after(60)).unwrap(), Counts::default());
    let input = json!({ "SourceArn": dead.arn() });
    ask(&mut sqs, "StartMessageMoveTask", &input).unwrap();
    assert!(sqs.messages(&dead).is_empty());
    let back = sqs.receive(&queue, 10, after(60)).unwrap().remove(0);
    assert_eq!((back.receive_count, back.group.as_deref()), (1, Some("tenant")));
    assert_ne!(back.id, letters[0].id, "a redriven message is a new one");
}

#[test]
fn without_its_dead_letter_queue_a_message_stays() {
    let (mut sqs, queue) = queue();
    let dead = Address::new(PLACE.account, PLACE.region, "intake-dead");
    sqs.create_with_dead_letters(&queue, &dead, 1, START);
    sqs.queues.remove(&dead);
    sqs.send(&queue, "poison", None, START).unwrap();
    for round in 0..3 {
        assert_eq!(sqs.receive(&queue, 10, after(30 * round)).unwrap().len(), 1, "{round}");
    }
}

#[test]
fn a_quiet_tenant_goes_before_a_noisy_one_and_only_then() {
    let (mut sqs, queue) = queue();
    for number in 0..100 {
        sqs.send(&queue, &format!("loud-{number}"), Some("loud"), START).unwrap();
    }
    sqs.send(&queue, "quiet", Some("quiet"), START).unwrap();
    sqs.send(&queue, "alone", None, START).unwrap();
    // Up to 30 in flight nobody is noisy: the oldest comes first.
    let first = sqs.receive(&queue, 30, START).unwrap();
    assert!(first.iter().all(|message| message.group.as_deref() == Some("loud")));
    let next = sqs.receive(&queue, 3, START).unwrap();
    assert_eq!(bodies(&next), ["quiet", "alone", "loud-30"]);
    // Deleting what it has in flight makes it quiet again.
    for message in &first {
        sqs.delete(&queue, &message.receipt).unwrap();
    }
    sqs.send(&queue, "later", Some("quiet"), START).unwrap();
    assert_eq!(bodies(&sqs.receive(&queue, 2, START).unwrap()), ["loud-31", "loud-32"]);
}

#[test]
fn of_two_noisy_tenants_the_one_with_fewer_in_flight_comes_first() {
    let (mut sqs, queue) = queue();
    sqs.create(&queue, START).noisy_from = 1;
    for group in ["a", "a", "a", "b", "b", "b"] {
        sqs.send(&queue, group, Some(group), START).unwrap();
    }
    let served = sqs.receive(&queue, 6, START).unwrap();
    assert_eq!(bodies(&served), ["a", "b", "a", "b", "a", "b"]);
}

#[test]
fn a_share_under_a_tenth_is_not_noisy() {
    let (mut sqs, queue) = queue();
    for group in 0..20 {
        for number in 0..32 {
            let (body, group) = (format!("{group}-{number}"), format!("{group:02}"));
            sqs.send(&queue, &body, Some(&group), START).unwrap();
        }
    }
    let served = sqs.receive(&queue, 640, START).unwrap();
    let last: Vec<&str> = served.iter().rev().take(2).map(|it| it.body.as_str()).collect();
    assert_eq!(last, ["19-31", "19-30"], "twenty tenants of 5 % each: by age");
}

#[test]
fn messages_and_batches_over_the_limits_are_refused() {
    let (mut sqs, queue) = queue();
    let url = queue.url();
    let send = |body: &str| json!({ "QueueUrl": url, "MessageBody": body });
    let largest = "x".repeat(1_048_576);
    assert!(ask(&mut sqs, "SendMessage", &send(&largest)).is_ok());
    let larger = format!("{largest}x");
    let rendered = ask(&mut sqs, "SendMessage", &send(&larger));
    assert_eq!(rendered, Err("InvalidParameterValue".to_owned()));
    let half = "x".repeat(600_000);
    let entry = |id: &str, body: &str| json!({ "Id": id, "MessageBody": body });
    for (entries, code) in [
        (vec![entry("a", &half), entry("b", &half)], "BatchRequestTooLong"),
        (vec![entry("a", "x"), entry("a", "y")], "BatchEntryIdsNotDistinct"),
        (vec![], "EmptyBatchRequest"),
        (vec![entry("a b", "x")], "InvalidBatchEntryId"),
        ((0..11).map(|id| entry(&id.to_string(), "x")).collect(), "TooManyEntriesInBatchRequest"),
    ] {
        let input = json!({ "QueueUrl": url, "Entries": entries });
        assert_eq!(ask(&mut sqs, "SendMessageBatch", &input), Err(code.to_owned()));
    }
    assert_eq!(sqs.counts(&queue, START).unwrap().visible, 1);
}

#[test]
fn a_batch_reports_which_of_its_entries_failed() {
    let (mut sqs, queue) = queue();
    sqs.send(&queue, "a", None, START).unwrap();
    let receipt = sqs.receive(&queue, 1, START).unwrap().remove(0).receipt;
    let input = json!({ "QueueUrl": queue.url(), "Entries": [
        { "Id": "good", "ReceiptHandle": receipt }, { "Id": "bad", "ReceiptHandle": "x" },
    ]});
    let rendered = ask(&mut sqs, "DeleteMessageBatch", &input).unwrap();
    assert_eq!(rendered["Successful"], json!([{ "Id": "good" }]));
    assert_eq!(rendered["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
}

#[test]
fn another_account_s_queue_and_one_that_is_not_there_are_refused() {
    let (mut sqs, _) = queue();
    for (account, name, code) in
        [("444455556666", "intake", "AccessDenied"), (PLACE.account, "none", "QueueDoesNotExist")]
    {
        let url = Address::new(account, PLACE.region, name).url();
        let rendered = ask(&mut sqs, "ReceiveMessage", &json!({ "QueueUrl": url }));
        assert_eq!(rendered, Err(code.to_owned()));
    }
}

/// What a queue holds stays what was sent less what was deleted, whatever is
/// done to it in whatever order.
#[test]
fn nothing_is_lost_and_nothing_doubled_over_a_long_run() {
    let (mut sqs, queue) = queue();
    let (mut sent, mut deleted, mut at) = (0_usize, 0_usize, 0_i64);
    let mut receipts: Vec<String> = Vec::new();
    for round in 0_u64..5_000 {
        // A plain generator: the run is the same each time.
        let dice = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round >> 3) >> 33;
        match dice % 5 {
            0 | 1 => {
                let group = format!("{}", dice % 7);
                let group = (dice % 3 > 0).then_some(group);
                sqs.send(&queue, "x", group.as_deref(), after(at)).unwrap();
                sent += 1;
            }
            2 => {
                let received = sqs.receive(&queue, 3, after(at)).unwrap();
                receipts.extend(received.into_iter().map(|message| message.receipt));
            }
            3 => at += 7,
            _ => {
                if let Some(receipt) = receipts.pop() {
                    let before = sqs.messages(&queue).len();
                    if dice.is_multiple_of(2) {
                        sqs.delete(&queue, &receipt).unwrap();
                    } else if sqs.release(&queue, &receipt, after(at)).is_err() {
                        assert_eq!(sqs.messages(&queue).len(), before);
                    }
                    deleted += before - sqs.messages(&queue).len();
                }
            }
        }
        let Counts { visible, in_flight, delayed } = sqs.counts(&queue, after(at)).unwrap();
        assert_eq!(visible + in_flight + delayed, sent - deleted, "round {round}");
        assert_eq!(sqs.messages(&queue).len(), sent - deleted, "round {round}");
    }
    let mut rest = 0;
    while let Some(message) = sqs.receive(&queue, 1, after(at + 999)).unwrap().pop() {
        sqs.delete(&queue, &message.receipt).unwrap();
        rest += 1;
    }
    assert_eq!(rest, sent - deleted);
    assert!(deleted > 100, "{deleted}");
}

#[test]
fn in_turn_a_tenant_with_one_message_does_not_wait_behind_one_with_a_hundred() {
    let (mut sqs, queue) = queue();
    sqs.create(&queue, START).order = Order::InTurn;
    for number in 0..100 {
        sqs.send(&queue, &format!("loud {number}"), Some("loud"), START).unwrap();
    }
    sqs.receive(&queue, 10, START).unwrap();
    sqs.send(&queue, "quiet", Some("quiet"), START).unwrap();
    let received = sqs.receive(&queue, 2, START).unwrap();
    assert_eq!(bodies(&received), ["quiet", "loud 10"]);
}
