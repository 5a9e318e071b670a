//! The paths of a user, a role or a key.

use std::collections::BTreeMap;

use firebreak_model::resource::Resource;
use firebreak_simulation::caller::{Caller, Session};
use firebreak_simulation::permissions::{self, Needed};
use firebreak_simulation::policy::Context;
use firebreak_simulation::regional::eks::Cluster;
use firebreak_simulation::state::State;
use jiff::Timestamp;

use super::{Attempt, Fate, attempt};
use crate::actions::cases::{cluster_entry, instance_id};
use crate::actions::stage::{ACCOUNT, REGION, allow};

/// Long after every deny is enforced.
pub(super) fn later() -> Timestamp {
    "2100-01-01T00:00:00Z".parse().unwrap()
}

pub(super) fn may(state: &State, caller: &Caller) -> bool {
    may_with(state, caller, Context::new())
}

fn may_with(state: &State, caller: &Caller, request: Context) -> bool {
    let action = "s3:GetObject".to_owned();
    let needed = Needed { action, resource: "arn:aws:s3:::data/x".to_owned() };
    permissions::authorize(state, caller, REGION, &needed, request, later()).is_ok()
}

fn user() -> Caller {
    Caller::User { account: ACCOUNT.to_owned(), name: "web".to_owned() }
}

/// A session of the role, begun at a time.
fn session(state: &mut State, issued: Timestamp) -> Caller {
    session_of(state, "web", issued)
}

/// A session of a role, begun at a time.
pub(super) fn session_of(state: &mut State, role: &str, issued: Timestamp) -> Caller {
    Caller::Role(Box::new(named_session(state, role, "mallory", issued)))
}

fn named_session(state: &mut State, role: &str, name: &str, issued: Timestamp) -> Session {
    Session {
        account: ACCOUNT.to_owned(),
        role: role.to_owned(),
        role_id: state.iam(ACCOUNT).roles[role].identity.id.clone(),
        name: name.to_owned(),
        issued,
        expires: later(),
        token: String::new(),
        policy: None,
        tags: BTreeMap::default(),
        source_identity: None,
    }
}

fn permit(state: &mut State, _: &Resource) {
    let iam = state.iam(ACCOUNT);
    let policy = allow(&["s3:GetObject"]);
    iam.users.get_mut("web").unwrap().identity.inline.insert("read".to_owned(), policy.clone());
    iam.roles.get_mut("web").unwrap().identity.inline.insert("read".to_owned(), policy);
}

fn user_may(state: &mut State, _: &Resource) -> bool {
    may(state, &user())
}

fn old_session_may(state: &mut State, _: &Resource) -> bool {
    let old = session(state, "2020-01-01T00:00:00Z".parse().unwrap());
    may(state, &old)
}

fn new_session_may(state: &mut State, _: &Resource) -> bool {
    let new = session(state, later());
    may(state, &new)
}

fn arn(kind: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:{kind}/web")
}

/// An access entry of the user and of the role.
fn let_into_cluster(state: &mut State, _: &Resource) {
    let_in(state, &["user", "role"].map(arn));
}

fn let_in(state: &mut State, principals: &[String]) {
    let mut cluster = Cluster { authentication_mode: "API".to_owned(), ..Cluster::default() };
    for arn in principals {
        cluster.entries.insert(arn.clone(), cluster_entry(arn, &["ops"]));
    }
    state.regional(ACCOUNT, REGION).eks.clusters.insert("prod".to_owned(), cluster);
}

/// No IAM policy ends this (STS API reference, GetCallerIdentity).
fn is_in_cluster(state: &mut State, _: &Resource) -> bool {
    let clusters = &state.regional(ACCOUNT, REGION).eks.clusters;
    clusters.values().any(|it| it.entries.contains_key(&arn("user")))
}

fn active_keys(state: &mut State) -> usize {
    state.iam(ACCOUNT).users["web"].keys.values().filter(|active| **active).count()
}

fn has_password(state: &mut State, _: &Resource) -> bool {
    state.iam(ACCOUNT).users["web"].login.is_some()
}

/// With a password, and nothing that denies what it lets in to: the console's requests carry
/// the time of issue of a session.
fn can_use_console(state: &mut State, _: &Resource) -> bool {
    let session = [("aws:tokenissuetime".to_owned(), vec![later().to_string()])];
    let may = may_with(state, &user(), Context::from(session));
    state.iam(ACCOUNT).users["web"].login.is_some() && may
}

fn nothing(_: &mut State, _: &Resource) {}

const fn of(case: &'static str, attempt: Attempt) -> Attempt {
    Attempt { case, ..attempt }
}

pub(super) fn attempts() -> Vec<Attempt> {
    [denies(), keys_and_passwords()].into_iter().flatten().collect()
}

