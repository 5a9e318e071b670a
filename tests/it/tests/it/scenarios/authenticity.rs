//! Authenticity: a finding that its service does not bear out changes nothing.

use aws_lambda_events::event::sqs::SqsEvent;
use firebreak_demo::world::{Attack, asff, event};
use firebreak_engine::{Disposition, Run};
use firebreak_function as lambda;
use firebreak_response::record::{Response, State};
use firebreak_simulation::{Effect, Fault, Options};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::scenarios::stage::{Delivered, Stage, policy, stage, stage_with};

const ISOLATE: &str =
    "attach: r-fb01\nrules:\n  - { name: act, mode: auto, then: [isolate-instance] }\n";

async fn isolating() -> Stage {
    let stage = stage_with(policy(&[ISOLATE]), Options::default()).await;
    wait(&stage);
    stage
}

/// Waits until a finding that its service does not have comes no more.
fn wait(stage: &Stage) {
    stage.world.organization.advance(SignedDuration::from_mins(5));
}

fn imported(asff: &Value, region: &Value) -> String {
    json!({
        "id": "e-2", "source": "aws.securityhub", "account": "100000000002",
        "detail-type": "Security Hub Findings - Imported", "region": region,
        "detail": { "findings": [asff] },
    })
    .to_string()
}

/// The calls of a service's operation that a stage has seen.
fn count(stage: &Stage, service: &str, operation: &str) -> usize {
    let calls = stage.calls();
    calls.iter().filter(|it| it.service == service && it.operation == operation).count()
}

async fn records(stage: &Stage) -> Vec<Response> {
    let engine = &stage.engine;
    engine.store.responses(stage.world.began(), engine.now()).await.unwrap()
}

/// Refused, recorded, and nothing else; the reason.
async fn refused(stage: &Stage, delivered: &Delivered) -> String {
    assert_eq!(delivered.state(), State::Refused, "{}", delivered.response().reason);
    assert!(stage.changes().is_empty(), "{:?}", stage.changes());
    let kept = records(stage).await;
    let kept = kept.iter().find(|it| it.id == delivered.response().id).unwrap();
    let why = kept.reason.strip_prefix("not confirmed: ");
    why.unwrap_or_else(|| panic!("{}", kept.reason)).to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_forged_event_is_refused_and_recorded_once() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let finding = Attack::Instance.finding(member, 1);
    let message = event(&finding).to_string();
    let before = stage.snapshot(member);
    let delivered = stage.deliver_forged(&message).await;
    let id = finding["id"].as_str().unwrap();
    let expected = format!("GuardDuty in Region {} has no finding `{id}`", member.region);
    assert_eq!(refused(&stage, &delivered).await, expected);
    let again = stage.deliver_forged(&message).await;
    assert_eq!(again.disposition(), Disposition::Repeat);
    assert_eq!(records(&stage).await.len(), 1);
    assert_eq!(stage.snapshot(member), before);
    // Security Hub is not updated for what it may know as another finding.
    assert_eq!(count(&stage, "securityhub", "BatchUpdateFindings"), 0);
}

/// Services send a finding before every one of their copies has it.
#[tokio::test(start_paused = true)]
async fn a_finding_that_its_service_does_not_have_yet_is_asked_for_again() {
    let stage = stage_with(policy(&[ISOLATE]), Options::default()).await;
    let member = stage.member("sandbox", 0);
    let finding = Attack::Instance.finding(member, 1);
    let (id, region) = (finding["id"].as_str().unwrap(), &member.region);
    let asff = asff(&finding);
    let arn = asff["Id"].as_str().unwrap();
    for (message, expected) in [
        (
            event(&finding).to_string(),
            format!("GuardDuty in Region {region} has no finding `{id}` yet"),
        ),
        (
            imported(&asff, &finding["region"]),
            format!("Security Hub in Region {region} has no finding `{id}` yet"),
        ),
    ] {
        let error = stage.deliver_forged(&message).await.error();
        assert!(error.contains(&expected), "{error} {arn}");
        assert!(stage.changes().is_empty() && records(&stage).await.is_empty());
    }
    stage.world.import(&finding);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
}

