//! The words that hub and spoke share: findings, resources, accounts, Regions and
//! places, and what an action says of itself. Pure: no clock, network or globals.

#![warn(missing_docs)]

pub mod action;
pub mod digest;
pub mod error;
pub mod finding;
pub mod finding_types;
pub mod organization;
pub mod resource;
pub mod suggest;
pub mod text;
