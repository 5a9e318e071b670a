//! Every template loads, with each of its options, and the roles that they make
//! let in whom they should.

use std::collections::BTreeMap;
use std::sync::Arc;

use firebreak_aws::config;
use firebreak_demo::templates::{GLOBAL, OPERATOR_ROLE, Stack};
use firebreak_demo::world::{EXTERNAL_ID, HOME, HUB, MANAGEMENT, World, add_spoke_role};
use firebreak_simulation::cloudformation::{Place, Template, stack};
use firebreak_simulation::state::State;
use firebreak_simulation::{Options, Organization};
use firebreak_testkit::repository;
use serde_json::json;

fn with(stack: Stack, pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut parameters = stack.parameters();
    for (key, value) in pairs {
        parameters.insert((*key).to_owned(), (*value).to_owned());
    }
    parameters
}

fn place_of(stack: Stack) -> (&'static str, &'static str) {
    match stack {
        Stack::Hub | Stack::Monitoring => (HUB, HOME),
        Stack::Region => (HUB, "us-east-1"),
        Stack::Management => (MANAGEMENT, GLOBAL),
        Stack::Spoke => ("111122223333", HOME),
    }
}

/// Makes every stack anew, one of them with other parameters; why that failed.
fn deploy(which: Stack, pairs: &[(&str, &str)]) -> Result<usize, String> {
    let organization = World::new(3, Options::default()).organization;
    let (account, region) = place_of(which);
    let place = Place { account, region, now: organization.now() };
    organization.edit(|state| {
        // Another bucket name would be needed otherwise: it is retained.
        stack::delete(state, place, which.name());
        forget_what_stays(state);
        let made = stack::deploy(state, place, which.name(), which.template(), &with(which, pairs));
        made.map_err(|refusal| refusal.to_string())?;
        let key = (account.to_owned(), region.to_owned(), which.name().to_owned());
        Ok(state.cloudformation.stacks[&key].resources.len())
    })
}

fn forget_what_stays(state: &mut State) {
    state.s3.buckets.retain(|name, _| !name.starts_with("firebreak-evidence"));
    state.cloudformation.forget_tables();
}

/// Parameters that differ from their defaults.
type Choice = &'static [(&'static str, &'static str)];

#[test]
fn every_template_makes_its_stack_with_and_without_each_option() {
    let options: [(Stack, &[Choice]); 5] = [
        (
            Stack::Hub,
            &[
                &[],
                &[("AlarmEmail", "a@example.com")],
                &[("EvidenceObjectLock", "true"), ("EvidenceLockDays", "30")],
                &[("EvidenceExpiryDays", "365"), ("CodeVersion", "v1")],
                &[("AggregatorRegion", ""), ("ReserveConcurrency", "false")],
                &[("Concurrency", "100"), ("FunctionTimeout", "240"), ("Architecture", "x86_64")],
            ],
        ),
        (Stack::Monitoring, &[&[], &[("AlarmEmail", "a@example.com")]]),
        (Stack::Region, &[&[], &[("AggregatorRegion", "")], &[("SecurityHubFindings", "false")]]),
        (Stack::Management, &[&[], &[("DelegateReading", "true"), ("HubAccountId", HUB)]]),
        (
            Stack::Spoke,
            &[
                &[],
                &[("ForensicProfile", "true"), ("EvidenceBucket", "firebreak-evidence")],
                &[("OperatorRole", "")],
            ],
        ),
    ];
    let templates = std::fs::read_dir(repository::root().join("stacksets")).unwrap();
    let names = templates.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> =
        names.filter(|name| name.rsplit_once('.').is_some_and(|it| it.1 == "yaml")).collect();
    files.sort_unstable();
    let mut known: Vec<String> = Stack::ALL
        .map(|stack| stack.template().name.trim_start_matches("stacksets/").to_owned())
        .to_vec();
    known.sort_unstable();
    assert_eq!(files, known, "every template is deployed here");
    for (stack, each) in options {
        for pairs in each {
            let pairs = known_of(stack, pairs);
            let made = deploy(stack, &pairs).unwrap_or_else(|why| panic!("{pairs:?}: {why}"));
            println!("{}: {made} resources with {pairs:?}", stack.name());
        }
    }
}

