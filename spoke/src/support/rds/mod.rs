//! What several actions on databases share.

pub(crate) mod database;
pub(crate) mod database_network;
pub(crate) mod grants;
pub(crate) mod proxies;
