//! The audit log: `chain` links events by hash, `verify`, `account` and `records`
//! detect tampering, `report` sums up what was verified, `export` writes and reads copies
//! outside of the table. Pure.

pub mod account;
pub mod chain;
pub mod export;
pub mod records;
pub mod report;
#[cfg(test)]
mod tampering;
pub mod verify;
