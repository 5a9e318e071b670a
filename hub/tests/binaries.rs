//! The two programs start. That this stands in the hub's own tests makes
//! `cargo test --workspace` build them, for the tests that run them from
//! outside.

use std::process::Command;

#[test]
fn the_command_line_tells_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_firebreak")).arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    assert_eq!(version.trim(), format!("firebreak {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_function_does_not_start_without_its_settings() {
    let output = Command::new(env!("CARGO_BIN_EXE_bootstrap")).env_clear().output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("FIREBREAK_EXTERNAL_ID"), "{error}");
}
