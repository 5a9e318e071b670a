//! Tests that the function starts. Because this test is in this package, `cargo test
//! --workspace` builds the program for the tests that run it from outside.

use std::process::Command;

#[test]
fn the_function_does_not_start_without_its_settings() {
    let output = Command::new(env!("CARGO_BIN_EXE_bootstrap")).env_clear().output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("FIREBREAK_EXTERNAL_ID"), "{error}");
}
