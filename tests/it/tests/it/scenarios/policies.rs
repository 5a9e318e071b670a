//! Modes, inheritance, protections: what policy says is what happens.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use firebreak_aws::policies::Author;
use firebreak_demo::world::{Attack, event};
use firebreak_engine::Disposition;
use firebreak_model::resource::AccountId;
use firebreak_policy::Mode;
use firebreak_response::record::State;
use firebreak_simulation::{CallRecord, Effect, Fault, Options};
use jiff::SignedDuration;

use crate::scenarios::stage::{author, deliver_to, policy, stage, stage_with};

#[tokio::test(start_paused = true)]
async fn each_mode_does_what_it_says_and_no_more() {
    let stage = stage().await;
    for (unit, state, status) in [
        ("production", State::AwaitingApproval, "NOTIFIED"),
        ("observe", State::Observed, "NEW"),
        ("security", State::Refused, "NEW"),
    ] {
        let member = stage.member(unit, 1);
        let before = stage.snapshot(member);
        for (number, attack) in Attack::ALL.into_iter().enumerate() {
            let finding = stage.finding(attack, member, number + 1);
            let delivered = stage.deliver(&finding).await;
            assert_eq!(delivered.state(), state, "{unit} {attack:?}");
            assert_eq!(stage.world.security_hub_status(&finding).as_deref(), Some(status));
        }
        assert_eq!(stage.snapshot(member), before, "{unit}");
    }
    assert!(stage.changes().iter().all(|call| call == "securityhub:BatchUpdateFindings"));
}

#[tokio::test(start_paused = true)]
async fn off_leaves_no_trace() {
    let documents = policy(&["attach: r-fb01\nrules:\n  - { name: nothing, mode: off }\n"]);
    let stage = stage_with(documents, Options::default()).await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.disposition(), Disposition::Nothing);
    assert!(delivered.outcome().response.is_none());
    assert!(stage.changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_account_s_own_document_comes_first_and_cannot_pass_a_ceiling_above() {
    let account = "attach: \"200000000001\"\nrules:\n  - { name: own, mode: auto, then: [isolate-instance] }\n";
    let unit = |ceiling| {
        format!(
            "attach: ou-fb01-sandbox1\nceiling: {ceiling}\nrules:\n  - {{ name: units, mode: observe }}\n"
        )
    };
    for (ceiling, state, mode) in [
        ("auto", State::Contained, Mode::Auto),
        ("approve", State::AwaitingApproval, Mode::Approve),
        ("observe", State::Observed, Mode::Observe),
    ] {
        let documents = policy(&[account, &unit(ceiling)]);
        let stage = stage_with(documents, Options::default()).await;
        let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
        let delivered = stage.deliver(&finding).await;
        let decision = delivered.outcome().decision.as_ref().unwrap();
        assert_eq!(decision.rule.as_ref().unwrap().rule, "own");
        assert_eq!((delivered.state(), decision.mode), (state, mode), "{ceiling}");
        assert_eq!(decision.guardrails.len(), usize::from(ceiling != "auto"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_set_after_the_finding_protects_all_the_same() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let tags = ec2.tags.entry(member.instance.clone()).or_default();
        tags.insert("firebreak".to_owned(), "exempt".to_owned());
    });
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Refused);
    assert!(delivered.response().reason.contains("tag"), "{}", delivered.response().reason);
    assert!(stage.reaches_internet(member));
}

#[tokio::test(start_paused = true)]
async fn a_protected_role_s_sessions_are_refused() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    let mut finding = Attack::RoleSession.finding(member, 1);
    finding["resource"]["accessKeyDetails"]["userName"] = "BreakGlassAdmin".into();
    let allow = serde_json::json!({ "Statement": [] });
    stage.world.organization.add_role(
        &member.account,
        "/",
        "BreakGlassAdmin",
        allow.clone(),
        allow,
    );
    stage.world.import(&finding);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.state(), State::Refused);
    assert!(stage.changes().iter().all(|call| call == "securityhub:BatchUpdateFindings"));
}

