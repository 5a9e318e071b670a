//! What travels along the wiring that the templates give, and what does not.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use firebreak_aws::config;
use firebreak_aws::config::ATTEMPTS;
use firebreak_demo::example_policy;
use firebreak_demo::templates::GLOBAL;
use firebreak_demo::world::{Attack, HOME, HUB, MANAGEMENT, Member, asff, event};
use firebreak_engine::Disposition;
use firebreak_response::record::State;
use firebreak_simulation::sqs::Counts;
use firebreak_simulation::{Effect, Fault, events, sns};
use firebreak_testkit::truth;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::deploy::wired::Wired;

const INTAKE: &str = "firebreak-intake";
const WRITE_BACK: &str = "firebreak-write-back";

async fn wired() -> Wired {
    Wired::new(12, &example_policy().unwrap()).await
}

fn reaches_internet(wired: &Wired, member: &Member) -> bool {
    truth::reaches_internet(&wired.world, member)
}

#[tokio::test(start_paused = true)]
async fn a_finding_travels_from_a_member_s_region_to_its_containment_and_back() {
    let wired = wired().await;
    // The first sandbox is in the home Region, the second in us-east-1.
    for (number, index) in [(1, 0), (2, 4)] {
        let member = &wired.world.members[index];
        let finding = Attack::Instance.finding(member, number);
        wired.emit(&finding);
        // Once: the member's own bus has no rule.
        let waiting = Counts { visible: 1, ..Counts::default() };
        assert_eq!(wired.counts(INTAKE), waiting, "{}", member.region);
        let ended = wired.drain(INTAKE).await;
        let outcome = &ended[0].1.outcomes[0];
        assert_eq!(outcome.disposition, Disposition::Responded, "{:?}", outcome.reason);
        assert_eq!(outcome.response.as_ref().unwrap().state, State::Contained);
        assert!(!reaches_internet(&wired, member));
        // Delivered by the write-back queue: Security Hub, the topic, the bus.
        wired.drain(WRITE_BACK).await;
        let status = wired.world.security_hub_status(&finding);
        assert_eq!(status.as_deref(), Some("RESOLVED"));
    }
    let (topic, bus) =
        (sns::arn(HUB, HOME, "firebreak-notices"), events::arn(HUB, HOME, "firebreak-notices"));
    wired.world.organization.edit(|state| {
        assert!(state.sns.topics[&topic].published.len() >= 2);
        assert!(state.events.buses[&bus].len() >= 2);
        assert!(state.events.lost.is_empty(), "{:?}", state.events.lost);
    });
    assert!(wired.messages(HOME, "firebreak-intake-dead").is_empty());
}

