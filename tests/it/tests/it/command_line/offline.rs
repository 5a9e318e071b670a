//! Commands that need no AWS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use firebreak_testkit::repository;
use serde_json::Value;

/// Runs the program in the repository's root, without any setting.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(cargo_bin("firebreak"))
        .current_dir(repository::root())
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A folder of this test's own, empty.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn policies_are_checked_and_explained() {
    let (code, out, err) = run(&["policy", "check", "policies"]);
    assert_eq!((code, out.contains("7 document(s) OK")), (Some(0), true), "{out}{err}");
    let (_, out, _) = run(&["policy", "check", "policies", "--output", "json"]);
    let checked: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(checked["documents"].as_array().unwrap().len(), 7);
    let event = "tests/fixtures/findings/guardduty-instance.json";
    let path = "r-fb01/ou-fb01-sandbox1";
    let explain =
        ["policy", "explain", "--event", event, "--policies", "policies", "--ou-path", path];
    let (code, out, err) = run(&explain);
    assert_eq!((code, out.contains("= auto:")), (Some(0), true), "{out}{err}");
    let mut exempt = explain.to_vec();
    exempt.extend(["--tag", "firebreak=exempt", "--output", "json"]);
    let (_, out, _) = run(&exempt);
    let explained: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(explained[0]["decision"]["outcome"], "protected", "{out}");
    let (code, _, err) = run(&["policy", "check", "no-such-folder"]);
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn an_unknown_finding_type_is_a_lint_and_the_document_is_valid() {
    let (_, out, _) = run(&["policy", "check", "policies", "--output", "json"]);
    let checked: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(checked["warnings"], serde_json::json!([]), "{out}");
    let file = folder("doubts").join("root.yaml");
    let rule = "attach: r-ab12\nrules: [{ name: a, mode: observe, when: { type: [\"Recon:EC2/Protscan\"] } }]\n";
    fs::write(&file, rule).unwrap();
    let (code, out, err) = run(&["policy", "check", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(0), "1 document(s) OK\n"), "{err}");
    assert!(err.starts_with("warning: ") && err.contains("mean `Recon:EC2/Portscan`?"), "{err}");
}

#[test]
fn every_issue_of_every_file_is_reported_at_once() {
    let folder = folder("issues");
    fs::write(folder.join("a.yaml"), "attach: r-ab12\ncieling: auto\n").unwrap();
    fs::write(folder.join("b.yaml"), "attach: Prod\nrules: [{ name: x }]\n").unwrap();
    let (code, _, err) = run(&["policy", "check", folder.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let (code, out, _) = run(&["policy", "check", folder.to_str().unwrap(), "--output", "json"]);
    let read: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, read["issues"].as_array().unwrap().len()), (Some(1), 3), "{out}");
    assert_eq!(
        (&read["issues"][0]["line"], &read["issues"][0]["help"]),
        (&2.into(), &"did you mean `ceiling`?".into())
    );
    for part in ["3 error(s)", "a.yaml:2:1", "did you mean `ceiling`?", "b.yaml:1:9", "b.yaml:2:"] {
        assert!(err.contains(part), "{part}: {err}");
    }
}

