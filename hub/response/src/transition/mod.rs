//! The state machine of a response: one pure function from a record and an event to
//! everything that is written for it.
//!
//! # Guarantees
//!
//! - Nothing else sets a state, a revision or a lease. A transition is one revision,
//!   and is stored whole or not at all.
//! - The target's entry follows from the record ([`Record::entry`]).
//! - Every change of state, every approval, undo and suppression leaves exactly one
//!   audit event, whose digest is of the record as it is stored; progress leaves none.
//! - `Contained` is reached from verified steps alone ([`record::result`]).
//!
//! # What it assumes
//!
//! The store writes a transition only on its condition ([`Write`]): that the record
//! still has the revision before, or, where the record stays as it is, that the target
//! does. Of two workers that start from the same record one wins, and what the other one
//! computed is dropped. Who writes an entry alone reads the record after the target.
//!
//! [`record::result`]: crate::record::result

mod approval;
mod execution;
mod findings;
mod illegal;
mod open;
mod suppression;
mod undo;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod table;
#[cfg(test)]
mod testing;

use firebreak_model::action::Phase;
use firebreak_model::finding::SecurityHubId;
use jiff::{SignedDuration, Timestamp};

pub use self::approval::PLAN_CHANGED;
pub use self::findings::MAX_FINDINGS;
pub use self::illegal::{IllegalTransition, Reason};
pub use self::open::{Opening, open};
use crate::audit_event::{AuditEvent, AuditKind};
use crate::notice::Notice;
use crate::outbox::{Channel, OutboxItem};
use crate::record::{
    ApprovalAnswer, Response, SiblingTargets, State, Step, StepState, Suppression,
    SuppressionChange, Undo,
};
use crate::target::{Findings, TargetEntry};

/// A response and the findings that it covers: what a transition starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub response: Response,
    /// The findings that it covers; the target's entry keeps them.
    pub findings: Findings,
}

impl Record {
    /// The entry in the target's state that follows from the record.
    pub fn entry(&self) -> TargetEntry {
        let Response { id, epoch, state, lease_until, waiting, steps, .. } = &self.response;
        let contains =
            |step: &Step| step.phase == Phase::Contain && step.state == StepState::Planned;
        TargetEntry {
            response: id.clone(),
            epoch: *epoch,
            state: *state,
            lease_until: *lease_until,
            waiting: waiting.is_some() && !steps.iter().any(contains),
            residual: *state == State::Contained && !self.response.residual().is_empty(),
            findings: self.findings.clone(),
        }
    }
}

/// The inputs of a transition besides the record and the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub now: Timestamp,
    /// The hub's own identity, for what happens without a person.
    pub hub: &'a str,
    /// The channels that are configured.
    pub channels: &'a [Channel],
    /// How long a worker holds a response before another one may recover it.
    pub lease: SignedDuration,
}

/// What happens to a response.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A worker takes the lease of a response that is executed or undone.
    LeaseTaken,
    /// Some steps have ended, or were captured, and others are left.
    StepsRecorded {
        /// All steps as they are now.
        steps: Vec<Step>,
    },
    /// The worker stops before all steps have ended: the sweep continues.
    HandedOver {
        /// All steps as they are now.
        steps: Vec<Step>,
        /// What the sweep waits for.
        waiting: String,
    },
    /// All steps have ended.
    Executed {
        /// All steps, none of them planned any more.
        steps: Vec<Step>,
    },
    /// The finding of a failed response was delivered again: the failed steps of the
    /// recorded plan are executed again.
    RetryStarted {
        /// All steps; those to execute are planned.
        steps: Vec<Step>,
        /// The finding's id and update.
        finding: (String, Option<Timestamp>),
    },
    /// A person approved the plan, or the rule's `otherwise` did.
    Approved {
        /// Who decided, and why.
        answer: ApprovalAnswer,
        /// The steps, captured again: the same changes.
        steps: Vec<Step>,
    },
    /// A person denied the plan, or the rule's `otherwise` did.
    Denied {
        /// Who decided, and why.
        answer: ApprovalAnswer,
    },
    /// The resource changed, so that the plan makes other changes: it has to be
    /// approved again.
    PlanChanged {
        /// The new plan.
        steps: Vec<Step>,
    },
    /// A guardrail that was added since forbids the plan.
    Forbidden {
        /// The guardrail, in a sentence.
        why: String,
    },
    /// Nobody decided in time: people are asked again.
    Reminded {
        /// How long they had, and have again.
        within: SignedDuration,
    },
    /// The due work is paused: the sweep processes it after this time.
    Postponed {
        /// How long.
        by: SignedDuration,
    },
    /// An undo is requested.
    UndoRequested {
        /// The request.
        undo: Undo,
    },
    /// The undo has ended.
    UndoEnded {
        steps: Vec<Step>,
        /// Why steps could not be undone, each with its action.
        failures: Vec<String>,
    },
    /// Another finding is covered by this response.
    FindingAdded(Box<AddedFinding>),
    /// Further findings of the type are suppressed on the target.
    Suppressed { suppression: Suppression },
    /// A person ends the suppression. The findings of an undone or denied response are
    /// decided again when they are next delivered.
    Released {
        /// The caller's ARN.
        by: String,
        /// The target's revision when it was read; `None` if its entry is another
        /// response's by now.
        target_revision: Option<u64>,
    },
}

/// Another finding of a target that a response covers already.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedFinding {
    pub id: String,
    /// The update that was seen.
    pub updated_at: Option<Timestamp>,
    /// Its id in Security Hub.
    pub security_hub: Option<SecurityHubId>,
    pub siblings: Option<SiblingTargets>,
    /// The decision about it, for the audit log.
    pub decided: AuditEvent,
    /// The target's revision when it was read.
    pub target_revision: u64,
}

