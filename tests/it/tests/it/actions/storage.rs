//! What is particular to the actions on buckets.

use firebreak_model::error::ErrorKind;
use firebreak_simulation::s3::model::PublicAccessBlock;
use serde_json::{Value, json};

use crate::actions::cases::{case, theirs};
use crate::actions::stage::{ACCOUNT, Stage, holds};

#[tokio::test(start_paused = true)]
async fn a_restricted_bucket_is_closed_to_everyone_and_open_again_afterwards() {
    let stage = Stage::of(&case("restrict-bucket-policy of a public bucket")).await;
    let open = || stage.organization.edit(|state| state.s3.anyone_can_read("data"));
    assert!(open());
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(!open());
    stage.undo(&prior).await.unwrap();
    assert!(open());
}

#[tokio::test(start_paused = true)]
async fn a_statement_added_after_capture_survives_apply_and_undo() {
    let stage = Stage::of(&case("restrict-bucket-policy of a bucket with one")).await;
    let prior = stage.capture().await.unwrap().prior;
    let more = theirs().replace("Theirs", "AddedSince");
    stage.organization.edit(|state| {
        state.s3.buckets.get_mut("data").unwrap().policy = Some(more.clone());
    });
    stage.apply(&prior).await.unwrap();
    let undone = stage.undo(&prior).await.unwrap();
    assert!(!undone.restored.is_empty() && undone.drift.is_empty(), "{undone:?}");
    let now = stage.organization.edit(|state| state.s3.buckets["data"].policy.clone()).unwrap();
    let (now, more): (Value, Value) =
        (serde_json::from_str(&now).unwrap(), serde_json::from_str(&more).unwrap());
    assert_eq!(now["Statement"], json!([more["Statement"]]));
}

