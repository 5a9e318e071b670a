//! What Firebreak carries out in a member account: the actions, each with its
//! undo. Nothing here knows of policies, queues or the hub's tables.

pub mod account;
pub mod actions;
mod bucket;
mod buckets;
pub mod calls;
mod cluster;
mod container;
mod database;
pub mod deadline;
pub mod error;
pub mod form;
mod instance;
pub mod pace;
pub mod permissions;
pub mod resource;
pub mod seen;
pub mod tags;
