//! What Firebreak does in a member account: the actions by service, each with its
//! undo and the permissions that it needs. Nothing here knows of policies, queues
//! or the hub's table.
//!
//! Begin with [`contract`], then read one action, such as
//! `iam/deactivate_access_key.rs`. `docs/dev/adding-an-action.md` lists what a new
//! one needs.

pub mod account;
pub mod contract;
mod ec2;
mod ecs;
mod eks;
pub mod grant;
mod iam;
mod lambda;
pub mod permissions;
mod rds;
pub mod read_cache;
pub mod registry;
mod s3;
mod ssm;
mod support;
pub mod tags;
