//! The demo's output: live as text, or one JSON object.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{Failure, Output};
use firebreak_demo::attacker::Ability;
use firebreak_demo::world::UNITS;
use firebreak_engine::{Disposition, TargetOutcome};
use firebreak_policy::Mode;
use firebreak_response::record::{Response, State, Step, StepState};

/// One finding and its outcome.
#[derive(Debug)]
pub(super) struct FindingReport {
    /// The finding's position in the order.
    pub(super) number: usize,
    pub(super) unit: String,
    pub(super) calls: usize,
    pub(super) security_hub_status: Option<String>,
    /// What the attacker can do before the response.
    pub(super) could: Vec<Ability>,
    /// What the attacker can do after the response.
    pub(super) can: Vec<Ability>,
    /// `None` when the finding was not handled; `errors` has the reason.
    pub(super) outcome: Option<TargetOutcome>,
    pub(super) errors: Vec<String>,
}

#[derive(Debug)]
pub(super) struct DemoReport {
    output: Output,
    accounts: usize,
    total: usize,
    progress: Option<ProgressBar>,
    findings: Vec<Value>,
    counts: Counts,
    calls: usize,
    wrong: Vec<String>,
}

#[derive(Debug, Default)]
struct Counts {
    contained: usize,
    awaiting_approval: usize,
    observed: usize,
    refused: usize,
    failed: usize,
}

/// Above this number of findings the text has only the summary and the failures.
const MAX_WRITTEN_IN_FULL: usize = 100;

impl DemoReport {
    pub(super) fn new(output: Output, accounts: usize, total: usize) -> Self {
        let bar = output == Output::Json || total > MAX_WRITTEN_IN_FULL;
        let progress = bar.then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} findings, {eta} left");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            output,
            accounts,
            total,
            progress,
            findings: Vec::new(),
            counts: Counts::default(),
            calls: 0,
            wrong: Vec::new(),
        }
    }

    fn in_full(&self) -> bool {
        self.output == Output::Text && self.total <= MAX_WRITTEN_IN_FULL
    }

    pub(super) fn begin(&self) -> Result<(), Failure> {
        if self.output == Output::Text {
            let names: Vec<&str> = UNITS.iter().map(|(_, name)| *name).collect();
            let (accounts, total) = (self.accounts, self.total);
            writeln!(
                std::io::stdout(),
                "A simulated organization: {accounts} accounts in the OUs {}, two Regions.\n{total} findings arrive. Nothing leaves this process.\n",
                names.join(", ")
            )?;
        }
        Ok(())
    }

    /// Counts one finding and writes it.
    pub(super) fn finding(&mut self, shown: &FindingReport) -> Result<(), Failure> {
        let word = outcome_word(shown);
        match word.as_str() {
            "contained" | "existing-response" => self.counts.contained += 1,
            "awaiting-approval" => self.counts.awaiting_approval += 1,
            "observed" => self.counts.observed += 1,
            "refused" => self.counts.refused += 1,
            _ => self.counts.failed += 1,
        }
        self.calls += shown.calls;
        if let Some(wrong) = unexpected(shown, &word) {
            self.wrong.push(wrong);
        }
        if let Some(bar) = &self.progress {
            bar.inc(1);
        }
        if self.in_full() {
            write_finding(shown, &word, self.total)?;
        }
        if self.output == Output::Json {
            self.findings.push(describe(shown, &word));
        }
        Ok(())
    }

    pub(super) fn undone(
        &mut self,
        undone: usize,
        failed: &[String],
        differing: &[&String],
    ) -> Result<(), Failure> {
        self.wrong.extend(failed.iter().map(|why| format!("an undo failed: {why}")));
        self.wrong.extend(
            differing
                .iter()
                .map(|account| format!("account {account} differs from its state before")),
        );
        if self.output == Output::Text {
            let accounts = self.accounts;
            let exact = if differing.is_empty() && failed.is_empty() {
                format!("all {accounts} accounts are exactly as before")
            } else {
                format!("{} of {accounts} accounts are NOT as before", differing.len())
            };
            writeln!(std::io::stdout(), "Undone: {undone} responses; {exact}.\n")?;
        }
        Ok(())
    }

    /// Writes the summary; an error when an outcome was not what the policies require.
    pub(super) fn end(self, undo_exact: bool, took: Duration) -> Result<(), Failure> {
        if let Some(bar) = &self.progress {
            bar.finish_and_clear();
        }
        let Counts { contained, awaiting_approval, observed, refused, failed } = self.counts;
        let (calls, seconds) = (self.calls, took.as_secs_f64());
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Json => {
                let summary = json!({
                    "findings": self.total, "contained": contained,
                    "awaiting_approval": awaiting_approval, "observed": observed,
                    "refused": refused, "failed": failed, "undo_exact": undo_exact,
                    "calls": calls, "seconds": seconds,
                });
                let report = json!({ "findings": self.findings, "summary": summary });
                writeln!(out, "{report:#}")?;
            }
            Output::Text => writeln!(
                out,
                "{} findings: {contained} contained, {awaiting_approval} awaiting approval, {observed} observed, {refused} refused, {failed} failed; {calls} AWS calls in {seconds:.1} s",
                self.total
            )?,
        }
        if self.wrong.is_empty() && undo_exact {
            Ok(())
        } else {
            Err(Failure::Check(format!(
                "not what the policies require:\n{}",
                self.wrong.join("\n")
            )))
        }
    }
}

