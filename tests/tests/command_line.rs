//! The command line as a user runs it, against the simulated organization
//! served on a loopback address.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use assert_cmd::cargo::cargo_bin;
use firebreak_hub::cli::demo::world::{Attack, HOME, HUB, World, event};
use firebreak_simulation::Options;
use firebreak_simulation::serve::serve;
use serde_json::Value;

struct Served {
    world: World,
    address: SocketAddr,
    /// Dropped last: the server lives in it.
    runtime: tokio::runtime::Runtime,
}

/// The processes have the real clock, so the organization begins now.
fn served() -> Served {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let start = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(now).unwrap();
    let world = runtime.block_on(async {
        let world = World::new(4, Options { start, ..Options::default() });
        let responder = firebreak_hub::respond::Responder::new(
            &world.hub_config().await.unwrap(),
            world.settings(),
        );
        responder.ledger.create_table().await.unwrap();
        world
    });
    let (ready, address) = mpsc::channel();
    let organization = world.organization.clone();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    runtime.spawn(async move {
        serve(organization, any, |address| ready.send(address).unwrap()).await.unwrap();
    });
    let address = address.recv().unwrap();
    Served { world, address, runtime }
}

impl Served {
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let session = self.world.organization.role_session(HUB, "FirebreakHub", "command-line");
        let mut child = Command::new(cargo_bin("firebreak"))
            .args(arguments)
            .env_clear()
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_REGION", HOME)
            .env("AWS_ACCESS_KEY_ID", session.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", session.secret_access_key())
            .env("AWS_SESSION_TOKEN", session.session_token().unwrap())
            .env("FIREBREAK_EXTERNAL_ID", "firebreak-demo")
            .env("FIREBREAK_AGGREGATOR_REGION", HOME)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn text(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn reaches_internet(&self) -> bool {
        let member = &self.world.members[0];
        self.world.organization.edit(|state| {
            state.ec2(&member.account, &member.region).reaches_internet(&member.instance)
        })
    }
}

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
    assert!(pushed.contains("version 1 is in force: 5 document(s)"), "{pushed}");
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
fn the_actions_are_listed_with_all_that_is_known_of_them() {
    let output = Command::new(cargo_bin("firebreak"))
        .args(["actions", "list", "--output", "json"])
        .output()
        .unwrap();
    let actions: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(actions.len(), firebreak_spoke::actions::all().len());
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
