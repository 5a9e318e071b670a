//! The cases of queues, topics and buses.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};

use crate::conformance::backend::Backend;
use crate::conformance::cases::{Case, code};

macro_rules! case {
    ($name:literal, $aws:literal, $moto:expr, |$backend:ident| $body:block) => {
        Case { name: $name, run: |$backend| Box::pin(async move { $body }), aws: $aws, moto: $moto }
    };
}

async fn queue(backend: &Backend, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
    let mut call = backend.sqs().create_queue().queue_name(name);
    for (name, value) in attributes {
        call = call.attributes(name.clone(), *value);
    }
    call.send().await.unwrap().queue_url.unwrap()
}

/// The bodies that one call receives, in order.
async fn received(backend: &Backend, url: &str) -> Vec<String> {
    let call = backend.sqs().receive_message().queue_url(url).max_number_of_messages(10);
    let answer = call.send().await.unwrap();
    answer.messages().iter().map(|message| message.body().unwrap().to_owned()).collect()
}

async fn topic(backend: &Backend, name: &str) -> String {
    let mut call = backend.sns().create_topic().name(name);
    if name.rsplit('.').next() == Some("fifo") {
        call = call.attributes("FifoTopic", "true");
    }
    call.send().await.unwrap().topic_arn.unwrap()
}

fn entry(detail: &str) -> PutEventsRequestEntry {
    let entry = PutEventsRequestEntry::builder().source("firebreak").detail_type("Case");
    entry.detail(detail).build()
}

pub(crate) const CASES: &[Case] = &[
    case!("sqs: what was received is hidden from the next call", "1 0", None, |backend| {
        let url = queue(backend, "hidden", &[]).await;
        backend.sqs().send_message().queue_url(&url).message_body("a").send().await.unwrap();
        let first = received(backend, &url).await.len();
        format!("{first} {}", received(backend, &url).await.len())
    }),
    case!("sqs: what is released is there at once, counted", "2", None, |backend| {
        let url = queue(backend, "released", &[]).await;
        let sqs = backend.sqs();
        sqs.send_message().queue_url(&url).message_body("a").send().await.unwrap();
        let answer = sqs.receive_message().queue_url(&url).send().await.unwrap();
        let receipt = answer.messages()[0].receipt_handle().unwrap();
        let call = sqs.change_message_visibility().queue_url(&url).visibility_timeout(0);
        call.receipt_handle(receipt).send().await.unwrap();
        let name = aws_sdk_sqs::types::MessageSystemAttributeName::ApproximateReceiveCount;
        let call = sqs.receive_message().queue_url(&url);
        let answer = call.message_system_attribute_names(name.clone()).send().await.unwrap();
        answer.messages()[0].attributes().unwrap()[&name].clone()
    }),
    case!("sqs: what was received too often is a dead letter", "1 0 1", None, |backend| {
        let dead = queue(backend, "dead", &[]).await;
        let call = backend.sqs().get_queue_attributes().queue_url(&dead);
        let answer = call.attribute_names(QueueAttributeName::QueueArn).send().await.unwrap();
        let arn = &answer.attributes().unwrap()[&QueueAttributeName::QueueArn];
        let policy = format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":1}}");
        let attributes = [
            (QueueAttributeName::RedrivePolicy, policy.as_str()),
            (QueueAttributeName::VisibilityTimeout, "0"),
        ];
        let url = queue(backend, "poisoned", &attributes).await;
        backend.sqs().send_message().queue_url(&url).message_body("a").send().await.unwrap();
        let first = received(backend, &url).await.len();
        let second = received(backend, &url).await.len();
        format!("{first} {second} {}", received(backend, &dead).await.len())
    }),
    case!(
        "sqs: a queue that does not exist",
        "AWS.SimpleQueueService.NonExistentQueue",
        None,
        |backend| { code(backend.sqs().get_queue_url().queue_name("none").send().await) }
    ),
    case!("sqs: a receipt that is none", "ReceiptHandleIsInvalid", None, |backend| {
        let url = queue(backend, "receipts", &[]).await;
        let call = backend.sqs().delete_message().queue_url(url).receipt_handle("none");
        code(call.send().await)
    }),
    case!(
        "sqs: a batch with an id twice",
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        None,
        |backend| {
            let url = queue(backend, "twice", &[]).await;
            let entry = || {
                let entry = SendMessageBatchRequestEntry::builder().id("a").message_body("x");
                entry.build().unwrap()
            };
            let call = backend.sqs().send_message_batch().queue_url(url);
            code(call.entries(entry()).entries(entry()).send().await)
        }
    ),
    case!(
        "sqs: a message of 1 MiB, and of a byte more",
        "ok InvalidParameterValue",
        None,
        |backend| {
            let url = queue(backend, "large", &[]).await;
            let send = |bytes: usize| {
                backend.sqs().send_message().queue_url(&url).message_body("x".repeat(bytes)).send()
            };
            format!("{} {}", code(send(1_048_576).await), code(send(1_048_577).await))
        }
    ),
    case!("sns: a subject of more than 100 characters", "InvalidParameter", None, |backend| {
        let call = backend.sns().publish().topic_arn(topic(backend, "subjects").await);
        code(call.message("m").subject("x".repeat(101)).send().await)
    }),
    case!("sns: a topic that does not exist", "NotFound", None, |backend| {
        let arn = "arn:aws:sns:eu-central-1:123456789012:none";
        code(backend.sns().publish().topic_arn(arn).message("m").send().await)
    }),
    case!(
        "sns: a FIFO topic wants a group",
        "InvalidParameter",
        Some((
            "MissingParameter",
            "moto has a code of its own; AWS has InvalidParameter for it (SNS API reference, Publish, Errors)"
        )),
        |backend| {
            let call = backend.sns().publish().topic_arn(topic(backend, "ordered.fifo").await);
            code(call.message("m").message_deduplication_id("1").send().await)
        }
    ),
    case!(
        "sns: texts by protocol need a default",
        "InvalidParameter",
        Some((
            "ok",
            "moto takes it; AWS asks for a top-level key `default` (SNS API reference, Publish, MessageStructure)"
        )),
        |backend| {
            let call = backend.sns().publish().topic_arn(topic(backend, "texts").await);
            code(call.message("{\"sqs\":\"m\"}").message_structure("json").send().await)
        }
    ),
    case!("events: one entry of two is malformed", "1 - MalformedDetail", None, |backend| {
        let call = backend.events().put_events().entries(entry("{}")).entries(entry("no JSON"));
        let answer = call.send().await.unwrap();
        let codes: Vec<&str> =
            answer.entries().iter().map(|entry| entry.error_code().unwrap_or("-")).collect();
        format!("{} {}", answer.failed_entry_count(), codes.join(" "))
    }),
    case!("events: more than ten entries", "ValidationException", None, |backend| {
        let entries = (0..11).map(|_| entry("{}")).collect();
        code(backend.events().put_events().set_entries(Some(entries)).send().await)
    }),
];
