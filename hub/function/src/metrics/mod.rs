//! Metrics of the function, as log lines that CloudWatch reads (CloudWatch user guide,
//! "Embedded metric format specification"). Pure: the caller writes the lines.
//!
//! `docs/monitoring.md` explains each metric. No finding, resource or person is a
//! dimension, because each value of a dimension costs money.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::AccountId;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{Handled, MessageError};
use firebreak_aws::deadline::Count;
use firebreak_aws::sessions::NO_SESSION;
use firebreak_engine::{Disposition, TargetOutcome};
use firebreak_policy::Policy;
use firebreak_response::record::State;

/// The namespace of every metric.
pub const NAMESPACE: &str = "Firebreak";

/// "A target member … MUST NOT have more than 100 values" (EMF specification).
const MAX_VALUES: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Count,
    Milliseconds,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// One line: metrics with the same dimensions.
#[derive(Debug, Default)]
struct Line {
    dimensions: Vec<(&'static str, String)>,
    metrics: Vec<(&'static str, Unit, Value)>,
}

impl Line {
    fn of(dimensions: &[(&'static str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self { dimensions: dimensions.collect(), metrics: Vec::new() }
    }

    fn count(mut self, name: &'static str, count: impl Into<u64>) -> Self {
        self.metrics.push((name, Unit::Count, json!(count.into())));
        self
    }

    fn into_json(self, now: Timestamp) -> Value {
        let names: Vec<&str> = self.dimensions.iter().map(|(name, _)| *name).collect();
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .map(|(name, unit, _)| json!({ "Name": name, "Unit": unit.name() }))
            .collect();
        let mut line = Map::new();
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": metrics,
                }],
            }),
        );
        for (name, value) in self.dimensions {
            line.insert(name.to_owned(), Value::String(value));
        }
        for (name, _, value) in self.metrics {
            line.insert(name.to_owned(), value);
        }
        Value::Object(line)
    }
}

/// The metrics of one invocation: `handled` is the result of [`handle_batch`], `calls` are
/// the calls during it. One line, one more for each kind of outcome and for each service
/// that throttled, and more if a metric has more than a hundred values.
///
/// [`handle_batch`]: crate::handle_batch
pub fn invocation(
    handled: &[(String, Handled)],
    calls: &BTreeMap<String, Count>,
    now: Timestamp,
) -> Vec<Value> {
    let messages: Vec<&Handled> = handled.iter().map(|(_, handled)| handled).collect();
    let mut lines = vec![counts(&messages, calls)];
    let durations = durations(&messages);
    let longest = durations.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    for start in (0..longest).step_by(MAX_VALUES) {
        if start > 0 {
            lines.push(Line::default());
        }
        let Some(line) = lines.last_mut() else { continue };
        for (name, values) in &durations {
            let values: Vec<i64> = values.iter().skip(start).take(MAX_VALUES).copied().collect();
            if !values.is_empty() {
                line.metrics.push((name, Unit::Milliseconds, json!(values)));
            }
        }
    }
    let mut decided: BTreeMap<&str, u64> = BTreeMap::new();
    for outcome in outcomes(&messages) {
        *decided.entry(outcome_word(outcome)).or_default() += 1;
    }
    for (outcome, count) in decided {
        lines.push(Line::of(&[("Outcome", outcome)]).count("Decided", count));
    }
    for (service, count) in calls.iter().filter(|(_, count)| count.throttles > 0) {
        let line = Line::of(&[("Service", service)]).count("ServiceThrottles", count.throttles);
        lines.push(line);
    }
    let mut lines: Vec<Value> = lines.into_iter().map(|line| line.into_json(now)).collect();
    // The last draw on a budget shows what is left of it.
    let drawn: BTreeMap<(String, String), u64> = outcomes(&messages)
        .flat_map(|outcome| &outcome.budgets)
        .map(|it| ((it.budget.document.clone(), it.budget.budget.to_string()), it.left))
        .collect();
    lines.extend(
        drawn.iter().map(|((document, budget), left)| budget_left(document, budget, *left, now)),
    );
    lines
}

fn outcomes<'a>(messages: &'a [&Handled]) -> impl Iterator<Item = &'a TargetOutcome> {
    messages.iter().flat_map(|message| &message.outcomes)
}

fn counts(messages: &[&Handled], calls: &BTreeMap<String, Count>) -> Line {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let ended = |state: State| number(outcomes(messages).filter(|it| ended_in(it, state)).count());
    let errors = |is: fn(&MessageError) -> bool| {
        number(messages.iter().flat_map(|message| &message.errors).filter(|it| is(it)).count())
    };
    let failed = errors(|error| matches!(error, MessageError::Hub(error) if !error.is_transient()));
    let rejected = messages.iter().filter(|message| {
        message.errors.iter().any(|error| matches!(error, MessageError::Rejected(_)))
    });
    let redelivered = messages.iter().filter(|message| message.deliveries > 1);
    let uncovered: BTreeSet<&AccountId> =
        outcomes(messages).filter_map(uncovered_account).collect();
    Line::of(&[])
        .count("Received", number(messages.iter().map(|it| it.findings.len()).sum()))
        .count("Messages", number(messages.len()))
        .count("Contained", ended(State::Contained))
        .count("Failed", ended(State::Failed) + ended(State::PartiallyContained) + failed)
        .count("Retried", errors(MessageError::is_transient))
        .count("HandedBack", errors(|error| matches!(error, MessageError::OutOfTime(_))))
        .count("Rejected", number(rejected.count()))
        .count("Redelivered", number(redelivered.count()))
        .count("UncoveredAccounts", number(uncovered.len()))
        .count("Calls", calls.values().map(|count| count.calls).sum::<u64>())
        .count("Throttles", calls.values().map(|count| count.throttles).sum::<u64>())
}