/// The outcome of a finding, in one word.
fn outcome_word(shown: &FindingReport) -> String {
    match &shown.outcome {
        None => "failed".to_owned(),
        Some(outcome) => match (outcome.disposition, &outcome.response) {
            (Disposition::Responded, Some(response)) => response.state.name().to_owned(),
            (Disposition::ExistingResponse, _) => existing_response_word(outcome).to_owned(),
            (Disposition::Repeat, _) => "repeat".to_owned(),
            (Disposition::Suppressed, _) => "suppressed".to_owned(),
            (Disposition::NotCovered, _) => "not-covered".to_owned(),
            (Disposition::NotConfirmed, _) => "not-confirmed".to_owned(),
            (Disposition::Nothing | Disposition::Responded | Disposition::Planned, _) => {
                "nothing".to_owned()
            }
        },
    }
}

/// The outcome of a finding on a target that has a response already.
fn existing_response_word(outcome: &TargetOutcome) -> &'static str {
    match &outcome.decision {
        Some(decision) if decision.is_refused() => State::Refused.name(),
        Some(decision) => match decision.mode {
            Mode::Approve => State::AwaitingApproval.name(),
            Mode::Observe => State::Observed.name(),
            Mode::Off | Mode::Auto => "existing-response",
        },
        None => "existing-response",
    }
}

/// Why an outcome is not what the policies require.
fn unexpected(shown: &FindingReport, word: &str) -> Option<String> {
    let expected: &[&str] = match shown.unit.as_str() {
        "ou-fb01-sandbox1" => &["contained", "existing-response"],
        "ou-fb01-prod1111" => &["awaiting-approval"],
        "ou-fb01-security" => &["refused"],
        _ => &["observed"],
    };
    let number = shown.number + 1;
    if !expected.contains(&word) {
        let why = shown
            .outcome
            .as_ref()
            .map_or_else(|| shown.errors.join("; "), |outcome| outcome.reason.clone());
        let expected = expected.join(" or ");
        return Some(format!("finding {number}: {word} instead of {expected}: {why}"));
    }
    let is_contained = matches!(word, "contained" | "existing-response");
    if is_contained && let Some(still) = shown.can.iter().find(|ability| ability.works) {
        return Some(format!("finding {number}: contained, but {}", still.what));
    }
    if !is_contained && shown.can != shown.could {
        return Some(format!("finding {number}: {word}, but something was changed"));
    }
    None
}

