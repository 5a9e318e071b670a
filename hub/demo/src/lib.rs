//! The simulated organization of the demo and the tests: accounts, OUs and resources to
//! attack, set up by the templates of `stacksets/`.

pub mod attacker;
pub mod templates;
pub mod world;

pub use world::example_policy;
