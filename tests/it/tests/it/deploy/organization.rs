//! An organization in which nothing is set up, and the credentials to do it.

use aws_config::SdkConfig;
use firebreak_aws::config;
use firebreak_onboarding::aws::setup::{Setup, SetupError, SetupRequest};
use firebreak_onboarding::setup::{self, DesiredSetup, Protection, SetupPlan, SetupSnapshot};
use firebreak_simulation::guardduty::GuardDuty;
use firebreak_simulation::organizations::Organizations;
use firebreak_simulation::security_hub::model::SecurityHub;
use firebreak_simulation::{CallRecord, Options, Organization, Process};
use firebreak_testkit::repository;
use serde_json::{Value, json};

pub(crate) const MANAGEMENT: &str = "100000000001";
pub(crate) const ADMINISTRATOR: &str = "100000000002";
pub(crate) const HOME: &str = "eu-central-1";
pub(crate) const OTHER: &str = "us-east-1";
/// The role by which the management account gets into the administrator's.
pub(crate) const ROLE: &str = "OrganizationAccountAccessRole";
/// What `org enable` is run as.
pub(crate) const SETUP: &str = "Setup";

/// An organization of this many members beside its two accounts, in two
/// Regions; a third one has to be opted into.
pub(crate) fn organization(members: usize) -> Organization {
    organization_with(members, Options::default())
}

pub(crate) fn organization_with(members: usize, options: Options) -> Organization {
    let organization = Organization::new("o-fb01deploy", "r-fb01", MANAGEMENT, options);
    organization.add_account("r-fb01", ADMINISTRATOR, "security");
    for index in 0..members {
        organization.add_account("r-fb01", &member(index), &format!("member-{index}"));
    }
    organization.edit(|state| {
        state.regions.offered = [
            (HOME, "ENABLED_BY_DEFAULT"),
            (OTHER, "ENABLED_BY_DEFAULT"),
            ("af-south-1", "DISABLED"),
        ]
        .map(|(region, status)| (region.to_owned(), status.to_owned()))
        .into();
    });
    let lambda = json!({ "Statement": [] });
    organization.add_role(MANAGEMENT, "/", SETUP, lambda.clone(), granted("management"));
    organization.add_role(ADMINISTRATOR, "/", SETUP, lambda, granted("administrator"));
    let trust = json!({ "Statement": [{
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{MANAGEMENT}:root") },
        "Action": "sts:AssumeRole",
    }]});
    organization.add_role(ADMINISTRATOR, "/", ROLE, trust, granted("administrator"));
    organization
}

pub(crate) fn member(index: usize) -> String {
    format!("{:012}", 200_000_000_001 + index)
}

/// The permissions that `docs/org.md` grants: the block of JSON after the
/// heading of that part.
fn granted(part: &str) -> Value {
    granted_under(&format!("### The {part} account's permissions"))
}

/// The block of JSON after a heading of that page.
pub(crate) fn granted_under(heading: &str) -> Value {
    let page = repository::text("docs/org.md");
    let after = page.split(heading).nth(1).unwrap();
    let block = after.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let text = block.replace("BUCKET", "lists").replace("ADMINISTRATOR", ADMINISTRATOR);
    serde_json::from_str(&text).unwrap()
}

/// Every action that the page grants to a part.
pub(crate) fn granted_actions(part: &str) -> Vec<String> {
    actions_of(&granted(part))
}

/// Every action that a policy grants.
pub(crate) fn actions_of(policy: &Value) -> Vec<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        action => vec![action.clone()],
    });
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

/// Takes one action away from an account's roles.
pub(crate) fn deny(organization: &Organization, account: &str, action: &str) {
    let policy = json!({ "Statement": [
        { "Effect": "Deny", "Action": action, "Resource": "*" },
    ]});
    organization.edit(|state| {
        for role in state.iam(account).roles.values_mut() {
            role.identity.inline.insert("denied".to_owned(), policy.clone());
        }
    });
}

/// The credentials of the role [`SETUP`] in an account, in one process.
pub(crate) async fn config(
    organization: &Organization,
    process: &Process,
    account: &str,
) -> SdkConfig {
    let session = organization.role_session(account, SETUP, "somebody");
    let time = organization.time_source();
    let region = HOME.parse().unwrap();
    config::with_http_client(process.http_client(), session, time, &region).await
}

pub(crate) fn everything() -> DesiredSetup {
    DesiredSetup { protections: Protection::all() }
}

/// What the management account asks for to do both parts in one go.
pub(crate) fn both() -> SetupRequest {
    SetupRequest {
        administrator: ADMINISTRATOR.parse().ok(),
        administrator_role: Some(ROLE.to_owned()),
        ..SetupRequest::default()
    }
}

/// What the management account asks for to do its own part.
pub(crate) fn own() -> SetupRequest {
    SetupRequest { administrator_role: None, ..both() }
}

pub(crate) async fn begin(
    organization: &Organization,
    account: &str,
    request: &SetupRequest,
) -> Result<Setup, SetupError> {
    let process = organization.process();
    Setup::begin(&config(organization, &process, account).await, request).await
}

fn quiet(_: &str) {}

/// What would change.
pub(crate) async fn plan(
    organization: &Organization,
    account: &str,
    request: &SetupRequest,
) -> Result<(Setup, SetupSnapshot, SetupPlan), String> {
    let setup = begin(organization, account, request).await.map_err(|it| it.to_string())?;
    let observed = setup.read_state(&quiet).await.map_err(|it| it.to_string())?;
    let plan = setup::plan(&observed, &everything()).map_err(|why| why.join("\n"))?;
    Ok((setup, observed, plan))
}

/// The whole command: what became of each change.
pub(crate) async fn enable(
    organization: &Organization,
    account: &str,
    request: &SetupRequest,
) -> Result<SetupPlan, String> {
    let (setup, observed, plan) = plan(organization, account, request).await?;
    Ok(setup.execute(&observed, &everything(), plan, &quiet).await)
}

/// The same in a process that may die.
pub(crate) async fn enable_in(
    organization: &Organization,
    process: &Process,
) -> Result<SetupPlan, String> {
    let config = config(organization, process, MANAGEMENT).await;
    let setup = Setup::begin(&config, &both()).await.map_err(|it| it.to_string())?;
    let observed = setup.read_state(&quiet).await.map_err(|it| it.to_string())?;
    let plan = setup::plan(&observed, &everything()).map_err(|why| why.join("\n"))?;
    Ok(setup.execute(&observed, &everything(), plan, &quiet).await)
}

/// What `org enable` may change, comparable.
pub(crate) fn state(organization: &Organization) -> (GuardDuty, SecurityHub, Organizations) {
    organization.edit(|state| {
        (state.guardduty.clone(), state.security_hub.clone(), state.organizations.clone())
    })
}

/// The calls that changed something, and forgets all.
pub(crate) fn changing(organization: &Organization) -> Vec<CallRecord> {
    let calls = organization.take_calls();
    calls.into_iter().filter(|call| call.mutating && call.error.is_none()).collect()
}

/// The changes of a plan with what became of each, a line each.
#[track_caller]
pub(crate) fn all_done(plan: &SetupPlan) {
    for work in &plan.works {
        for step in &work.steps {
            assert_eq!(step.outcome, setup::StepOutcome::Done, "{work:#?}");
        }
    }
    assert!(!plan.failed(), "{plan:#?}");
}
