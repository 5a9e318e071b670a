//! The policy reader on whatever a file may hold. CONTRIBUTING.md says how it is run.

#![no_main]

#[path = "../checks/policy.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::check(&String::from_utf8_lossy(bytes));
});
