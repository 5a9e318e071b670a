//! The simulated organization that the demo and the tests play in: accounts, OUs
//! and resources worth attacking, set up by the templates of `stacksets/`.

// The futures of the engine are deep, and Send is proved of each of their parts.
#![recursion_limit = "256"]

pub mod attacker;
pub mod templates;
pub mod world;

pub use world::example_policy;
