//! A session with policies from beginning to end: push, decide, move, decide
//! again, break, fail closed, roll back.

use std::fs;

use firebreak_aws::policies::Author;
use firebreak_demo::world::{Attack, event};
use firebreak_engine::Engine;
use firebreak_simulation::{Effect, Fault};
use firebreak_testkit::repository;
use serde_json::Value;

use crate::command_line::offline::folder;
use crate::command_line::served::{Served, served};

/// Responds to an attack on a member and returns the response's state.
fn respond(served: &Served, member: usize, number: usize) -> String {
    let finding = Attack::Instance.finding(&served.world.members[member], number);
    served.world.raise(&finding);
    served.world.import(&finding);
    let text =
        served.text(&["respond", "--event", "-", "--output", "json"], &event(&finding).to_string());
    let responded: Value = serde_json::from_str(&text).unwrap();
    responded["outcomes"][0]["response"]["state"].as_str().unwrap().to_owned()
}

#[test]
fn push_decide_move_decide_again_break_fail_closed_and_roll_back() {
    let served = served();
    let (sandbox, production, observed) = (0, 1, 3);
    let pushed = served.text(&["policy", "push", "policies", "--yes", "--note", "the first"], "");
    assert!(pushed.contains("7 document(s) OK, 114 policy test(s) pass"), "{pushed}");
    assert!(pushed.contains("added: sandbox.yaml (ou-fb01-sandbox1)"), "{pushed}");
    assert!(pushed.contains("version 1 is in force"), "{pushed}");

    // Decided by where the account is, and by its new place once it has moved.
    assert_eq!(respond(&served, observed, 1), "observed");
    let account = &served.world.members[observed].account;
    served.world.organization.move_account(account, "ou-fb01-prod1111");
    assert_eq!(respond(&served, observed, 2), "awaiting-approval");

    // A broken file is not pushed.
    let broken = folder("session");
    fs::write(broken.join("sandbox.yaml"), "attach: ou-fb01-sandbox1\nceilin: auto\n").unwrap();
    let output = served.run(&["policy", "push", broken.to_str().unwrap(), "--yes"], "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), error.contains("did you mean `ceiling`?")),
        (Some(1), true),
        "{error}"
    );

    // Nor is one whose tests fail.
    let failing = folder("session-failing");
    fs::create_dir(failing.join("tests")).unwrap();
    fs::write(failing.join("r.yaml"), "attach: r-fb01\nrules: [{ name: a, mode: \"off\" }]\n")
        .unwrap();
    let test = "tests: [{ name: it acts, given: { finding: { type: x, severity: 8, resource: { type: Instance } } }, expect: { mode: auto } }]\n";
    fs::write(failing.join("tests/t.yaml"), test).unwrap();
    let output = served.run(&["policy", "push", failing.to_str().unwrap(), "--yes"], "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("1 of 1 policy tests fail") && error.contains("✗ it acts"), "{error}");

    // A newer program, or another hand, puts a document in force that this one cannot read.
    served.runtime.block_on(async {
        let config = served.world.hub_config().await.unwrap();
        let policies = Engine::new(&config, served.world.settings().unwrap()).policies;
        let before = policies.version().await.unwrap();
        let mut documents = policies.documents(&before).await.unwrap();
        for document in &mut documents {
            if document.attach == "ou-fb01-sandbox1" {
                document.text.push_str("key-to-come: 1\n");
            }
        }
        let author = Author { by: "bob".to_owned(), note: String::new() };
        policies.push(&documents, &before, &author).await.unwrap();
    });
    // What it governs fails closed, and nothing else does.
    assert_eq!(respond(&served, sandbox, 3), "refused");
    assert!(served.reaches_internet());
    assert_eq!(respond(&served, production, 4), "awaiting-approval");

    let history = served.text(&["policy", "history", "--output", "json"], "");
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!((&history[0]["by"], &history[0]["in_force"]), (&"bob".into(), &true.into()));
    assert_eq!(history[1]["note"], "the first");

    // No yes, no rollback.
    let output = served.run(&["policy", "rollback", "1"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = served.run(&["policy", "rollback", "2", "--yes"], "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("the document of ou-fb01-sandbox1 in version 2 is broken"), "{error}");
    let back = served.text(&["policy", "rollback", "1", "--yes"], "");
    assert!(back.contains("version 3 is in force") && back.contains("-key-to-come: 1"), "{back}");
    let table = served.text(&["policy", "history"], "");
    assert!(table.contains("3 (in force)") && table.contains("rollback to version 1"), "{table}");
    assert_eq!(respond(&served, sandbox, 5), "contained");
    assert!(!served.reaches_internet());
}

#[test]
fn a_diff_shows_lines_and_what_changes_for_findings() {
    let served = served();
    served.text(&["policy", "push", "policies", "--yes"], "");
    let same = served.text(&["policy", "diff", "policies"], "");
    assert_eq!(same, "no document differs from version 1\n");

    let proposed = folder("diff");
    served.text(&["policy", "pull", proposed.to_str().unwrap()], "");
    let production = fs::read_to_string(proposed.join("production.yaml")).unwrap();
    fs::write(
        proposed.join("production.yaml"),
        production.replace("ceiling: approve", "ceiling: observe"),
    )
    .unwrap();
    let elsewhere = "attach: ou-fb01-nowhere1\nrules: [{ name: a, mode: observe }]\n";
    fs::write(proposed.join("elsewhere.yaml"), elsewhere).unwrap();
    fs::remove_file(proposed.join("security.yaml")).unwrap();
    let diff = ["policy", "diff", proposed.to_str().unwrap()];
    let text = served.text(&diff, "");
    for part in [
        "changed: production.yaml (ou-fb01-prod1111)",
        "-ceiling: approve\n+ceiling: observe",
        "removed: security.yaml (ou-fb01-security)",
        "added: elsewhere.yaml (ou-fb01-nowhere1)",
        "! `ou-fb01-nowhere1` is not in AWS Organizations",
        "    - approve: isolate-instance",
        "    + observe: isolate-instance",
        "    - refused (protected)\n    + observe",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let mut json = diff.to_vec();
    json.extend(["--output", "json"]);
    let differences: Value = serde_json::from_str(&served.text(&json, "")).unwrap();
    let decisions = differences["decisions"].as_array().unwrap();
    let points: Vec<&str> = decisions.iter().map(|it| it["point"].as_str().unwrap()).collect();
    assert!(points.contains(&"ou-fb01-prod1111") && !points.contains(&"ou-fb01-sandbox1"));
    // The tree that AWS Organizations knows says what is above what.
    let root = fs::read_to_string(proposed.join("root.yaml")).unwrap();
    fs::write(proposed.join("root.yaml"), root.replace("ceiling: auto", "ceiling: \"off\""))
        .unwrap();
    let output = served.run(&diff, "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("is above the ceiling of r-fb01"), "{error}");
}

#[test]
fn a_pull_writes_what_was_pushed_and_overwrites_only_when_asked_to() {
    let served = served();
    let output = served.run(&["policy", "pull", folder("pull-none").to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    served.text(&["policy", "push", "policies", "--yes"], "");
    let pulled = folder("pull");
    let to = pulled.to_str().unwrap();
    served.text(&["policy", "pull", to], "");
    for name in ["root.yaml", "sandbox.yaml", "exception-payments-lab.yaml"] {
        let original = repository::text(&format!("policies/{name}"));
        assert_eq!(fs::read_to_string(pulled.join(name)).unwrap(), original, "{name}");
    }
    fs::write(pulled.join("root.yaml"), "mine\n").unwrap();
    let output = served.run(&["policy", "pull", to], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read_to_string(pulled.join("root.yaml")).unwrap(), "mine\n");
    served.text(&["policy", "pull", to, "--overwrite"], "");
    assert!(fs::read_to_string(pulled.join("root.yaml")).unwrap().contains("attach: r-fb01"));
    // And a push of it changes nothing.
    let pushed = served.text(&["policy", "push", to, "--yes"], "");
    assert!(pushed.contains("nothing to push"), "{pushed}");
    let output = served.run(&["policy", "pull", to, "--version", "9"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_push_is_refused_when_who_pushes_or_what_changes_is_unknown() {
    let served = served();
    for (operation, asked) in
        [("GetCallerIdentity", "sts"), ("ListParents", "organizations"), ("GetItem", "dynamodb")]
    {
        let down = Effect::Error { status: 500, code: "ServiceException".to_owned() };
        served.world.organization.inject(Fault::always(operation, down));
        let output = served.run(&["policy", "push", "policies", "--yes"], "");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{operation}: {error}");
        assert!(error.contains(asked) && error.contains(operation), "{error}");
        served.world.organization.clear_faults();
        let history = served.text(&["policy", "history"], "");
        assert_eq!(history, "no policy was ever pushed\n", "{operation}");
    }
}
