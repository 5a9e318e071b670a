//! What is particular to evidence: it is taken once, it is whole, and what is
//! missing is told.

use firebreak_simulation::{Effect, Fault};
use firebreak_spoke::actions::Verdict;
use firebreak_spoke::error::Kind;
use serde_json::json;

use crate::cases::{case, instance_id};
use crate::stage::{ACCOUNT, REGION, Stage, holds, settled};

fn snapshots(stage: &Stage) -> usize {
    stage.organization.edit(|state| state.ec2(ACCOUNT, REGION).snapshots.len())
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_the_finding_never_snapshots_again() {
    let stage = Stage::of(&case("snapshot-volumes")).await;
    let prior = stage.observe().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(matches!(stage.verify(&prior).await, Verdict::Pending(_)));
    assert_eq!(snapshots(&stage), 2);
    let again = stage.observe().await.unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
    stage.apply(&again.prior).await.unwrap();
    assert!(holds(&settled(&stage, &again.prior).await));
    assert_eq!(snapshots(&stage), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_set_of_snapshots_or_copies() {
    for operation in ["CreateSnapshots", "CopySnapshot"] {
        let stage = Stage::of(&case("snapshot-volumes with copies under a key")).await;
        let prior = stage.observe().await.unwrap().prior;
        stage.organization.inject(Fault::once(operation, Effect::LostAnswer));
        for _ in 0..8 {
            if let Err(error) = stage.apply(&prior).await {
                assert_eq!(error.kind, Kind::Transient, "{operation}: {error}");
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
    let prior = stage.observe().await.unwrap().prior;
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
    let error = stage.observe().await.unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.to_string().contains("kms-key"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_for_its_key_is_told_with_the_reason() {
    let stage = Stage::of(&case("snapshot-volumes with copies under a key")).await;
    stage.organization.edit(|state| {
        let key = stage.parameters["kms-key"].as_str().unwrap().to_owned();
        state.ec2(ACCOUNT, REGION).unusable_keys.insert(key);
    });
    let prior = stage.observe().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let verdict = settled(&stage, &prior).await;
    assert!(matches!(&verdict, Verdict::Broken(why) if why.contains("key ID")), "{verdict:?}");
}