fn steps(response: &Response) -> Vec<Value> {
    let steps = response.steps.iter();
    steps
        .map(|step| {
            let Step { action, state, detail, if_residual, .. } = step;
            json!({
                "action": action, "state": state, "detail": detail, "if_residual": if_residual,
            })
        })
        .collect()
}

fn milliseconds(shown: &FindingReport) -> Option<f64> {
    let contained = shown.outcome.as_ref()?.contained_after?;
    Some((contained.as_secs_f64() * 10_000.0).round() / 10.0)
}

fn describe(shown: &FindingReport, word: &str) -> Value {
    let Some(outcome) = &shown.outcome else {
        return json!({ "outcome": word, "errors": shown.errors, "calls": shown.calls });
    };
    let finding = &outcome.finding;
    let decision = outcome.decision.as_ref();
    json!({
        "id": finding.id,
        "type": finding.kind,
        "account": finding.account,
        "region": finding.region,
        "ou_path": outcome.ou_path,
        "rule": decision.and_then(firebreak_policy::Decision::rule_key),
        "mode": decision.map(|decision| decision.mode),
        "outcome": word,
        "reason": outcome.reason,
        "steps": outcome.response.as_ref().map(steps).unwrap_or_default(),
        "residual": outcome.response.as_ref().map(Response::residual).unwrap_or_default(),
        "calls": shown.calls,
        "ms_to_contained": milliseconds(shown),
        "security_hub_status": shown.security_hub_status,
    })
}

fn write_finding(shown: &FindingReport, word: &str, total: usize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let number = shown.number + 1;
    let Some(outcome) = &shown.outcome else {
        writeln!(out, "{number}/{total} failed: {}\n", shown.errors.join("; "))?;
        return Ok(());
    };
    let finding = &outcome.finding;
    writeln!(out, "{number}/{total} {} in {} {}", finding.kind, finding.account, finding.region)?;
    let unit = UNITS.iter().find(|(id, _)| *id == shown.unit).map_or("?", |(_, name)| name);
    let path = outcome.ou_path.as_ref().map(ToString::to_string).unwrap_or_default();
    writeln!(out, "   OU        {unit} ({path})")?;
    if let Some(decision) = &outcome.decision {
        let rule = decision.rule_key().unwrap_or_else(|| "none".to_owned());
        writeln!(out, "   decision  {} by {rule}", decision.mode.name())?;
    }
    write_abilities(&mut out, "before", &shown.could)?;
    for step in outcome.response.iter().flat_map(|response| &response.steps) {
        let mark = match step.state {
            StepState::Done => "✓",
            StepState::Planned => "·",
            StepState::Skipped => "-",
            StepState::Failed | StepState::Drifted | StepState::Undone => "✗",
        };
        let detail = match (step.if_residual, step.state) {
            (true, StepState::Planned) => "only if something stays open".to_owned(),
            _ => step.detail.replace('\n', "; "),
        };
        writeln!(out, "{}", format!("   {mark} {:<29} {detail}", step.action).trim_end())?;
    }
    for residual in outcome.response.iter().flat_map(Response::residual) {
        writeln!(out, "   ! may still be open: {}", residual.what)?;
    }
    let took = milliseconds(shown).map_or_else(String::new, |it| format!(" after {it} ms"));
    let status = shown.security_hub_status.as_deref().unwrap_or("unknown");
    writeln!(
        out,
        "   {word}{took}, {} calls, Security Hub status {status}: {}",
        shown.calls, outcome.reason
    )?;
    if shown.can != shown.could {
        write_abilities(&mut out, "after", &shown.can)?;
    }
    writeln!(out)?;
    Ok(())
}

fn write_abilities(out: &mut impl Write, when: &str, abilities: &[Ability]) -> Result<(), Failure> {
    let listed: Vec<String> = abilities
        .iter()
        .map(|it| format!("{}: {}", it.what, if it.works { "YES" } else { "no" }))
        .collect();
    writeln!(out, "   {when:<9} {}", listed.join(" · "))?;
    Ok(())
}
