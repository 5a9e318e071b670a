//! Notices on their way: to the topic and to the bus, and what becomes of them
//! when either cannot take them.

use std::collections::BTreeSet;

use firebreak_aws::config::ATTEMPTS;
use firebreak_aws::notices::Notices;
use firebreak_aws::settings::Settings;
use firebreak_demo::world::{Attack, HOME, HUB};
use firebreak_response::notice::Notice;
use firebreak_simulation::events::{self, Event, Refused};
use firebreak_simulation::sns::{self, Published, Topic};
use firebreak_simulation::{Effect, Fault};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::scenarios::stage::{Stage, stage};

/// A stage with a topic and a bus, and what is sent to them.
struct Channels {
    stage: Stage,
    notices: Notices,
    topic: String,
    bus: String,
}

async fn channels_to(name: &str) -> Channels {
    let stage = stage().await;
    let (topic, bus) = (sns::arn(HUB, HOME, name), events::arn(HUB, HOME, "firebreak-notices"));
    stage.world.organization.edit(|state| {
        let made = Topic { fifo: name.rsplit('.').next() == Some("fifo"), ..Topic::default() };
        if made.fifo {
            // The template makes a standard topic and lets the hub publish to that.
            let role = state.iam(HUB).roles.get_mut("FirebreakHub").unwrap();
            let publish = json!({ "Statement": [{
                "Effect": "Allow", "Action": "sns:Publish", "Resource": topic,
            }]});
            role.identity.inline.insert("fifo".to_owned(), publish);
            state.sns.topics.insert(topic.clone(), made);
        }
    });
    let settings = Settings {
        topic: Some(topic.parse().unwrap()),
        event_bus: Some("firebreak-notices".parse().unwrap()),
        ..stage.world.settings().unwrap()
    };
    let notices = Notices::new(&stage.world.hub_config().await.unwrap(), &settings);
    Channels { stage, notices, topic, bus }
}

impl Channels {
    /// The notice of a containment that took place.
    async fn contained(&self, number: usize) -> Notice {
        let member = self.stage.member("sandbox", 0).clone();
        let finding = self.stage.finding(Attack::Instance, &member, number);
        let delivered = self.stage.deliver(&finding).await;
        Notice::of_response(delivered.response()).unwrap()
    }

    fn published(&self) -> Vec<Published> {
        self.stage.world.organization.edit(|state| {
            state.sns.topics.get(&self.topic).map(|it| it.published.clone()).unwrap_or_default()
        })
    }

    fn events(&self) -> Vec<Event> {
        self.stage.world.organization.edit(|state| state.events.buses[&self.bus].clone())
    }

    fn fault(&self, fault: Fault) {
        self.stage.world.organization.inject(fault);
    }
}

/// Notices that differ in their id only.
fn numbered(notice: &Notice, count: usize) -> Vec<Notice> {
    let with_id = |number: usize| {
        let mut other = Notice { id: format!("{}/{number}", notice.id), ..notice.clone() };
        other.detail["id"] = Value::String(other.id.clone());
        other
    };
    (0..count).map(with_id).collect()
}

#[tokio::test(start_paused = true)]
async fn people_get_the_text_and_programs_the_detail() {
    let channels = channels_to("firebreak-notices").await;
    let notice = channels.contained(1).await;
    channels.notices.publish(&notice).await.unwrap();
    let published = channels.published();
    let [published] = published.as_slice() else { panic!("{published:?}") };
    assert_eq!(published.subject.as_deref(), Some(notice.subject.as_str()));
    assert!(published.text("email").starts_with("Firebreak contained i-"));
    assert_eq!(published.text("sms"), notice.text);
    for protocol in ["sqs", "lambda", "https"] {
        let detail: Value = serde_json::from_str(published.text(protocol)).unwrap();
        assert_eq!(detail, notice.detail, "{protocol}");
    }
    let attribute = |name: &str| {
        let (kind, value) = &published.attributes[name];
        format!("{kind} {value}")
    };
    let account = &channels.stage.member("sandbox", 0).account;
    assert_eq!(attribute("kind"), "String contained");
    assert_eq!(attribute("state"), "String contained");
    assert_eq!(attribute("account"), format!("String {account}"));
    assert_eq!(attribute("severity"), "Number 8.0");
    assert_eq!(published.group, None, "a standard topic knows no groups here");
}

