//! The types that hub and spoke share: findings, resources, accounts, Regions and
//! places, and the specification of an action. Pure: no clock, network or globals.

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