/// What a transition writes, and under which condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new record and the target's entry, if the target is as it was read.
    New {
        /// The target's revision when it was read.
        target_revision: u64,
    },
    /// The record and the target's entry, if the record has the revision before.
    RecordAndEntry,
    /// The record, if it has the revision before; the entry stays.
    Record,
    /// The record and the target's entry, if the record has the revision before and
    /// the target is as it was read.
    Added {
        /// The target's revision when it was read.
        target_revision: u64,
    },
    /// The target's entry, if the target is as it was read; the record stays.
    Entry {
        /// The target's revision when it was read.
        target_revision: u64,
    },
    /// Neither the record nor the entry, but the suppression.
    Suppression,
}

/// Everything that is written for one event, together or not at all.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Transition {
    /// The record after it.
    pub record: Record,
    /// The parts that are written, with their condition.
    pub write: Write,
    /// What happens to the suppression on the target, if anything.
    pub suppression: Option<SuppressionChange>,
    pub outbox: Vec<OutboxItem>,
    /// The audit event, if there is one.
    pub audit: Option<AuditEvent>,
}

/// Applies an event to a record, and returns everything that follows from it.
///
/// # Errors
///
/// [`IllegalTransition`] when the record's state, or its lease, does not allow it.
pub fn apply(
    record: &Record,
    event: Event,
    context: &Context<'_>,
) -> Result<Transition, IllegalTransition> {
    illegal::check(record, &event, context.now)?;
    let draft = Draft::of(record, context);
    Ok(match event {
        Event::LeaseTaken => execution::lease_taken(draft),
        Event::StepsRecorded { steps } => execution::steps_recorded(draft, steps),
        Event::HandedOver { steps, waiting } => execution::handed_over(draft, steps, waiting),
        Event::Executed { steps } => execution::executed(draft, steps),
        Event::RetryStarted { steps, finding } => execution::retry_started(draft, steps, finding),
        Event::Approved { answer, steps } => approval::approved(draft, answer, steps),
        Event::Denied { answer } => approval::denied(draft, answer),
        Event::PlanChanged { steps } => approval::plan_changed(draft, steps),
        Event::Forbidden { why } => approval::forbidden(draft, &why),
        Event::Reminded { within } => approval::reminded(draft, within),
        Event::Postponed { by } => execution::postponed(draft, by),
        Event::UndoRequested { undo } => undo::requested(draft, undo),
        Event::UndoEnded { steps, failures } => undo::ended(draft, steps, &failures),
        Event::FindingAdded(finding) => findings::added(draft, *finding),
        Event::Suppressed { suppression } => suppression::suppressed(draft, suppression),
        Event::Released { by, target_revision } => {
            suppression::released(draft, &by, target_revision)
        }
    })
}

/// A transition that is being put together. The record has its next revision from the
/// start, so that what is emitted at the end is of what is stored.
struct Draft<'a> {
    before: &'a Record,
    record: Record,
    context: &'a Context<'a>,
}

/// The content of a transition's audit event.
struct Audited<'a> {
    kind: AuditKind,
    by: &'a str,
    why: &'a str,
}

impl<'a> Draft<'a> {
    fn of(before: &'a Record, context: &'a Context<'a>) -> Self {
        let mut record = before.clone();
        record.response.revision += 1;
        record.response.updated = context.now;
        Self { before, record, context }
    }

    fn response(&mut self) -> &mut Response {
        &mut self.record.response
    }

    /// The worker's lease; the sweep processes the response when it ends.
    fn take_lease(&mut self) {
        let until = Some(self.context.now + self.context.lease);
        let response = self.response();
        response.lease_until = until;
        response.due = until;
        response.waiting = None;
    }

    /// A state in which no worker is.
    fn settle(&mut self, state: State, reason: String) {
        let response = self.response();
        response.state = state;
        response.reason = reason;
        response.lease_until = None;
        response.waiting = None;
        response.due = None;
    }

    /// Executing begins.
    fn begin(&mut self, reason: String) {
        let now = self.context.now;
        let response = self.response();
        response.state = State::Running;
        response.reason = reason;
        response.began = Some(now);
        response.tries = 0;
        self.take_lease();
    }

    fn audit(&self, audited: &Audited<'_>) -> AuditEvent {
        AuditEvent::of(audited.kind, &self.record.response, audited.by, audited.why)
    }

    /// Progress: nothing is delivered, and there is no audit event.
    fn quiet(self, write: Write) -> Transition {
        let record = self.record;
        Transition { record, write, suppression: None, outbox: Vec::new(), audit: None }
    }

    /// A change that leaves the record as it is: only the findings in the target's
    /// entry, or the suppression on the target, change.
    fn without_record(mut self, write: Write) -> Transition {
        self.record.response = self.before.response.clone();
        self.quiet(write)
    }

    /// A change with an audit event and without notifications.
    fn recorded(self, audited: &Audited<'_>) -> Transition {
        let audit = Some(self.audit(audited));
        Transition { audit, ..self.quiet(Write::RecordAndEntry) }
    }

    /// A change with an audit event and notifications over every channel.
    fn delivered(self, audited: &Audited<'_>) -> Transition {
        let Context { channels, now, .. } = *self.context;
        let outbox = OutboxItem::of(&self.record.response, channels, now);
        Transition { outbox, ..self.recorded(audited) }
    }

    /// A change with an audit event and one notice to people.
    fn notified(self, audited: &Audited<'_>, notice: &Notice) -> Transition {
        let Context { channels, now, .. } = *self.context;
        let outbox = OutboxItem::notices(&self.record.response, notice, channels, now);
        Transition { outbox, ..self.recorded(audited) }
    }
}
