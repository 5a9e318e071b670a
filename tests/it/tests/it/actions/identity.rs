//! What is particular to the actions on users and roles.

use firebreak_model::error::ErrorKind;
use firebreak_spoke::contract::Verification;
use serde_json::json;

use crate::actions::cases::{Case, case, cases};
use crate::actions::stage::{ACCOUNT, REGION, SPOKE, Stage, holds};

const OURS: [&str; 7] = [
    "deny-all",
    "disable-console-access",
    "delete-login-profile",
    "attach-policy",
    "detach-policy",
    "set-permission-boundary",
    "force-password-change",
];

fn ours() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| OURS.contains(&case.action))
}

#[tokio::test(start_paused = true)]
async fn a_namesake_is_never_touched() {
    for case in ours() {
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
async fn protected_roles_are_refused() {
    for case in ours().filter(|case| case.name.ends_with("a role")) {
        let mut stage = Stage::of(&case).await;
        stage.resource.kind =
            firebreak_model::resource::ResourceKind::Role { name: SPOKE.to_owned() };
        assert_eq!(stage.capture().await.unwrap_err().kind, ErrorKind::Refused, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_principal_that_was_made_anew_since_the_plan_is_not_touched() {
    for case in ours() {
        let stage = Stage::of(&case).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.organization.edit(|state| {
            let iam = state.iam(ACCOUNT);
            iam.users.get_mut("web").unwrap().identity.id = "AIDAANOTHER".to_owned();
            iam.roles.get_mut("web").unwrap().identity.id = "AROAANOTHER".to_owned();
        });
        let anew = stage.snapshot();
        assert_eq!(stage.apply(&prior).await.unwrap_err().kind, ErrorKind::Gone, "{}", case.name);
        assert_eq!(stage.snapshot(), anew, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_principal_can_do_nothing_until_the_undo() {
    for name in [
        "deny-all of a user's key",
        "deny-all of a full user",
        "attach-policy to a user",
        "set-permission-boundary of a user",
    ] {
        let stage = Stage::of(&case(name)).await;
        let organization = &stage.organization;
        let key = organization
            .edit(|state| state.iam(ACCOUNT).users["web"].keys.keys().next().unwrap().clone());
        let credentials = organization.user_credentials(&key);
        let may = || {
            let object = "arn:aws:s3:::data/x";
            organization.attempt(&credentials, REGION, "s3:GetObject", object).is_ok()
        };
        assert!(may(), "{name}");
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        assert!(!may(), "{name}");
        stage.undo(&prior).await.unwrap();
        assert!(may(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_console_s_deny_spares_access_keys() {
    let stage = Stage::of(&case("disable-console-access of a user's key")).await;
    let organization = &stage.organization;
    let key = organization
        .edit(|state| state.iam(ACCOUNT).users["web"].keys.keys().next().unwrap().clone());
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let credentials = organization.user_credentials(&key);
    let object = "arn:aws:s3:::data/x";
    assert!(organization.attempt(&credentials, REGION, "s3:GetObject", object).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_fallback_says_that_it_denies_more_than_sessions() {
    for name in ["revoke-sessions of a full user", "revoke-sessions of a full role"] {
        let stage = Stage::of(&case(name)).await;
        let plan = stage.capture().await.unwrap();
        assert!(plan.changes[0].after.contains("AWSDenyAll"), "{:?}", plan.changes);
        stage.apply(&plan.prior).await.unwrap();
        let verified = stage.verify(&plan.prior).await;
        let Verification::InEffect(described) = &verified else { panic!("{verified:?}") };
        assert!(
            described.contains("AWSDenyAll") && described.contains("long-term keys"),
            "{described}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_managed_deny_that_was_there_before_stays() {
    for name in ["revoke-sessions of a full user", "revoke-sessions of a user"] {
        let stage = Stage::of(&case(name)).await;
        let deny = "arn:aws:iam::aws:policy/AWSDenyAll";
        stage.organization.edit(|state| {
            let user = state.iam(ACCOUNT).users.get_mut("web").unwrap();
            user.identity.attached.insert(deny.to_owned());
        });
        let before = stage.snapshot();
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        assert!(holds(&stage.verify(&prior).await), "{name}");
        stage.undo(&prior).await.unwrap();
        assert_eq!(stage.snapshot(), before, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_neither_deny_fits_the_error_names_both_limits() {
    let stage = Stage::of(&case("deny-all of a full user")).await;
    stage.organization.edit(|state| {
        let iam = state.iam(ACCOUNT);
        for number in 0..10 {
            let arn = format!("arn:aws:iam::{ACCOUNT}:policy/p{number}");
            iam.policies.insert(arn.clone(), json!({ "Statement": [] }));
            iam.users.get_mut("web").unwrap().identity.attached.insert(arn);
        }
    });
    let before = stage.snapshot();
    let prior = stage.capture().await.unwrap().prior;
    let error = stage.apply(&prior).await.unwrap_err();
    let described = error.to_string();
    assert!(
        described.contains("PoliciesPerUser") && described.contains("2048 bytes"),
        "{described}"
    );
    assert_eq!(stage.snapshot(), before);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_does_not_exist_fails_the_plan() {
    for name in ["attach-policy to a user", "set-permission-boundary of a role"] {
        let mut stage = Stage::of(&case(name)).await;
        stage.parameters = json!({ "policy": "Misspelled" });
        let error = stage.capture().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{name}: {error}");
        assert!(error.message.contains("Misspelled"), "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_without_a_password_has_none_to_change_or_delete() {
    for (name, expected) in [
        ("force-password-change of a user", Err(ErrorKind::NotApplicable)),
        ("delete-login-profile of a user", Ok(0)),
        ("disable-console-access of a user", Ok(1)),
    ] {
        let stage = Stage::of(&case(name)).await;
        stage.organization.edit(|state| {
            state.iam(ACCOUNT).users.get_mut("web").unwrap().login = None;
        });
        let observed = stage.capture().await;
        let changes = observed.map(|it| it.changes.len()).map_err(|error| error.kind);
        assert_eq!(changes, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn detaching_what_is_not_attached_is_not_called_containment() {
    let stage = Stage::of(&case("detach-policy from a user")).await;
    stage.organization.edit(|state| {
        state.iam(ACCOUNT).users.get_mut("web").unwrap().identity.attached.clear();
    });
    let error = stage.capture().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotApplicable, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_user_without_a_password_loses_its_temporary_sessions_too() {
    let stage = Stage::of(&case("disable-console-access of a user")).await;
    stage.organization.edit(|state| {
        for user in state.iam(ACCOUNT).users.values_mut() {
            user.login = None;
        }
    });
    let captured = stage.capture().await.unwrap();
    assert_eq!(captured.changes.len(), 1);
    assert!(!holds(&stage.verify(&captured.prior).await));
    stage.apply(&captured.prior).await.unwrap();
    assert!(holds(&stage.verify(&captured.prior).await));
}
