//! Intake on whatever a queue may hold. docs/dev/testing.md says how it is run.

#![no_main]

use std::sync::LazyLock;

use firebreak_policy::Policy;

mod actions;
#[path = "../checks/intake.rs"]
mod checks;

static POLICY: LazyLock<Policy> = LazyLock::new(actions::example_policy);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::check(&String::from_utf8_lossy(bytes), &POLICY);
});
