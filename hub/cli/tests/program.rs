//! Tests that the command line starts. Because this test is in this package, `cargo
//! test --workspace` builds the program for the tests that run it from outside.

use std::process::Command;

#[test]
fn the_command_line_prints_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_firebreak")).arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    assert_eq!(version.trim(), format!("firebreak {}", env!("CARGO_PKG_VERSION")));
}
