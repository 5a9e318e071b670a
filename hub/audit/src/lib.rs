//! The audit log: `chain` ties events together by hash, `verify`, `account` and
//! `records` find what was done to them, `export` carries them elsewhere. Pure.

pub mod account;
pub mod chain;
pub mod export;
pub mod records;
pub mod report;
#[cfg(test)]
mod tampering;
pub mod verify;
