//! The program itself: exit codes, what stands on standard output and what on
//! standard error.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use assert_cmd::cargo::cargo_bin;
use firebreak_simulation::serve::serve;
use firebreak_simulation::{Options, Organization};
use serde_json::Value;

use crate::deploy::organization::{
    ADMINISTRATOR, HOME, MANAGEMENT, OTHER, ROLE, SETUP, changing, member, organization_with,
};

pub(crate) struct Served {
    pub(crate) organization: Organization,
    address: SocketAddr,
    /// Dropped last: the server lives in it.
    _runtime: tokio::runtime::Runtime,
}

/// The processes have the real clock, so the organization begins now.
fn served() -> Served {
    serving(|options| async { organization_with(1, options) })
}

/// Serves an organization that is made in the server's runtime.
pub(crate) fn serving<F: Future<Output = Organization>>(make: impl FnOnce(Options) -> F) -> Served {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let start = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(now).unwrap();
    let organization = runtime.block_on(make(Options { start, ..Options::default() }));
    let (ready, address) = mpsc::channel();
    let serving = organization.clone();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    runtime.spawn(async move {
        serve(serving, any, |address| ready.send(address).unwrap()).await.unwrap();
    });
    Served { organization, address: address.recv().unwrap(), _runtime: runtime }
}

impl Served {
    fn run(&self, account: &str, arguments: &[&str]) -> Output {
        self.run_as((account, SETUP), &[], arguments)
    }

    /// Runs the program as a role of an account.
    pub(crate) fn run_as(
        &self,
        (account, role): (&str, &str),
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Output {
        let session = self.organization.role_session(account, role, "command-line");
        Command::new(cargo_bin("firebreak"))
            .arg("org")
            .args(arguments)
            .env_clear()
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_REGION", HOME)
            .env("AWS_ACCESS_KEY_ID", session.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", session.secret_access_key())
            .env("AWS_SESSION_TOKEN", session.session_token().unwrap())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

pub(crate) fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn planned_enabled_shown_and_enabled_again() {
    let served = served();
    let both = ["--administrator", ADMINISTRATOR, "--administrator-role", ROLE];
    let run = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(both).collect();
        texts(&served.run(MANAGEMENT, &arguments))
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();

    let (code, missing, error) = run(&["status"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(missing.contains("missing in us-east-1, Security Hub: make 100000000002"), "{missing}");

    let (code, planned, error) = run(&["enable", "--plan", "--output", "json"]);
    assert_eq!(code, Some(0), "{error}");
    let planned = json(&planned);
    let works = planned["works"].as_array().unwrap();
    let changes: usize = works.iter().map(|work| work["changes"].as_array().unwrap().len()).sum();
    assert_eq!(changes, 24, "{planned:#}");
    assert!(planned["skipped"]["af-south-1"].as_str().unwrap().contains("DISABLED"));

    // Nobody answers the question: nothing is changed.
    let (code, _, error) = run(&["enable"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("24 change(s) to the organization. Continue? [y/N]"), "{error}");
    assert!(changing(&served.organization).is_empty());

    let (code, done, error) = run(&["enable", "--yes", "--output", "json"]);
    assert_eq!(code, Some(0), "{error}{done}");
    let outcomes = json(&done);
    let outcomes = outcomes["works"].as_array().unwrap().iter();
    let mut outcomes = outcomes.flat_map(|work| work["changes"].as_array().unwrap());
    assert!(outcomes.all(|step| step["outcome"] == "done"), "{done}");
    assert!(
        error.contains(&format!("{OTHER}: GuardDuty, administrator: 3 change(s), done")),
        "{error}"
    );

    let (code, shown, error) = run(&["status"]);
    assert_eq!(code, Some(0), "{error}{shown}");
    assert!(shown.contains("nothing is missing"), "{shown}");
    assert!(shown.contains("2 of 2 on"), "{shown}");
    served.organization.forget_calls();
    let (code, again, error) = run(&["enable", "--yes"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(again.contains("nothing to change: everything is set up"), "{again}");
    assert!(changing(&served.organization).is_empty());

    // The administrator sees its own part with its own credentials.
    let (code, shown, error) = texts(&served.run(ADMINISTRATOR, &["status", "--output", "json"]));
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(json(&shown)["complete"], true);
    assert_eq!(json(&shown)["observed"]["trust"], Value::Null);
}

#[test]
fn refusals_have_their_exit_codes() {
    let served = served();
    // Not delivered who is to administer: usage.
    let (code, _, error) = texts(&served.run(MANAGEMENT, &["enable", "--plan"]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("help: give --administrator ACCOUNT"), "{error}");
    // Somebody else administers: a check failed, and nothing was changed.
    served.organization.edit(|state| {
        state.guardduty.administrators.insert(OTHER.to_owned(), member(0));
    });
    let arguments = ["enable", "--yes", "--administrator", ADMINISTRATOR];
    let (code, out, error) = texts(&served.run(MANAGEMENT, &arguments));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains(&format!("is administered by {}", member(0))), "{error}");
    assert!(changing(&served.organization).is_empty());
}

#[test]
fn the_errors_of_a_list_are_reported_at_file_and_line_before_any_call() {
    let served = served();
    let file = std::env::temp_dir().join(format!("firebreak-list-{}.txt", std::process::id()));
    std::fs::write(&file, "192.0.2.1\nnot an address\n0.0.0.0/0\n").unwrap();
    let path = file.display().to_string();
    let arguments = ["threat-list", "put", &path, "--bucket", "lists", "--yes"];
    let (code, _, error) = texts(&served.run(ADMINISTRATOR, &arguments));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(&format!("{path}:2: `not an address` is not")), "{error}");
    assert!(error.contains(&format!("{path}:3: `0.0.0.0/0` is too broad")), "{error}");
    assert_eq!(served.organization.call_count(), 0);
}
