//! The right target and no other: principals of one name, protected roles,
//! other accounts' buckets, terminated instances; and that what ends has ended.

use std::time::Duration;

use firebreak_model::error::ErrorKind;
use firebreak_model::resource::ResourceKind;
use firebreak_simulation::ec2::model::Device;
use firebreak_spoke::contract::{CapturedState, Undone};
use serde_json::json;

use crate::actions::cases::{case, cases, instance_id};
use crate::actions::stage::{ACCOUNT, REGION, SPOKE, Stage, allow};

#[tokio::test(start_paused = true)]
async fn a_terminated_instance_is_reported_as_terminated() {
    for name in ["isolate-instance", "revoke-instance-credentials", "tag-resource on an instance"] {
        let stage = Stage::of(&case(name)).await;
        let id = instance_id(&stage.resource);
        stage.organization.edit(|state| state.ec2(ACCOUNT, REGION).terminate(&id));
        let error = stage.capture().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Gone, "{name}");
        assert!(error.message.contains("terminated"), "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn stolen_credentials_of_an_instance_end_and_its_neighbours_live_on() {
    let stage = Stage::of(&case("revoke-instance-credentials")).await;
    let organization = &stage.organization;
    let stolen = organization.role_session(ACCOUNT, "web", &instance_id(&stage.resource));
    let neighbour = organization.role_session(ACCOUNT, "web", "i-0000000000000000f");
    let may = |credentials| {
        organization.attempt(credentials, REGION, "s3:GetObject", "arn:aws:s3:::data/x").is_ok()
    };
    assert!(may(&stolen) && may(&neighbour));
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(!may(&stolen) && may(&neighbour));
    stage.undo(&prior).await.unwrap();
    assert!(may(&stolen));
}

#[tokio::test(start_paused = true)]
async fn sessions_that_began_before_end_and_later_ones_do_not() {
    let stage = Stage::of(&case("revoke-sessions of a role's session")).await;
    let organization = &stage.organization;
    let may = |credentials| {
        organization.attempt(credentials, REGION, "s3:GetObject", "arn:aws:s3:::data/x").is_ok()
    };
    let stolen = organization.role_session(ACCOUNT, "web", "somebody");
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(!may(&stolen));
    tokio::time::advance(Duration::from_mins(1)).await;
    let later = organization.role_session(ACCOUNT, "web", "somebody");
    assert!(may(&later) && !may(&stolen));
}

#[tokio::test(start_paused = true)]
async fn a_principal_of_the_same_name_is_never_touched() {
    for case in cases() {
        if !["deactivate-access-key", "revoke-sessions"].contains(&case.action) {
            continue;
        }
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        let after = stage.snapshot();
        let same = |pointer: &str| stage.before.pointer(pointer) == after.pointer(pointer);
        let (user, role) = (same("/held/iam/users/web"), same("/held/iam/roles/web"));
        assert!(user != role, "{}: exactly one of them changes", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_was_made_anew_is_another_role() {
    let stage = Stage::of(&case("revoke-sessions of a role's session")).await;
    stage.organization.edit(|state| {
        let role = state.iam(ACCOUNT).roles.get_mut("web").unwrap();
        role.identity.id = "AROAANOTHER".to_owned();
    });
    assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn protected_roles_are_refused_by_every_action_that_changes_roles() {
    for (path, name) in [
        ("/", SPOKE),
        ("/aws-service-role/autoscaling.amazonaws.com/", "AWSServiceRoleForAutoScaling"),
        ("/aws-reserved/sso.amazonaws.com/", "AWSReservedSSO_Admin_0123456789abcdef"),
        ("/", "stacksets-exec-0123456789abcdef"),
        ("/", "AWSControlTowerExecution"),
        ("/", "OrganizationAccountAccessRole"),
    ] {
        for template in ["revoke-sessions of a role", "tag-resource on a role"] {
            let mut stage = Stage::of(&case(template)).await;
            if name != SPOKE {
                stage.organization.add_role(ACCOUNT, path, name, json!({}), allow(&["s3:*"]));
            }
            stage.resource.kind = ResourceKind::Role { name: name.to_owned() };
            let error = stage.capture().await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused, "{template} {name}: {error}");
        }
        let stage = Stage::of(&case("revoke-instance-credentials")).await;
        if name != SPOKE {
            stage.organization.add_role(ACCOUNT, path, name, json!({}), allow(&["s3:*"]));
        }
        stage.organization.edit(|state| {
            state.iam(ACCOUNT).profiles.get_mut("web").unwrap().role = Some(name.to_owned());
        });
        let error = stage.capture().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn undo_leaves_a_key_that_was_already_off() {
    let stage = Stage::of(&case("deactivate-access-key")).await;
    stage.organization.edit(|state| {
        let keys = &mut state.iam(ACCOUNT).users.get_mut("web").unwrap().keys;
        for active in keys.values_mut() {
            *active = false;
        }
    });
    let before = stage.snapshot();
    let CapturedState { prior, changes } = stage.capture().await.unwrap();
    assert!(changes.is_empty());
    stage.apply(&prior).await.unwrap();
    assert_eq!(stage.undo(&prior).await.unwrap(), Undone::default());
    assert_eq!(stage.snapshot(), before);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_another_account_is_refused_and_not_touched() {
    for name in
        ["block-public-access of a bucket with some flags", "tag-resource on a bucket with tags"]
    {
        let stage = Stage::of(&case(name)).await;
        let prior = stage.capture().await.unwrap().prior;
        let theirs = stage.organization.edit(|state| {
            let bucket = state.s3.buckets.get_mut("data").unwrap();
            bucket.account = "222222222222".to_owned();
            bucket.clone()
        });
        assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Refused, "{name}");
        assert_eq!(stage.apply(&prior).await.unwrap_err().kind, ErrorKind::Refused, "{name}");
        let now = stage.organization.edit(|state| state.s3.buckets["data"].clone());
        assert_eq!(now, theirs, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_block_that_an_organization_policy_manages_is_reported() {
    let stage = Stage::of(&case("block-public-access of an account without a block")).await;
    stage.organization.edit(|state| state.s3.managed_by_organization.push(ACCOUNT.to_owned()));
    let prior = stage.capture().await.unwrap().prior;
    let error = stage.apply(&prior).await.unwrap_err();
    assert!(error.to_string().contains("organization policy"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stops_again_after_its_start_is_no_undo() {
    let stage = Stage::of(&case("stop-instance with encrypted volumes")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let use_key = |usable: bool| {
        stage.organization.edit(|state| {
            let keys = &mut state.ec2(ACCOUNT, REGION).unusable_keys;
            let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/theirs");
            if usable { keys.remove(&key) } else { keys.insert(key) }
        })
    };
    use_key(false);
    let error = stage.undo(&prior).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed, "{error:?}");
    assert!(error.message.contains("Client.InternalError"), "{error:?}");
    assert!(error.help.is_some_and(|help| help.contains("kms:CreateGrant")));
    use_key(true);
    assert_eq!(stage.undo(&prior).await.unwrap().restored.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_was_detached_or_replaced_since_does_not_keep_the_others_from_their_undo() {
    let stage = Stage::of(&case("protect-instance")).await;
    let id = instance_id(&stage.resource);
    let add = |device: &str| {
        stage.organization.edit(|state| {
            let instance = state.ec2(ACCOUNT, REGION).instances.get_mut(&id).unwrap();
            let device_ =
                Device { volume: format!("vol-of-{}", &device[5..]), delete_on_termination: true };
            instance.devices.insert(device.to_owned(), device_);
        });
    };
    add("/dev/sdf");
    add("/dev/sdg");
    let prior = stage.capture().await.unwrap().prior;
    // One is detached before the plan is carried out, another one replaced after it.
    stage.organization.edit(|state| {
        state.ec2(ACCOUNT, REGION).instances.get_mut(&id).unwrap().devices.remove("/dev/sdf");
    });
    stage.apply(&prior).await.unwrap();
    let replaced = stage.organization.edit(|state| {
        let instance = state.ec2(ACCOUNT, REGION).instances.get_mut(&id).unwrap();
        let device = instance.devices.get_mut("/dev/sdg").unwrap();
        "vol-of-others".clone_into(&mut device.volume);
        device.clone()
    });
    let undone = stage.undo(&prior).await.unwrap();
    assert_eq!(undone.drift.len(), 2, "{undone:?}");
    let devices =
        stage.organization.edit(|state| state.ec2(ACCOUNT, REGION).instances[&id].devices.clone());
    assert_eq!(devices["/dev/sdg"], replaced);
    assert!(devices.iter().all(|(name, it)| name == "/dev/sdg" || it.delete_on_termination));
}
