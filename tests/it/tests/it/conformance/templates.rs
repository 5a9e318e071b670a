//! Each template is made a stack by moto, as far as moto knows its resources:
//! another reader of the templates than the simulation's loader.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudformation::types::{Capability, Parameter};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use firebreak_testkit::repository;
use serde_json::Value;

use crate::conformance::backend::{ACCOUNT, Backend, Moto, REGION};

/// What moto 5.2 does not make of a template: it says that the stack is complete,
/// and leaves these out.
const SKIPPED: [&str; 8] = [
    "AWS::CloudWatch::Alarm",
    "AWS::Events::EventBusPolicy",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Organizations::ResourcePolicy",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
];

/// A zip archive without a file in it: moto looks whether the code is there.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

type Parameters<'a> = &'a [(&'a str, &'a str)];

/// A template without the message groups of rules' targets: moto 5.2 takes a queue with one
/// for a FIFO queue, and answers PutEvents with 500.
fn as_moto_takes_it(template: &str) -> String {
    let kept = template.lines().filter(|line| !line.trim_start().starts_with("SqsParameters:"));
    kept.map(|line| format!("{line}\n")).collect()
}

/// Puts a zip in place of the function's.
pub(crate) async fn put_code(moto: &Backend) {
    moto.bucket("code").await;
    let code = moto.s3().put_object().bucket("code").key("firebreak.zip");
    code.body(EMPTY_ZIP.to_vec().into()).send().await.unwrap();
}

/// Makes a stack with every option on; its outputs. Tells what moto skipped.
pub(crate) async fn deploy(
    moto: &Backend,
    name: &str,
    parameters: Parameters<'_>,
) -> BTreeMap<String, String> {
    let template = repository::template(name);
    let client = moto.cloudformation();
    let given = parameters.iter().map(|(key, value)| {
        Parameter::builder().parameter_key(*key).parameter_value(*value).build()
    });
    let stack = name.trim_end_matches(".yaml");
    client
        .create_stack()
        .stack_name(stack)
        .template_body(as_moto_takes_it(&repository::text(&format!("stacksets/{name}"))))
        .capabilities(Capability::CapabilityNamedIam)
        .set_parameters(Some(given.collect()))
        .send()
        .await
        .unwrap();
    let made = client.describe_stack_resources().stack_name(stack).send().await.unwrap();
    let made: BTreeSet<&str> =
        made.stack_resources().iter().filter_map(|it| it.logical_resource_id()).collect();
    let mut skipped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let resources = template["Resources"].as_object().unwrap();
    for (id, resource) in resources.iter().filter(|(id, _)| !made.contains(id.as_str())) {
        skipped.entry(resource["Type"].as_str().unwrap()).or_default().push(id);
    }
    println!("moto: {name}: {} of {} resources", made.len(), resources.len());
    for (kind, ids) in &skipped {
        println!("      skipped {kind}: {}", ids.join(", "));
        assert!(SKIPPED.contains(kind), "{name}: moto made no {kind}: {ids:?}");
    }
    let answer = client.describe_stacks().stack_name(stack).send().await.unwrap();
    let answer = &answer.stacks()[0];
    assert_eq!(answer.stack_status().unwrap().as_str(), "CREATE_COMPLETE", "{name}");
    let outputs = answer.outputs().iter();
    outputs
        .map(|it| (it.output_key().unwrap().to_owned(), it.output_value().unwrap().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_makes_each_template_a_stack_as_far_as_it_knows_its_resources() {
    let Some(moto) = Moto::start().await else { return };
    let moto = Backend::Moto(Box::new(moto));
    put_code(&moto).await;
    let email = ("AlarmEmail", "security@example.com");
    let organization = ("OrganizationId", "o-abcdefghij");
    let external = ("ExternalId", "firebreak-demo");
    let home = ("AggregatorRegion", REGION);
    let hub = deploy(
        &moto,
        "hub.yaml",
        &[
            organization,
            external,
            home,
            ("ManagementAccountId", "100000000001"),
            ("CodeBucket", "code"),
            ("CodeKey", "firebreak.zip"),
            ("ArchiveResolved", "true"),
            ("EvidenceObjectLock", "true"),
            ("EvidenceLockDays", "30"),
            ("EvidenceExpiryDays", "400"),
        ],
    )
    .await;
    deploy(&moto, "monitoring.yaml", &[email]).await;
    let bus = format!("arn:aws:events:{REGION}:{ACCOUNT}:event-bus/firebreak");
    deploy(&moto, "region.yaml", &[("HubBusArn", &bus), home, email]).await;
    let hub_account = ("HubAccountId", ACCOUNT);
    deploy(
        &moto,
        "management.yaml",
        &[("HubBusArn", &bus), ("DelegateReading", "true"), hub_account, email],
    )
    .await;
    deploy(
        &moto,
        "spoke.yaml",
        &[
            hub_account,
            organization,
            external,
            ("ForensicProfile", "true"),
            ("EvidenceBucket", "firebreak-evidence-100000000002"),
        ],
    )
    .await;

    // What was made is wired: an event on the hub's bus gets into its queue.
    let entry = PutEventsRequestEntry::builder()
        .source("aws.guardduty")
        .detail_type("GuardDuty Finding")
        .detail(r#"{"id":"1","accountId":"222222222227"}"#)
        .event_bus_name("firebreak");
    let put = moto.events().put_events().entries(entry.build()).send().await.unwrap();
    assert_eq!(put.failed_entry_count(), 0);
    let received = moto.sqs().receive_message().queue_url(&hub["IntakeQueueUrl"]).send().await;
    let received = received.unwrap();
    let event: Value = serde_json::from_str(received.messages()[0].body().unwrap()).unwrap();
    assert_eq!(event["detail"]["id"], "1", "{event}");
}
