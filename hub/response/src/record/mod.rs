//! The record of a response: its states, the legal transitions between them,
//! and its steps. Pure; `aws::ledger` keeps it.
//!
//! The record is the one source of truth for status, audit and undo. It is
//! written before anything changes and carries all prior state.

mod sibling_targets;

use std::fmt;
use std::str::FromStr;

use firebreak_model::action::{Change, Phase};
use firebreak_model::digest::sha256_hex_of_parts;
use firebreak_model::resource::{AccountId, Region, Resource};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::sibling_targets::MAX_SIBLING_FINDINGS;
pub use self::sibling_targets::SiblingTargets;
use firebreak_model::finding::{Finding, SecurityHubId};
use firebreak_model::organization::{OuPath, Place};
use firebreak_policy::{Draw, Otherwise};

/// The form of a record. A reader refuses a newer form than its own: acting on
/// half of a record could undo half of a containment.
pub const FORMAT: u32 = 1;

/// The id of a response: `r-` and sixteen hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResponseId(String);

impl ResponseId {
    /// A response is identified by its target, its rule and the containment
    /// epoch, not by the message that caused it: whoever receives the same
    /// finding again, by whichever path, arrives at the same id.
    pub fn of(target: &str, rule: &str, epoch: u64) -> Self {
        let mut digits = sha256_hex_of_parts([target, rule, &epoch.to_string()]);
        digits.truncate(16);
        Self(format!("r-{digits}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that is no response id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a response id: `r-` and sixteen hexadecimal digits")]
pub struct ResponseIdError(String);

impl FromStr for ResponseId {
    type Err = ResponseIdError;

    fn from_str(text: &str) -> Result<Self, ResponseIdError> {
        let digits = text.strip_prefix("r-").unwrap_or_default();
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() == 16 && digits.bytes().all(hexadecimal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ResponseIdError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ResponseId {
    type Error = ResponseIdError;

    fn try_from(text: String) -> Result<Self, ResponseIdError> {
        text.parse()
    }
}

impl From<ResponseId> for String {
    fn from(id: ResponseId) -> String {
        id.0
    }
}

/// The state of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The mode is observe: what would have been done is recorded.
    Observed,
    /// Policy or a guardrail forbids to act: the reason is recorded.
    Refused,
    /// The plan is recorded and waits for a person.
    AwaitingApproval,
    /// A person, or the clock where policy says so, decided against the plan.
    Denied,
    /// The plan is being carried out under a lease.
    Running,
    /// Every containing step was verified by reading back.
    Contained,
    /// Every step was carried out, and none of them was one that contains.
    Completed,
    /// Some steps were verified, others failed.
    PartiallyContained,
    /// Nothing was contained.
    Failed,
    /// The prior state is being put back under a lease.
    Undoing,
    /// The prior state was restored, except for recorded drift.
    Undone,
    /// Undone automatically after the rule's `expires`.
    Expired,
}

impl State {
    /// Every state, in the order of a response's life.
    pub const ALL: [Self; 12] = [
        Self::Observed,
        Self::Refused,
        Self::AwaitingApproval,
        Self::Denied,
        Self::Running,
        Self::Contained,
        Self::Completed,
        Self::PartiallyContained,
        Self::Failed,
        Self::Undoing,
        Self::Undone,
        Self::Expired,
    ];

    /// Whether a response may go from this state to `next`.
    pub fn can_transition_to(self, next: Self) -> bool {
        match self {
            Self::Observed | Self::Refused | Self::Denied => false,
            Self::AwaitingApproval => {
                matches!(next, Self::Running | Self::Refused | Self::Denied)
            }
            Self::Running => matches!(
                next,
                Self::Contained
                    | Self::Completed
                    | Self::PartiallyContained
                    | Self::Failed
                    | Self::Undoing
            ),
            // Drift that an undo left alone may be overwritten afterwards.
            Self::Contained | Self::Completed | Self::Undone | Self::Expired => {
                next == Self::Undoing
            }
            // A failed response is retried when the finding is delivered again.
            Self::PartiallyContained | Self::Failed => {
                matches!(next, Self::Undoing | Self::Running)
            }
            // After an undo of one step the others still hold.
            Self::Undoing => matches!(
                next,
                Self::Undone
                    | Self::Expired
                    | Self::Contained
                    | Self::Completed
                    | Self::PartiallyContained
            ),
        }
    }

    /// Whether the resource is, or may be, changed by this response.
    pub fn may_have_changed_resource(self) -> bool {
        match self {
            Self::Running
            | Self::Contained
            | Self::Completed
            | Self::PartiallyContained
            | Self::Undoing => true,
            Self::Observed
            | Self::Refused
            | Self::AwaitingApproval
            | Self::Denied
            | Self::Failed
            | Self::Undone
            | Self::Expired => false,
        }
    }

    /// The word in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Refused => "refused",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Denied => "denied",
            Self::Running => "running",
            Self::Contained => "contained",
            Self::Completed => "completed",
            Self::PartiallyContained => "partially-contained",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Recorded, not carried out.
    Planned,
    /// Carried out and verified by reading back.
    Done,
    /// Not carried out, or carried out and not confirmed; the detail says which.
    Failed,
    /// There was nothing for the action to do on this target; the detail says why.
    Skipped,
    /// Put back.
    Undone,
    /// Not put back as a whole: somebody changed the resource since.
    Drifted,
}

/// One action of a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The action's name.
    pub action: String,
    /// When it runs.
    pub phase: Phase,
    /// Its parameters as policy gave them.
    pub parameters: Value,
    /// The state before, as the action recorded it; `null` when reading it failed.
    pub prior: Value,
    /// What changes, for people.
    pub changes: Vec<Change>,
    /// How it ended.
    pub state: StepState,
    /// What was seen or why it failed; empty while planned.
    pub detail: String,
}

impl Undo {
    /// What is left to do when another undo is asked for before this one has
    /// ended: all of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let drift = match (self.drift, other.drift) {
            (Drift::Leave, Drift::Leave) => Drift::Leave,
            (Drift::Overwrite, _) | (_, Drift::Overwrite) => Drift::Overwrite,
        };
        let step = if self.step == other.step { other.step } else { None };
        let suppress_until = self.suppress_until.max(other.suppress_until);
        Self { by: other.by, step, drift, suppress_until }
    }
}

impl Step {
    /// Whether this step contains the target: those of the phases contain and end do.
    pub fn is_containing(&self) -> bool {
        match self.phase {
            Phase::Contain | Phase::End => true,
            Phase::Protect | Phase::Collect => false,
        }
    }
}

/// The finding that a response answers: what status, notes and lists need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingSummary {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// On GuardDuty's scale, 0.0 to 10.0.
    pub severity: f64,
    /// Its title.
    pub title: String,
    /// The product that raised it.
    pub product: String,
    /// The account that it is about.
    pub account: AccountId,
    /// The Region that it is about.
    pub region: Region,
    /// What Security Hub calls it.
    pub security_hub: Option<SecurityHubId>,
    /// The remote IP addresses that it names: what there is to block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_addresses: Vec<String>,
}