/// Whether this finding ended a response in this state; a repeat has an older response.
fn ended_in(outcome: &TargetOutcome, state: State) -> bool {
    outcome.disposition == Disposition::Responded
        && outcome.response.as_ref().is_some_and(|response| response.state == state)
}

/// The account of a target that was not contained because the spoke role could not be
/// assumed.
fn uncovered_account(outcome: &TargetOutcome) -> Option<&AccountId> {
    let steps = outcome.response.iter().flat_map(|response| &response.steps);
    let no_session = outcome.reason.contains(NO_SESSION)
        || steps.into_iter().any(|step| step.detail.contains(NO_SESSION));
    outcome.resource.as_ref().filter(|_| no_session).map(|resource| &resource.account)
}

/// The value of the dimension `Outcome`.
fn outcome_word(outcome: &TargetOutcome) -> &'static str {
    match outcome.disposition {
        Disposition::Nothing => "nothing",
        Disposition::Repeat => "repeat",
        Disposition::ExistingResponse => "existing-response",
        Disposition::Suppressed => "suppressed",
        Disposition::NotCovered => "not-covered",
        Disposition::NotConfirmed => "not-confirmed",
        Disposition::Planned => "planned",
        Disposition::Responded => {
            outcome.response.as_ref().map_or("nothing", |response| response.state.name())
        }
    }
}

/// Durations in milliseconds; CloudWatch computes percentiles from the values of a list.
fn durations(messages: &[&Handled]) -> Vec<(&'static str, Vec<i64>)> {
    // Clocks of services differ: a negative duration counts as 0.
    let millis =
        |duration: SignedDuration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(0);
    let between = |from: Timestamp, to: Timestamp| millis(to.duration_since(from));
    let (mut age, mut to_receipt) = (Vec::new(), Vec::new());
    let (mut receipt_contained, mut finding_contained) = (Vec::new(), Vec::new());
    let mut written_back = Vec::new();
    for message in messages {
        let times = message.times;
        age.extend(times.sent.map(|sent| between(sent, times.received)));
        let updated: BTreeMap<&str, Timestamp> = message
            .findings
            .iter()
            .filter_map(|finding| Some((finding.id.as_str(), finding.updated_at.or(times.sent)?)))
            .collect();
        to_receipt.extend(updated.values().map(|updated| between(*updated, times.received)));
        for outcome in &message.outcomes {
            let waited = times.started.map(|started| between(times.received, started));
            if let Some((waited, contained)) = waited.zip(outcome.contained_after) {
                let contained = millis(SignedDuration::try_from(contained).unwrap_or_default());
                let receipt = waited.saturating_add(contained);
                receipt_contained.push(receipt);
                let updated = updated.get(outcome.finding.id.as_str());
                finding_contained.extend(
                    updated
                        .map(|updated| between(*updated, times.received).saturating_add(receipt)),
                );
            }
            // The update of Security Hub is the last step for a finding.
            if let Some((_, ended)) = outcome.written_back.as_ref().zip(times.ended) {
                written_back.push(between(times.received, ended));
            }
        }
    }
    for message in messages {
        let delivered = message.delivery.iter().flat_map(|delivery| &delivery.written);
        let ended = message.times.ended;
        written_back.extend(delivered.filter_map(|since| Some(between(*since, ended?))));
    }
    vec![
        ("QueueAge", age),
        ("FindingToReceipt", to_receipt),
        ("ReceiptToContained", receipt_contained),
        ("FindingToContained", finding_contained),
        ("ReceiptToWrittenBack", written_back),
    ]
}

/// How many actions are left of a budget, written after each draw.
fn budget_left(document: &str, budget: &str, left: u64, now: Timestamp) -> Value {
    Line::of(&[("Document", document), ("Budget", budget)]).count("BudgetLeft", left).into_json(now)
}

/// How many documents of the policy in force cannot be read, with their attach points and
/// the reasons. Findings under them are refused, so this triggers an alarm.
pub fn broken_documents(policy: &Policy, now: Timestamp) -> Value {
    let broken = policy.broken();
    let documents: Vec<Value> =
        broken.iter().map(|(point, why)| json!({ "attach": point, "why": why })).collect();
    let count = u64::try_from(documents.len()).unwrap_or(u64::MAX);
    let mut line = Line::of(&[]).count("BrokenPolicyDocuments", count).into_json(now);
    if let Value::Object(line) = &mut line {
        line.insert("documents".to_owned(), Value::Array(documents));
    }
    line
}

#[cfg(test)]
mod tests;