#[tokio::test(start_paused = true)]
async fn the_role_of_an_instance_is_protected_and_the_instance_is_isolated() {
    let documents = policy(&[
        "attach: r-fb01\nprotect: { principals: [\"arn:*:iam::*:role/web-*\"] }\nrules:\n  - { name: a, mode: auto, then: [isolate-instance, revoke-instance-credentials] }\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let member = stage.member("sandbox", 0).clone();
    let role = || {
        stage
            .world
            .organization
            .edit(|state| state.iam(&member.account).roles["web-server"].clone())
    };
    let before = role();
    let delivered = stage.deliver(&stage.finding(Attack::Instance, &member, 1)).await;
    assert_eq!(delivered.state(), State::PartiallyContained);
    assert!(delivered.response().reason.contains("protected by r-fb01"));
    assert!(!stage.reaches_internet(&member));
    assert_eq!(role(), before);
}

#[tokio::test(start_paused = true)]
async fn samples_and_archived_findings_cost_no_call() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0);
    for (pointer, value) in [
        ("/service/archived", serde_json::json!(true)),
        ("/service/additionalInfo", serde_json::json!({ "sample": true })),
    ] {
        let mut finding = Attack::Instance.finding(member, 1);
        *finding.pointer_mut(pointer).unwrap() = value;
        let delivered = stage.deliver(&finding).await;
        assert_eq!(delivered.disposition(), Disposition::Nothing, "{pointer}");
    }
    assert_eq!(stage.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_moved_is_decided_by_its_new_place_once_the_old_one_is_stale() {
    let stage = stage().await;
    let member = stage.member("observe", 1).clone();
    let finding = stage.finding(Attack::Instance, &member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Observed);
    stage.world.organization.move_account(&member.account, "ou-fb01-sandbox1");
    stage.world.organization.advance(SignedDuration::from_mins(11));
    let mut finding = finding;
    finding["updatedAt"] = "2026-01-01T02:00:00.000Z".into();
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_climbed_where_describe_account_has_no_paths() {
    let stage = stage().await;
    stage.world.organization.edit(|state| state.organizations.without_paths = true);
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = stage.deliver(&finding).await;
    assert_eq!(delivered.response().ou_path.to_string(), "r-fb01/ou-fb01-sandbox1");
    assert!(stage.calls().iter().any(|call| call.operation == "ListParents"));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_organizations_does_not_know_fails_closed_and_is_remembered() {
    let stage = stage().await;
    let mut finding = Attack::Instance.finding(stage.member("sandbox", 0), 1);
    finding["accountId"] = "999999999999".into();
    for _ in 0..3 {
        let error = stage.deliver(&finding).await.error();
        assert!(error.contains("cannot place account 999999999999"), "{error}");
    }
    assert!(stage.changes().is_empty());
    let asked = stage.calls().iter().filter(|call| call.operation == "DescribeAccount").count();
    assert_eq!(asked, 1, "an unknown account is remembered");
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nothing_is_done_and_the_message_goes_back() {
    let stage = stage().await;
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    // A hub whose table is there but holds no policy.
    let mut settings = stage.world.settings().unwrap();
    "firebreak-empty".clone_into(&mut settings.table);
    stage.world.organization.edit(|state| {
        let role = state.iam("100000000002").roles.get_mut("FirebreakHub").unwrap();
        role.identity.attached.insert("arn:aws:iam::aws:policy/AdministratorAccess".to_owned());
    });
    let config = stage.world.hub_config().await.unwrap();
    let engine = firebreak_engine::Engine::new(&config, settings);
    engine.store.create_table().await.unwrap();
    let event = event(&finding).to_string();
    let error = deliver_to(&engine, &event).await.error();
    assert!(error.contains("no policy is in force"), "{error}");
    assert!(stage.reaches_internet(stage.member("sandbox", 0)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_stored_document_stops_what_it_governs_and_nothing_else() {
    let stage = stage().await;
    let before = stage.engine.policies.version().await.unwrap();
    let mut documents = stage.engine.policies.documents(&before).await.unwrap();
    for document in &mut documents {
        if document.attach == "ou-fb01-sandbox1" {
            document.text.push_str("key-to-come: 1\n");
        }
    }
    stage.engine.policies.push(&documents, &before, &author()).await.unwrap();
    let sandbox = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let delivered = stage.deliver(&sandbox).await;
    assert_eq!(delivered.state(), State::Refused);
    assert!(delivered.response().reason.contains("broken"), "{}", delivered.response().reason);
    let production = stage.finding(Attack::Instance, stage.member("production", 0), 2);
    assert_eq!(stage.deliver(&production).await.state(), State::AwaitingApproval);
}

#[tokio::test(start_paused = true)]
async fn of_two_pushes_at_once_one_loses_and_changes_nothing() {
    let stage = stage().await;
    let before = stage.engine.policies.version().await.unwrap();
    let documents = stage.engine.policies.documents(&before).await.unwrap();
    stage.engine.policies.push(&documents[..1], &before, &author()).await.unwrap();
    let error = stage.engine.policies.push(&documents[..2], &before, &author()).await.unwrap_err();
    assert!(
        error.to_string().contains("pushed by alice at the same time; yours is not"),
        "{error}"
    );
    // Nor is somebody else's push of the same documents taken for one's own.
    let other = Author { by: "bob".to_owned(), note: "mine".to_owned() };
    let same = stage.engine.policies.push(&documents[..1], &before, &other).await;
    assert!(same.unwrap_err().to_string().contains("pushed by alice at the same time"));
    let now = stage.engine.policies.version().await.unwrap();
    assert_eq!(stage.engine.policies.documents(&now).await.unwrap(), documents[..1]);
}

#[tokio::test(start_paused = true)]
async fn a_push_takes_effect_within_the_ttl() {
    let stage = stage().await;
    let other = stage.another_responder().await;
    let message = |nth, number| {
        event(&stage.finding(Attack::Instance, stage.member("sandbox", nth), number)).to_string()
    };
    assert_eq!(deliver_to(&other, &message(0, 1)).await.state(), State::Contained);
    let before = stage.engine.policies.version().await.unwrap();
    let off = policy(&["attach: r-fb01\nceiling: off\n"]);
    let documents = [off.documents()[0].to_stored()];
    stage.engine.policies.push(&documents, &before, &author()).await.unwrap();
    stage.world.organization.advance(SignedDuration::from_secs(61));
    assert_eq!(deliver_to(&other, &message(1, 2)).await.disposition(), Disposition::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_lost_a_document_is_not_followed() {
    let stage = stage().await;
    stage.world.organization.advance(SignedDuration::from_secs(61));
    // As if somebody had deleted the root's guardrails from the table itself.
    let config = stage.world.hub_config().await.unwrap();
    let table = aws_sdk_dynamodb::Client::new(&config);
    let key = |value: &str| AttributeValue::S(value.to_owned());
    let current = table.get_item().table_name("firebreak").key("pk", key("policy"));
    let current = current.key("sk", key("current")).send().await.unwrap().item.unwrap();
    let put = table.put_item().table_name("firebreak").set_item(Some(current));
    put.item("count", AttributeValue::N("8".to_owned())).send().await.unwrap();
    let finding = stage.finding(Attack::Instance, stage.member("sandbox", 0), 1);
    let error = stage.deliver(&finding).await.error();
    assert!(error.contains("8 document(s), but 7 exist"), "{error}");
    assert!(stage.reaches_internet(stage.member("sandbox", 0)));
}

#[tokio::test(start_paused = true)]
async fn variables_in_parameters_are_what_the_finding_says() {
    let documents = policy(&[
        "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [tag-resource: { tags: { seen: \"${finding.id} in ${account.id} ${region} ${partition}\" } }]\n",
    ]);
    let stage = stage_with(documents, Options::default()).await;
    let member = stage.member("sandbox", 0);
    let finding = stage.finding(Attack::Instance, member, 1);
    assert_eq!(stage.deliver(&finding).await.state(), State::Completed);
    let tag = stage.world.organization.edit(|state| {
        state.ec2(&member.account, &member.region).tags[&member.instance]["seen"].clone()
    });
    let id = finding["id"].as_str().unwrap();
    assert_eq!(tag, format!("{id} in {} {} aws", member.account, member.region));
}

#[tokio::test(start_paused = true)]
async fn the_history_says_who_pushed_what_and_keeps_every_version() {
    let stage = stage().await;
    let policies = &stage.engine.policies;
    let first = policies.version().await.unwrap();
    let documents = policies.documents(&first).await.unwrap();
    let second = policies.push(&documents[..2], &first, &author()).await.unwrap();
    let history = policies.history().await.unwrap();
    assert_eq!(history, [second.clone(), first.clone()]);
    assert_eq!(
        (second.by.as_str(), second.note.as_str(), second.documents),
        ("alice", "a test", 2)
    );
    assert_eq!(policies.documents(&first).await.unwrap(), documents);
    // A document that DynamoDB could not keep is refused before anything is written.
    let mut long = documents.clone();
    long[0].text = "#".repeat(400_000);
    let error = policies.push(&long, &second, &author()).await.unwrap_err();
    assert!(error.to_string().contains("bytes"), "{error}");
    assert_eq!(policies.version().await.unwrap(), second);
}

#[tokio::test(start_paused = true)]
async fn each_call_of_a_push_may_fail_and_the_old_policy_stays_in_force() {
    let stage = stage().await;
    let policies = &stage.engine.policies;
    let before = policies.version().await.unwrap();
    let documents = policies.documents(&before).await.unwrap();
    for operation in ["PutItem", "TransactWriteItems"] {
        let broken = Effect::Error { status: 400, code: "ValidationException".to_owned() };
        stage.world.organization.inject(Fault::always(operation, broken));
        let error = policies.push(&documents[..1], &before, &author()).await.unwrap_err();
        assert!(error.to_string().contains(operation), "{error}");
        stage.world.organization.clear_faults();
        assert_eq!(policies.version().await.unwrap(), before);
        assert_eq!(policies.documents(&before).await.unwrap(), documents);
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_whose_answer_is_lost_is_made_once() {
    let stage = stage().await;
    let policies = &stage.engine.policies;
    let before = policies.version().await.unwrap();
    let documents = policies.documents(&before).await.unwrap();
    stage.world.organization.inject(Fault::once("TransactWriteItems", Effect::LostAnswer));
    let pushed = policies.push(&documents[..1], &before, &author()).await.unwrap();
    assert_eq!(policies.version().await.unwrap(), pushed);
    assert_eq!(policies.history().await.unwrap().len(), 2);
}

fn down() -> Effect {
    Effect::Error { status: 500, code: "ServiceException".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn the_tree_is_asked_for_each_attach_point_and_what_is_not_in_it_is_none() {
    let stage = stage().await;
    // What the command line asks, and the function never.
    let organization = &stage.operator().await.organization;
    let path = async |id: &str| organization.path_of(id).await.unwrap().map(|it| it.to_string());
    assert_eq!(path("r-fb01").await.as_deref(), Some("r-fb01"));
    assert_eq!(path("ou-fb01-prod1111").await.as_deref(), Some("r-fb01/ou-fb01-prod1111"));
    assert_eq!(path("111122223333").await.as_deref(), Some("r-fb01/ou-fb01-sandbox1"));
    for unknown in ["r-zz99", "ou-fb01-nowhere1", "999999999999"] {
        assert_eq!(path(unknown).await, None, "{unknown}");
    }
    // An unknown account is not the same as an answer that was refused.
    for (operation, id) in [("ListRoots", "r-fb01"), ("ListParents", "ou-fb01-prod1111")] {
        stage.world.organization.inject(Fault::always(operation, down()));
        let error = organization.path_of(id).await.unwrap_err();
        assert!(error.to_string().contains(operation), "{error}");
        stage.world.organization.clear_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn the_places_of_many_accounts_are_listed_and_not_asked_for_one_by_one() {
    let stage = stage().await;
    // What the command line asks, and the function never.
    let organization = &stage.operator().await.organization;
    let mut accounts: BTreeSet<AccountId> =
        stage.world.members.iter().map(|member| member.account.parse().unwrap()).collect();
    assert_eq!(organization.places(&accounts).await.unwrap().len(), accounts.len());
    let of_organizations = |call: &CallRecord| call.service == "organizations";
    let calls: Vec<CallRecord> = stage.calls().into_iter().filter(of_organizations).collect();
    assert!(calls.iter().all(|call| call.operation == "DescribeAccount"), "{calls:?}");
    for number in 0..50_u64 {
        let account = format!("{:012}", 300_000_000_000 + number);
        stage.world.organization.add_account("ou-fb01-prod1111", &account, "one of many");
        accounts.insert(account.parse().unwrap());
    }
    let gone: AccountId = "999999999999".parse().unwrap();
    accounts.insert(gone.clone());
    stage.world.organization.forget_calls();
    let places = organization.places(&accounts).await.unwrap();
    assert_eq!(places.len(), accounts.len() - 1);
    assert!(!places.contains_key(&gone));
    let asked = |name: &str| stage.calls().iter().filter(|call| call.operation == name).count();
    assert!(asked("ListAccounts") >= 4, "twenty a page");
    assert_eq!(asked("DescribeAccount"), 1, "only for the one that is not listed");
    stage.world.organization.inject(Fault::always("ListAccounts", down()));
    let error = organization.places(&accounts).await.unwrap_err();
    assert!(error.to_string().contains("ListAccounts"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn findings_are_read_to_the_last_page_or_not_at_all() {
    let stage = stage().await;
    for number in 0..250 {
        stage.finding(Attack::Instance, stage.member("sandbox", 0), number);
    }
    let (from, to) = ("2025-01-01T00:00:00Z".parse().unwrap(), stage.engine.now());
    let hub = &stage.engine.security_hub;
    let mut pages = Vec::new();
    hub.findings_since(from, to, |page| pages.push(page)).await.unwrap();
    assert_eq!(pages.len(), 3);
    let read: usize = pages.iter().map(|page| firebreak_intake::read(page).len()).sum();
    assert_eq!(read, 250);
    let before = "2025-12-31T00:00:00Z".parse().unwrap();
    let mut none = 0;
    hub.findings_since(from, before, |_| none += 1).await.unwrap();
    assert_eq!(none, 0);
    let fault = Fault { after: 2, ..Fault::always("GetFindings", down()) };
    stage.world.organization.inject(fault);
    let error = hub.findings_since(from, to, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("GetFindings"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_pusher_s_arn_comes_from_sts() {
    let stage = stage().await;
    let caller = stage.engine.caller().await.unwrap();
    assert_eq!(caller, "arn:aws:sts::100000000002:assumed-role/FirebreakHub/firebreak");
    stage.world.organization.inject(Fault::always("GetCallerIdentity", down()));
    // Asked once in a process.
    assert_eq!(stage.engine.caller().await.as_ref(), Ok(&caller));
    let error = stage.another_responder().await.caller().await.unwrap_err();
    assert!(error.to_string().contains("sts:GetCallerIdentity"), "{error}");
}