impl FindingSummary {
    /// Keeps what the record needs of a finding; never the raw event.
    pub fn of(finding: &Finding) -> Self {
        Self {
            id: finding.id.clone(),
            kind: finding.kind.clone(),
            severity: finding.severity,
            title: finding.title.clone(),
            product: finding.product.clone(),
            account: finding.account.clone(),
            region: finding.region.clone(),
            security_hub: finding.security_hub.clone(),
            remote_addresses: finding.remote_addresses(),
        }
    }
}

/// The durable record of a plan being carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// See [`FORMAT`].
    pub format: u32,
    /// Its id.
    pub id: ResponseId,
    /// Counts the writes; every write is conditional on the one before, so a
    /// stalled worker cannot write after its successor.
    pub revision: u64,
    /// Its state.
    pub state: State,
    /// Why it is in this state, in a sentence.
    pub reason: String,
    /// What is acted on.
    pub resource: Resource,
    /// The OUs above the account when it was decided.
    pub ou_path: OuPath,
    /// The finding that caused it.
    pub finding: FindingSummary,
    /// The policy document and rule that decided, `<attach>/<rule>`; for a
    /// refusal before any rule, the guardrail.
    pub rule: String,
    /// The containment epoch of this target and rule.
    pub epoch: u64,
    /// The steps, in the order in which they run.
    pub steps: Vec<Step>,
    /// When it was recorded first.
    pub created: Timestamp,
    /// When it was recorded last.
    pub updated: Timestamp,
    /// The end of its worker's lease; after it another worker recovers the response.
    pub lease_until: Option<Timestamp>,
    /// How long policy lets it stand once it has changed something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<SignedDuration>,
    /// When it expires and is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// When the sweep processes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// What it waits for while no worker has its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// How often a worker handed it over since it began.
    #[serde(default)]
    pub tries: u32,
    /// When it began to be carried out, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// Whether a notice said that the target is contained while later phases still run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub containment_reported: bool,
    /// The version of the policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<u64>,
    /// What Security Hub calls the further findings that it answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_findings: Vec<SecurityHubId>,
    /// Those of its findings that have other targets as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<SiblingTargets>,
    /// How it is approved, where it has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Who asked for what to be undone; kept, so that a worker that resumes an
    /// undo goes on with the same, and as the record of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

