//! Hostile findings, end to end: what cannot exist is not called for, and what
//! was put beside it is contained all the same.

use firebreak_demo::world::{Attack, asff};
use firebreak_response::record::State;
use firebreak_testkit::repository;
use serde_json::{Value, json};

use crate::scenarios::stage::{finding_on, policy, stage, stage_with};

/// A resource of each type that actions act on, with an id from outside.
fn with_id(id: &str) -> Vec<Value> {
    vec![
        json!({ "resourceType": "Instance", "instanceDetails": { "instanceId": id } }),
        json!({ "resourceType": "AccessKey", "accessKeyDetails": {
            "accessKeyId": id, "userType": "IAMUser", "userName": "deploy" } }),
        json!({ "resourceType": "AccessKey", "accessKeyDetails": {
            "accessKeyId": null, "userType": "AssumedRole", "userName": id } }),
        json!({ "resourceType": "S3Bucket", "s3BucketDetails": [{ "name": id }] }),
        json!({ "resourceType": "RDSDBInstance", "rdsDbInstanceDetails": { "dbInstanceIdentifier": id } }),
        json!({ "resourceType": "Lambda", "lambdaDetails": { "functionName": id } }),
        json!({ "resourceType": "ECSCluster", "ecsClusterDetails": { "name": id } }),
        json!({ "resourceType": "ECSCluster", "ecsClusterDetails": {
            "name": "jobs", "taskDetails": { "arn": format!("arn:aws:ecs:{id}") } } }),
        json!({ "resourceType": "EKSCluster", "eksClusterDetails": { "name": id } }),
        json!({ "resourceType": "EKSCluster", "eksClusterDetails": { "name": "shop" },
            "kubernetesDetails": { "kubernetesWorkloadDetails": {
                "type": "pods", "namespace": "a", "name": id } } }),
    ]
}

const EVERYTHING: &str = "attach: r-fb01\nrules:\n  - name: all\n    mode: auto\n    then: [isolate-instance, deactivate-access-key, revoke-sessions, block-public-access, quarantine-db, freeze-function, freeze-service, isolate-pod]\n";

#[tokio::test(start_paused = true)]
async fn an_id_of_impossible_form_is_refused_before_any_call() {
    let stage = stage_with(policy(&[EVERYTHING]), firebreak_simulation::Options::default()).await;
    let member = stage.member("sandbox", 0).clone();
    let before = stage.snapshot(&member);
    let mut number = 0;
    for id in ["*", "i-*", "../../x", "a/b", "a b", "a?b", "a%2fb", "${x}", "a;b", "a#b"] {
        for resource in with_id(id) {
            number += 1;
            let finding = finding_on(&member, number, "Recon:EC2/PortProbe", resource.clone());
            let error = stage.deliver(&finding).await.error();
            assert!(error.contains(" is not a"), "{resource}: {error}");
            assert_eq!(stage.calls().len(), 0, "{resource}");
        }
    }
    assert_eq!(stage.snapshot(&member), before);
}

#[tokio::test(start_paused = true)]
async fn an_account_a_region_or_a_partition_that_is_none_is_refused_before_any_call() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    for (field, text) in [
        ("accountId", "20000000000"),
        ("accountId", "YOUR_ACCOUNT_ID"),
        ("region", "Frankfurt"),
        ("region", "cn-north-1"),
        ("partition", "aws-cn"),
    ] {
        let mut finding = Attack::Instance.finding(&member, 1);
        finding["arn"] = Value::Null;
        finding[field] = text.into();
        let delivered = stage.deliver(&finding).await;
        assert!(delivered.failed, "{field} {text}: {:?}", delivered.handled.outcomes);
        assert_eq!(stage.calls().len(), 0, "{field} {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_impossible_target_keeps_none_beside_it_from_being_contained() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let mut finding = finding_on(
        &member,
        1,
        "AttackSequence:EC2/CompromisedInstanceGroup",
        json!({ "resourceType": "AttackSequence" }),
    );
    finding["severity"] = 9.0.into();
    let instance = |uid: &str, account: &str| {
        json!({
            "resourceType": "EC2_INSTANCE", "uid": uid, "accountId": account, "region": member.region,
        })
    };
    finding["service"]["detection"] = json!({ "sequence": { "resources": [
        instance("i-*", &member.account),
        instance(&member.instance, &member.account),
        // Were it taken for the finding's own account, its own would be hit.
        instance(&member.instance, "2000000000011"),
    ]}});
    stage.world.import(&finding);
    let delivered = stage.deliver(&finding).await;
    assert!(delivered.failed);
    assert_eq!(delivered.handled.errors.len(), 2, "{:?}", delivered.handled.errors);
    assert!(!stage.reaches_internet(&member), "{:?}", delivered.handled.outcomes);
}

#[tokio::test(start_paused = true)]
async fn the_words_of_a_sample_in_tags_and_names_do_not_prevent_a_containment() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let mut finding = stage.finding(Attack::Instance, &member, 1);
    finding["resource"]["instanceDetails"]["tags"] = json!([
        { "key": "a", "value": "GeneratedFindingInstance" }, { "key": "id", "value": "i-99999999" },
    ]);
    assert_eq!(stage.deliver(&finding).await.state(), State::Contained);
    assert!(!stage.reaches_internet(&member));
}

#[tokio::test(start_paused = true)]
async fn another_resource_with_the_arn_of_an_instance_does_not_replace_it() {
    let stage = stage().await;
    let member = stage.member("sandbox", 0).clone();
    let real = stage.finding(Attack::Instance, &member, 1);
    let mut forged = asff(&real);
    forged["Id"] = "another".into();
    forged["Resources"][0]["Type"] = "Other".into();
    stage
        .deliver_message(
            &json!({ "id": "e", "source": "aws.securityhub",
        "detail-type": "Security Hub Findings - Imported", "region": member.region,
        "detail": { "findings": [forged] } })
            .to_string(),
        )
        .await;
    assert!(stage.reaches_internet(&member));
    assert_eq!(stage.deliver(&real).await.state(), State::Contained);
}

#[tokio::test(start_paused = true)]
async fn other_people_s_malformed_findings_change_nothing() {
    let Some(folder) = repository::shared("findings/malformed") else { return };
    let stage = stage_with(policy(&[EVERYTHING]), firebreak_simulation::Options::default()).await;
    let (mut handled, mut failed) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let delivered = stage.deliver_message(&text).await;
        handled += 1;
        failed += usize::from(delivered.failed);
        let reasons = delivered.handled.errors.iter().map(ToString::to_string);
        assert!(reasons.into_iter().all(|it| !it.is_empty() && !it.contains('\n')));
    }
    println!("malformed: {handled} messages, {failed} given back, changes {:?}", stage.changes());
    assert!(stage.changes().iter().all(|it| it.starts_with("sts:")), "{:?}", stage.changes());
}
