//! `firebreak stacksets render`: the spoke role's template, from what actions
//! declare.

use std::fs;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use firebreak_testkit::repository;
use serde_json::Value;

use crate::command_line::offline::{folder, run};

fn render(arguments: &[&str]) -> (Option<i32>, String, String) {
    run(&[&["stacksets", "render"], arguments].concat())
}

#[test]
fn the_checkout_s_template_is_what_the_actions_declare() {
    let (code, out, err) = render(&["--check"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("stacksets/spoke.yaml: up to date"), "{out}");
    // Without a file it is the program's own.
    let (code, out, err) = render(&[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out == repository::text("stacksets/spoke.yaml"));
}

#[test]
fn a_stale_template_fails_and_what_differs_is_shown() {
    let folder = folder("stale-template");
    let path = folder.join("spoke.yaml");
    let file = path.to_str().unwrap();
    let (code, _, err) = render(&["--write", file]);
    assert_eq!(code, Some(0), "{err}");
    let whole = fs::read_to_string(&path).unwrap();
    let stale = whole
        .replace("                  - ec2:TerminateInstances\n", "")
        .replace("security-group/*", "*");
    fs::write(&path, &stale).unwrap();
    let (code, out, err) = render(&["--check", file]);
    assert_eq!(code, Some(1), "{out}{err}");
    for part in [
        "+                  - ec2:TerminateInstances",
        ":${AWS::AccountId}:security-group/*\"",
        ":${AWS::AccountId}:*\"",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(err.contains("is not up to date") && err.contains("--write"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), stale, "a check writes nothing");
    let (code, out, _) = render(&["--check", file, "--output", "json"]);
    let read: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &read["current"]), (Some(1), &Value::Bool(false)), "{out}");
    // A file that is there keeps what is written by hand.
    fs::write(&path, stale.replace("Default: FirebreakHub", "Default: OurHub")).unwrap();
    let (code, out, err) = render(&["--write", file]);
    assert_eq!(code, Some(0), "{err}");
    let actions = format!("{} action(s)", firebreak_spoke::registry::all().len());
    assert!(out.contains(&actions) && out.contains(" of 10240 characters"), "{out}");
    let mended = fs::read_to_string(&path).unwrap();
    assert_eq!(mended, whole.replace("Default: FirebreakHub", "Default: OurHub"));
    assert_eq!(render(&["--check", file]).0, Some(0));
}

#[test]
fn a_role_for_some_actions_has_their_permissions_and_parameters_only() {
    let (code, out, err) = render(&["--actions", "deactivate-access-key,deny-all"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("iam:UpdateAccessKey") && out.contains("AWSDenyAll"), "{out}");
    assert!(!out.contains("EvidenceBuckets") && !out.contains("ec2:StopInstances"), "{out}");
    let (_, out, _) = render(&["--actions", "deny-all", "--output", "json"]);
    let read: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(read["actions"], serde_json::json!(["deny-all"]));
    assert_eq!(read["parameters"], serde_json::json!([]));
    assert_eq!(read["statements"][0]["Sid"], "ReadBeforeChanging");
    // What was rendered for some is stale for all, and not for the same.
    let folder = folder("template-of-some");
    let path = folder.join("spoke.yaml");
    let file = path.to_str().unwrap();
    assert_eq!(render(&["--actions", "stop-task", "--write", file]).0, Some(0));
    assert_eq!(render(&["--check", file, "--actions", "stop-task"]).0, Some(0));
    let (code, _, err) = render(&["--check", file, "--actions", "stop-task,freeze-service"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("--actions stop-task,freeze-service"), "{err}");
}

#[test]
fn what_cannot_be_rendered_is_an_error_with_help() {
    let (code, _, err) = render(&["--actions", "isolate-instances"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("unknown action `isolate-instances`") && err.contains("help: "), "{err}");
    let folder = folder("no-template");
    let (code, _, err) = render(&["--check", folder.join("none.yaml").to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(
        err.contains("cannot read") && err.contains("help: give the path of the template"),
        "{err}"
    );
    let path = folder.join("spoke.yaml");
    fs::write(&path, "Resources: {}\n").unwrap();
    let (code, _, err) = render(&["--write", path.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(err.contains("begin generated: parameters") && err.contains("help: "), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "Resources: {}\n");
}

/// The path is relative to where it is run, and the template is in the program.
#[test]
fn it_works_from_any_folder() {
    let folder = folder("elsewhere");
    let firebreak = |arguments: &[&str]| {
        let mut command = Command::new(cargo_bin("firebreak"));
        command.current_dir(&folder).env_clear().args(["stacksets", "render"]).args(arguments);
        command.output().unwrap()
    };
    assert_eq!(firebreak(&["--check"]).status.code(), Some(2));
    let printed = firebreak(&[]);
    assert!(printed.stdout == firebreak_onboarding::stacksets::SPOKE.as_bytes());
    fs::create_dir(folder.join("stacksets")).unwrap();
    assert_eq!(firebreak(&["--write", "stacksets/spoke.yaml"]).status.code(), Some(0));
    assert_eq!(firebreak(&["--check"]).status.code(), Some(0));
}