/// How a plan is approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Why a person is asked.
    pub cause: ApprovalCause,
    /// How long it waits for a person; without one, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<SignedDuration>,
    /// What happens then.
    pub otherwise: Otherwise,
    /// Who approves, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
    /// What it draws on budgets if it is carried out without a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draws: Vec<Draw>,
    /// How it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<ApprovalAnswer>,
}

/// Why a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalCause {
    /// Policy says so.
    Policy,
    /// A budget is spent: one notice goes out for all of those.
    Budget,
    /// Somebody paused what policy would do at once.
    Pause,
}

/// How a plan was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAnswer {
    /// What was said.
    pub verdict: ApprovalDecision,
    /// Who: a caller's ARN, or `policy` where nobody did in time.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was said to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalDecision {
    /// It is carried out.
    Approved,
    /// It is not.
    Denied,
}

/// What is asked for when a response is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// Who asks: a caller's ARN, or `expiry`.
    pub by: String,
    /// Only this action's step; `None` is all of them.
    pub step: Option<String>,
    /// What becomes of what somebody changed since.
    pub drift: Drift,
    /// Until when findings of the same type leave the target alone.
    pub suppress_until: Option<Timestamp>,
}

/// What an undo does with what somebody changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// Leaves it alone and reports it.
    Leave,
    /// Puts the state before the response back all the same.
    Overwrite,
}

/// Why a target is left alone for findings of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Until when.
    pub until: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// The response that it is about.
    pub response: ResponseId,
    /// Why, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A transition that the states do not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("response `{id}` is {from} and cannot become {to}")]
pub struct IllegalTransition {
    /// The response.
    pub id: ResponseId,
    /// Its state.
    pub from: State,
    /// The state that was asked for.
    pub to: State,
}

impl Response {
    /// Moves to `next` at `now`, for the reason given, as one new revision.
    pub fn transition_to(
        &mut self,
        next: State,
        reason: impl Into<String>,
        now: Timestamp,
    ) -> Result<(), IllegalTransition> {
        if !self.state.can_transition_to(next) {
            return Err(IllegalTransition { id: self.id.clone(), from: self.state, to: next });
        }
        self.state = next;
        self.reason = reason.into();
        self.updated = now;
        self.revision += 1;
        if next == State::Running {
            self.began = Some(now);
            self.tries = 0;
            self.waiting = None;
        }
        if !matches!(next, State::Running | State::Undoing) {
            self.lease_until = None;
            self.waiting = None;
            self.due = None;
        }
        Ok(())
    }

    /// Where its account was when it was decided.
    pub fn place(&self) -> Place {
        Place { account: self.resource.account.clone(), ou_path: self.ou_path.clone() }
    }

    /// What Security Hub calls the findings that it answers, each once.
    pub fn security_hub_ids(&self) -> impl Iterator<Item = &SecurityHubId> {
        self.finding.security_hub.iter().chain(&self.further_findings)
    }

    /// Whether the target is contained, as far as verified by now.
    pub fn is_contained(&self) -> bool {
        self.steps.iter().any(|step| step.is_containing() && step.state == StepState::Done)
    }