/// PutEvents, by whoever may do everything in an account.
async fn put(
    wired: &Wired,
    account: &str,
    bus: &str,
    source: &str,
    detail: &Value,
) -> Result<(), String> {
    let organization = &wired.world.organization;
    let all = json!({ "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
    organization.add_role(account, "/", "anybody", json!({ "Statement": [] }), all);
    let credentials = organization.role_session(account, "anybody", "session");
    let (client, time) = (organization.http_client(), organization.time_source());
    let region = HOME.parse().unwrap();
    let config = config::with_http_client(client, credentials, time, &region).await;
    let entry = PutEventsRequestEntry::builder()
        .event_bus_name(bus)
        .source(source)
        .detail_type("GuardDuty Finding")
        .detail(detail.to_string())
        .build();
    let put = aws_sdk_eventbridge::Client::new(&config).put_events().entries(entry).send().await;
    match put {
        Ok(put) => match put.entries()[0].error_code() {
            None => Ok(()),
            Some(code) => Err(code.to_owned()),
        },
        Err(error) => Err(format!("{:?}", error.into_service_error())),
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_finding_gets_onto_no_bus_of_the_hub_s() {
    let wired = wired().await;
    let member = &wired.world.members[0];
    let finding = Attack::Instance.finding(member, 1);
    let bus = events::arn(HUB, HOME, "firebreak");
    let default = events::arn(HUB, HOME, "default");
    for (account, bus, source, why) in [
        // Nobody puts anything there by hand, wherever the call comes from.
        (member.account.as_str(), &bus, "aws.guardduty", "denies it explicitly"),
        (member.account.as_str(), &bus, "custom", "denies it explicitly"),
        (HUB, &bus, "aws.guardduty", "denies it explicitly"),
        (MANAGEMENT, &bus, "aws.organizations", "denies it explicitly"),
        // Nobody has a source that begins so, and the default bus is its account's.
        (HUB, &default, "aws.guardduty", "NotAuthorizedForSourceException"),
        (member.account.as_str(), &default, "custom", "does not let another account in"),
    ] {
        let refused = put(&wired, account, bus, source, &finding).await.unwrap_err();
        assert!(refused.contains(why), "{account} {bus} {source}: {refused}");
    }
    // Without that denial the bus would still admit no member, by hand or by rule.
    wired.world.organization.edit(|state| {
        let statements = state.events.policies.get_mut(&bus).unwrap();
        assert!(statements.remove("RefuseWhatIsPutByHand").is_some());
    });
    for (account, source) in [(member.account.as_str(), "aws.guardduty"), (MANAGEMENT, "custom")] {
        let refused = put(&wired, account, &bus, source, &finding).await.unwrap_err();
        assert!(refused.contains("does not let another account in"), "{account}: {refused}");
    }
    // What may be put on the default bus matches no rule.
    put(&wired, HUB, &default, "custom", &finding).await.unwrap();
    assert_eq!(wired.counts(INTAKE), Counts::default());
    assert!(reaches_internet(&wired, member));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_a_rule_may_not_deliver_is_in_its_dead_letter_queue() {
    let wired = wired().await;
    wired.world.organization.edit(|state| {
        let role = state.iam(HUB).roles.get_mut("FirebreakForwardFindings").unwrap();
        role.identity.inline.clear();
    });
    let member = &wired.world.members[4];
    let finding = Attack::Instance.finding(member, 1);
    wired.emit(&finding);
    assert_eq!(wired.counts(INTAKE), Counts::default());
    let dead = wired.messages(&member.region, "firebreak-region-undelivered");
    let kept: Value = serde_json::from_str(&dead[0].body).unwrap();
    assert_eq!(kept["detail"]["id"], finding["id"]);
    wired.world.organization.edit(|state| assert!(state.events.lost.is_empty()));
}

fn imported(finding: &Value, region: &str, status: &str) -> Value {
    let mut asff = asff(finding);
    asff["Workflow"]["Status"] = status.into();
    json!({
        "version": "0", "id": "event-1", "detail-type": "Security Hub Findings - Imported",
        "source": "aws.securityhub", "account": HUB, "time": "2026-01-01T00:00:00Z",
        "region": region, "resources": [], "detail": { "findings": [asff] },
    })
}

#[tokio::test(start_paused = true)]
async fn security_hub_s_findings_come_from_the_home_region_once_and_new_only() {
    let wired = wired().await;
    let finding = Attack::Instance.finding(&wired.world.members[0], 1);
    for (region, status, expected) in
        [("us-east-1", "NEW", 0), (HOME, "RESOLVED", 0), (HOME, "SUPPRESSED", 0), (HOME, "NEW", 1)]
    {
        wired.emit_event((HUB, region), &imported(&finding, region, status));
        assert_eq!(wired.counts(INTAKE).visible, expected, "{region} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn account_events_of_the_management_account_reach_the_hub_s_log() {
    let wired = wired().await;
    let event = |name: &str| {
        json!({
            "version": "0", "id": "event-1", "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.organizations", "account": MANAGEMENT, "region": GLOBAL,
            "time": "2026-01-01T00:00:00Z", "resources": [],
            "detail": { "eventSource": "organizations.amazonaws.com", "eventName": name },
        })
    };
    for name in ["MoveAccount", "ListAccounts", "CloseAccount"] {
        wired.emit_event((MANAGEMENT, GLOBAL), &event(name));
    }
    wired.world.organization.edit(|state| {
        let groups = state.monitoring.groups.iter();
        let mut matching = groups.filter(|(arn, _)| arn.ends_with("firebreak-account-events"));
        let names: Vec<&Value> =
            matching.next().unwrap().1.events.iter().map(|it| &it["detail"]["eventName"]).collect();
        assert_eq!(names, ["MoveAccount", "CloseAccount"]);
        assert!(state.events.lost.is_empty(), "{:?}", state.events.lost);
    });
    assert_eq!(wired.counts(INTAKE), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_message_is_a_dead_letter_after_four_receipts_and_the_others_are_handled() {
    let wired = wired().await;
    let member = &wired.world.members[0];
    wired.emit(&Attack::Instance.finding(member, 1));
    let mut broken = event(&Attack::Instance.finding(member, 2));
    broken["detail"] = json!({ "nothing": "of use" });
    wired.emit_event((HUB, &member.region), &broken);
    let ended = wired.drain(INTAKE).await;
    assert!(!reaches_internet(&wired, member));
    let failed = ended.iter().filter(|(_, handled)| !handled.errors.is_empty()).count();
    assert_eq!(failed, 4, "{ended:?}");
    assert_eq!(wired.messages(HOME, "firebreak-intake-dead").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_cannot_be_confirmed_in_passing_is_contained_within_the_minute() {
    let wired = wired().await;
    let organization = &wired.world.organization;
    let member = &wired.world.members[0];
    // One delivery's tries, those of the SDK included.
    let down = Effect::Error { status: 500, code: "InternalServerErrorException".to_owned() };
    organization.inject(Fault { times: ATTEMPTS, ..Fault::once("GetFindings", down) });
    let began = organization.now();
    wired.emit(&Attack::Instance.finding(member, 1));
    let ended = wired.drain(INTAKE).await;
    let deliveries: Vec<u32> = ended.iter().map(|(_, handled)| handled.deliveries).collect();
    assert_eq!(deliveries, [1, 2]);
    assert!(!reaches_internet(&wired, member));
    let took = organization.now().duration_since(began);
    assert!(took < SignedDuration::from_mins(1), "{took:#}");
}

#[tokio::test(start_paused = true)]
async fn the_schedule_sweeps_and_the_function_is_set_up_as_one() {
    let wired = wired().await;
    wired.tick().await;
    let sources = [INTAKE, WRITE_BACK].map(|queue| wired.source(queue));
    let at_once: i64 = sources.iter().map(|source| source.at_once.unwrap()).sum();
    let reserved = wired.function().reserved;
    assert_eq!(reserved, Some(at_once + 1), "the event sources' together, and one for the sweep");
    assert!(sources.iter().all(|source| source.reports_failures));
}

/// A storm within one batch and many: all event sources' processes at once.
#[tokio::test(start_paused = true)]
async fn many_findings_are_handled_by_as_many_processes_as_the_template_allows() {
    let wired = wired().await;
    let mut expected = 0;
    for (number, member) in wired.world.members.iter().enumerate() {
        for (index, attack) in Attack::ALL.into_iter().enumerate() {
            wired.emit(&attack.finding(member, number * 4 + index));
            expected += 1;
        }
    }
    assert_eq!(wired.counts(INTAKE).visible, expected);
    let ended = wired.drain(INTAKE).await;
    let delivered = wired.drain(WRITE_BACK).await;
    assert!(ended.len() >= expected && !delivered.is_empty());
    assert!(wired.messages(HOME, "firebreak-intake-dead").is_empty());
    for member in wired.world.members.iter().step_by(4) {
        assert!(!reaches_internet(&wired, member), "{}", member.account);
    }
}
