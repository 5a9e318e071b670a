//! From a finding to a response and back.

use firebreak_hub::cli::demo::world::{Attack, event};
use serde_json::Value;

use crate::served::served;

#[test]
fn push_plan_respond_list_show_and_undo() {
    let served = served();
    let finding = Attack::Instance.finding(&served.world.members[0], 1);
    served.world.import(&finding);
    let message = event(&finding).to_string();

    // Before a policy is in force nothing is done, and the reader is told what to do.
    let output = served.run(&["respond", "--event", "-"], &message);
    assert_eq!(output.status.code(), Some(3));
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
    drop(served.runtime);
}