#[tokio::test(start_paused = true)]
async fn a_fifo_topic_drops_a_notice_that_is_published_again() {
    let channels = channels_to("firebreak-notices.fifo").await;
    let notice = channels.contained(1).await;
    channels.notices.publish(&notice).await.unwrap();
    // The answer to the first was lost, as far as the caller knows.
    channels.fault(Fault::once("Publish", Effect::LostAnswer));
    channels.notices.publish(&notice).await.unwrap();
    channels.stage.world.organization.advance(SignedDuration::from_mins(4));
    channels.notices.publish(&notice).await.unwrap();
    let published = channels.published();
    assert_eq!(published.len(), 1, "{published:?}");
    let account = &channels.stage.member("sandbox", 0).account;
    assert_eq!(published[0].group.as_ref(), Some(account), "in order within an account");
    // Another notice is another message.
    channels.notices.publish(&numbered(&notice, 1)[0]).await.unwrap();
    assert_eq!(channels.published().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn on_a_standard_topic_a_repeat_has_the_same_id() {
    let channels = channels_to("firebreak-notices").await;
    let notice = channels.contained(1).await;
    channels.fault(Fault::once("Publish", Effect::LostAnswer));
    channels.notices.publish(&notice).await.unwrap();
    let published = channels.published();
    let ids: BTreeSet<String> = published
        .iter()
        .map(|it| serde_json::from_str::<Value>(it.text("sqs")).unwrap()["id"].to_string())
        .collect();
    assert_eq!((published.len(), ids.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn events_are_put_ten_a_call_and_refused_one_by_one() {
    let channels = channels_to("firebreak-notices").await;
    let notices = numbered(&channels.contained(1).await, 23);
    channels.stage.world.organization.forget_calls();
    channels.stage.world.organization.edit(|state| {
        for (containing, code) in [("/3\"", "InternalFailure"), ("/15\"", "MalformedDetail")] {
            let (containing, code) = (containing.to_owned(), code.to_owned());
            state.events.refused.push(Refused { containing, code, times: 1 });
        }
    });
    let all: Vec<&Notice> = notices.iter().collect();
    let results = channels.notices.put_events(&all).await;
    assert_eq!(results.len(), 23);
    assert_eq!(channels.stage.calls().len(), 3);
    for (number, result) in results.iter().enumerate() {
        match (number, result) {
            (3, Err(error)) => {
                assert!(error.is_transient());
                assert!(error.to_string().contains("InternalFailure"), "{error}");
            }
            (15, Err(error)) => {
                assert_eq!(error.kind, firebreak_aws::error::HubErrorKind::Failed);
                assert!(error.to_string().contains("MalformedDetail"), "{error}");
            }
            (_, result) => assert!(result.is_ok(), "{number}: {result:?}"),
        }
    }
    let events = channels.events();
    assert_eq!(events.len(), 21);
    let first = &events[0];
    assert_eq!((first.source.as_str(), &first.detail), ("firebreak", &notices[0].detail));
    assert_eq!(first.detail_type, "Firebreak Response State Change");
    assert_eq!(
        first.resources,
        [notices[0].detail["response"]["resource"]["arn"].as_str().unwrap()]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_notice_reports_why_and_whether_to_retry() {
    let channels = channels_to("firebreak-notices").await;
    let notice = channels.contained(1).await;
    let error = |status, code: &str| Effect::Error { status, code: code.to_owned() };
    for (operation, effect, transient, part) in [
        ("Publish", error(404, "NotFound"), false, "change FIREBREAK_TOPIC"),
        ("Publish", error(403, "AuthorizationError"), false, "grant the hub's role sns:Publish"),
        ("Publish", error(429, "Throttled"), true, "Throttled"),
        ("Publish", error(400, "ThrottlingException"), true, "ThrottlingException"),
        ("Publish", error(500, "InternalError"), true, "InternalError"),
        ("Publish", error(400, "InvalidParameter"), false, "InvalidParameter"),
        ("Publish", Effect::Unreachable, true, "sns:Publish"),
        ("PutEvents", error(400, "ResourceNotFoundException"), false, "FIREBREAK_EVENT_BUS"),
        ("PutEvents", error(400, "AccessDeniedException"), false, "role events:PutEvents"),
        ("PutEvents", error(400, "ThrottlingException"), true, "ThrottlingException"),
        ("PutEvents", error(500, "InternalException"), true, "InternalException"),
        ("PutEvents", Effect::Unreachable, true, "events:PutEvents"),
        ("PutEvents", Effect::Malformed, true, "events:PutEvents"),
    ] {
        let name = format!("{operation} {effect:?}");
        // As often as the SDK tries by itself.
        channels.fault(Fault { times: ATTEMPTS, ..Fault::once(operation, effect) });
        let result = match operation {
            "Publish" => channels.notices.publish(&notice).await,
            _ => channels.notices.put_events(&[&notice]).await.remove(0),
        };
        channels.stage.world.organization.clear_faults();
        let error = result.expect_err(&name);
        let is_transient = error.is_transient();
        assert_eq!(is_transient, transient, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(error.to_string().contains(&notice.id), "{name}: {error}");
    }
    assert!(channels.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_or_is_not_granted_is_named_in_the_error() {
    let channels = channels_to("firebreak-notices").await;
    let notice = channels.contained(1).await;
    channels.stage.world.organization.edit(|state| state.sns.topics.clear());
    let error = channels.notices.publish(&notice).await.unwrap_err().to_string();
    assert!(error.contains("does not exist: create it again"), "{error}");
    let config = channels.stage.world.hub_config().await.unwrap();
    let elsewhere = Settings {
        topic: Some(sns::arn(HUB, HOME, "somebody-else-s").parse().unwrap()),
        event_bus: Some("somebody-else-s".parse().unwrap()),
        ..channels.stage.world.settings().unwrap()
    };
    let notices = Notices::new(&config, &elsewhere);
    let error = notices.publish(&notice).await.unwrap_err().to_string();
    assert!(error.contains("grant the hub's role sns:Publish"), "{error}");
    let error = notices.put_events(&[&notice]).await.remove(0).unwrap_err().to_string();
    assert!(error.contains("grant the hub's role events:PutEvents"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_not_set_is_off() {
    let channels = channels_to("firebreak-notices").await;
    let notice = channels.contained(1).await;
    let settings = channels.stage.world.settings().unwrap();
    let notices = Notices::new(&channels.stage.world.hub_config().await.unwrap(), &settings);
    assert!(!notices.has_topic() && !notices.has_bus());
    channels.stage.world.organization.forget_calls();
    notices.publish(&notice).await.unwrap();
    assert_eq!(notices.put_events(&[&notice, &notice]).await, [Ok(()), Ok(())]);
    assert!(channels.stage.calls().is_empty());
}
