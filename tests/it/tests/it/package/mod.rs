//! The function's zip, as `hub/package` made it, in an environment that is not of
//! this project's making: ministack runs the zip as the function that
//! stacksets/hub.yaml declares, invoked by its own SQS event sources, in front of
//! its own DynamoDB, Organizations, STS, IAM, SNS and EventBridge, all of which
//! check the permissions that hub.yaml and spoke.yaml give.
//!
//! What ministack does not reach, or reads otherwise than AWS:
//!
//! - It has no GuardDuty and no Security Hub: the rule says `confirm: false`, and
//!   the notices say that Security Hub was not updated.
//! - It offers the runtime API without extensions, so the function learns nothing of
//!   its end, and no invocation comes near its deadline: `bootstrap` shows both with
//!   FIREBREAK_BOOTSTRAP naming the same program.
//! - Each account is the management account of its own organization: here the hub
//!   is that of its member.
//! - It knows no `AWS::Events::EventBusPolicy`, and refuses events of `aws.` sources
//!   as AWS does: the event is put into the queue, not on the bus.
//! - It speaks HTTP, so the statements that ask for TLS are left out.
//! - It takes `aws:PrincipalArn` of a role's session for the session's ARN, where
//!   IAM takes the role's ("For IAM roles, the request context returns the ARN of
//!   the role, not the ARN of the user that assumed the role": IAM user guide,
//!   "AWS global condition context keys"): left out of the spoke role's trust.
//! - Its instances have no network interfaces: an access key is contained instead.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]
#![expect(clippy::disallowed_methods, reason = "a test reads the environment and the clock")]

mod ministack;

