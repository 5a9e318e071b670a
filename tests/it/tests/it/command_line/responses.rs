//! From a finding to a response and back.

use firebreak_demo::world::{Attack, event};
use firebreak_simulation::{Effect, Fault};
use serde_json::Value;

use crate::command_line::served::{Served, served};
use firebreak_testkit::arrange::put_into_another_group;

#[test]
fn push_plan_respond_list_show_and_undo() {
    let served = served();
    let finding = Attack::Instance.finding(&served.world.members[0], 1);
    served.world.raise(&finding);
    served.world.import(&finding);
    let message = event(&finding).to_string();

    // Before a policy is in force nothing is done, and the error says what to do.
    let output = served.run(&["respond", "--event", "-"], &message);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("firebreak policy push"), "{error}");

    // Nothing is put in force without a yes.
    let output = served.run(&["policy", "push", "policies"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let pushed = served.text(&["policy", "push", "policies", "--yes"], "");
    assert!(pushed.contains("version 1 is in force: 7 document(s)"), "{pushed}");
    let again = served.text(&["policy", "push", "policies", "--yes"], "");
    assert!(again.contains("nothing to push"), "{again}");

    // A plan shows what would change, and changes nothing.
    served.world.organization.forget_calls();
    let plan = served.text(&["respond", "--plan", "--event", "-"], &message);
    assert!(plan.contains("isolate-instance") && plan.contains("security groups"), "{plan}");
    let calls = served.world.organization.calls();
    assert!(calls.iter().all(|call| !call.mutating), "{calls:?}");
    assert!(served.reaches_internet());

    let responded = served.text(&["respond", "--event", "-", "--output", "json"], &message);
    let responded: Value = serde_json::from_str(&responded).unwrap();
    let response = &responded["outcomes"][0]["response"];
    assert_eq!(response["state"], "contained", "{responded:#}");
    assert!(!served.reaches_internet());
    let id = response["id"].as_str().unwrap();

    let listed = served.text(&["responses", "list", "--state", "contained"], "");
    assert!(listed.contains(id), "{listed}");
    let none =
        served.text(&["responses", "list", "--account", "999999999999", "--output", "json"], "");
    assert_eq!(none.trim(), "[]");
    let shown = served.text(&["responses", "show", id], "");
    assert!(shown.contains("contained") && shown.contains("ou-fb01-sandbox1"), "{shown}");
    let output = served.run(&["responses", "show", "r-0000000000000000"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    // An undo asks first; no answer is a no.
    let output = served.run(&["responses", "undo", id], "\n");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!served.reaches_internet());
    let undone = served.text(&["responses", "undo", id, "--yes"], "");
    assert!(undone.contains("is undone"), "{undone}");
    assert!(served.reaches_internet());
    let held = served.text(&["respond", "--event", "-"], &event_of(&served, 2));
    assert!(held.contains("suppressed") && held.contains("responses release"), "{held}");

    // A release lets the next finding contain again, and one step can be undone.
    let released = served.text(&["responses", "release", id], "");
    assert!(released.contains("are handled again"), "{released}");
    let again =
        served.text(&["respond", "--event", "-", "--output", "json"], &event_of(&served, 3));
    let again: Value = serde_json::from_str(&again).unwrap();
    let id = again["outcomes"][0]["response"]["id"].as_str().unwrap();
    let step = ["responses", "undo", id, "--step", "revoke-instance-credentials", "--yes"];
    let stepped = served.text(&step, "");
    assert!(stepped.contains("still in force: isolate-instance"), "{stepped}");
    assert!(!served.reaches_internet());
    let output = served.run(&["responses", "undo", id, "--step", "stop-instance", "--yes"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    // What others changed meanwhile is not undone, and that is no success.
    let theirs = put_into_another_group(&served.world, &served.world.members[0]);
    let output = served.run(&["responses", "undo", id, "--suppress", "0", "--yes"], "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&theirs) && error.contains("--force-drift"), "{error}");

    // A suppression without an undo; `--suppress 0` places none.
    let longer = ["responses", "suppress", id, "--for", "2h", "--reason", "forensics"];
    assert!(served.text(&longer, "").contains("are suppressed until"));
    let output = served.run(&["responses", "suppress", id, "--for", "soon"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    served.text(&["responses", "release", id], "");
    let undo = ["responses", "undo", id, "--force-drift", "--suppress", "0", "--yes"];
    let whole = served.text(&undo, "");
    assert!(whole.contains("is undone") && !whole.contains("suppress  "), "{whole}");

    // Nothing is due.
    assert_eq!(
        served.text(&["sweep"], ""),
        "0 response(s) processed, 0 notification(s) delivered, 0 pending, 0 failed\n"
    );
    drop(served.runtime);
}

#[test]
fn the_exit_code_distinguishes_a_refusal_from_a_failure_of_aws() {
    let served = served();
    let fails = |arguments: &[&str], input: &str, code: i32, parts: &[&str]| {
        let output = served.run(arguments, input);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: {part}: {error}");
        }
    };
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/pulled-from-nothing");
    fails(&["policy", "pull", folder], "", 1, &["no policy was ever pushed", "policy push"]);
    served.text(&["policy", "push", "policies", "--yes"], "");
    let missing = ["responses", "undo", "r-0000000000000000", "--yes"];
    fails(&missing, "", 1, &["no response `r-0000000000000000`", "responses list"]);

    let member = served.world.members[0].clone();
    served.world.organization.edit(|state| {
        state.ec2(&member.account, &member.region).terminate(&member.instance);
    });
    fails(&["respond", "--event", "-"], &event_of(&served, 1), 1, &["terminated"]);
    served.world.organization.edit(|state| {
        state.iam(&member.account).roles.remove("FirebreakSpoke");
    });
    fails(&["respond", "--event", "-"], &event_of(&served, 2), 1, &["FirebreakSpoke"]);

    let denied = Effect::Error { status: 400, code: "AccessDeniedException".to_owned() };
    served.world.organization.inject(Fault::always("Query", denied));
    fails(&["sweep"], "", 3, &["Query", "AccessDenied"]);
}

fn event_of(served: &Served, number: usize) -> String {
    let finding = Attack::Instance.finding(&served.world.members[0], number);
    served.world.raise(&finding);
    served.world.import(&finding);
    event(&finding).to_string()
}
