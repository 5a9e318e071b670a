//! The simulated organization of the demo and the tests: accounts, OUs and resources to
//! attack, set up by the templates of `stacksets/`.

// The engine's futures are deeply nested, and the compiler checks `Send` for each of
// them.
#![recursion_limit = "256"]

pub mod attacker;
pub mod templates;
pub mod world;

pub use world::example_policy;