/// Of what denies a user or role.
fn denies() -> Vec<Attempt> {
    use Fate::{Closed, Open, Residual};
    vec![
        of("deny-all of a user", attempt(("deny-all", "permissions", Closed), permit, user_may)),
        of(
            "deny-all of a role",
            attempt(("deny-all", "sessions", Closed), permit, new_session_may),
        ),
        of(
            "deny-all of a user",
            attempt(("deny-all", "kubernetes", Residual), let_into_cluster, is_in_cluster),
        ),
        of(
            "deny-all of a user",
            attempt(
                ("deny-all", "kubernetes", Residual),
                |state, _| {
                    let_in(state, &[]);
                    let mode = "API_AND_CONFIG_MAP".to_owned();
                    let clusters = &mut state.regional(ACCOUNT, REGION).eks.clusters;
                    for cluster in clusters.values_mut() {
                        cluster.authentication_mode.clone_from(&mode);
                    }
                },
                // aws-auth may map the user.
                |state, _| {
                    let clusters = &state.regional(ACCOUNT, REGION).eks.clusters;
                    clusters.values().any(|it| it.authentication_mode != "API")
                },
            ),
        ),
        of(
            "revoke-sessions of a role",
            attempt(("revoke-sessions", "present-sessions", Closed), permit, old_session_may),
        ),
        of(
            "revoke-sessions of a role",
            attempt(("revoke-sessions", "new-sessions", Open), permit, new_session_may),
        ),
        of(
            "revoke-sessions of a user",
            attempt(("revoke-sessions", "keys", Open), permit, user_may),
        ),
        of(
            "revoke-sessions of a user",
            attempt(("revoke-sessions", "kubernetes", Residual), let_into_cluster, is_in_cluster),
        ),
        of(
            "set-permission-boundary of a user",
            attempt(("set-permission-boundary", "permissions", Closed), permit, user_may),
        ),
        of(
            "set-permission-boundary of a user",
            attempt(
                ("set-permission-boundary", "kubernetes", Residual),
                let_into_cluster,
                is_in_cluster,
            ),
        ),
        of(
            "attach-policy to a user",
            attempt(("attach-policy", "permissions", Closed), permit, user_may),
        ),
        of(
            "detach-policy from a user",
            attempt(("detach-policy", "policy", Closed), nothing, |state, _| {
                let attached = &state.iam(ACCOUNT).users["web"].identity.attached;
                attached.iter().any(|arn| arn.ends_with("/AdministratorAccess"))
            }),
        ),
    ]
}

/// Of what takes away keys, passwords and an instance's credentials.
fn keys_and_passwords() -> Vec<Attempt> {
    use Fate::{Closed, Open, Residual};
    vec![
        of(
            "deactivate-access-key",
            attempt(("deactivate-access-key", "key", Closed), nothing, |state, _| {
                active_keys(state) > 0
            }),
        ),
        of(
            "deactivate-access-key",
            attempt(
                ("deactivate-access-key", "other-keys", Residual),
                |state, _| {
                    let keys = &mut state.iam(ACCOUNT).users.get_mut("web").unwrap().keys;
                    keys.insert("AKIAOTHER".to_owned(), true);
                },
                |state, _| active_keys(state) > 0,
            ),
        ),
        of(
            "deactivate-access-key",
            attempt(
                ("deactivate-access-key", "console", Residual),
                |state, _| {
                    let user = state.iam(ACCOUNT).users.get_mut("web").unwrap();
                    user.login = Some(firebreak_simulation::iam::model::Login::default());
                },
                has_password,
            ),
        ),
        of(
            "disable-console-access of a user",
            attempt(("disable-console-access", "console", Closed), permit, can_use_console),
        ),
        of(
            "disable-console-access of a user",
            attempt(("disable-console-access", "keys", Open), permit, user_may),
        ),
        of(
            "delete-login-profile of a user",
            attempt(("delete-login-profile", "password", Closed), permit, can_use_console),
        ),
        of(
            "delete-login-profile of a user",
            attempt(("delete-login-profile", "keys", Open), permit, user_may),
        ),
        of(
            "revoke-instance-credentials",
            attempt(
                ("revoke-instance-credentials", "instance-sessions", Closed),
                permit_instance_role,
                |state, target| {
                    let session = instance_session(state, target);
                    may(state, &session)
                },
            ),
        ),
        of(
            "revoke-instance-credentials",
            attempt(
                ("revoke-instance-credentials", "kubernetes", Residual),
                |state, _| {
                    let_in(state, &[arn("role")]);
                },
                |state, _| {
                    let clusters = &state.regional(ACCOUNT, REGION).eks.clusters;
                    clusters.values().any(|it| it.entries.contains_key(&arn("role")))
                },
            ),
        ),
    ]
}

/// The role of the instance's profile.
const INSTANCE_ROLE: &str = "web";

fn permit_instance_role(state: &mut State, _: &Resource) {
    let identity = &mut state.iam(ACCOUNT).roles.get_mut(INSTANCE_ROLE).unwrap().identity;
    identity.inline.insert("read".to_owned(), allow(&["s3:GetObject"]));
}

/// Credentials that left the instance.
fn instance_session(state: &mut State, target: &Resource) -> Caller {
    let (name, issued) = (instance_id(target), "2020-01-01T00:00:00Z".parse().unwrap());
    Caller::Role(Box::new(named_session(state, INSTANCE_ROLE, &name, issued)))
}
