//! The actions that contain users and roles by policies, boundaries and passwords.

use std::collections::BTreeSet;

use fastrand::Rng;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::Organization;
use firebreak_simulation::iam::model::{Identity, Login};
use firebreak_simulation::state::State;
use serde_json::{Value, json};

use super::Case;
use super::containment::{
    forget_role, forget_user, isolation, role, role_policy, role_session, user, user_key,
    user_policy, vary_principals, with_profile,
};
use crate::actions::stage::{ACCOUNT, allow};

const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
const DENY: &str = "arn:aws:iam::aws:policy/AWSDenyAll";

/// The user and the role of the one name.
fn both(organization: &Organization, edit: impl Fn(&mut Identity)) {
    organization.edit(|state| {
        let iam = state.iam(ACCOUNT);
        edit(&mut iam.users.get_mut("web").unwrap().identity);
        edit(&mut iam.roles.get_mut("web").unwrap().identity);
    });
}

/// Leaves no room for another inline policy.
pub(crate) fn fill(identity: &mut Identity, limit: usize) {
    let padding = |length: usize| {
        json!({ "Statement": [{
            "Sid": "x".repeat(length), "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*",
        }]})
    };
    let room = limit - identity.inline_size() - padding(0).to_string().len();
    identity.inline.insert("full".to_owned(), padding(room - 10));
}

fn fill_user(organization: &Organization) {
    organization.edit(|state| {
        fill(&mut state.iam(ACCOUNT).users.get_mut("web").unwrap().identity, 2_048);
    });
}

fn fill_role(organization: &Organization) {
    organization.edit(|state| {
        fill(&mut state.iam(ACCOUNT).roles.get_mut("web").unwrap().identity, 10_240);
    });
}

fn full_user(organization: &Organization) -> ResourceKind {
    let kind = user(organization);
    fill_user(organization);
    kind
}

fn full_role(organization: &Organization) -> ResourceKind {
    let kind = role(organization);
    fill_role(organization);
    kind
}

fn full_profile(organization: &Organization) -> ResourceKind {
    let kind = with_profile(organization);
    fill_role(organization);
    kind
}

fn administrators(organization: &Organization) {
    let attached = [ADMINISTRATOR, READ_ONLY].map(str::to_owned);
    both(organization, |identity| identity.attached = BTreeSet::from(attached.clone()));
}

fn administrator_user(organization: &Organization) -> ResourceKind {
    let kind = user(organization);
    administrators(organization);
    kind
}

fn administrator_role(organization: &Organization) -> ResourceKind {
    let kind = role(organization);
    administrators(organization);
    kind
}

fn bounded_user(organization: &Organization) -> ResourceKind {
    let kind = user(organization);
    both(organization, |identity| identity.boundary = Some(READ_ONLY.to_owned()));
    kind
}

fn bounded_role(organization: &Organization) -> ResourceKind {
    let kind = role_session(organization);
    both(organization, |identity| identity.boundary = Some(READ_ONLY.to_owned()));
    kind
}

fn give_password(organization: &Organization) {
    organization.edit(|state| {
        state.iam(ACCOUNT).users.get_mut("web").unwrap().login = Some(Login::default());
    });
}

fn user_with_password(organization: &Organization) -> ResourceKind {
    let kind = user(organization);
    give_password(organization);
    kind
}

fn key_with_password(organization: &Organization) -> ResourceKind {
    let kind = user_key(organization);
    give_password(organization);
    kind
}

/// Everything that the actions here read, at random.
fn vary(state: &mut State, resource: &Resource, dice: &mut Rng) {
    vary_principals(state, resource, dice);
    let iam = state.iam(ACCOUNT);
    if let Some(user) = iam.users.get_mut("web") {
        let reset = Login { password_reset_required: dice.bool() };
        user.login = dice.bool().then_some(reset).or(user.login.take());
    }
    let user = iam.users.get_mut("web").map(|user| &mut user.identity);
    let role = iam.roles.get_mut("web").map(|role| &mut role.identity);
    for identity in user.into_iter().chain(role) {
        if dice.u8(..5) == 0 {
            identity.attached.insert(DENY.to_owned());
        }
        if dice.bool() {
            identity.attached.remove(ADMINISTRATOR);
        }
        if dice.bool() {
            identity.attached.insert(READ_ONLY.to_owned());
        }
        if dice.bool() {
            let policies = [DENY, READ_ONLY, ADMINISTRATOR];
            identity.boundary = Some(policies[dice.usize(..3)].to_owned());
        }
    }
}

/// Somebody puts another policy under each name that a response gives.
fn retake_names(identity: &mut Identity) {
    for action in ["DenyAll", "RevokeSessions", "DisableConsoleAccess"] {
        identity.inline.insert(format!("Firebreak{action}-r-0001"), allow(&["s3:*"]));
    }
}

fn retake_user_names(state: &mut State, _: &Resource) {
    retake_names(&mut state.iam(ACCOUNT).users.get_mut("web").unwrap().identity);
}

fn retake_role_names(state: &mut State, _: &Resource) {
    retake_names(&mut state.iam(ACCOUNT).roles.get_mut("web").unwrap().identity);
}

