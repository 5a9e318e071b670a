//! What StackSets do with accounts that come, go and fail.

use jiff::{SignedDuration, Timestamp};

use super::answers::answer;
use super::{DELEGATED, STACK, TRUSTED, settle};
use crate::ec2::form::Form;
use crate::organizations::Member;
use crate::state::State;

const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
const MANAGEMENT: &str = "100000000001";
const TEMPLATE: &str = r#"
Parameters: { Secret: { Type: String, NoEcho: true, MinLength: 4 } }
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: { Fn::Sub: "reader-${Secret}" }
      AssumeRolePolicyDocument:
        Statement: [{ Effect: Allow, Principal: "*", Action: "sts:AssumeRole" }]
"#;

fn member(state: &mut State, id: &str, parent: &str) {
    let own = str::to_owned;
    let member = Member { parent: own(parent), name: own(id), state: own("ACTIVE") };
    state.organizations.accounts.insert(own(id), member);
}

fn state() -> State {
    let mut state = State::default();
    state.organizations.root = "r-1".to_owned();
    state.organizations.management = MANAGEMENT.to_owned();
    state.organizations.trusted.insert(TRUSTED.to_owned());
    for (unit, parent) in [("ou-a", "r-1"), ("ou-b", "ou-a"), ("ou-c", "r-1")] {
        state.organizations.units.insert(unit.to_owned(), (parent.to_owned(), unit.to_owned()));
    }
    member(&mut state, MANAGEMENT, "ou-a");
    for (id, unit) in [("111111111111", "ou-a"), ("222222222222", "ou-b"), ("333333333333", "ou-c")]
    {
        member(&mut state, id, unit);
    }
    state
}

fn call_as(
    state: &mut State,
    account: &str,
    now: Timestamp,
    operation: &str,
    pairs: &[(&str, &str)],
) -> Result<String, String> {
    settle(state, now);
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let form = Form::new(pairs.chain([("StackSetName".to_owned(), "spoke".to_owned())]).collect());
    answer(state, (account, "eu-central-1"), now, operation, &form)
        .unwrap()
        .map_err(|error| error.code)
}

fn call(state: &mut State, now: Timestamp, operation: &str, pairs: &[(&str, &str)]) -> String {
    call_as(state, MANAGEMENT, now, operation, pairs).unwrap()
}

const SET: [(&str, &str); 8] = [
    ("TemplateBody", TEMPLATE),
    ("PermissionModel", "SERVICE_MANAGED"),
    ("AutoDeployment.Enabled", "true"),
    ("AutoDeployment.RetainStacksOnAccountRemoval", "true"),
    ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
    ("ManagedExecution.Active", "true"),
    ("Parameters.member.1.ParameterKey", "Secret"),
    ("Parameters.member.1.ParameterValue", "abcd"),
];

const INSTANCES: [(&str, &str); 4] = [
    ("DeploymentTargets.OrganizationalUnitIds.member.1", "ou-a"),
    ("Regions.member.1", "eu-central-1"),
    ("OperationPreferences.FailureTolerancePercentage", "100"),
    ("OperationPreferences.ConcurrencyMode", "SOFT_FAILURE_TOLERANCE"),
];

fn has_role(state: &State, account: &str) -> bool {
    state.accounts.get(account).is_some_and(|held| !held.iam.roles.is_empty())
}

#[test]
fn every_account_below_a_target_gets_its_stack_one_after_another() {
    let mut state = state();
    call(&mut state, START, "CreateStackSet", &SET);
    call(&mut state, START, "CreateStackInstances", &INSTANCES);
    settle(&mut state, START + STACK);
    assert!(has_role(&state, "111111111111") && !has_role(&state, "222222222222"));
    let rendered = call(&mut state, START + STACK, "ListStackSetOperations", &[]);
    assert!(rendered.contains("RUNNING"), "{rendered}");
    settle(&mut state, START + STACK * 2);
    assert!(has_role(&state, "222222222222"), "of an OU below");
    assert!(!has_role(&state, "333333333333") && !has_role(&state, MANAGEMENT));
    let rendered = call(&mut state, START + STACK * 2, "DescribeStackSet", &[]);
    assert!(rendered.contains("****") && !rendered.contains("abcd"), "{rendered}");
}