/// Without parameters that a template does not have in this version.
fn known_of<'a>(stack: Stack, pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let has = |key: &str| stack.template().parameters.contains_key(key);
    pairs.iter().copied().filter(|(key, _)| has(key)).collect()
}

#[test]
fn a_rule_and_a_pattern_of_the_templates_refuse_what_would_not_work() {
    for (stack, pairs, why) in [
        (
            Stack::Management,
            [("DelegateReading", "true")],
            "DelegateReading=true needs HubAccountId",
        ),
        (Stack::Hub, [("ExternalId", "short")], "must match pattern"),
        (Stack::Spoke, [("HubAccountId", "1")], "must match pattern"),
        (
            Stack::Spoke,
            [("PermissionsBoundaryArn", "arn:aws:iam::111122223333:policy/none")],
            "does not exist",
        ),
    ] {
        let refused = deploy(stack, &pairs).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

/// Whether a session of a role of the account may assume a member's spoke role.
async fn assumes(
    organization: &Organization,
    (account, role): (&str, &str),
    member: &str,
    external_id: Option<&str>,
) -> bool {
    let credentials = organization.role_session(account, role, "session");
    let region = HOME.parse().unwrap();
    let config = config::with_http_client(
        organization.http_client(),
        credentials,
        organization.time_source(),
        &region,
    )
    .await;
    let mut call = aws_sdk_sts::Client::new(&config)
        .assume_role()
        .role_arn(format!("arn:aws:iam::{member}:role/FirebreakSpoke"))
        .role_session_name("session")
        .source_identity("r-1")
        .set_external_id(external_id.map(str::to_owned));
    let tag = aws_sdk_sts::types::Tag::builder().key("response").value("r-1").build().unwrap();
    call = call.tags(tag);
    call.send().await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn only_the_hub_s_role_and_its_operators_can_assume_the_spoke_role() {
    let world = World::new(4, Options::default());
    let (organization, member) = (&world.organization, world.members[0].account.as_str());
    let all = json!({ "Statement": [{ "Effect": "Allow", "Action": "sts:*", "Resource": "*" }] });
    let other = world.members[1].account.as_str();
    for account in [HUB, other, MANAGEMENT] {
        organization.add_role(account, "/", "anybody", json!({ "Statement": [] }), all.clone());
    }
    organization.add_role(other, "/", "FirebreakHub", json!({ "Statement": [] }), all);
    let id = Some(EXTERNAL_ID);
    for (who, id, expected) in [
        ((HUB, "FirebreakHub"), id, true),
        ((HUB, OPERATOR_ROLE), id, true),
        ((HUB, "FirebreakHub"), Some("firebreak-dem0"), false),
        ((HUB, "FirebreakHub"), None, false),
        ((HUB, "anybody"), id, false),
        ((other, "FirebreakHub"), id, false),
        ((MANAGEMENT, "anybody"), id, false),
    ] {
        assert_eq!(assumes(organization, who, member, id).await, expected, "{who:?} {id:?}");
    }
    // A hub of another organization is none.
    let (spoke, parameters) =
        (Stack::Spoke, with(Stack::Spoke, &[("OrganizationId", "o-0000000000")]));
    let place = Place { account: member, region: HOME, now: organization.now() };
    organization
        .edit(|state| stack::deploy(state, place, spoke.name(), spoke.template(), &parameters))
        .unwrap();
    assert!(!assumes(organization, (HUB, "FirebreakHub"), member, id).await);
    add_spoke_role(organization, member);
    assert!(assumes(organization, (HUB, "FirebreakHub"), member, id).await);
}

#[test]
fn a_template_that_grew_something_unknown_would_be_refused_by_name() {
    let text = &Stack::Spoke.template().text;
    let grown = text.replace(
        "      RoleName: FirebreakSpoke\n",
        "      RoleName: FirebreakSpoke\n      Colour: red\n",
    );
    assert!(grown != *text);
    let template = Arc::new(Template::read("spoke.yaml", &grown).unwrap());
    let mut state = State::default();
    let place = Place { account: HUB, region: HOME, now: Options::default().start };
    let refused =
        stack::deploy(&mut state, place, "s", &template, &Stack::Spoke.parameters()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "spoke.yaml: Resources/SpokeRole (AWS::IAM::Role): the simulation does not model the property `Colour`"
    );
}
