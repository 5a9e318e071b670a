//! What several actions in ECS share.

pub(crate) mod container;
pub(crate) mod grants;
pub(crate) mod scaling;
