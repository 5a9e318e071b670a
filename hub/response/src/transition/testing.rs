//! Shared by the tests of transitions: a record in every state, an event of every kind.

use firebreak_model::action::Phase;
use firebreak_model::finding::SecurityHubId;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{AddedFinding, Context, Event, Record};
use crate::audit_event::{AuditEvent, AuditKind};
use crate::outbox::Channel;
use crate::record::{
    ApprovalAnswer, ApprovalDecision, Approver, Drift, FORMAT, PriorState, Response, State, Step,
    StepState, Suppression, Undo, UndoCause,
};
use crate::target::Findings;

pub(super) const HUB: &str = "arn:aws:sts::100000000002:assumed-role/FirebreakHub/firebreak";
pub(super) const LEASE: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

pub(super) fn context(now: Timestamp) -> Context<'static> {
    Context { now, hub: HUB, channels: &[Channel::SecurityHub, Channel::Topic], lease: LEASE }
}

pub(super) fn step(action: &str, phase: Phase, state: StepState) -> Step {
    Step {
        action: action.to_owned(),
        phase,
        parameters: Value::Null,
        prior: PriorState::Captured(json!({ "was": true })),
        changes: Vec::new(),
        state,
        detail: String::new(),
        if_residual: false,
        residual: None,
    }
}

/// A containing step and a collecting one.
pub(super) fn steps(contain: StepState, collect: StepState) -> Vec<Step> {
    vec![
        step("isolate-instance", Phase::Contain, contain),
        step("tag-resource", Phase::Collect, collect),
    ]
}

/// The steps that a record in this state has.
fn steps_in(state: State) -> Vec<Step> {
    use StepState::{Done, Drifted, Failed, Planned, Skipped, Undone};
    match state {
        State::Observed | State::AwaitingApproval | State::Denied | State::Running => {
            steps(Planned, Planned)
        }
        State::Refused => Vec::new(),
        State::Completed => steps(Skipped, Done),
        State::PartiallyContained => steps(Done, Failed),
        State::Failed => steps(Failed, Failed),
        State::Contained | State::Undoing => steps(Done, Done),
        State::Undone | State::Expired => steps(Drifted, Undone),
    }
}

/// A record in this state. No worker holds its lease: it expired a minute ago.
pub(super) fn record(state: State) -> Record {
    let waits = json!({ "cause": "policy", "otherwise": "notify", "within": "PT30M" });
    let undo = Undo { drift: Drift::Leave, ..undo() };
    let response: Response = serde_json::from_value(json!({
        "format": FORMAT, "id": "r-0123456789abcdef", "revision": 7, "state": state,
        "reason": "", "ou_path": "r-fb01/ou-fb01-prod1111", "rule": "r-fb01/isolate",
        "epoch": 1, "steps": steps_in(state), "created": "2026-01-01T11:00:00Z",
        "updated": "2026-01-01T11:30:00Z",
        "lease_until": matches!(state, State::Running | State::Undoing)
            .then_some("2026-01-01T11:59:00Z"),
        "due": matches!(state, State::AwaitingApproval).then_some("2026-01-01T11:59:00Z"),
        "expires": "PT72H",
        "approval": (state == State::AwaitingApproval).then_some(waits),
        "undo": (state == State::Undoing).then_some(undo),
        "resource": {"partition": "aws", "account": "222222222222", "region": "eu-central-1",
            "type": "Instance", "instanceId": "i-0123456789abcdef0"},
        "finding": {"id": "f-1", "type": "UnauthorizedAccess:EC2/SSHBruteForce", "severity": 8.0,
            "title": "", "product": "GuardDuty", "account": "222222222222",
            "region": "eu-central-1", "security_hub": asff("f-1")},
    }))
    .unwrap();
    Record { response, findings: Findings::from([("f-1".to_owned(), None)]) }
}

pub(super) fn asff(id: &str) -> SecurityHubId {
    let product_arn = "arn:aws:securityhub:eu-central-1::product/aws/guardduty".to_owned();
    SecurityHubId::Asff { id: id.to_owned(), product_arn }
}

pub(super) fn undo() -> Undo {
    Undo {
        cause: UndoCause::Person("alice".to_owned()),
        step: None,
        drift: Drift::Overwrite,
        suppress_until: None,
    }
}

pub(super) fn suppression() -> Suppression {
    let response = "r-0123456789abcdef".parse().unwrap();
    let until = "2026-01-02T12:00:00Z".parse().unwrap();
    Suppression { until, by: "alice".to_owned(), response, reason: None }
}

pub(super) fn answer(decision: ApprovalDecision) -> ApprovalAnswer {
    let by = Approver::Person("alice".to_owned());
    ApprovalAnswer { decision, by, at: now(), reason: None }
}

/// One event of each kind, by its name in the table.
pub(super) fn events() -> Vec<(&'static str, Event)> {
    use StepState::{Done, Failed, Planned, Undone};
    let added = AddedFinding {
        id: "f-2".to_owned(),
        updated_at: None,
        security_hub: Some(asff("f-2")),
        siblings: None,
        decided: AuditEvent::new(AuditKind::Decided, "222222222222", HUB, "joins", now()),
        target_revision: 3,
    };
    let approved = answer(ApprovalDecision::Approved);
    vec![
        ("lease-taken", Event::LeaseTaken),
        ("steps-recorded", Event::StepsRecorded { steps: steps(Done, Planned) }),
        (
            "handed-over",
            Event::HandedOver { steps: steps(Done, Planned), waiting: "a snapshot".to_owned() },
        ),
        ("executed", Event::Executed { steps: steps(Done, Done) }),
        (
            "retry-started",
            Event::RetryStarted {
                steps: steps(Planned, Planned),
                finding: ("f-1".to_owned(), None),
            },
        ),
        ("approved", Event::Approved { answer: approved, steps: steps(Planned, Planned) }),
        ("denied", Event::Denied { answer: answer(ApprovalDecision::Denied) }),
        ("plan-changed", Event::PlanChanged { steps: steps(Planned, Failed) }),
        ("forbidden", Event::Forbidden { why: "a protection".to_owned() }),
        ("reminded", Event::Reminded { within: SignedDuration::from_mins(30) }),
        ("postponed", Event::Postponed { by: SignedDuration::from_mins(1) }),
        ("undo-requested", Event::UndoRequested { undo: undo() }),
        ("undo-ended", Event::UndoEnded { steps: steps(Undone, Undone), failures: Vec::new() }),
        ("finding-added", Event::FindingAdded(Box::new(added))),
        ("suppressed", Event::Suppressed { suppression: suppression() }),
        ("released", Event::Released { by: "alice".to_owned(), target_revision: Some(3) }),
    ]
}
