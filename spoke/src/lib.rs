//! What Firebreak carries out in a member account: the actions, each with its
//! undo. Nothing here knows of policies, queues or the hub's tables.

pub mod account;
pub mod actions;
pub mod error;
pub mod pace;
pub mod resource;
pub mod tags;
