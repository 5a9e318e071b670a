//! What several actions on users and roles share.

pub(crate) mod attachment;
pub(crate) mod deny_policy;
pub(crate) mod deny_sessions;
pub(crate) mod grants;
pub(crate) mod inline_policy;
pub(crate) mod login_profile;
pub(crate) mod managed_policy;
pub(crate) mod principals;
pub(crate) mod protected_roles;