/// Somebody deletes the user or role and makes another of its name.
fn remake_user(state: &mut State, _: &Resource) {
    "AIDAANOTHER".clone_into(&mut state.iam(ACCOUNT).users.get_mut("web").unwrap().identity.id);
}

fn remake_role(state: &mut State, _: &Resource) {
    "AROAANOTHER".clone_into(&mut state.iam(ACCOUNT).roles.get_mut("web").unwrap().identity.id);
}

fn other_user_boundary(state: &mut State, _: &Resource) {
    let user = state.iam(ACCOUNT).users.get_mut("web").unwrap();
    user.identity.boundary = Some(ADMINISTRATOR.to_owned());
}

fn other_role_boundary(state: &mut State, _: &Resource) {
    let role = state.iam(ACCOUNT).roles.get_mut("web").unwrap();
    role.identity.boundary = Some(ADMINISTRATOR.to_owned());
}

fn delete_password(state: &mut State, _: &Resource) {
    state.iam(ACCOUNT).users.get_mut("web").unwrap().login = None;
}

fn whole_user(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).users["web"])
}

fn whole_role(state: &mut State, _: &Resource) -> Value {
    json!(state.iam(ACCOUNT).roles["web"])
}

fn of_user(name: &'static str, action: &'static str) -> Case {
    Case {
        name,
        action,
        arrange: user,
        disturb: remake_user,
        witness: whole_user,
        remove: forget_user,
        vary,
        ..isolation()
    }
}

fn of_role(name: &'static str, action: &'static str) -> Case {
    Case {
        arrange: role,
        disturb: remake_role,
        witness: whole_role,
        remove: forget_role,
        ..of_user(name, action)
    }
}

pub(super) fn cases() -> Vec<Case> {
    [denies(), full(), attachments(), boundaries(), passwords()].concat()
}

fn denies() -> Vec<Case> {
    let user = Case {
        disturb: retake_user_names,
        witness: user_policy,
        ..of_user("deny-all of a user", "deny-all")
    };
    let role = Case {
        disturb: retake_role_names,
        witness: role_policy,
        ..of_role("deny-all of a role", "deny-all")
    };
    vec![
        Case { name: "deny-all of a user's key", arrange: user_key, ..user.clone() },
        Case { name: "deny-all of a role's session", arrange: role_session, ..role.clone() },
        Case { name: "deny-all of a full user", arrange: full_user, ..user.clone() },
        Case { name: "deny-all of a full role", arrange: full_role, ..role.clone() },
        Case { name: "deny-all of a user made anew", disturb: remake_user, ..user.clone() },
        user,
        role,
    ]
}

fn full() -> Vec<Case> {
    vec![
        Case {
            arrange: full_user,
            disturb: retake_user_names,
            witness: user_policy,
            ..of_user("revoke-sessions of a full user", "revoke-sessions")
        },
        Case {
            arrange: full_role,
            disturb: retake_role_names,
            witness: role_policy,
            ..of_role("revoke-sessions of a full role", "revoke-sessions")
        },
        Case {
            name: "revoke-instance-credentials of a full role",
            arrange: full_profile,
            vary: |_, _, _| (),
            ..super::containment::instance_credentials_keeping_the_profile()
        },
    ]
}

fn attachments() -> Vec<Case> {
    vec![
        of_user("attach-policy to a user", "attach-policy"),
        of_role("attach-policy to a role", "attach-policy"),
        Case {
            parameters: json!({ "policy": READ_ONLY }),
            arrange: role_session,
            ..of_role("attach-policy by ARN to a role's session", "attach-policy")
        },
        Case {
            arrange: administrator_user,
            ..of_user("detach-policy from a user", "detach-policy")
        },
        Case {
            arrange: administrator_role,
            ..of_role("detach-policy from a role", "detach-policy")
        },
    ]
}

fn boundaries() -> Vec<Case> {
    let user = Case {
        disturb: other_user_boundary,
        ..of_user("set-permission-boundary of a user", "set-permission-boundary")
    };
    let role = Case {
        disturb: other_role_boundary,
        ..of_role("set-permission-boundary of a role", "set-permission-boundary")
    };
    vec![
        Case {
            name: "set-permission-boundary of a bounded user",
            arrange: bounded_user,
            ..user.clone()
        },
        Case {
            name: "set-permission-boundary of a bounded role",
            arrange: bounded_role,
            ..role.clone()
        },
        user,
        role,
    ]
}

fn passwords() -> Vec<Case> {
    let console = Case {
        arrange: user_with_password,
        disturb: retake_user_names,
        witness: user_policy,
        ..of_user("disable-console-access of a user", "disable-console-access")
    };
    let delete = Case {
        arrange: user_with_password,
        ..of_user("delete-login-profile of a user", "delete-login-profile")
    };
    let force = Case {
        arrange: user_with_password,
        disturb: delete_password,
        ..of_user("force-password-change of a user", "force-password-change")
    };
    vec![
        Case {
            name: "disable-console-access of a user's key",
            arrange: key_with_password,
            ..console.clone()
        },
        console,
        Case {
            name: "delete-login-profile of a user's key",
            arrange: key_with_password,
            ..delete.clone()
        },
        delete,
        Case {
            name: "force-password-change of a user's key",
            arrange: key_with_password,
            ..force.clone()
        },
        force,
    ]
}
