//! An organization with a responder, and ways to deliver findings to it.

use aws_lambda_events::event::sqs::SqsEvent;
use aws_sdk_dynamodb::types::AttributeValue;
use firebreak_aws::policies::Author;
use firebreak_client::rate_limit::Class;
use firebreak_demo::example_policy;
use firebreak_demo::world::{Attack, HOME, Member, World, event};
use firebreak_engine::{Disposition, Engine, TargetOutcome};
use firebreak_function::{self as lambda, Handled};
use firebreak_policy::Policy;
use firebreak_response::record::{Response, State};
use firebreak_simulation::{CallRecord, Options};
use firebreak_testkit::truth;
use jiff::SignedDuration;
use serde_json::{Value, json};

pub(crate) use firebreak_testkit::arrange::{finding_on, policy, whole_undo};

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) engine: Engine,
}

/// What became of one message.
pub(crate) struct Delivered {
    pub(crate) failed: bool,
    pub(crate) handled: Handled,
}

impl Delivered {
    /// The one outcome of a message that was acknowledged.
    pub(crate) fn outcome(&self) -> &TargetOutcome {
        assert!(!self.failed, "{:?}", self.handled.errors);
        assert_eq!(self.handled.outcomes.len(), 1, "{:?}", self.handled.outcomes);
        &self.handled.outcomes[0]
    }

    /// The record of the one outcome.
    pub(crate) fn response(&self) -> &Response {
        let outcome = self.outcome();
        outcome.response.as_ref().unwrap_or_else(|| panic!("no response: {outcome:?}"))
    }

    pub(crate) fn state(&self) -> State {
        self.response().state
    }

    pub(crate) fn disposition(&self) -> Disposition {
        self.outcome().disposition
    }

    /// Why a message was not acknowledged.
    pub(crate) fn error(&self) -> String {
        assert!(self.failed, "{:?}", self.handled.outcomes);
        let errors: Vec<String> = self.handled.errors.iter().map(ToString::to_string).collect();
        errors.join("; ")
    }
}

/// Twelve accounts under the example policies.
pub(crate) async fn stage() -> Stage {
    stage_with(example_policy().unwrap(), Options::default()).await
}

pub(crate) async fn stage_with(policy: Policy, options: Options) -> Stage {
    let world = World::new(12, options);
    let engine = world.engine(&policy).await.unwrap();
    Stage { world, engine }
}

/// Who pushes policies in a test.
pub(crate) fn author() -> Author {
    Author { by: "alice".to_owned(), note: "a test".to_owned() }
}

impl Stage {
    /// A member of an OU: `sandbox`, `production`, `security` or `observe`; the
    /// second of the sandboxes has an instance with three interfaces in two VPCs.
    pub(crate) fn member(&self, unit: &str, nth: usize) -> &Member {
        let index = ["sandbox", "production", "security", "observe"]
            .iter()
            .position(|name| *name == unit)
            .unwrap();
        &self.world.members[index + 4 * nth]
    }

    /// A finding that GuardDuty raised and Security Hub knows as well.
    pub(crate) fn finding(&self, attack: Attack, member: &Member, number: usize) -> Value {
        let finding = attack.finding(member, number);
        self.world.raise(&finding);
        self.world.import(&finding);
        finding
    }

    /// Delivers a GuardDuty finding as GuardDuty, EventBridge and SQS do: the
    /// service has it as the event says.
    pub(crate) async fn deliver(&self, finding: &Value) -> Delivered {
        self.deliver_message(&event(finding).to_string()).await
    }

    /// Delivers a message after its service was made to know what it says.
    pub(crate) async fn deliver_message(&self, body: &str) -> Delivered {
        self.make_true(body);
        self.deliver_forged(body).await
    }

    /// Delivers a message that its service knows nothing of, or other things.
    pub(crate) async fn deliver_forged(&self, body: &str) -> Delivered {
        deliver_to(&self.engine, body).await
    }

    /// Puts what an event says into the service that sends it.
    fn make_true(&self, body: &str) {
        let Ok(event) = serde_json::from_str::<Value>(body) else { return };
        match event["source"].as_str() {
            Some("aws.guardduty") => self.world.raise(&event["detail"]),
            Some("aws.securityhub") => {
                let region = event["region"].as_str().unwrap_or(HOME);
                for finding in event["detail"]["findings"].as_array().into_iter().flatten() {
                    self.world.organization.edit(|state| {
                        let known =
                            finding["Id"].as_str().and_then(|id| state.security_hub.finding(id));
                        if known.is_none() {
                            state.security_hub.import(region, finding.clone());
                        }
                    });
                }
            }
            Some(_) | None => {}
        }
    }

    /// Puts other documents in force, and waits until every process follows them.
    pub(crate) async fn push(&self, policy: &Policy) {
        let policies = &self.engine.policies;
        let before = policies.version().await.unwrap();
        policies.push(&policy.to_stored(), &before, &author()).await.unwrap();
        self.world.organization.advance(jiff::SignedDuration::from_secs(61));
    }

    /// A second process of the hub, with caches of its own.
    pub(crate) async fn another_responder(&self) -> Engine {
        Engine::new(&self.world.hub_config().await.unwrap(), self.world.settings().unwrap())
    }

    /// The command line of somebody who pushes policies.
    pub(crate) async fn operator(&self) -> Engine {
        Engine::new(&self.world.operator_config().await.unwrap(), self.world.settings().unwrap())
    }

    /// Lets an hour pass and sweeps, as the schedule does, every five minutes.
    pub(crate) async fn settle(&self) {
        self.settle_with(&self.engine).await;
    }

    pub(crate) async fn settle_with(&self, engine: &Engine) {
        for _ in 0..12 {
            self.world.organization.advance(jiff::SignedDuration::from_mins(5));
            engine.sweep().await;
        }
    }

    pub(crate) fn calls(&self) -> Vec<CallRecord> {
        self.world.organization.calls()
    }

    /// The calls that change something outside the hub's own table.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.calls()
            .into_iter()
            .filter(|call| call.mutating && call.service != "dynamodb")
            .map(|call| format!("{}:{}", call.service, call.operation))
            .collect()
    }

    pub(crate) fn snapshot(&self, member: &Member) -> Value {
        self.world.organization.snapshot(&member.account)
    }

    pub(crate) fn reaches_internet(&self, member: &Member) -> bool {
        truth::reaches_internet(&self.world, member)
    }
}

pub(crate) async fn deliver_to(engine: &Engine, body: &str) -> Delivered {
    let batch: SqsEvent = serde_json::from_value(json!({ "Records": [{
        "messageId": "m-1", "eventSource": "aws:sqs", "body": body,
    }]}))
    .unwrap();
    let (response, handled) = lambda::handle_batch(engine, batch).await;
    let (_, handled) = handled.into_iter().next().unwrap();
    Delivered { failed: !response.batch_item_failures.is_empty(), handled }
}

/// Takes all tokens of a bucket of the shared rate limits, so that the next one comes
/// after this time.
pub(crate) async fn take_tokens(
    world: &World,
    member: &Member,
    class: Class,
    wait: SignedDuration,
) {
    let client = aws_sdk_dynamodb::Client::new(&world.hub_config().await.unwrap());
    let bucket = format!("{class:?}-Contain-{}", member.region);
    let until = world.organization.now() + wait;
    client
        .put_item()
        .table_name("firebreak")
        .item("pk", AttributeValue::S(format!("rate#{}", member.account)))
        .item("sk", AttributeValue::S("rate".to_owned()))
        .item(bucket, AttributeValue::N(until.as_microsecond().to_string()))
        .send()
        .await
        .unwrap();
}
