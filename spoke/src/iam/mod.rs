//! Actions on users, roles and their credentials.

mod attach_policy;
mod deactivate_access_key;
mod delete_login_profile;
mod deny_all;
mod detach_policy;
mod disable_console_access;
mod force_password_change;
mod revoke_sessions;
mod set_permission_boundary;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] = &[
    RegisteredAction::of::<deactivate_access_key::DeactivateAccessKey>(),
    RegisteredAction::of::<revoke_sessions::RevokeSessions>(),
    RegisteredAction::of::<deny_all::DenyAll>(),
    RegisteredAction::of::<disable_console_access::DisableConsoleAccess>(),
    RegisteredAction::of::<delete_login_profile::DeleteLoginProfile>(),
    RegisteredAction::of::<attach_policy::AttachPolicy>(),
    RegisteredAction::of::<detach_policy::DetachPolicy>(),
    RegisteredAction::of::<set_permission_boundary::SetPermissionBoundary>(),
    RegisteredAction::of::<force_password_change::ForcePasswordChange>(),
];