use firebreak_spoke::registry;
use std::path::PathBuf;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_iam::types::StatusType;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use aws_sdk_sqs::types::{
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use firebreak_aws::policies::{Author, Policies};
use firebreak_aws::settings::Settings;
use firebreak_aws::store::Store;
use firebreak_demo::world::{Attack, HUB, Member, event};
use firebreak_policy::StoredDocument;
use firebreak_response::record::{Response, State};
use jiff::{SignedDuration, Timestamp};
use ministack::{Ministack, REGION, deploy, output_of, until};
use serde_json::{Value, json};

/// "50 MB (zipped)" is Lambda's limit; this is the project's own, a tenth above what
/// 24 SDKs come to.
const LARGEST_ZIP: u64 = 30_000_000;
const EXTERNAL_ID: &str = "firebreak-package";
const POISON: &str = "not a finding";

/// The zip and ministack's program, where they are named.
fn named() -> Option<(PathBuf, PathBuf)> {
    let variable = |name: &str| {
        let named = std::env::var_os(name).map(PathBuf::from);
        if named.is_none() {
            println!("skipped: {name} is not set (hub/package, pip install ministack)");
        }
        named
    };
    Some((variable("FIREBREAK_PACKAGE")?, variable("FIREBREAK_MINISTACK")?))
}

/// The hub, deployed, and a member account that it may contain.
struct Deployed {
    hub: SdkConfig,
    member: SdkConfig,
    account: String,
    root: String,
    intake: String,
    dead: String,
    write_back: String,
    topic: String,
}

impl Deployed {
    /// As docs/deploy.md says: the zip into a bucket, hub.yaml, then spoke.yaml.
    async fn with(ministack: &Ministack, zip: PathBuf) -> Self {
        let hub = ministack.account(HUB).await;
        let s3 = aws_sdk_s3::Client::new(&hub);
        let here = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(REGION))
            .build();
        let bucket = s3.create_bucket().bucket("firebreak-code");
        bucket.create_bucket_configuration(here).send().await.unwrap();
        let body = aws_sdk_s3::primitives::ByteStream::from(std::fs::read(zip).unwrap());
        let put = s3.put_object().bucket("firebreak-code").key("firebreak.zip").body(body);
        put.send().await.unwrap();

        let organizations = aws_sdk_organizations::Client::new(&hub);
        let answer = organizations.describe_organization().send().await.unwrap();
        let organization = answer.organization().unwrap().id().unwrap().to_owned();
        let roots = organizations.list_roots().send().await.unwrap();
        let root = roots.roots()[0].id().unwrap().to_owned();
        let made = organizations.create_account().email("a@example.com").account_name("member");
        let made = made.send().await.unwrap();
        let account = made.create_account_status().unwrap().account_id().unwrap().to_owned();

        let parameters = [
            ("OrganizationId", organization.as_str()),
            ("ManagementAccountId", HUB),
            ("ExternalId", EXTERNAL_ID),
            ("CodeBucket", "firebreak-code"),
            ("CodeKey", "firebreak.zip"),
            ("Architecture", "x86_64"),
        ];
        let stack = deploy(&hub, "firebreak-hub", "hub.yaml", &parameters).await;
        let member = ministack.account(&account).await;
        let parameters = [
            ("HubAccountId", HUB),
            ("OrganizationId", organization.as_str()),
            ("ExternalId", EXTERNAL_ID),
        ];
        deploy(&member, "firebreak-spoke", "spoke.yaml", &parameters).await;
        let sqs = aws_sdk_sqs::Client::new(&hub);
        let dead = sqs.get_queue_url().queue_name("firebreak-intake-dead").send().await.unwrap();
        Self {
            dead: dead.queue_url().unwrap().to_owned(),
            intake: output_of(&stack, "IntakeQueueUrl"),
            write_back: output_of(&stack, "WriteBackQueueUrl"),
            topic: output_of(&stack, "NoticesTopicArn"),
            hub,
            member,
            account,
            root,
        }
    }

    fn settings() -> Settings {
        Settings::new(EXTERNAL_ID)
    }

    /// Puts a policy in force as `firebreak policy push` does.
    async fn push(&self, rules: &str) {
        let policies = Policies::new(&self.hub, &Self::settings(), registry::catalog());
        let before = policies.version().await.unwrap();
        let document = StoredDocument {
            attach: self.root.clone(),
            file: "root.yaml".to_owned(),
            text: format!("version: 1\nattach: {}\nrules:\n{rules}", self.root),
        };
        let author = Author { by: "the test".to_owned(), note: String::new() };
        policies.push(&[document], &before, &author).await.unwrap();
    }

    /// A user of the member account, whose key an attacker has.
    async fn victim(&self) -> Member {
        let iam = aws_sdk_iam::Client::new(&self.member);
        iam.create_user().user_name("deploy").send().await.unwrap();
        let key = iam.create_access_key().user_name("deploy").send().await.unwrap();
        let nobody = Credentials::new("none", "none", None, None, "none");
        Member {
            account: self.account.clone(),
            unit: self.root.clone(),
            region: REGION.to_owned(),
            instance: "none".to_owned(),
            instance_credentials: nobody.clone(),
            user: "deploy".to_owned(),
            key: key.access_key().unwrap().access_key_id().to_owned(),
            role_session: nobody,
            bucket: "none".to_owned(),
        }
    }

    async fn key_status(&self) -> StatusType {
        let iam = aws_sdk_iam::Client::new(&self.member);
        let keys = iam.list_access_keys().user_name("deploy").send().await.unwrap();
        keys.access_key_metadata()[0].status().unwrap().clone()
    }

    /// Puts messages into the intake queue, all at once.
    async fn send(&self, bodies: &[&str]) {
        let sqs = aws_sdk_sqs::Client::new(&self.hub);
        let entries = bodies.iter().enumerate().map(|(index, body)| {
            let entry = SendMessageBatchRequestEntry::builder().id(format!("m-{index}"));
            entry.message_body(*body).build().unwrap()
        });
        let batch = sqs.send_message_batch().queue_url(&self.intake);
        let sent = batch.set_entries(Some(entries.collect())).send().await.unwrap();
        assert_eq!(sent.successful().len(), bodies.len());
    }

    /// How many messages a queue holds, those under way among them.
    async fn holds(&self, queue: &str) -> u32 {
        let sqs = aws_sdk_sqs::Client::new(&self.hub);
        let asked = sqs.get_queue_attributes().queue_url(queue);
        let answer = asked.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let attributes = answer.attributes().unwrap();
        let number = |name: QueueAttributeName| attributes[&name].parse::<u32>().unwrap();
        number(QueueAttributeName::ApproximateNumberOfMessages)
            + number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
    }

    async fn emptied(&self, queue: &str) {
        until(&format!("{queue} is empty"), || async {
            (self.holds(queue).await == 0).then_some(())
        })
        .await;
    }

    async fn responses(&self) -> Vec<Response> {
        let store = Store::new(&self.hub, &Self::settings());
        let now = Timestamp::now();
        let hour = SignedDuration::from_hours(1);
        store.responses(now - hour, now + hour).await.unwrap()
    }

    /// A queue of people's own, which notices come to.
    async fn subscribe(&self) -> String {
        let sqs = aws_sdk_sqs::Client::new(&self.hub);
        let arn = format!("arn:aws:sqs:{REGION}:{HUB}:people");
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
            "Action": "sqs:SendMessage", "Resource": arn,
            "Condition": { "ArnEquals": { "aws:SourceArn": self.topic } },
        }]});
        let made = sqs.create_queue().queue_name("people");
        let made = made.attributes(QueueAttributeName::Policy, policy.to_string());
        let queue = made.send().await.unwrap().queue_url().unwrap().to_owned();
        let sns = aws_sdk_sns::Client::new(&self.hub);
        let asked = sns.subscribe().topic_arn(&self.topic).protocol("sqs").endpoint(arn);
        asked.send().await.unwrap();
        queue
    }

    /// The next message of a queue that nobody else reads, and how often it came.
    async fn receive(&self, queue: &str) -> (String, u32) {
        let sqs = aws_sdk_sqs::Client::new(&self.hub);
        until(&format!("a message in {queue}"), || async {
            let asked = sqs.receive_message().queue_url(queue);
            let asked = asked.message_system_attribute_names(
                MessageSystemAttributeName::ApproximateReceiveCount,
            );
            let answer = asked.send().await.unwrap();
            let message = answer.messages().first()?;
            let count = &message.attributes().unwrap()
                [&MessageSystemAttributeName::ApproximateReceiveCount];
            Some((message.body().unwrap().to_owned(), count.parse().unwrap()))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zip_contains_what_its_event_source_brings() {
    let Some((zip, program)) = named() else { return };
    let size = zip.metadata().unwrap().len();
    println!("zip_bytes={size}");
    let ministack = Ministack::start(&program).await;
    println!("ministack's and the function's log: {}", ministack.log.display());
    let deployed = Deployed::with(&ministack, zip).await;

    // That permissions are checked at all: with another external id the spoke role
    // lets nobody in.
    let sts = aws_sdk_sts::Client::new(&deployed.hub);
    let role = format!("arn:aws:iam::{}:role/FirebreakSpoke", deployed.account);
    let wrong = sts.assume_role().role_arn(&role).role_session_name("x").external_id("not-it");
    let refused = wrong.send().await.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("AccessDenied"), "{refused:?}");

    let people = deployed.subscribe().await;
    let member = deployed.victim().await;
    deployed
        .push(
            "  - name: keys\n    when:\n      resource: { type: [AccessKey] }\n    mode: auto\n    confirm: false\n    then: [deactivate-access-key]\n",
        )
        .await;
    // The stack's 360 seconds are six times the function's timeout: too long to
    // wait for four deliveries.
    let sqs = aws_sdk_sqs::Client::new(&deployed.hub);
    let shorter = sqs.set_queue_attributes().queue_url(&deployed.intake);
    let shorter = shorter.attributes(QueueAttributeName::VisibilityTimeout, "15");
    shorter.send().await.unwrap();

    let finding = Attack::UserKey.finding(&member, 1);
    let body = event(&finding).to_string();
    assert_eq!(deployed.key_status().await, StatusType::Active);
    deployed.send(&[&body, POISON]).await;
    until("the key is deactivated", || async {
        (deployed.key_status().await == StatusType::Inactive).then_some(())
    })
    .await;

    // The poison alone is delivered again, and at last put aside.
    let (dead, deliveries) = deployed.receive(&deployed.dead).await;
    assert_eq!(dead, POISON);
    assert!(deliveries >= 4, "{deliveries}");
    deployed.emptied(&deployed.intake).await;
    assert_eq!(deployed.holds(&deployed.dead).await, 1);
    let response = only(deployed.responses().await);
    assert_eq!(response.state, State::Contained, "{response:?}");
    assert_eq!(response.reason, "verified: deactivate-access-key");
    assert_eq!(response.resource.account.to_string(), deployed.account);
    assert_eq!(response.finding.id, finding["id"].as_str().unwrap());

    // The second event source delivered the notices.
    let (notice, _) = deployed.receive(&people).await;
    let notice: Value = serde_json::from_str(&notice).unwrap();
    let notice: Value = serde_json::from_str(notice["Message"].as_str().unwrap()).unwrap();
    assert_eq!(notice["kind"], "contained", "{notice}");
    deployed.emptied(&deployed.write_back).await;

    // SQS delivers at least once: the same again changes nothing.
    deployed.send(&[&body]).await;
    deployed.emptied(&deployed.intake).await;
    assert_eq!(only(deployed.responses().await).revision, response.revision);

    // The schedule's tick, as EventBridge sends it.
    let lambda = aws_sdk_lambda::Client::new(&deployed.hub);
    let tick = r#"{ "detail-type": "Scheduled Event", "source": "aws.events", "detail": {} }"#;
    let tick = aws_sdk_lambda::primitives::Blob::new(tick);
    let swept = lambda.invoke().function_name("firebreak").payload(tick).send().await.unwrap();
    let said: Value = serde_json::from_slice(swept.payload().unwrap().as_ref()).unwrap();
    assert_eq!(swept.function_error(), None, "{said}");
    assert_eq!(said, json!({ "batchItemFailures": [] }));
    assert!(size <= LARGEST_ZIP, "the zip has {size} bytes");
}

fn only(mut responses: Vec<Response>) -> Response {
    assert_eq!(responses.len(), 1, "{responses:#?}");
    responses.remove(0)
}