    /// What the steps amount to once all have ended. Containment is claimed
    /// only when every containing step was verified and none failed.
    pub fn result(&self) -> (State, String) {
        let of = |wanted: StepState| -> Vec<&str> {
            self.steps
                .iter()
                .filter(|step| step.state == wanted)
                .map(|step| step.action.as_str())
                .collect()
        };
        let contained = self.is_contained();
        let (done, failed, skipped) =
            (of(StepState::Done), of(StepState::Failed), of(StepState::Skipped));
        let failures = || {
            let reasons: Vec<&str> = self
                .steps
                .iter()
                .filter(|step| step.state == StepState::Failed)
                .map(|step| step.detail.as_str())
                .collect();
            reasons.join("; ")
        };
        match (contained, failed.is_empty()) {
            (true, true) => (State::Contained, format!("verified: {}", done.join(", "))),
            (true, false) => (
                State::PartiallyContained,
                format!("verified: {}; failed: {}", done.join(", "), failures()),
            ),
            (false, false) => (State::Failed, failures()),
            (false, true) if done.is_empty() => (
                State::Failed,
                format!("no step applied to this target: skipped {}", skipped.join(", ")),
            ),
            (false, true) => (State::Completed, format!("carried out: {}", done.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(steps: &[(Phase, StepState)]) -> Response {
        let steps = steps
            .iter()
            .map(|(phase, state)| Step {
                action: "some-action".into(),
                phase: *phase,
                parameters: Value::Null,
                prior: Value::Null,
                changes: Vec::new(),
                state: *state,
                detail: "denied".into(),
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "format": FORMAT, "id": "r-0123456789abcdef", "revision": 1, "state": "running",
            "reason": "", "ou_path": "r-fb01/ou-fb01-prod1111", "rule": "r-fb01/isolate",
            "epoch": 1, "steps": [], "created": "2026-01-01T00:00:00Z",
            "updated": "2026-01-01T00:00:00Z", "lease_until": "2026-01-01T00:05:00Z",
            "resource": {"partition": "aws", "account": "222222222222", "region": "eu-central-1",
                "type": "Instance", "instanceId": "i-0abc"},
            "finding": {"id": "f", "type": "t", "severity": 8.0, "title": "", "product": "GuardDuty",
                "account": "222222222222", "region": "eu-central-1", "security_hub": null},
        }))
        .map(|response: Response| Response { steps, ..response })
        .unwrap()
    }

    #[test]
    fn containment_is_claimed_only_when_verified_and_nothing_failed() {
        use Phase::{Collect, Contain};
        use StepState::{Done, Failed, Skipped};
        let check = |steps: &[(Phase, StepState)], expected| {
            assert_eq!(response(steps).result().0, expected, "{steps:?}");
        };
        check(&[(Contain, Done), (Collect, Done)], State::Contained);
        check(&[(Contain, Done), (Contain, Skipped)], State::Contained);
        check(&[(Contain, Done), (Collect, Failed)], State::PartiallyContained);
        check(&[(Contain, Failed), (Collect, Done)], State::Failed);
        check(&[(Contain, Skipped)], State::Failed);
        check(&[(Collect, Done)], State::Completed);
        check(&[], State::Failed);
    }

    #[test]
    fn an_ended_response_may_be_undone_and_a_failed_one_retried() {
        for state in State::ALL {
            for next in State::ALL {
                let legal = state.can_transition_to(next);
                let case = format!("{state} -> {next}");
                let over = matches!(state, State::Undone | State::Expired);
                if over || matches!(state, State::Contained | State::Completed) {
                    assert_eq!(legal, next == State::Undoing, "{case}");
                }
                if matches!(state, State::PartiallyContained | State::Failed) {
                    let again = matches!(next, State::Undoing | State::Running);
                    assert_eq!(legal, again, "{case}");
                }
                if matches!(state, State::Observed | State::Refused | State::Denied) {
                    assert!(!legal, "{case}");
                }
            }
        }
    }

    #[test]
    fn two_undos_that_were_asked_for_are_both_done() {
        let until: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let undo = |step: Option<&str>, drift, suppress_until| Undo {
            by: "alice".to_owned(),
            step: step.map(str::to_owned),
            drift,
            suppress_until,
        };
        let both =
            undo(None, Drift::Overwrite, None).and(undo(Some("x"), Drift::Leave, Some(until)));
        assert_eq!(both, undo(None, Drift::Overwrite, Some(until)));
        let same = undo(Some("x"), Drift::Leave, None);
        assert_eq!(same.clone().and(same.clone()), same);
    }

    #[test]
    fn a_transition_is_one_revision_and_ends_the_lease() {
        let mut response = response(&[]);
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        response.transition_to(State::Contained, "verified", now).unwrap();
        assert_eq!((response.revision, response.lease_until, response.updated), (2, None, now));
        assert!(response.transition_to(State::Running, "", now).is_err());
    }

    #[test]
    fn the_same_target_rule_and_epoch_give_the_same_id() {
        let id = ResponseId::of("arn:aws:ec2:::instance/i-0abc", "r-fb01/isolate", 1);
        assert_eq!(id, ResponseId::of("arn:aws:ec2:::instance/i-0abc", "r-fb01/isolate", 1));
        assert_ne!(id, ResponseId::of("arn:aws:ec2:::instance/i-0abc", "r-fb01/isolate", 2));
        assert_eq!(id.as_str().parse::<ResponseId>().unwrap(), id);
        assert!("r-0ABC".parse::<ResponseId>().is_err());
    }
}