#[tokio::test(start_paused = true)]
async fn a_public_policy_that_could_not_be_put_again_is_not_touched() {
    let stage = Stage::of(&case("restrict-bucket-policy of a public bucket")).await;
    let block = PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() };
    stage.organization.edit(|state| state.s3.account_blocks.insert(ACCOUNT.to_owned(), block));
    assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_grows_too_long_fails_the_plan() {
    let mut stage = Stage::of(&case("restrict-bucket-policy of a bucket without one")).await;
    let except: Vec<String> =
        (0..500).map(|it| format!("arn:aws:iam::{ACCOUNT}:role/a-role-{it:04}")).collect();
    stage.parameters = json!({ "except": except });
    let error = stage.capture().await.unwrap_err();
    assert!(error.message.contains("20480"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn public_grants_that_could_not_be_restored_are_not_changed() {
    let stage = Stage::of(&case("private-acl of a public bucket")).await;
    let block = PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() };
    stage.organization.edit(|state| state.s3.account_blocks.insert(ACCOUNT.to_owned(), block));
    assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_whose_acls_are_disabled_has_none_to_make_private() {
    let stage = Stage::of(&case("private-acl of a public bucket")).await;
    let prior = stage.capture().await.unwrap().prior;
    let disable = |disabled: bool| {
        stage.organization.edit(|state| {
            state.s3.buckets.get_mut("data").unwrap().acls_disabled = disabled;
        });
    };
    disable(true);
    assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::NotApplicable);
    assert_eq!(stage.apply(&prior).await.unwrap_err().kind, ErrorKind::NotApplicable);
    disable(false);
    stage.apply(&prior).await.unwrap();
    disable(true);
    let undone = stage.undo(&prior).await.unwrap();
    assert!(!undone.drift.is_empty() && undone.restored.is_empty(), "{undone:?}");
}

#[tokio::test(start_paused = true)]
async fn versioning_is_suspended_again_only_where_it_was() {
    for (name, expected) in [
        ("enable-versioning of a bucket that has it suspended", "Suspended"),
        ("enable-versioning of a bucket that never had it", "Enabled"),
    ] {
        let stage = Stage::of(&case(name)).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        assert!(holds(&stage.verify(&prior).await), "{name}");
        stage.undo(&prior).await.unwrap();
        let now = stage.organization.edit(|state| state.s3.buckets["data"].versioning.clone());
        assert_eq!(now.as_deref(), Some(expected), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_action_on_buckets_follows_the_bucket_to_its_region() {
    for name in [
        "block-public-access of a bucket with some flags",
        "tag-resource on a bucket with tags",
        "private-acl of a bucket with grants",
        "enable-versioning of a bucket that never had it",
        "suspend-replication",
        "suspend-lifecycle",
    ] {
        let stage = Stage::of(&case(name)).await;
        stage.organization.edit(|state| {
            "us-west-2".clone_into(&mut state.s3.buckets.get_mut("data").unwrap().region);
        });
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        assert!(holds(&stage.verify(&prior).await), "{name}");
        stage.undo(&prior).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_whose_account_blocks_everything_needs_no_block_of_its_own() {
    let stage = Stage::of(&case("block-public-access of a bucket without a block")).await;
    let all = PublicAccessBlock {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
    stage.organization.edit(|state| {
        state.s3.account_blocks.insert(ACCOUNT.to_owned(), all);
        state.s3.managed_by_organization.push(ACCOUNT.to_owned());
    });
    let captured = stage.capture().await.unwrap();
    assert!(captured.changes.is_empty(), "{:?}", captured.changes);
    assert!(holds(&stage.verify(&captured.prior).await));
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_was_off_before_stays_off() {
    for name in ["suspend-replication", "suspend-lifecycle"] {
        let stage = Stage::of(&case(name)).await;
        let changes = stage.capture().await.unwrap().changes;
        assert_eq!(changes.len(), 2, "{name}: {changes:?}");
    }
}

/// The policy of the bucket, changed by what `edit` makes of it.
fn edit_policy(stage: &Stage, edit: impl FnOnce(&mut Value)) {
    stage.organization.edit(|state| {
        let bucket = state.s3.buckets.get_mut("data").unwrap();
        let mut policy = serde_json::from_str(&bucket.policy_text("data").unwrap()).unwrap();
        edit(&mut policy);
        bucket.put_policy("data", Some(&policy.to_string()));
    });
}

fn policy_of(stage: &Stage) -> Value {
    let text = stage.organization.edit(|state| state.s3.buckets["data"].policy_text("data"));
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_restriction_that_s3_shows_in_another_order_is_in_effect_and_comes_off() {
    let stage = Stage::of(&case("restrict-bucket-policy of a bucket with one")).await;
    let before = policy_of(&stage);
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(holds(&stage.verify(&prior).await));
    edit_policy(&stage, |policy| {
        for statement in policy["Statement"].as_array_mut().unwrap() {
            if let Some(resources) = statement["Resource"].as_array_mut() {
                resources.reverse();
            }
        }
    });
    assert!(holds(&stage.verify(&prior).await));
    let undone = stage.undo(&prior).await.unwrap();
    assert!(!undone.restored.is_empty() && undone.drift.is_empty(), "{undone:?}");
    assert_eq!(policy_of(&stage), before);
}

#[tokio::test(start_paused = true)]
async fn the_deny_comes_off_by_its_sid_unless_it_is_no_such_deny_any_more() {
    let stage = Stage::of(&case("restrict-bucket-policy of a bucket without one")).await;
    let prior = stage.capture().await.unwrap().prior;
    let own = |policy: &Value| match &policy["Statement"] {
        Value::Array(statements) => statements[0].clone(),
        one => one.clone(),
    };
    // Somebody excepts one more principal: the bucket is locked all the same.
    stage.apply(&prior).await.unwrap();
    edit_policy(&stage, |policy| {
        let mut deny = own(policy);
        let excepted = &mut deny["Condition"]["ArnNotEquals"]["aws:PrincipalArn"];
        excepted.as_array_mut().unwrap().push("arn:aws:iam::1:role/more".into());
        policy["Statement"] = json!([deny]);
    });
    let undone = stage.undo(&prior).await.unwrap();
    assert!(undone.drift.is_empty(), "{undone:?}");
    assert_eq!(policy_of(&stage), Value::Null);
    // What allows is not ours to take away.
    stage.apply(&prior).await.unwrap();
    edit_policy(&stage, |policy| {
        let mut allow = own(policy);
        allow["Effect"] = "Allow".into();
        policy["Statement"] = json!([allow]);
    });
    let undone = stage.undo(&prior).await.unwrap();
    assert_eq!((undone.restored.len(), undone.drift.len()), (0, 1), "{undone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_principal_keeps_a_bucket_neither_open_nor_locked() {
    let stage = Stage::of(&case("restrict-bucket-policy of a bucket with one")).await;
    let deleted = |policy: &mut Value| {
        let mut statement = match &policy["Statement"] {
            Value::Array(statements) => statements[0].clone(),
            one => one.clone(),
        };
        statement["Principal"] = json!({ "AWS": ["AROAEXAMPLEDELETED00", "arn:aws:iam::1:root"] });
        statement["Sid"] = "Partner".into();
        let gone = json!({ "Sid": "Gone", "Effect": "Allow", "Action": "s3:GetObject",
            "Principal": { "AWS": "AIDAEXAMPLEDELETED00" }, "Resource": statement["Resource"] });
        match policy["Statement"].as_array_mut() {
            Some(all) => all.extend([statement, gone]),
            None => policy["Statement"] = json!([policy["Statement"].clone(), statement, gone]),
        }
    };
    // Deleted before the containment.
    edit_policy(&stage, deleted);
    let captured = stage.capture().await.unwrap();
    let change = captured.changes.iter().find(|it| it.what.contains("principals")).unwrap();
    assert!(change.before.contains("AROAEXAMPLEDELETED00"), "{change:?}");
    stage.apply(&captured.prior).await.unwrap();
    assert!(holds(&stage.verify(&captured.prior).await));
    let undone = stage.undo(&captured.prior).await.unwrap();
    assert!(!undone.restored.is_empty() && undone.drift.is_empty(), "{undone:?}");
    assert!(undone.restored.join(" ").contains("AIDAEXAMPLEDELETED00"), "{undone:?}");
    let sids: Vec<String> = policy_of(&stage)["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["Sid"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(sids.contains(&"Partner".to_owned()) && !sids.contains(&"Gone".to_owned()), "{sids:?}");
    // Deleted while the bucket is restricted.
    stage.apply(&captured.prior).await.unwrap();
    edit_policy(&stage, deleted);
    let undone = stage.undo(&captured.prior).await.unwrap();
    assert!(!undone.restored.is_empty() && undone.drift.is_empty(), "{undone:?}");
    assert!(!policy_of(&stage).to_string().contains("FirebreakRestrict"));
}