/// GuardDuty writes what happens again into the finding that it has, with another instance or
/// key where that changed.
#[tokio::test(start_paused = true)]
async fn a_finding_that_was_updated_meanwhile_is_decided_on_as_its_service_has_it_now() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let mut received = stage.finding(Attack::Instance, member, 1);
    let mut newer = received.clone();
    newer["updatedAt"] = json!("2027-01-01T00:00:00.000Z");
    stage.world.raise(&newer);
    // The event was of an instance that the finding does not name any more.
    received["resource"]["instanceDetails"]["instanceId"] = json!("i-0aaaaaaaaaaaaaaaa");
    let delivered = stage.deliver_forged(&event(&received).to_string()).await;
    assert_eq!(delivered.state(), State::Contained, "{}", delivered.response().reason);
    let target = delivered.response().resource.arn();
    assert!(target.contains(&member.instance), "{target}");
    assert!(!stage.reaches_internet(member));
    // Of the same age it is an alteration.
    let other = stage.finding(Attack::Instance, member, 2);
    let mut altered = other.clone();
    altered["resource"]["instanceDetails"]["instanceId"] = json!("i-0aaaaaaaaaaaaaaaa");
    let delivered = stage.deliver_forged(&event(&altered).to_string()).await;
    assert_eq!(delivered.state(), State::Refused, "{}", delivered.response().reason);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_differs_from_its_service_is_refused_and_the_difference_named() {
    let stage = isolating().await;
    let (member, other) = (stage.member("sandbox", 0), stage.member("production", 0));
    let real = stage.finding(Attack::Instance, member, 1);
    let arn = real["arn"].as_str().unwrap();
    let elsewhere = arn.replace(&member.region, "us-east-1");
    let instance = "/resource/instanceDetails/instanceId";
    for (changes, expected) in [
        (
            vec![("/type", json!("Trojan:EC2/DropPoint"))],
            format!(
                "type is `Trojan:EC2/DropPoint` in the event, `{}` at GuardDuty",
                real["type"].as_str().unwrap()
            ),
        ),
        (
            vec![("/accountId", json!(other.account))],
            format!(
                "account is `{}` in the event, `{}` at GuardDuty",
                other.account, member.account
            ),
        ),
        (
            vec![("/region", json!("us-east-1"))],
            format!("Region is `us-east-1` in the event, `{}` at GuardDuty", member.region),
        ),
        (
            vec![("/region", json!("us-east-1")), ("/arn", json!(elsewhere))],
            format!(
                "GuardDuty in Region us-east-1 has no finding `{}`",
                real["id"].as_str().unwrap()
            ),
        ),
        (
            vec![(instance, json!("i-0123456789abcdef0"))],
            format!(
                "target is `arn:aws:ec2:{0}:{1}:instance/i-0123456789abcdef0` in the event, `arn:aws:ec2:{0}:{1}:instance/{2}` at GuardDuty",
                member.region, member.account, member.instance
            ),
        ),
    ] {
        let mut altered = real.clone();
        for (pointer, value) in changes {
            *altered.pointer_mut(pointer).unwrap() = value;
        }
        let delivered = stage.deliver_forged(&event(&altered).to_string()).await;
        assert_eq!(refused(&stage, &delivered).await, expected);
    }
    assert!(stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_the_credentials_is_compared_too() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - { name: act, mode: auto, then: [deactivate-access-key] }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let mut finding = stage.finding(Attack::UserKey, stage.member("sandbox", 0), 1);
    finding["resource"]["accessKeyDetails"]["userName"] = "somebody-else".into();
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    let why = refused(&stage, &delivered).await;
    assert!(why.starts_with("target `") && why.contains("somebody-else"), "{why}");
}

/// Severity and everything else that a rule looks at.
#[tokio::test(start_paused = true)]
async fn an_event_for_which_another_rule_would_decide_is_refused() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: severe\n    when: { severity: [{ numeric: [\">=\", 8.5] }] }\n    mode: auto\n    then: [isolate-instance]\n  - { name: watch, mode: observe }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let mut finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    finding["severity"] = json!(9.9);
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    let why = refused(&stage, &delivered).await;
    assert!(why.contains("policy decides differently") && why.contains("`watch`"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_the_service_does_not_know_is_not_blocked() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - { name: act, mode: auto, then: [block-remote-ip] }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let mut finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let probed = |address: &str| json!({ "networkConnectionAction": { "remoteIpDetails": { "ipAddressV4": address } } });
    finding["service"]["action"] = probed("198.51.100.7");
    stage.world.raise(&finding);
    let mut altered = finding.clone();
    altered["service"]["action"] = probed("203.0.113.9");
    let delivered = stage.deliver_forged(&event(&altered).to_string()).await;
    let why = refused(&stage, &delivered).await;
    assert_eq!(why, "remote addresses are 203.0.113.9 in the event, 198.51.100.7 at its service");
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    assert_eq!(delivered.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn an_archived_finding_is_not_acted_on() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    let ids = [finding["id"].as_str().unwrap().to_owned()];
    let region = member.region.parse().unwrap();
    stage.engine.guardduty.archive(&region, &ids).await.unwrap();
    stage.world.organization.forget_calls();
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    let why = refused(&stage, &delivered).await;
    assert_eq!(why, "it is archived or suppressed at GuardDuty");
    stage.engine.guardduty.unarchive(&region, &ids).await.unwrap();
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    assert_eq!(delivered.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_sample_at_the_service_is_never_acted_on() {
    let stage = isolating().await;
    let mut finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let message = event(&finding).to_string();
    finding["service"]["additionalInfo"] = json!({ "value": "{\"sample\":true}", "type": "x" });
    stage.world.raise(&finding);
    let delivered = stage.deliver_forged(&message).await;
    assert_eq!(refused(&stage, &delivered).await, "it is a sample at GuardDuty");
}

/// A forged event with a finding's own id must not make the real one count as
/// handled.
#[tokio::test(start_paused = true)]
async fn a_forged_event_does_not_block_the_real_finding() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let real = stage.finding(Attack::Instance, member, 1);
    let mut forged = real.clone();
    forged["type"] = "Trojan:EC2/DropPoint".into();
    forged["updatedAt"] = "2999-01-01T00:00:00.000Z".into();
    assert_eq!(stage.deliver_forged(&event(&forged).to_string()).await.state(), State::Refused);
    assert_eq!(stage.deliver_forged(&event(&real).to_string()).await.state(), State::Contained);
    assert!(!stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_confirmation_is_asked_again() {
    let effect = |status, code: &str| Effect::Error { status, code: code.to_owned() };
    for effect in [
        effect(429, "TooManyRequestsException"),
        effect(500, "InternalServerErrorException"),
        Effect::Unreachable,
        Effect::Malformed,
    ] {
        for operation in ["ListDetectors", "GetFindings"] {
            let stage = isolating().await;
            let member = stage.member("sandbox", 0);
            let finding = stage.finding(Attack::Instance, member, 1);
            let fault = Fault::always(operation, effect.clone());
            stage
                .world
                .organization
                .inject(Fault { service: Some("guardduty".to_owned()), ..fault });
            let delivered = stage.deliver(&finding).await;
            assert!(delivered.failed, "{operation} {effect:?}");
            assert!(stage.changes().is_empty() && records(&stage).await.is_empty());
            stage.world.organization.clear_faults();
            stage.world.organization.advance(SignedDuration::from_secs(60));
            assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
            assert!(!stage.reaches_internet(member));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_permission_to_confirm_nothing_is_done() {
    for operation in ["ListDetectors", "GetFindings"] {
        let stage = isolating().await;
        stage.world.organization.edit(|state| {
            let role = state.iam("100000000002").roles.get_mut("FirebreakHub").unwrap();
            let deny = json!({ "Version": "2012-10-17", "Statement": [{
                "Effect": "Deny", "Action": format!("guardduty:{operation}"), "Resource": "*",
            }]});
            role.identity.inline.insert("deny".to_owned(), deny);
        });
        let member = stage.member("sandbox", 0);
        let error = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await.error();
        let named = format!("cannot be confirmed: guardduty:{operation} failed: AccessDenied");
        assert!(error.contains(&named), "{error}");
        assert!(stage.changes().is_empty());
        assert!(stage.reaches_internet(member));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_detector_nothing_is_confirmed() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    stage.world.organization.edit(|state| state.guardduty.detectors.clear());
    let error = stage.deliver_forged(&event(&finding).to_string()).await.error();
    assert!(error.contains("GuardDuty has no detector in eu-central-1"), "{error}");
    assert!(stage.changes().is_empty());
    // It is asked for again, and again after it was replaced by another.
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    stage.world.organization.edit(|state| {
        for detector in state.guardduty.detectors.values_mut() {
            *detector = "f".repeat(32);
        }
    });
    let next = stage.finding(Attack::Instance, stage.member("production", 0), 2);
    assert!(stage.deliver(&next).await.error().contains("not owned by the current account"));
    assert_eq!(stage.deliver(&next).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_ask_for_no_confirmation() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - { name: act, mode: auto, then: [isolate-instance], confirm: false }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let finding = Attack::Instance.finding(stage.member("sandbox", 0), 1);
    stage.world.import(&finding);
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    assert_eq!(delivered.state(), State::Contained);
    assert!(stage.calls().iter().all(|call| call.service != "guardduty"));
}

/// Approval is asked for true findings only, and what observes asks nobody.
#[tokio::test(start_paused = true)]
async fn a_plan_that_waits_is_confirmed_and_what_observes_is_not() {
    let rule = |mode: &str| {
        format!(
            "attach: r-fb01\nrules:\n  - {{ name: act, mode: {mode}, then: [isolate-instance] }}\n"
        )
    };
    let stage = stage_with(policy(&[&rule("approve")]), Options::default()).await;
    wait(&stage);
    let message = event(&Attack::Instance.finding(stage.member("sandbox", 0), 1)).to_string();
    refused(&stage, &stage.deliver_forged(&message).await).await;
    let stage = stage_with(policy(&[&rule("observe")]), Options::default()).await;
    stage.world.import(&Attack::Instance.finding(stage.member("sandbox", 0), 1));
    assert_eq!(stage.deliver_forged(&message).await.state(), State::Observed);
    assert!(stage.calls().iter().all(|call| call.service != "guardduty"));
}

#[tokio::test(start_paused = true)]
async fn a_plan_reports_that_a_finding_is_forged_and_records_nothing() {
    let stage = isolating().await;
    let message = event(&Attack::Instance.finding(stage.member("sandbox", 0), 1)).to_string();
    let handled = lambda::handle_message(&stage.engine, &message, Run::Plan).await;
    let outcome = &handled.outcomes[0];
    assert_eq!(outcome.disposition, Disposition::Planned);
    assert_eq!(outcome.response.as_ref().unwrap().state, State::Refused);
    assert!(outcome.reason.starts_with("not confirmed: "), "{}", outcome.reason);
    assert!(records(&stage).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_newer_update_at_the_service_confirms_the_finding() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    let mut newer = finding.clone();
    newer["updatedAt"] = "2026-01-01T00:15:00.000Z".into();
    newer["severity"] = json!(9.0);
    newer["service"]["count"] = json!(12);
    stage.world.raise(&newer);
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    assert_eq!(delivered.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_target_of_an_attack_sequence_is_confirmed() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let mut finding = stage.finding(Attack::Instance, member, 1);
    let named = |instance: &str| {
        json!([{
            "resourceType": "EC2_INSTANCE", "accountId": member.account, "region": member.region,
            "uid": format!("arn:aws:ec2:{}:{}:instance/{instance}", member.region, member.account),
            "name": "web", "service": "ec2", "cloudPartition": "aws",
        }])
    };
    finding["type"] = "AttackSequence:EC2/CompromisedInstanceGroup".into();
    finding["resource"] = json!({ "resourceType": "AttackSequence" });
    finding["service"]["detection"] = json!({ "sequence": {
        "uid": "s-1", "description": "a sequence", "signals": [], "actors": [],
        "resources": named(&member.instance),
    }});
    stage.world.raise(&finding);
    let mut altered = finding.clone();
    altered["service"]["detection"]["sequence"]["resources"] = named("i-0123456789abcdef0");
    let delivered = stage.deliver_forged(&event(&altered).to_string()).await;
    assert!(refused(&stage, &delivered).await.starts_with("target is `"));
    let delivered = stage.deliver_forged(&event(&finding).to_string()).await;
    assert_eq!(delivered.state(), State::Contained);
    assert!(!stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_comes_through_security_hub_is_confirmed_there() {
    let stage = isolating().await;
    let member = stage.member("sandbox", 0);
    let finding = Attack::Instance.finding(member, 1);
    let written = asff(&finding);
    let message = imported(&written, &finding["region"]);
    let delivered = stage.deliver_forged(&message).await;
    let why = refused(&stage, &delivered).await;
    let id = finding["arn"].as_str().unwrap();
    let home = &member.region;
    assert_eq!(
        why,
        format!(
            "Security Hub in Region {home} has no finding `{}`",
            finding["id"].as_str().unwrap()
        ),
        "{id}"
    );

    stage.world.import(&finding);
    let mut altered = written.clone();
    altered["Resources"][0]["Id"] =
        format!("arn:aws:ec2:{home}:{}:instance/i-0123456789abcdef0", member.account).into();
    let delivered = stage.deliver_forged(&imported(&altered, &finding["region"])).await;
    assert!(refused(&stage, &delivered).await.starts_with("target is `"));

    stage.world.organization.forget_calls();
    assert_eq!(stage.deliver_forged(&message).await.state(), State::Contained);
    assert_eq!(count(&stage, "securityhub", "GetFindings"), 2);
    assert!(stage.calls().iter().all(|call| call.service != "guardduty"));
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_was_suppressed_in_security_hub_is_not_acted_on() {
    let stage = isolating().await;
    let finding = Attack::Instance.finding(stage.member("sandbox", 0), 1);
    let written = asff(&finding);
    let mut suppressed = written.clone();
    stage.world.import(&finding);
    suppressed["RecordState"] = "ARCHIVED".into();
    let region = finding["region"].as_str().unwrap();
    stage.world.organization.edit(|state| state.security_hub.import(region, suppressed));
    let delivered = stage.deliver_forged(&imported(&written, &finding["region"])).await;
    let why = refused(&stage, &delivered).await;
    assert_eq!(why, "it is archived or suppressed at Security Hub");
}

/// An import that claims to be GuardDuty's.
fn claimed(stage: &Stage) -> (Value, String) {
    let member = stage.member("sandbox", 0);
    let finding = Attack::Instance.finding(member, 1);
    let (account, region) = (&member.account, &member.region);
    let mut written = asff(&finding);
    written["ProductArn"] =
        format!("arn:aws:securityhub:{region}:{account}:product/{account}/default").into();
    written["ProductName"] = "GuardDuty".into();
    written["CompanyName"] = "Amazon".into();
    written["Types"] =
        json!([finding["type"], "TTPs/Initial Access/UnauthorizedAccess:EC2-SSHBruteForce"]);
    written["GeneratorId"] = finding["type"].clone();
    written["ProductFields"]["aws/securityhub/ProductName"] = "GuardDuty".into();
    written["ProductFields"]["aws/guardduty/service/count"] = "7".into();
    stage.world.organization.edit(|state| state.security_hub.import(region, written.clone()));
    (written, format!("{account}/default"))
}

const GUARDDUTY_S_RULES: &str = "attach: r-fb01\nrules:\n  - name: by-product\n    when: { product: [{ equals-ignore-case: guardduty }] }\n    mode: auto\n    then: [isolate-instance]\n  - name: by-type\n    when: { type: [{ wildcard: \"*:EC2*\" }, { prefix: Backdoor }] }\n    mode: auto\n    then: [isolate-instance]\n  - name: by-role\n    when: { resource: { role: [{ exists: true }] } }\n    mode: auto\n    then: [isolate-instance]\n";

#[tokio::test(start_paused = true)]
async fn an_import_that_claims_to_be_of_guardduty_matches_none_of_its_rules() {
    let rules = format!("{GUARDDUTY_S_RULES}  - {{ name: others, mode: observe }}\n");
    let stage = stage_with(policy(&[&rules]), Options::default()).await;
    let (written, product) = claimed(&stage);
    let delivered =
        stage.deliver_forged(&imported(&written, &written["Resources"][0]["Region"])).await;
    assert_eq!(delivered.state(), State::Observed);
    let response = delivered.response();
    assert_eq!(response.key.rule, "r-fb01/others");
    assert_eq!((&response.finding.product, &response.finding.kind), (&product, &product));
    // The same as GuardDuty's own integration writes it gets them.
    let stage = stage_with(policy(&[&rules]), Options::default()).await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = stage.deliver_message(&imported(&asff(&finding), &finding["region"])).await;
    assert_eq!(delivered.response().key.rule, "r-fb01/by-product");
}

/// Who wants to act on imports of their own can, by their name; they are
/// confirmed with Security Hub.
#[tokio::test(start_paused = true)]
async fn a_custom_product_s_findings_are_confirmed_as_its_own() {
    let probe = stage().await;
    let account = probe.member("sandbox", 0).account.clone();
    let rules = format!(
        "{GUARDDUTY_S_RULES}  - name: ours\n    when: {{ product: [\"{account}/default\"] }}\n    mode: auto\n    then: [isolate-instance]\n"
    );
    let stage = stage_with(policy(&[&rules]), Options::default()).await;
    let (written, _) = claimed(&stage);
    let delivered =
        stage.deliver_forged(&imported(&written, &written["Resources"][0]["Region"])).await;
    assert_eq!(delivered.state(), State::Contained);
    assert_eq!(delivered.response().key.rule, "r-fb01/ours");
    // Once to confirm it, once before its status is updated.
    assert_eq!(count(&stage, "securityhub", "GetFindings"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_envelope_that_its_service_did_not_send_is_rejected() {
    let stage = isolating().await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    for source in [json!("my.app"), json!("aws.ec2"), json!("aws.securityhub"), json!(null)] {
        let mut forged = event(&finding);
        forged["source"] = source.clone();
        let error = stage.deliver_forged(&forged.to_string()).await.error();
        assert!(error.contains("field `source`") && error.contains("`aws.guardduty`"), "{error}");
    }
    let mut forged: Value =
        serde_json::from_str(&imported(&asff(&finding), &finding["region"])).unwrap();
    forged["source"] = "aws.guardduty".into();
    let error = stage.deliver_forged(&forged.to_string()).await.error();
    assert!(error.contains("not from `aws.securityhub`"), "{error}");
    assert!(stage.calls().is_empty());
}

/// GetFindings takes 50 ids: who asks at once is answered by one call.
#[tokio::test(start_paused = true)]
async fn findings_that_come_at_once_are_confirmed_together() {
    let latency = std::time::Duration::from_millis(20);
    let options = Options { latency, ..Options::default() };
    let stage = stage_with(policy(&[ISOLATE]), options).await;
    let here: Vec<_> =
        stage.world.members.iter().filter(|it| it.region == "eu-central-1").cloned().collect();
    let records: Vec<Value> = here
        .iter()
        .enumerate()
        .map(|(number, member)| {
            let finding = stage.finding(Attack::Instance, member, number + 1);
            json!({
                "messageId": format!("m-{number}"), "eventSource": "aws:sqs",
                "body": event(&finding).to_string(),
            })
        })
        .collect();
    let batch: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
    let (response, _) = lambda::handle_batch(&stage.engine, batch).await;
    assert!(response.batch_item_failures.is_empty());
    assert_eq!(count(&stage, "guardduty", "ListDetectors"), 1);
    let asked = count(&stage, "guardduty", "GetFindings");
    assert!(here.len() >= 6 && asked <= 2, "{asked} calls for {} findings", here.len());
}
