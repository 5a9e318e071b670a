//! The simulated organization of the demo and the tests: accounts, OUs and resources to
//! attack, set up by the templates of `stacksets/`.

// The futures of the engine are deep, and Send is proved of each of their parts.
#![recursion_limit = "256"]

pub mod attacker;
pub mod templates;
pub mod world;

pub use world::example_policy;
