//! The intake queue: poison, forgeries, repeats, and how dead letters come back.

use firebreak_aws::config;
use firebreak_aws::config::ATTEMPTS;
use firebreak_demo::example_policy;
use firebreak_demo::world::{Attack, HOME, HUB, Member, add_spoke_role, event};
use firebreak_engine::Disposition;
use firebreak_response::record::State;
use firebreak_simulation::sqs::Counts;
use firebreak_simulation::{Effect, Fault, Options};
use firebreak_testkit::player::{Ended, Repeats};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::queue::hub::{Hub, at_once, dispositions, hub, responded};

/// After how long a message comes back that failed in passing.
const SOON: SignedDuration = SignedDuration::from_secs(15);
const GARBAGE: &str = "\u{1} not a finding";

async fn small() -> Hub {
    hub(12, &example_policy().unwrap(), Options::default(), at_once).await
}

/// What became of one message, a handling each.
fn of<'a>(ended: &'a Ended, id: &str) -> Vec<&'a firebreak_function::Handled> {
    ended.iter().filter(|(it, _)| it == id).map(|(_, handled)| handled).collect()
}

/// A member of an account that the organization does not know.
fn stranger(hub: &Hub) -> Member {
    Member { account: "299999999999".to_owned(), ..hub.sandbox(0).clone() }
}

/// The account joins, with an instance of its own, which is said.
fn joins(hub: &Hub, member: &Member) {
    let organization = &hub.world.organization;
    organization.add_account(&member.unit, &member.account, "joined");
    add_spoke_role(organization, &member.account);
    organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let vpc = ec2.add_vpc(false);
        let web = ec2.add_group(&vpc, "web");
        let made = ec2.add_instance(&vpc, &[&web]);
        // It was there all the time, under the id that the finding names.
        let held = ec2.instances.remove(&made).unwrap();
        for interface in ec2.interfaces.values_mut() {
            if interface.instance.as_deref() == Some(made.as_str()) {
                interface.instance = Some(member.instance.clone());
            }
        }
        ec2.instances.insert(member.instance.clone(), held);
    });
}

/// Has SQS put the dead letters back, as an operator does.
async fn redrive(hub: &Hub) {
    let organization = &hub.world.organization;
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "sqs:*", "Resource": "*" },
    ]});
    let trust = json!({ "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{HUB}:root") },
        "Action": "sts:AssumeRole",
    }]});
    organization.add_role(HUB, "/", "Operator", trust, policy);
    let session = organization.role_session(HUB, "Operator", "ann");
    let (client, time) = (organization.http_client(), organization.time_source());
    let config = config::with_http_client(client, session, time, &HOME.parse().unwrap()).await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    sqs.start_message_move_task().source_arn(hub.intake.dead.arn()).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn poison_becomes_a_dead_letter_after_its_last_receipt_and_nothing_else_does() {
    let hub = small().await;
    let poison = hub.intake.send(&hub.world, GARBAGE, None);
    let member = stranger(&hub);
    let unplaced = hub.send(&hub.raised(Attack::Instance.finding(&member, 1)));
    let good: Vec<String> =
        (0..3).map(|nth| hub.send(&hub.finding(hub.sandbox(nth), 10 + nth))).collect();
    let ended = hub.take_in().await;
    for id in [&poison, &unplaced] {
        let handled = of(&ended, id);
        let deliveries: Vec<u32> = handled.iter().map(|it| it.deliveries).collect();
        assert_eq!(deliveries, (1..=hub.received_at_most()).collect::<Vec<_>>());
        assert!(handled.iter().all(|it| it.outcomes.is_empty() && !it.errors.is_empty()));
    }
    let why = of(&ended, &unplaced)[0].errors[0].to_string();
    assert!(why.contains("cannot place account 299999999999"), "{why}");
    let dead: Vec<String> =
        hub.intake.dead_letters(&hub.world).into_iter().map(|it| it.body).collect();
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead.contains(&GARBAGE.to_owned()));
    for id in &good {
        let handled = of(&ended, id);
        assert_eq!(handled.len(), 1, "handled once");
        assert_eq!(handled[0].outcomes[0].response.as_ref().unwrap().state, State::Contained);
    }
    assert_eq!(hub.responses().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_redriven_dead_letter_is_handled_once_when_its_cause_is_fixed() {
    let hub = small().await;
    let member = stranger(&hub);
    hub.intake.send(&hub.world, GARBAGE, None);
    hub.send(&hub.raised(Attack::Instance.finding(&member, 1)));
    hub.take_in().await;
    assert_eq!(hub.intake.dead_letters(&hub.world).len(), 2);
    // Redriven too early it comes back, and nothing was done.
    redrive(&hub).await;
    assert_eq!(hub.intake.dead_letters(&hub.world).len(), 0);
    assert_eq!(hub.intake.counts(&hub.world).visible, 2);
    assert_eq!(responded(&hub.take_in().await), 0);
    assert_eq!(hub.intake.dead_letters(&hub.world).len(), 2);
    joins(&hub, &member);
    assert!(hub.reaches_internet(&member, &member.instance));
    redrive(&hub).await;
    let ended = hub.take_in().await;
    assert_eq!(responded(&ended), 1);
    assert!(!hub.reaches_internet(&member, &member.instance));
    let responses = hub.responses().await;
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].state, State::Contained, "{}", responses[0].reason);
    // What nobody can read is where it was.
    let dead = hub.intake.dead_letters(&hub.world);
    assert_eq!(dead.iter().map(|it| it.body.as_str()).collect::<Vec<_>>(), [GARBAGE]);
}

