//! What is particular to evidence: it is taken once, it is whole, and what is
//! missing is told.

use firebreak_model::error::ErrorKind;
use firebreak_simulation::{Effect, Fault};
use firebreak_spoke::contract::Verification;
use serde_json::{Value, json};

use crate::actions::cases::{case, instance_id};
use crate::actions::stage::{ACCOUNT, REGION, Stage, holds, settled};

fn snapshots(stage: &Stage) -> usize {
    stage.organization.edit(|state| state.ec2(ACCOUNT, REGION).snapshots.len())
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_the_finding_never_snapshots_again() {
    let stage = Stage::of(&case("snapshot-volumes")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(matches!(stage.verify(&prior).await, Verification::InProgress(_)));
    assert_eq!(snapshots(&stage), 2);
    let again = stage.capture().await.unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
    stage.apply(&again.prior).await.unwrap();
    assert!(holds(&settled(&stage, &again.prior).await));
    assert_eq!(snapshots(&stage), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_set_of_snapshots_or_copies() {
    for operation in ["CreateSnapshots", "CopySnapshot"] {
        let stage = Stage::of(&case("snapshot-volumes with copies under a key")).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.organization.inject(Fault::once(operation, Effect::LostAnswer));
        for _ in 0..8 {
            if let Err(error) = stage.apply(&prior).await {
                assert_eq!(error.kind, ErrorKind::Transient, "{operation}: {error}");
            }
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        }
        assert!(holds(&stage.verify(&prior).await), "{operation}");
        assert_eq!(snapshots(&stage), 4, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_names_its_finding_its_response_and_its_instance() {
    let stage = Stage::of(&case("snapshot-volumes with copies for another account")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(holds(&settled(&stage, &prior).await));
    let id = instance_id(&stage.resource);
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        for (snapshot, held) in &ec2.snapshots {
            let tags = &ec2.tags[snapshot];
            assert_eq!(tags["firebreak:finding"], "finding-0001");
            assert_eq!(tags["firebreak:response"], "r-0001");
            assert_eq!(tags["firebreak:instance"], id);
            let is_copy = tags.contains_key("firebreak:copy-of");
            assert_eq!(is_copy, held.shared_with.contains("222222222222"));
            if is_copy {
                assert!(ec2.volumes.contains_key(&tags["firebreak:volume"]));
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_another_account_without_a_key_is_refused_before_anything_is_made() {
    let mut stage = Stage::of(&case("snapshot-volumes")).await;
    stage.parameters = json!({ "copy-to-account": "222222222222" });
    let error = stage.capture().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.to_string().contains("kms-key"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_because_of_its_key_reports_the_reason() {
    let stage = Stage::of(&case("snapshot-volumes with copies under a key")).await;
    stage.organization.edit(|state| {
        let key = stage.parameters["kms-key"].as_str().unwrap().to_owned();
        state.ec2(ACCOUNT, REGION).unusable_keys.insert(key);
    });
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let verified = settled(&stage, &prior).await;
    assert!(
        matches!(&verified, Verification::NotInEffect(why) if why.contains("key ID")),
        "{verified:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn copies_beyond_what_may_run_at_once_wait_for_the_next_delivery() {
    let stage = Stage::of(&case("snapshot-volumes with copies under a key")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    let effect = Effect::Error { status: 400, code: "ResourceLimitExceeded".to_owned() };
    stage.organization.inject(Fault::once("CopySnapshot", effect));
    assert_eq!(stage.apply(&prior).await.unwrap_err().kind, ErrorKind::Transient);
    assert!(holds(&settled(&stage, &prior).await));
    assert_eq!(snapshots(&stage), 4);
}

const FOLDER: &str = "111111111111/eu-central-1/r-0001";

fn object(stage: &Stage, key: &str) -> Option<Vec<u8>> {
    stage.organization.edit(|state| {
        let held = state.s3.objects.held.get("evidence")?;
        held.get(key).map(|object| object.body.clone())
    })
}

fn manifest(stage: &Stage, folder: &str) -> Value {
    serde_json::from_slice(&object(stage, &format!("{folder}/manifest.json")).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn evidence_is_named_with_its_size_and_hash_and_commands_are_sent_once() {
    let stage = Stage::of(&case("collect-evidence")).await;
    let prior = stage.capture().await.unwrap().prior;
    // Its answer is lost: the next delivery finds the command.
    stage.organization.inject(Fault::once("SendCommand", Effect::LostAnswer));
    assert_eq!(stage.apply(&prior).await.unwrap_err().kind, ErrorKind::Transient);
    stage.apply(&prior).await.unwrap();
    assert!(matches!(stage.verify(&prior).await, Verification::InProgress(_)));
    assert!(holds(&settled(&stage, &prior).await));
    let sent = stage.organization.edit(|state| {
        let commands = &state.regional(ACCOUNT, REGION).ssm.commands;
        commands.values().cloned().collect::<Vec<_>>()
    });
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].bucket.as_deref(), Some("evidence"));
    assert_eq!(sent[0].prefix, Some(format!("{FOLDER}/commands")));
    let manifest = manifest(&stage, FOLDER);
    let objects = manifest["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 3, "{manifest}");
    for kept in objects {
        let body = object(&stage, kept["key"].as_str().unwrap()).unwrap();
        assert_eq!(kept["size"].as_u64().unwrap(), body.len() as u64);
        assert_eq!(kept["sha256"].as_str().unwrap().len(), 64);
    }
    let read = object(&stage, &format!("{FOLDER}/metadata.json")).unwrap();
    let read: Value = serde_json::from_slice(&read).unwrap();
    for part in ["interfaces", "groups", "volumes", "subnets", "routeTables"] {
        assert!(!read[part].as_array().unwrap().is_empty(), "{part}: {read}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unmanaged_instance_is_reported_and_the_rest_is_collected() {
    let stage = Stage::of(&case("collect-evidence of an instance that is not managed")).await;
    let captured = stage.capture().await.unwrap();
    assert!(captured.changes.iter().any(|it| it.after.contains("does not manage")));
    stage.apply(&captured.prior).await.unwrap();
    let verified = stage.verify(&captured.prior).await;
    let Verification::InEffect(seen) = verified else { panic!("{verified:?}") };
    assert!(seen.contains("does not manage"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_cannot_be_read_is_named_and_the_rest_is_collected() {
    let stage = Stage::of(&case("collect-evidence")).await;
    let prior = stage.capture().await.unwrap().prior;
    for operation in ["GetConsoleScreenshot", "DescribeRouteTables", "SendCommand"] {
        let effect = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
        stage.organization.inject(Fault::always(operation, effect));
    }
    stage.apply(&prior).await.unwrap();
    let verified = stage.verify(&prior).await;
    let Verification::InEffect(seen) = verified else { panic!("{verified:?}") };
    for what in ["missing: console-screenshot.jpg", "missing: routeTables", "missing: commands"] {
        assert!(seen.contains(what), "{what}: {seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn evidence_is_retained_by_object_lock_and_a_bucket_without_it_is_reported() {
    let stage = Stage::of(&case("collect-evidence with memory, retained")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(holds(&settled(&stage, &prior).await));
    stage.organization.edit(|state| {
        for (key, object) in &state.s3.objects.held["evidence"] {
            let (mode, until) = object.retention.as_ref().unwrap();
            assert_eq!(mode, "GOVERNANCE", "{key}");
            assert!(until.starts_with("2026-01-31"), "{key}: {until}");
        }
    });
    let stage = Stage::of(&case("collect-evidence with memory, retained")).await;
    stage.organization.edit(|state| state.s3.objects.locked.clear());
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let verified = settled(&stage, &prior).await;
    let Verification::InEffect(seen) = verified else { panic!("{verified:?}") };
    assert!(seen.contains("no Object Lock"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn deleted_evidence_is_not_in_effect() {
    let stage = Stage::of(&case("collect-evidence")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(holds(&settled(&stage, &prior).await));
    stage.organization.edit(|state| {
        let held = state.s3.objects.held.get_mut("evidence").unwrap();
        held.remove(&format!("{FOLDER}/console-output.txt"));
    });
    let verified = stage.verify(&prior).await;
    assert!(
        matches!(&verified, Verification::NotInEffect(why) if why.contains("console-output")),
        "{verified:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_another_account_takes_evidence_only_where_it_lets_us_in() {
    let owned = |owner: &str| json!({ "bucket": "evidence", "bucket-owner": owner });
    let mut stage = Stage::of(&case("collect-evidence")).await;
    stage.organization.edit(|state| {
        state.s3.buckets.get_mut("evidence").unwrap().account = "222222222222".to_owned();
    });
    stage.parameters = owned("222222222222");
    let error = stage.capture().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("bucket's policy"), "{error}");
    stage.organization.edit(|state| {
        let guests = state.s3.objects.guests.entry("evidence".to_owned()).or_default();
        guests.insert(ACCOUNT.to_owned());
    });
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(holds(&settled(&stage, &prior).await));
    // Somebody else's bucket of that name.
    stage.parameters = owned("333333333333");
    assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn collecting_needs_a_bucket_that_is_there() {
    let mut stage = Stage::of(&case("collect-evidence")).await;
    stage.parameters = json!({ "bucket": "evidence-elsewhere" });
    stage.organization.forget_calls();
    let error = stage.capture().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed, "{error}");
    stage.parameters = Value::Null;
    let error = stage.capture().await.unwrap_err();
    assert!(error.message.contains("needs `bucket`"), "{error}");
}