#[test]
fn the_examples_pass_their_tests_and_a_failed_test_shows_the_difference() {
    let (code, out, err) = run(&["policy", "test", "policies/"]);
    assert_eq!((code, out.contains(" 0 failed")), (Some(0), true), "{out}{err}");
    let (_, out, _) = run(&["policy", "test", "policies/", "--output", "json"]);
    let all: Value = serde_json::from_str(&out).unwrap();
    for about in ["sandbox", "production", "security", "suspended", "observe", "exception"] {
        let of = |test: &&Value| test["file"].as_str().unwrap().contains(about);
        assert!(all["tests"].as_array().unwrap().iter().any(|it| of(&it)), "{about}");
    }
    let (_, out, _) = run(&["policy", "test", "policies/", "--filter", "sandbox.yaml"]);
    assert!(out.contains("7 passed, 0 failed"), "{out}");

    let folder = folder("failing");
    fs::create_dir(folder.join("tests")).unwrap();
    let rule = "attach: r-ab12\nrules: [{ name: all, mode: observe }]\n";
    fs::write(folder.join("root.yaml"), rule).unwrap();
    let test = "\
tests:
  - name: it isolates
    given: { finding: { type: x, severity: 8, resource: { type: Instance } } }
    expect: { mode: auto, rule: all, actions: [isolate-instance] }
  - name: its finding is there
    given: { finding: nowhere.json }
    expect: { mode: observe }
";
    fs::write(folder.join("tests/t.yaml"), test).unwrap();
    let (code, out, _) = run(&["policy", "test", folder.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{out}");
    for part in [
        "✗ it isolates",
        "t.yaml:2",
        "    mode\n      - auto\n      + observe",
        "    actions\n      - isolate-instance\n      + none",
        "✓ all",
        "nowhere.json",
        "0 passed, 2 failed",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    // No test at all is no success.
    let (code, _, err) = run(&["policy", "test", "policies/", "--filter", "no such"]);
    assert_eq!(code, Some(2), "{err}");
    fs::write(folder.join("tests/t.yaml"), "tests: [{ name: a, given: {}, expect: {} }]\n")
        .unwrap();
    let (code, _, err) = run(&["policy", "test", folder.to_str().unwrap()]);
    assert_eq!((code, err.contains("cannot fail")), (Some(1), true), "{err}");
}

#[test]
fn patterns_are_tried_out() {
    let matches = |pattern: &str, event: &str| {
        run(&["policy", "match", "--pattern", pattern, "--event", event])
    };
    let pattern =
        r#"{"detail": {"severity": [{"numeric": [">=", 7]}], "type": [{"prefix": "Recon"}]}}"#;
    let yes = r#"{"detail": {"severity": 8, "type": "Recon:EC2/Portscan"}}"#;
    assert_eq!(matches(pattern, yes), (Some(0), "yes\n".to_owned(), String::new()));
    let (code, out, err) = matches(pattern, r#"{"detail": {"severity": 8, "type": "Backdoor"}}"#);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(1), "no: `detail.type` does not match\n", "")
    );
    let (code, _, err) = matches(r#"{"a": [{"prefx": "x"}]}"#, "{}");
    assert_eq!(code, Some(2));
    assert!(err.contains("`a[0].prefx`: this is not an operator; did you mean `prefix`?"), "{err}");
    let folder = folder("match");
    fs::write(folder.join("p.json"), pattern).unwrap();
    fs::write(folder.join("e.json"), yes).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    assert_eq!(matches(&file("p.json"), &file("e.json")).0, Some(0));
    let (code, _, err) = matches(&file("none.json"), "{}");
    assert_eq!((code, err.contains("none.json")), (Some(2), true), "{err}");

    let cases = r#"[
        {"id": "a", "pattern": {"x": [1]}, "event": {"x": 1}, "expect": true},
        {"id": "b", "pattern": {"x": [1]}, "event": {"x": 2}, "expect": true},
        {"id": "c", "pattern": {"x": 1}, "event": {"x": 2}, "expect": "invalid"}
    ]"#;
    fs::write(folder.join("cases.json"), cases).unwrap();
    let (code, out, _) = run(&["policy", "match", "--cases", &file("cases.json")]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len(), lines[1]), (Some(1), 2, "2 agreed, 1 disagreed"), "{out}");
    let disagreed: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(
        (&disagreed["id"], &disagreed["got"], &disagreed["why"]),
        (&"b".into(), &false.into(), &"x".into())
    );
}

/// Cases from AWS's and others' public test suites. They are not part of this
/// repository: where the file is missing the test says so and passes.
#[test]
fn the_public_pattern_cases_agree() {
    let Some(file) = repository::shared("patterns.json") else { return };
    let (code, out, err) = run(&["policy", "match", "--cases", file.to_str().unwrap()]);
    let last = out.lines().last().unwrap_or_default();
    eprintln!("{last}");
    assert!(last.ends_with(" agreed, 0 disagreed") && !last.starts_with("0 "), "{out}{err}");
    assert_eq!(code, Some(0));
}

#[test]
fn a_gd_actions_map_becomes_a_document_that_is_sound() {
    let folder = folder("import");
    let map = folder.join("map.json");
    let good = r#"{"Backdoor:EC2/C&CActivity.B!DNS": "AUTO: ec2_quarantine_instance | AUTO: tag_ec2_resource owner secops"}"#;
    fs::write(&map, good).unwrap();
    let import = ["policy", "import", "--attach", "r-ab12", "--gd-actions", map.to_str().unwrap()];
    let (code, out, err) = run(&import);
    assert_eq!(code, Some(0), "{err}");
    fs::write(folder.join("imported.yaml"), &out).unwrap();
    let (code, _, err) = run(&["policy", "check", folder.join("imported.yaml").to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}{err}");
    fs::write(&map, good.replace("tag_ec2_resource owner secops", "igw_delete")).unwrap();
    let (code, out, err) = run(&import);
    assert_eq!((code, err.contains("`igw_delete` has no counterpart")), (Some(1), true), "{err}");
    assert!(out.contains("- isolate-instance") && out.contains("# not imported: "), "{out}");
}

#[test]
fn a_document_is_found_whatever_the_case_of_its_extension() {
    let folder = folder("extensions");
    fs::write(folder.join("root.YAML"), "attach: r-ab12\n").unwrap();
    fs::write(folder.join("work.Yml"), "\u{feff}attach: ou-ab12-work1111\r\n").unwrap();
    fs::write(folder.join(".root.yaml.swp.yaml"), "no document\n").unwrap();
    let (code, out, err) = run(&["policy", "check", folder.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(0), "2 document(s) OK\n"), "{err}");
}

#[test]
fn an_unreadable_file_hides_no_issue_of_the_others() {
    let folder = folder("unreadable");
    fs::write(folder.join("a.yaml"), [0xff, 0xfe, 0]).unwrap();
    fs::write(folder.join("b.yaml"), "attach: r-ab12\ncieling: auto\n").unwrap();
    let (code, _, err) = run(&["policy", "check", folder.to_str().unwrap()]);
    assert_eq!((code, err.contains("2 error(s)")), (Some(1), true), "{err}");
    assert!(err.contains("a.yaml: it cannot be read") && err.contains("b.yaml:2:1"), "{err}");
    // Nor is what can be read put in force alone.
    fs::write(folder.join("b.yaml"), "attach: r-ab12\n").unwrap();
    let (code, _, _) = run(&["policy", "check", folder.to_str().unwrap()]);
    assert_eq!(code, Some(1));
}

#[test]
fn a_reader_that_closes_its_end_turns_no_failure_into_a_success() {
    let child = || {
        let mut command = Command::new(cargo_bin("firebreak"));
        command.current_dir(repository::root()).env_clear();
        command
    };
    // A pipe whose reading end is closed before anything is written.
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let status = child().args(["policy", "schema"]).stdout(closed()).status().unwrap();
    assert_eq!(status.code(), Some(141));
    let check = child().args(["policy", "check", "no-such"]).stderr(closed()).status().unwrap();
    assert_eq!(check.code(), Some(2));
}

#[test]
fn without_aws_the_error_says_which_commands_need_none() {
    let event = "tests/fixtures/findings/guardduty-instance.json";
    let (code, _, err) = run(&["policy", "explain", "--event", event, "--policies", "policies"]);
    assert_eq!((code, err.contains("--ou-path")), (Some(2), true), "{err}");
    let (code, _, err) = run(&["policy", "backtest", "policies", "--findings", event]);
    assert_eq!((code, err.contains("--against")), (Some(2), true), "{err}");
}

#[test]
fn a_missing_setting_is_a_usage_error_that_names_it() {
    let output = Command::new(cargo_bin("firebreak"))
        .args(["responses", "list"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("FIREBREAK_EXTERNAL_ID"), "{error}");
}

#[test]
fn without_a_region_the_error_says_where_to_set_it() {
    for arguments in [
        &["responses", "list"][..],
        &["org", "status"],
        &["stacksets", "deploy", "--plan", "--ou", "r-ab12"],
    ] {
        for region in [None, Some(""), Some("eu central")] {
            let output = Command::new(cargo_bin("firebreak"))
                .args(arguments)
                .env_clear()
                .env("FIREBREAK_EXTERNAL_ID", "some-external-id")
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .envs(region.map(|region| ("AWS_REGION", region)))
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{arguments:?} {region:?}: {error}");
            assert!(error.contains("AWS_REGION"), "{arguments:?} {region:?}: {error}");
        }
    }
}

#[test]
fn the_actions_are_listed_with_all_that_is_known_of_them() {
    let output = Command::new(cargo_bin("firebreak"))
        .args(["actions", "list", "--output", "json"])
        .output()
        .unwrap();
    let actions: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(actions.len(), firebreak_spoke::registry::all().len());
    for action in &actions {
        let listed = |name: &str| action[name].as_array().is_some_and(|list| !list.is_empty());
        assert!(listed("resource_types") && listed("permissions"), "{action}");
        assert!(action["parameters"].is_object() && action["reversible"].is_boolean(), "{action}");
        assert!(action["sentence"].as_str().is_some_and(|it| it.ends_with('.')), "{action}");
    }
}

#[test]
fn the_demo_is_as_the_policies_say() {
    let output = Command::new(cargo_bin("firebreak"))
        .args(["--output", "json", "demo", "--findings", "48", "--latency-ms", "0", "--seed", "7"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary = &report["summary"];
    for (name, expected) in [
        ("contained", 12),
        ("awaiting_approval", 12),
        ("observed", 12),
        ("refused", 12),
        ("failed", 0),
    ] {
        assert_eq!(summary[name], expected, "{name}: {summary}");
    }
    assert_eq!(summary["undo_exact"], true);
    assert_eq!(report["findings"].as_array().unwrap().len(), 48);
}