#[tokio::test(start_paused = true)]
async fn a_forged_event_is_refused_recorded_and_acknowledged() {
    let hub = small().await;
    let member = hub.sandbox(0);
    let before = hub.world.organization.snapshot(&member.account);
    let forged = Attack::Instance.finding(member, 1);
    // Security Hub has a finding under this id, which is not this one.
    hub.world.import(&forged);
    hub.send(&forged);
    let ended = hub.take_in().await;
    // Its service may be late: it is asked soon, and once more, and then it is refused.
    assert_eq!(ended.len(), 3);
    let why = ended[0].1.errors[0].to_string();
    assert!(why.contains("GuardDuty in Region") && why.contains(" yet: "), "{why}");
    let outcome = &ended[2].1.outcomes[0];
    assert_eq!(outcome.disposition, Disposition::NotConfirmed);
    assert!(outcome.reason.starts_with("not confirmed: GuardDuty in Region"), "{}", outcome.reason);
    let recorded = hub.responses().await;
    assert_eq!((recorded.len(), recorded[0].state), (1, State::Refused));
    assert_eq!(hub.intake.counts(&hub.world), Counts::default());
    assert!(hub.intake.dead_letters(&hub.world).is_empty());
    assert_eq!(hub.world.organization.snapshot(&member.account), before);
    assert_eq!(hub.world.security_hub_status(&forged).as_deref(), Some("NEW"));
    // The real one is answered.
    hub.world.raise(&forged);
    hub.send(&forged);
    assert_eq!(responded(&hub.take_in().await), 1);
    assert!(!hub.reaches_internet(member, &member.instance));
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_its_service_has_a_moment_later_is_contained_within_seconds() {
    let hub = small().await;
    let member = hub.sandbox(0);
    let finding = Attack::Instance.finding(member, 1);
    hub.send(&finding);
    let first = hub.intake.poll(&hub.world, &hub.engine).await.unwrap();
    assert_eq!((first.len(), first[0].1.errors.len()), (1, 1));
    hub.raised(finding);
    hub.world.organization.advance(SOON);
    let ended = hub.intake.poll(&hub.world, &hub.engine).await.unwrap();
    assert_eq!((ended.len(), responded(&ended)), (1, 1));
    assert!(!hub.reaches_internet(member, &member.instance));
    let responses = hub.responses().await;
    assert_eq!(responses.len(), 1, "nothing was refused meanwhile");
    assert_eq!(responses[0].state, State::Contained);
    assert!(hub.intake.dead_letters(&hub.world).is_empty());
}

/// However the time is chosen, and whatever else costs a delivery, a forged
/// event ends as refused and recorded, and not as a dead letter.
#[tokio::test(start_paused = true)]
async fn no_time_of_a_forged_event_makes_it_a_dead_letter() {
    for (updated_at, throttled, deliveries) in [
        ("2025-12-31T23:54:00Z", 0, 1),
        ("2026-01-01T00:00:00Z", 0, 3),
        ("2026-01-01T00:00:00Z", 1, 3),
        ("2026-01-01T00:01:00Z", 0, 3),
        ("2026-01-01T00:01:15Z", 1, 3),
        ("2026-01-01T00:01:30Z", 0, 1),
        ("2026-01-01T00:07:00Z", 2, 4),
        ("2999-01-01T00:00:00Z", 0, 1),
    ] {
        let hub = small().await;
        let mut forged = Attack::Instance.finding(hub.sandbox(0), 1);
        forged["updatedAt"] = updated_at.into();
        // Of each delivery the SDK makes several tries.
        let down = Effect::Error { status: 500, code: "InternalServerErrorException".to_owned() };
        let fault = Fault { times: ATTEMPTS * throttled, ..Fault::once("GetFindings", down) };
        hub.world.organization.inject(fault);
        hub.send(&forged);
        let ended = hub.take_in().await;
        assert_eq!(ended.len(), deliveries, "{updated_at} {throttled}: {ended:?}");
        let recorded = hub.responses().await;
        assert_eq!((recorded.len(), recorded[0].state), (1, State::Refused), "{updated_at}");
        assert!(recorded[0].reason.starts_with("not confirmed: "), "{}", recorded[0].reason);
        assert!(hub.intake.dead_letters(&hub.world).is_empty(), "{updated_at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_one_mebibyte_is_handled_and_sqs_takes_no_longer_one() {
    let hub = small().await;
    let member = hub.sandbox(0);
    let mut finding = Attack::Instance.finding(member, 1);
    let room = 1_048_576 - event(&finding).to_string().len();
    let description = finding["description"].as_str().unwrap().len() + room;
    finding["description"] = "x".repeat(description).into();
    let body = event(&finding).to_string();
    assert_eq!(body.len(), 1_048_576);
    hub.send(&hub.raised(finding));
    let ended = hub.take_in().await;
    assert_eq!((ended.len(), responded(&ended)), (1, 1), "{:.500?}", ended[0].1.errors);
    assert!(!hub.reaches_internet(member, &member.instance));
    let now = hub.engine.now();
    let refused = hub
        .world
        .organization
        .edit(|state| state.sqs.send(&hub.intake.queue, &format!("{body} "), None, now))
        .unwrap_err();
    assert_eq!(refused.code, "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn the_same_finding_twice_is_one_response_however_it_comes() {
    let undisturbed = small().await;
    undisturbed.send(&undisturbed.finding(undisturbed.sandbox(0), 1));
    undisturbed.take_in().await;
    let calls = |hub: &Hub| {
        ["ModifyNetworkInterfaceAttribute", "BatchUpdateFindings"].map(|it| hub.count(it))
    };
    let expected = calls(&undisturbed);
    // Two messages in one batch; the last two in batches of their own.
    for (repeats, messages, batch) in [
        (Repeats::InTheBatch, 1, 10),
        (Repeats::InTheNext, 1, 10),
        (Repeats::None, 2, 10),
        (Repeats::None, 2, 1),
        (Repeats::InTheNext, 2, 1),
    ] {
        let mut hub = small().await;
        (hub.intake.repeats, hub.intake.batch) = (repeats, batch);
        let finding = hub.finding(hub.sandbox(0), 1);
        for _ in 0..messages {
            hub.send(&finding);
        }
        let ended = hub.take_in().await;
        let case = format!("{repeats:?} {messages} {batch}: {:?}", dispositions(&ended));
        assert_eq!(responded(&ended), 1, "{case}");
        let responses = hub.responses().await;
        assert_eq!(responses.len(), 1, "{case}");
        assert_eq!(responses[0].state, State::Contained, "{case}");
        assert_eq!(calls(&hub), expected, "{case}");
        assert!(hub.intake.dead_letters(&hub.world).is_empty(), "{case}");
        assert!(hub.outbox().await.is_empty(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_failed_part_of_a_batch_is_delivered_again() {
    let hub = small().await;
    let (throttled, fine) = (hub.sandbox(0).clone(), hub.sandbox(1).clone());
    let unavailable = Effect::Error { status: 503, code: "ServiceUnavailable".to_owned() };
    // One invocation's tries, those of the SDK included.
    let fault = Fault::always("DescribeInstances", unavailable).in_account(&throttled.account);
    hub.world.organization.inject(fault);
    let of_throttled = hub.send(&hub.finding(&throttled, 1));
    let garbage = hub.intake.send(&hub.world, GARBAGE, None);
    let of_fine = hub.send(&hub.finding(&fine, 2));
    let first = hub.intake.poll(&hub.world, &hub.engine).await.unwrap();
    assert_eq!(first.len(), 3);
    let counts = hub.intake.counts(&hub.world);
    assert_eq!(counts, Counts { in_flight: 2, ..Counts::default() });
    assert!(!hub.reaches_internet(&fine, &fine.instance));
    hub.world.organization.clear_faults();
    // Not before their time.
    assert!(hub.intake.poll(&hub.world, &hub.engine).await.is_none());
    let rest = hub.take_in().await;
    assert_eq!((of(&rest, &of_throttled).len(), of(&rest, &of_fine).len()), (1, 0));
    assert_eq!(of(&rest, &garbage).len(), hub.received_at_most() as usize - 1);
    assert!(!hub.reaches_internet(&throttled, &throttled.instance));
    let dead = hub.intake.dead_letters(&hub.world);
    assert_eq!(dead.iter().map(|it| it.body.as_str()).collect::<Vec<_>>(), [GARBAGE]);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried_soon_once_and_poison_is_not() {
    let hub = small().await;
    let member = hub.sandbox(0).clone();
    let down = Effect::Error { status: 503, code: "ServiceUnavailable".to_owned() };
    hub.world.organization.inject(Fault::always("DescribeInstances", down));
    let throttled = hub.send(&hub.finding(&member, 1));
    hub.intake.send(&hub.world, GARBAGE, None);
    let poll = async || hub.intake.poll(&hub.world, &hub.engine).await;
    assert_eq!(poll().await.unwrap().len(), 2);
    hub.world.organization.advance(SOON - SignedDuration::from_secs(1));
    assert!(poll().await.is_none());
    hub.world.organization.advance(SignedDuration::from_secs(1));
    let again = poll().await.unwrap();
    assert_eq!((again.len(), again[0].0.as_str()), (1, throttled.as_str()));
    // The second time it does not pass so soon.
    hub.world.organization.advance(SOON);
    assert!(poll().await.is_none());
    hub.world.organization.clear_faults();
    let rest = hub.take_in().await;
    assert_eq!(responded(&rest), 1);
    assert!(!hub.reaches_internet(&member, &member.instance));
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_of_its_batch_keeps_none_from_coming_back_soon() {
    let hub = small().await;
    let (failing, slow) = (hub.sandbox(0).clone(), hub.sandbox(1).clone());
    let down = Effect::Error { status: 503, code: "ServiceUnavailable".to_owned() };
    let fault = Fault::always("DescribeInstances", down).in_account(&failing.account);
    hub.world.organization.inject(fault);
    // Never answered: it is at work until the invocation ran out of time.
    let fault = Fault::always("DescribeInstances", Effect::Silent).in_account(&slow.account);
    hub.world.organization.inject(fault);
    let failed = hub.send(&hub.finding(&failing, 1));
    hub.send(&hub.finding(&slow, 2));
    assert_eq!(hub.intake.poll(&hub.world, &hub.engine).await.unwrap().len(), 2);
    hub.world.organization.clear_faults();
    hub.world.organization.advance(SOON);
    let again = hub.intake.poll(&hub.world, &hub.engine).await.unwrap();
    let ids: Vec<&str> = again.iter().map(|(id, _)| id.as_str()).collect();
    assert!(ids.contains(&failed.as_str()), "{ids:?}");
    assert!(!hub.reaches_internet(&failing, &failing.instance));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_made_visible_early_returns_after_its_timeout() {
    let hub = small().await;
    let member = hub.sandbox(0).clone();
    let down = |status, code: &str| Effect::Error { status, code: code.to_owned() };
    hub.world.organization.inject(Fault::always("DescribeInstances", down(503, "Unavailable")));
    let denied = down(403, "AccessDenied");
    hub.world.organization.inject(Fault::always("ChangeMessageVisibility", denied));
    hub.send(&hub.finding(&member, 1));
    let poll = async || hub.intake.poll(&hub.world, &hub.engine).await;
    let first = poll().await.unwrap();
    assert_eq!((first.len(), first[0].1.errors.len()), (1, 1));
    hub.world.organization.clear_faults();
    hub.world.organization.advance(SOON);
    assert!(poll().await.is_none());
    assert_eq!(responded(&hub.take_in().await), 1);
    assert!(!hub.reaches_internet(&member, &member.instance));
}

/// Everything that is not a finding, beside one that is.
#[tokio::test(start_paused = true)]
async fn a_batch_of_poison_keeps_no_finding_from_being_contained() {
    let hub = small().await;
    let poison: Vec<Value> = vec![
        json!("[]"),
        json!({ "outbox": "no list" }),
        json!({ "outbox": [{ "pk": "a" }] }),
        json!({ "Records": [] }),
        json!({ "source": "aws.guardduty", "detail-type": "GuardDuty Finding", "detail": null }),
    ];
    for body in &poison {
        hub.intake.send(&hub.world, &body.to_string(), None);
    }
    let member = hub.sandbox(0);
    hub.send(&hub.finding(member, 1));
    let ended = hub.take_in().await;
    assert_eq!(responded(&ended), 1);
    assert!(!hub.reaches_internet(member, &member.instance));
    assert_eq!(hub.intake.dead_letters(&hub.world).len(), poison.len());
}
