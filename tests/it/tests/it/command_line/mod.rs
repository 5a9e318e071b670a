//! The command line as a user runs it, against the simulated organization
//! served on a loopback address.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

mod audit;
mod backtest;
mod deploy;
mod guide;
mod hostile;
mod offline;
mod pause;
mod policies;
mod responses;
mod served;
mod stacksets;
