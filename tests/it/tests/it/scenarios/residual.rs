//! What may stay open after a containment: it is said, and a rule may react to it.

use firebreak_demo::world::{Attack, Member};
use firebreak_response::notice::Notice;
use firebreak_response::record::{Response, State, StepState};
use firebreak_response::status::{self, Workflow};
use firebreak_simulation::{Effect, Fault, Options};

use crate::scenarios::stage::{Stage, policy, stage_with};

const ISOLATE: &str = "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, revoke-instance-credentials]\n";
const OR_STOP: &str = "    if-residual: [stop-instance]\n";

async fn stage(rule: &str) -> Stage {
    stage_with(policy(&[rule]), Options::default()).await
}

/// Routes the instance's VPC through a NAT gateway, and opens a connection through it.
fn connect_through_nat(stage: &Stage, member: &Member) {
    stage.world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let (interface, it) = ec2.interfaces_of(&member.instance).next().unwrap();
        let (interface, vpc) = (interface.clone(), it.vpc.clone());
        let routes = &mut ec2.vpcs.get_mut(&vpc).unwrap().routes;
        routes.insert("0.0.0.0/0".to_owned(), "nat-0abc".to_owned());
        ec2.connect(&interface, true);
    });
}

fn is_connected(stage: &Stage, member: &Member) -> bool {
    let organization = &stage.world.organization;
    organization.edit(|state| !state.ec2(&member.account, &member.region).connections.is_empty())
}

fn state_of(response: &Response, action: &str) -> StepState {
    response.steps.iter().find(|step| step.action == action).unwrap().state
}

fn open(response: &Response) -> Vec<&str> {
    response.residual().into_iter().map(|it| it.path.as_str()).collect()
}

async fn answered(stage: &Stage, member: &Member) -> Response {
    let delivered = stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    delivered.response().clone()
}

#[tokio::test(start_paused = true)]
async fn where_nothing_stays_open_nothing_more_is_done() {
    let stage = stage(&format!("{ISOLATE}{OR_STOP}")).await;
    let response = answered(&stage, stage.member("sandbox", 0)).await;
    assert_eq!(response.state, State::Contained, "{}", response.reason);
    assert_eq!(state_of(&response, "stop-instance"), StepState::Skipped);
    assert_eq!(open(&response), [""; 0]);
    assert_eq!(status::of(&response).unwrap().workflow, Some(Workflow::Resolved));
    let changes = stage.changes();
    assert!(!changes.iter().any(|call| call == "ec2:StopInstances"), "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn what_stays_open_is_said_wherever_the_containment_is() {
    let stage = stage(ISOLATE).await;
    let member = stage.member("sandbox", 0);
    connect_through_nat(&stage, member);
    let response = answered(&stage, member).await;
    assert_eq!(response.state, State::Contained, "{}", response.reason);
    assert!(is_connected(&stage, member));
    assert_eq!(open(&response), ["nat-gateway"]);
    let update = status::of(&response).unwrap();
    assert_eq!(update.workflow, Some(Workflow::Notified));
    assert!(update.text().contains("NAT gateway nat-0abc"), "{}", update.text());
    let notice = Notice::of_response(&response).unwrap();
    let line = "  connections through the NAT gateway nat-0abc that were open may live on (closed by stop-instance or terminate-instance)";
    assert!(notice.text.lines().any(|it| it == line), "{}", notice.text);
    assert_eq!(notice.detail["response"]["residual"][0]["path"], "nat-gateway");
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_stop_an_instance_whose_connections_live_on() {
    let stage = stage(&format!("{ISOLATE}{OR_STOP}")).await;
    let member = stage.member("sandbox", 0);
    connect_through_nat(&stage, member);
    let response = answered(&stage, member).await;
    assert_eq!(response.state, State::Contained, "{}", response.reason);
    assert_eq!(state_of(&response, "stop-instance"), StepState::Done);
    assert!(!is_connected(&stage, member));
    // The step that closes it is done, so nothing is open any more.
    assert_eq!(open(&response), [""; 0]);
    assert_eq!(status::of(&response).unwrap().workflow, Some(Workflow::Resolved));
}

/// No instance is stopped for what stopping does not close.
#[tokio::test(start_paused = true)]
async fn a_step_is_not_executed_for_a_path_that_it_does_not_close() {
    let stage =
        stage(&format!("{ISOLATE}{OR_STOP}").replace(", revoke-instance-credentials", "")).await;
    let member = stage.member("sandbox", 0);
    let response = answered(&stage, member).await;
    assert_eq!(open(&response), ["instance-credentials"]);
    assert_eq!(state_of(&response, "stop-instance"), StepState::Skipped);
    assert_eq!(response.state, State::Contained, "{}", response.reason);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_failed_leaves_something_open() {
    let stage = stage(&format!("{ISOLATE}{OR_STOP}")).await;
    let member = stage.member("sandbox", 0);
    let denied = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
    let fault = Fault::always("ModifyNetworkInterfaceAttribute", denied);
    stage.world.organization.inject(fault.in_account(&member.account));
    let response = answered(&stage, member).await;
    assert_eq!(state_of(&response, "isolate-instance"), StepState::Failed);
    assert_eq!(state_of(&response, "stop-instance"), StepState::Done);
    assert_eq!(response.state, State::PartiallyContained, "{}", response.reason);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_not_called_closed() {
    let stage = stage(&format!("{ISOLATE}{OR_STOP}")).await;
    let member = stage.member("sandbox", 0);
    let denied = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
    let fault = Fault::always("DescribeRouteTables", denied);
    stage.world.organization.inject(fault.in_account(&member.account));
    let response = answered(&stage, member).await;
    assert_eq!(response.state, State::Contained, "{}", response.reason);
    assert_eq!(open(&response), ["unknown"]);
    assert_eq!(state_of(&response, "stop-instance"), StepState::Done);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_never_ends_holds_off_what_depends_on_it_for_a_day_at_most() {
    let stage = stage(&format!("{ISOLATE}{OR_STOP}")).await;
    let member = stage.member("sandbox", 0);
    connect_through_nat(&stage, member);
    let unavailable = Effect::Error { status: 503, code: "ServiceUnavailable".to_owned() };
    let fault = Fault::always("PutRolePolicy", unavailable).in_account(&member.account);
    stage.world.organization.inject(fault);
    stage.deliver(&stage.finding(Attack::Instance, member, 1)).await;
    for _ in 0..26 {
        stage.settle().await;
    }
    assert!(!is_connected(&stage, member));
    let engine = &stage.engine;
    let responses = engine.store.responses(stage.world.began(), engine.now()).await.unwrap();
    let response = &responses[0];
    assert_eq!(state_of(response, "revoke-instance-credentials"), StepState::Failed);
    assert_eq!(state_of(response, "stop-instance"), StepState::Done, "{}", response.reason);
    assert_eq!(response.state, State::PartiallyContained, "{}", response.reason);
}
