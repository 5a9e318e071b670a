//! What Firebreak carries out in a member account: the actions, each with its
//! undo. Nothing here knows of policies, queues or the hub's tables.

pub mod resource;
