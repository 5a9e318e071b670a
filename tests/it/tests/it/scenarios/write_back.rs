//! What Security Hub is told: never over an analyst's word, in few calls, at
//! the documented rates, and every failure told for the findings that it hit.

use firebreak_aws::security_hub::{FindingUpdate, SecurityHub, UpdateResult, UpdatedFinding};
use firebreak_client::rate_limit::RateLimits;
use firebreak_demo::world::{Attack, Member};
use firebreak_engine::Disposition;
use firebreak_model::finding::SecurityHubId;
use firebreak_model::resource::Region;
use firebreak_response::record::State;
use firebreak_response::status::{StatusUpdate, Workflow};
use firebreak_simulation::{Effect, Fault};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::scenarios::stage::{Stage, stage, whole_undo};

const HOME: &str = "eu-central-1";

fn asff_id(finding: &Value) -> SecurityHubId {
    let region = finding["region"].as_str().unwrap();
    SecurityHubId::Asff {
        id: finding["arn"].as_str().unwrap().to_owned(),
        product_arn: format!("arn:aws:securityhub:{region}::product/aws/guardduty"),
    }
}

fn update(workflow: Option<Workflow>) -> StatusUpdate {
    StatusUpdate {
        workflow,
        note: "Firebreak said so.".to_owned(),
        hint: "Undo: firebreak responses undo r-0123456789abcdef".to_owned(),
        fields: [("firebreak_response".to_owned(), "r-0123456789abcdef".to_owned())].into(),
    }
}

fn delivering(region: &str, findings: &[SecurityHubId], update: StatusUpdate) -> FindingUpdate {
    let region: Region = region.parse().unwrap();
    FindingUpdate { region, findings: findings.to_vec(), update }
}

const RESOLVED: UpdateResult = UpdateResult::Written { workflow: Some(Workflow::Resolved) };

impl Stage {
    /// Findings that Security Hub knows, of one account, by their ids.
    fn known(&self, count: usize) -> Vec<SecurityHubId> {
        let member = self.member("sandbox", 0);
        (0..count).map(|number| asff_id(&self.finding(Attack::Instance, member, number))).collect()
    }

    async fn update_findings(
        &self,
        findings: &[SecurityHubId],
        workflow: Workflow,
    ) -> Vec<UpdatedFinding> {
        let delivering = delivering(HOME, findings, update(Some(workflow)));
        self.engine.security_hub.update_findings(&[delivering]).await
    }

    async fn update_one(&self, finding: &SecurityHubId, workflow: Workflow) -> UpdateResult {
        let updated = self.update_findings(std::slice::from_ref(finding), workflow).await;
        assert_eq!((updated.len(), &updated[0].finding), (1, finding));
        updated[0].result.clone()
    }

    /// An update by somebody else.
    fn analyst_updates(&self, id: &SecurityHubId, update: &Value) {
        let SecurityHubId::Asff { id, product_arn } = id else { panic!("{id:?}") };
        let update: Map<String, Value> = update.as_object().unwrap().clone();
        let organization = &self.world.organization;
        let now = organization.now().to_string();
        let key = (id.clone(), product_arn.clone());
        organization.edit(|state| state.security_hub.update(HOME, &key, &update, &now));
    }

    /// A finding as Security Hub holds it now.
    fn held(&self, id: &SecurityHubId) -> Value {
        self.world.organization.edit(|state| {
            let hub = &state.security_hub;
            hub.finding(id.id()).or_else(|| hub.ocsf_finding(id.id())).unwrap().clone()
        })
    }

    fn count(&self, operation: &str) -> usize {
        self.calls().iter().filter(|call| call.operation == operation).count()
    }
}

fn results(updated: &[UpdatedFinding]) -> Vec<&UpdateResult> {
    updated.iter().map(|updated| &updated.result).collect()
}

