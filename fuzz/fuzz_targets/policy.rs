//! The policy reader on whatever a file may hold. docs/dev/testing.md says how it is run.

#![no_main]

mod actions;
#[path = "../checks/policy.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::check(&String::from_utf8_lossy(bytes), actions::ACTIONS);
});
