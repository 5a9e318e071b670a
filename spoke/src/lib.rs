//! What Firebreak carries out in a member account: the actions, each with its
//! undo. Nothing here knows of policies, queues or the hub's tables.

pub mod account;
pub mod actions;
mod bucket;
mod cluster;
mod container;
mod database;
mod instance;
pub mod permissions;
pub mod read_cache;
pub mod tags;