#[test]
fn who_joins_a_target_gets_a_stack_and_who_leaves_keeps_it_where_it_is_retained() {
    for retains in ["true", "false"] {
        let mut state = state();
        let mut set = SET;
        set[3].1 = retains;
        call(&mut state, START, "CreateStackSet", &set);
        call(&mut state, START, "CreateStackInstances", &INSTANCES);
        let mut now = START + SignedDuration::from_hours(1);
        settle(&mut state, now);
        state.organizations.accounts.get_mut("333333333333").unwrap().parent = "ou-b".to_owned();
        super::account_came(&mut state, "333333333333", now);
        state.organizations.accounts.get_mut("222222222222").unwrap().parent = "ou-c".to_owned();
        super::account_left(&mut state, "222222222222", now);
        now += SignedDuration::from_hours(1);
        let rendered = call(&mut state, now, "ListStackInstances", &[]);
        assert!(has_role(&state, "333333333333") && rendered.contains("333333333333"));
        assert!(!rendered.contains("222222222222"), "{rendered}");
        assert_eq!(has_role(&state, "222222222222"), retains == "true");
    }
}

#[test]
fn who_is_suspended_fails_with_the_reason_and_the_others_go_on() {
    let mut state = state();
    let suspended = state.organizations.accounts.get_mut("111111111111").unwrap();
    "SUSPENDED".clone_into(&mut suspended.state);
    call(&mut state, START, "CreateStackSet", &SET);
    let id = call(&mut state, START, "CreateStackInstances", &INSTANCES);
    let id = id.split(['<', '>']).nth(2).unwrap().to_owned();
    let now = START + SignedDuration::from_hours(1);
    let rendered = call(&mut state, now, "ListStackInstances", &[]);
    assert!(rendered.contains("SKIPPED_SUSPENDED_ACCOUNT") && has_role(&state, "222222222222"));
    let rendered = call(&mut state, now, "ListStackSetOperationResults", &[("OperationId", &id)]);
    assert!(rendered.contains("Account 111111111111 is suspended"), "{rendered}");
    // Without tolerance the first failure stops the rest.
    let strict = &INSTANCES[..2];
    call(&mut state, now, "CreateStackInstances", strict);
    let now = now + SignedDuration::from_hours(1);
    let rendered = call(&mut state, now, "ListStackSetOperations", &[]);
    assert!(rendered.contains("FAILED"), "{rendered}");
}

#[test]
fn what_is_not_allowed_is_refused_with_the_service_s_code() {
    let mut state = state();
    let mut many: Vec<(String, String)> = (1..=51)
        .map(|n| (format!("DeploymentTargets.OrganizationalUnitIds.member.{n}"), "ou-a".to_owned()))
        .collect();
    many.push(("Regions.member.1".to_owned(), "eu-central-1".to_owned()));
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let ask = |state: &mut State, account, operation, pairs: &[(&str, &str)]| {
        call_as(state, account, START, operation, pairs).unwrap_err()
    };
    let gone = ask(&mut state, MANAGEMENT, "DescribeStackSet", &[]);
    assert_eq!(gone, "StackSetNotFoundException");
    let without: Vec<_> = SET.into_iter().filter(|(key, _)| !key.starts_with("Capa")).collect();
    let needs = ask(&mut state, MANAGEMENT, "CreateStackSet", &without);
    assert_eq!(needs, "InsufficientCapabilitiesException");
    let mut short = SET;
    short[7].1 = "abc";
    assert_eq!(ask(&mut state, MANAGEMENT, "CreateStackSet", &short), "ValidationError");
    // A member may not, until it is registered, and then only as such.
    let member = "111111111111";
    assert_eq!(ask(&mut state, member, "CreateStackSet", &SET), "ValidationError");
    state
        .organizations
        .delegations
        .entry(DELEGATED.to_owned())
        .or_default()
        .insert(member.to_owned());
    assert_eq!(ask(&mut state, member, "CreateStackSet", &SET), "ValidationError");
    let mut queue = SET.to_vec();
    queue[5].1 = "false";
    queue.push(("CallAs", "DELEGATED_ADMIN"));
    call_as(&mut state, member, START, "CreateStackSet", &queue).unwrap();
    assert_eq!(ask(&mut state, MANAGEMENT, "CreateStackSet", &SET), "NameAlreadyExistsException");
    assert_eq!(ask(&mut state, MANAGEMENT, "CreateStackInstances", &many), "ValidationError");
    call(&mut state, START, "CreateStackInstances", &INSTANCES);
    let busy = ask(&mut state, MANAGEMENT, "CreateStackInstances", &INSTANCES);
    assert_eq!(busy, "OperationInProgressException");
}
