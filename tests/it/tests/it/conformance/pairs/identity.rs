//! The actions on users, roles and their keys.

use firebreak_model::resource::{Principal, PrincipalType, ResourceKind};
use firebreak_simulation::iam::model::Login;

use super::Pair;
use crate::conformance::backend::{ACCOUNT, Backend};

const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

async fn user(backend: &Backend, name: &str) -> ResourceKind {
    backend.user(name).await;
    ResourceKind::User { name: name.to_owned() }
}

async fn role(backend: &Backend, name: &str) -> ResourceKind {
    backend.role(name).await;
    ResourceKind::Role { name: name.to_owned() }
}

async fn key(backend: &Backend, name: &str) -> ResourceKind {
    let access_key_id = Some(backend.user(name).await);
    let principal =
        Principal { kind: PrincipalType::IamUser, name: Some(name.to_owned()), id: None };
    ResourceKind::AccessKey { access_key_id, principal }
}

async fn session(backend: &Backend, name: &str) -> ResourceKind {
    backend.role(name).await;
    let access_key_id = Some("ASIAFIREBREAK0000000".to_owned());
    let principal =
        Principal { kind: PrincipalType::AssumedRole, name: Some(name.to_owned()), id: None };
    ResourceKind::AccessKey { access_key_id, principal }
}

/// With a password for the console.
async fn with_password(backend: &Backend, name: &str) -> ResourceKind {
    let kind = user(backend, name).await;
    if let Some(organization) = backend.simulated() {
        organization.edit(|state| {
            state.iam(ACCOUNT).users.get_mut(name).unwrap().login = Some(Login::default());
        });
    } else {
        let call = backend.iam().create_login_profile().user_name(name);
        call.password("Conformance-0").send().await.unwrap();
    }
    kind
}

async fn administrating_user(backend: &Backend, name: &str) -> ResourceKind {
    let kind = user(backend, name).await;
    let call = backend.iam().attach_user_policy().user_name(name).policy_arn(ADMINISTRATOR);
    call.send().await.unwrap();
    kind
}

async fn administrating_role(backend: &Backend, name: &str) -> ResourceKind {
    let kind = role(backend, name).await;
    let call = backend.iam().attach_role_policy().role_name(name).policy_arn(ADMINISTRATOR);
    call.send().await.unwrap();
    kind
}

/// With a boundary already.
async fn bounded(backend: &Backend, name: &str) -> ResourceKind {
    let kind = role(backend, name).await;
    let call = backend.iam().put_role_permissions_boundary().role_name(name);
    call.permissions_boundary(ADMINISTRATOR).send().await.unwrap();
    kind
}

pub(super) async fn pairs(backend: &Backend) -> Vec<Pair> {
    let detached = administrating_role(backend, "detach-policy-role").await;
    let boundary = user(backend, "set-boundary").await;
    let boundary_of_role = role(backend, "set-boundary-role").await;
    vec![
        Pair::new("deactivate-access-key", "a user's key", key(backend, "deactivate").await),
        Pair::new("revoke-sessions", "a user's key", key(backend, "revoke").await),
        Pair::new("revoke-sessions", "a role's session", session(backend, "revoke").await),
        Pair::new("tag-resource", "a role", role(backend, "tag").await),
        Pair::new("tag-resource", "a user", user(backend, "tag").await),
        Pair::new("deny-all", "a user", user(backend, "deny").await),
        Pair::new("deny-all", "a role", role(backend, "deny").await),
        Pair::new("disable-console-access", "a user", with_password(backend, "console").await),
        Pair::new("delete-login-profile", "a user", with_password(backend, "delete-login").await),
        Pair::new("force-password-change", "a user", with_password(backend, "force").await),
        Pair::new("attach-policy", "a user", user(backend, "attach").await),
        Pair::new("attach-policy", "a role", role(backend, "attach").await),
        Pair::new("detach-policy", "a user", administrating_user(backend, "detach").await),
        Pair::new("detach-policy", "a role", detached),
        Pair::new("set-permission-boundary", "a user", boundary),
        Pair::new("set-permission-boundary", "a bounded role", bounded(backend, "bounded").await),
        Pair::new("set-permission-boundary", "a role", boundary_of_role),
    ]
}