#[tokio::test(start_paused = true)]
async fn the_status_and_note_of_an_analyst_remain_and_our_fields_are_added() {
    let stage = stage().await;
    let id = &stage.known(1)[0];
    stage.analyst_updates(
        id,
        &json!({
            "Workflow": { "Status": "SUPPRESSED" },
            "Note": { "Text": "our scanner", "UpdatedBy": "ann" },
        }),
    );
    let kept = UpdateResult::Kept { status: "SUPPRESSED".to_owned(), by: "ann".to_owned() };
    assert_eq!(stage.update_one(id, Workflow::Resolved).await, kept);
    let held = stage.held(id);
    assert_eq!(held["Workflow"]["Status"], "SUPPRESSED");
    assert_eq!(held["Note"]["Text"], "our scanner");
    assert_eq!(held["UserDefinedFields"], json!({ "firebreak_response": "r-0123456789abcdef" }));
    // Opened again by the analyst, it is ours to change.
    stage.analyst_updates(id, &json!({ "Workflow": { "Status": "NEW" } }));
    assert_eq!(stage.update_one(id, Workflow::Resolved).await, RESOLVED);
    // What they then make of our own status stands again.
    stage.analyst_updates(id, &json!({ "Workflow": { "Status": "NOTIFIED" } }));
    let result = stage.update_one(id, Workflow::New).await;
    assert!(
        matches!(&result, UpdateResult::Kept { status, .. } if status == "NOTIFIED"),
        "{result:?}"
    );
    assert_eq!(stage.held(id)["Workflow"]["Status"], "NOTIFIED");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_note_is_quoted_and_stays_quoted() {
    let stage = stage().await;
    let id = &stage.known(1)[0];
    stage.analyst_updates(id, &json!({ "Note": { "Text": "ticket 4711", "UpdatedBy": "ann" } }));
    for workflow in [Workflow::Notified, Workflow::Resolved] {
        stage.update_one(id, workflow).await;
        let note = stage.held(id)["Note"].clone();
        let text = note["Text"].as_str().unwrap();
        assert_eq!(note["UpdatedBy"], "firebreak");
        assert!(text.starts_with("Firebreak said so. Undo: firebreak responses undo r-"), "{text}");
        assert!(text.ends_with("Note of ann: ticket 4711"), "{text}");
    }
}

/// The simulation replaces all user-defined fields by those of an update.
#[tokio::test(start_paused = true)]
async fn fields_of_others_are_there_after_an_update() {
    let stage = stage().await;
    let id = &stage.known(1)[0];
    stage.analyst_updates(id, &json!({ "UserDefinedFields": { "team": "red" } }));
    assert_eq!(stage.update_one(id, Workflow::Resolved).await, RESOLVED);
    let expected = json!({
        "team": "red", "firebreak_response": "r-0123456789abcdef", "firebreak_workflow": "RESOLVED",
    });
    assert_eq!(stage.held(id)["UserDefinedFields"], expected);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_findings_with_one_update_take_one_call_and_none_the_second_time() {
    for (findings, reads, updates) in [(1, 1, 1), (100, 5, 1), (250, 13, 3)] {
        let stage = stage().await;
        let ids = stage.known(findings);
        let workflow = Workflow::Resolved;
        stage.world.organization.forget_calls();
        let updated = stage.update_findings(&ids, workflow).await;
        let written = UpdateResult::Written { workflow: Some(workflow) };
        assert!(updated.iter().all(|it| it.result == written), "{:?}", results(&updated));
        assert_eq!(
            updated.iter().map(|it| &it.finding).collect::<Vec<_>>(),
            ids.iter().collect::<Vec<_>>()
        );
        assert_eq!(
            (stage.count("GetFindings"), stage.count("BatchUpdateFindings")),
            (reads, updates)
        );
        // The documented rates are enforced: nothing was throttled.
        assert!(stage.calls().iter().all(|call| call.error.is_none()));
        stage.world.organization.forget_calls();
        assert!(stage.update_findings(&ids, workflow).await.iter().all(|it| it.result == written));
        assert_eq!((stage.count("GetFindings"), stage.count("BatchUpdateFindings")), (reads, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn two_updates_of_one_finding_are_made_one_after_the_other() {
    let stage = stage().await;
    let ids = stage.known(2);
    let updates = [
        delivering(HOME, &ids, update(Some(Workflow::Resolved))),
        delivering(HOME, &ids[..1], update(Some(Workflow::New))),
    ];
    let answers = stage.engine.security_hub.update_findings(&updates).await;
    let reopened = UpdateResult::Written { workflow: Some(Workflow::New) };
    assert_eq!(results(&answers), [&RESOLVED, &RESOLVED, &reopened]);
    assert_eq!(stage.held(&ids[0])["Workflow"]["Status"], "NEW");
    assert_eq!(stage.held(&ids[1])["Workflow"]["Status"], "RESOLVED");
    assert_eq!(stage.count("GetFindings"), 1);
}

#[tokio::test(start_paused = true)]
async fn each_code_says_whether_to_try_again_and_hides_nothing_of_the_others() {
    type Is<'a> = &'a dyn Fn(&UpdateResult) -> bool;
    let later = |result: &UpdateResult| matches!(result, UpdateResult::Later(_));
    let refused = |result: &UpdateResult| matches!(result, UpdateResult::Refused(_));
    let unknown = |result: &UpdateResult| *result == UpdateResult::NotFound;
    let cases: [(&str, Is<'_>); 8] = [
        ("ConcurrentUpdateError", &later),
        ("InternalFailure", &later),
        ("FindingNotFound", &unknown),
        ("InvalidInput", &refused),
        ("FindingSizeExceeded", &refused),
        ("DuplicatedFindingIdentifier", &refused),
        ("AccessDenied", &refused),
        ("SomethingNew", &refused),
    ];
    for (code, expected) in cases {
        let stage = stage().await;
        let ids = stage.known(3);
        let refuse = (ids[1].id().to_owned(), code.to_owned());
        stage.world.organization.edit(|state| state.security_hub.unprocessed.extend([refuse]));
        let updated = stage.update_findings(&ids, Workflow::Resolved).await;
        assert_eq!((&updated[0].result, &updated[2].result), (&RESOLVED, &RESOLVED), "{code}");
        assert!(expected(&updated[1].result), "{code}: {:?}", updated[1].result);
        if let UpdateResult::Later(why) | UpdateResult::Refused(why) = &updated[1].result {
            assert!(why.contains(code), "{why}");
        }
        assert_eq!(stage.held(&ids[1])["Workflow"]["Status"], "NEW", "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_each_call_is_reported_for_its_findings() {
    let error = |status: u16, code: &str| Effect::Error { status, code: code.to_owned() };
    for operation in ["GetFindings", "BatchUpdateFindings"] {
        for (effect, passes) in [
            (error(500, "InternalException"), true),
            (error(429, "TooManyRequestsException"), true),
            (error(429, "LimitExceededException"), true),
            (Effect::Unreachable, true),
            (Effect::Malformed, true),
            (error(403, "AccessDeniedException"), false),
            (error(401, "InvalidAccessException"), false),
            (error(400, "InvalidInputException"), false),
        ] {
            let stage = stage().await;
            let ids = stage.known(3);
            stage.world.organization.inject(Fault::always(operation, effect.clone()));
            let updated = stage.update_findings(&ids, Workflow::Resolved).await;
            assert_eq!(updated.len(), 3);
            for UpdatedFinding { result, .. } in &updated {
                let as_expected = match result {
                    UpdateResult::Later(why) => passes && why.contains(operation),
                    UpdateResult::Refused(why) => !passes && why.contains(operation),
                    UpdateResult::Written { .. }
                    | UpdateResult::Kept { .. }
                    | UpdateResult::NotFound => false,
                };
                assert!(as_expected, "{operation} {effect:?}: {result:?}");
            }
            stage.world.organization.clear_faults();
            stage.world.organization.advance(SignedDuration::from_secs(60));
            let again = stage.update_findings(&ids, Workflow::Resolved).await;
            assert!(again.iter().all(|it| it.result == RESOLVED), "{:?}", results(&again));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_once_is_made_again_and_a_lost_answer_harms_nothing() {
    for operation in ["GetFindings", "BatchUpdateFindings"] {
        for effect in [
            Effect::LostAnswer,
            Effect::Error { status: 429, code: "TooManyRequestsException".to_owned() },
        ] {
            let stage = stage().await;
            let ids = stage.known(2);
            stage.world.organization.inject(Fault::once(operation, effect));
            let updated = stage.update_findings(&ids, Workflow::Resolved).await;
            assert_eq!(results(&updated), [&RESOLVED, &RESOLVED], "{operation}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_invalid_id_does_not_fail_the_other_ids_of_its_call() {
    let stage = stage().await;
    let mut ids = stage.known(30);
    let long = SecurityHubId::Asff {
        id: "x".repeat(600),
        product_arn: "arn:aws:securityhub:eu-central-1::product/some/product".to_owned(),
    };
    ids.insert(7, long);
    let updated = stage.update_findings(&ids, Workflow::Resolved).await;
    for (index, UpdatedFinding { result, .. }) in updated.iter().enumerate() {
        let refused = matches!(result, UpdateResult::Refused(why) if why.contains("InvalidInput"));
        assert!(if index == 7 { refused } else { *result == RESOLVED }, "{index}: {result:?}");
    }
    assert_eq!(stage.count("BatchUpdateFindings"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_not_found_until_its_import_is_through() {
    let stage = stage().await;
    stage.world.organization.edit(|state| {
        state.security_hub.import_delay = SignedDuration::from_secs(300);
    });
    let id = &stage.known(1)[0];
    assert_eq!(stage.update_one(id, Workflow::Resolved).await, UpdateResult::NotFound);
    stage.world.organization.advance(SignedDuration::from_secs(299));
    assert_eq!(stage.update_one(id, Workflow::Resolved).await, UpdateResult::NotFound);
    stage.world.organization.advance(SignedDuration::from_secs(2));
    assert_eq!(stage.update_one(id, Workflow::Resolved).await, RESOLVED);
}

#[tokio::test(start_paused = true)]
async fn without_an_aggregator_each_region_is_called_and_one_does_not_hide_another() {
    let stage = stage().await;
    stage.world.organization.edit(|state| state.security_hub.home_region = None);
    let mut settings = stage.world.settings().unwrap();
    settings.aggregator_region = None;
    let hub = SecurityHub::new(
        &stage.world.hub_config().await.unwrap(),
        &settings,
        &RateLimits::local(20),
    );
    let at = |nth, number| stage.finding(Attack::Instance, stage.member("sandbox", nth), number);
    let (home, away) = (asff_id(&at(0, 1)), asff_id(&at(1, 2)));
    let updates = [
        delivering("us-east-1", std::slice::from_ref(&away), update(Some(Workflow::Resolved))),
        delivering(HOME, std::slice::from_ref(&home), update(Some(Workflow::Resolved))),
    ];
    let down = Effect::Error { status: 401, code: "InvalidAccessException".to_owned() };
    let fault =
        Fault { region: Some("us-east-1".to_owned()), ..Fault::always("GetFindings", down) };
    stage.world.organization.inject(fault);
    let answers = hub.update_findings(&updates).await;
    assert_eq!((&answers[0].finding, &answers[1].finding), (&away, &home));
    assert!(matches!(&answers[0].result, UpdateResult::Refused(_)), "{:?}", answers[0].result);
    assert_eq!(answers[1].result, RESOLVED);
    stage.world.organization.clear_faults();
    stage.world.organization.forget_calls();
    let answers = hub.update_findings(&updates).await;
    assert_eq!(results(&answers), [&RESOLVED, &RESOLVED]);
    let regions: Vec<String> = stage
        .calls()
        .into_iter()
        .filter(|call| call.operation == "BatchUpdateFindings")
        .map(|call| call.region)
        .collect();
    assert_eq!(regions, ["us-east-1"]);
}

/// The same finding as OCSF has it.
fn ocsf(member: &Member, number: usize) -> Value {
    let Member { account, region, instance, .. } = member;
    json!({
        "class_uid": 2004,
        "metadata": {
            "uid": format!("ocsf-{number}"), "version": "1.6.0",
            "product": {
                "name": "GuardDuty",
                "uid": format!("arn:aws:securityhub:{region}::product/aws/guardduty"),
            },
        },
        "finding_info": {
            "uid": format!("{number:032x}"), "title": "an instance calls home",
            "types": ["Backdoor:EC2/C&CActivity.B!DNS"],
            "modified_time_dt": "2026-01-01T00:00:00Z",
        },
        "cloud": { "account": { "uid": account }, "region": region, "cloud_partition": "aws" },
        "severity_id": 4, "status_id": 1, "status": "New",
        "resources": [{
            "uid": format!("arn:aws:ec2:{region}:{account}:instance/{instance}"),
            "type": "AWS::EC2::Instance", "region": region,
        }],
    })
}

impl Stage {
    fn import_ocsf(&self, unit: &str, number: usize) -> (SecurityHubId, Value) {
        let finding = ocsf(self.member(unit, 0), number);
        self.world.raise(&Attack::Instance.finding(self.member(unit, 0), number));
        let organization = &self.world.organization;
        let now = organization.now();
        let event = organization.edit(|state| {
            state.security_hub.import_ocsf(HOME, finding, now).unwrap();
            state.security_hub.events.last().unwrap().clone()
        });
        (SecurityHubId::Ocsf { metadata_uid: format!("ocsf-{number}") }, event)
    }

    fn last_event(&self) -> Value {
        self.world.organization.edit(|state| state.security_hub.events.last().unwrap().clone())
    }
}

#[tokio::test(start_paused = true)]
async fn an_ocsf_finding_is_contained_and_updated_and_its_echo_costs_no_call() {
    let stage = stage().await;
    let (id, event) = stage.import_ocsf("sandbox", 1);
    let delivered = stage.deliver_message(&event.to_string()).await;
    assert_eq!(delivered.state(), State::Contained, "{:?}", delivered.outcome().reason);
    assert_eq!(delivered.response().finding.security_hub.as_ref(), Some(&id));
    let held = stage.held(&id);
    assert_eq!((&held["status_id"], &held["status"]), (&json!(4), &json!("Resolved")));
    let comment = held["comment"].as_str().unwrap();
    assert!(comment.starts_with("Firebreak [RESOLVED] contained "), "{comment}");
    assert!(comment.contains("firebreak responses undo r-"), "{comment}");
    stage.world.organization.forget_calls();
    let echo = stage.deliver_message(&stage.last_event().to_string()).await;
    assert_eq!(echo.disposition(), Disposition::Nothing);
    assert_eq!(stage.calls().len(), 0);
    // What we wrote is ours to take back.
    let response = delivered.response().id.clone();
    stage.engine.undo(&response, whole_undo()).await.unwrap();
    assert_eq!(stage.held(&id)["status_id"], 1);
}

#[tokio::test(start_paused = true)]
async fn ocsf_findings_share_calls_keep_an_analyst_s_status_and_say_what_failed() {
    let stage = stage().await;
    let ids: Vec<SecurityHubId> =
        (0..105).map(|number| stage.import_ocsf("sandbox", number).0).collect();
    let organization = &stage.world.organization;
    organization.edit(|state| {
        let findings = state.security_hub.ocsf.get_mut(HOME).unwrap();
        findings.get_mut("ocsf-0").unwrap()["status_id"] = json!(3);
        findings.get_mut("ocsf-1").unwrap()["comment"] = json!("ticket 4711");
        for (uid, code) in [
            ("ocsf-2", "ConflictException"),
            ("ocsf-3", "InternalServerException"),
            ("ocsf-4", "ResourceNotFoundException"),
            ("ocsf-5", "ValidationException"),
        ] {
            state.security_hub.unprocessed.insert(uid.to_owned(), code.to_owned());
        }
    });
    organization.forget_calls();
    let updated = stage.update_findings(&ids, Workflow::Notified).await;
    let notified = UpdateResult::Written { workflow: Some(Workflow::Notified) };
    for (index, UpdatedFinding { finding, result }) in updated.iter().enumerate() {
        assert_eq!(finding, &ids[index]);
        let as_expected = match index {
            0 => matches!(result, UpdateResult::Kept { status, .. } if status == "SUPPRESSED"),
            2 | 3 => matches!(result, UpdateResult::Later(_)),
            4 => *result == UpdateResult::NotFound,
            5 => matches!(result, UpdateResult::Refused(_)),
            _ => *result == notified,
        };
        assert!(as_expected, "{index}: {result:?}");
    }
    // One update for 103, in two calls, and one for the one that quotes.
    assert_eq!((stage.count("GetFindingsV2"), stage.count("BatchUpdateFindingsV2")), (6, 3));
    assert!(stage.calls().iter().all(|call| call.error.is_none()));
    let quoted = stage.held(&ids[1])["comment"].as_str().unwrap().to_owned();
    assert!(quoted.starts_with("Firebreak [NOTIFIED] said so."), "{quoted}");
    assert!(quoted.ends_with("Note of another author: ticket 4711"), "{quoted}");
    for operation in ["GetFindingsV2", "BatchUpdateFindingsV2"] {
        let down = Effect::Error { status: 500, code: "InternalServerException".to_owned() };
        organization.inject(Fault::always(operation, down));
        let result = stage.update_one(&ids[9], Workflow::Resolved).await;
        assert!(
            matches!(&result, UpdateResult::Later(why) if why.contains(operation)),
            "{result:?}"
        );
        organization.clear_faults();
    }
}

/// An update that leaves the status at NEW, or puts it back, raises an event
/// that looks like a finding to act on.
#[tokio::test(start_paused = true)]
async fn our_own_events_with_the_status_new_cost_no_call_and_an_import_after_them_counts() {
    let stage = stage().await;
    let organization = &stage.world.organization;
    for (unit, number, state) in [("observe", 1, State::Observed), ("sandbox", 2, State::Contained)]
    {
        let member = stage.member(unit, 0).clone();
        let mut finding = stage.finding(Attack::Instance, &member, number);
        organization.advance(SignedDuration::from_secs(60));
        let delivered = stage.deliver(&finding).await;
        assert_eq!(delivered.state(), state);
        if state == State::Contained {
            let id = delivered.response().id.clone();
            stage.engine.undo(&id, whole_undo()).await.unwrap();
        }
        let echo = stage.last_event();
        let updated = &echo["detail"]["findings"][0];
        assert_eq!(
            (&updated["Workflow"]["Status"], &updated["Note"]["UpdatedBy"]),
            (&json!("NEW"), &json!("firebreak"))
        );
        organization.forget_calls();
        let nothing = stage.deliver_message(&echo.to_string()).await;
        assert_eq!(nothing.disposition(), Disposition::Nothing, "{unit}");
        assert_eq!(stage.calls().len(), 0, "{unit}");
        // The attack goes on: what is imported then is a finding again.
        organization.advance(SignedDuration::from_secs(60));
        finding["updatedAt"] = "2026-01-01T06:00:00.000Z".into();
        stage.world.import(&finding);
        let news = stage.last_event();
        assert_eq!(news["detail"]["findings"][0]["Note"]["UpdatedBy"], "firebreak");
        stage.deliver_message(&news.to_string()).await.outcome();
        assert!(!stage.calls().is_empty(), "{unit}");
    }
}
