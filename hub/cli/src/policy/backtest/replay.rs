//! Reads stored findings and decides them in parallel.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use firebreak_model::resource::AccountId;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use rayon::prelude::*;
use serde::de::IgnoredAny;

use super::Lookup;
use crate::{Failure, inputs};
use firebreak_engine::Engine;
use firebreak_policy::{Backtest, Policy, Replayed, replay};
use firebreak_report::backtest::BacktestReport;

/// How much is read before it is decided: enough work for every core, in bounded
/// memory.
const BATCH_BYTES: usize = 64 << 20;

/// How many reasons for rejections are kept.
const MAX_REASONS: usize = 20;

/// Stored findings: files, and texts from standard input or Security Hub.
pub(super) struct Replayer {
    files: Vec<PathBuf>,
    texts: Vec<Source>,
}

/// A text, and its name in messages.
struct Source {
    name: String,
    text: String,
}

/// A part of a source that is parsed on its own.
struct Part<'a> {
    source: &'a str,
    /// The line number, where the source has a JSON value on each line.
    line: Option<usize>,
    text: &'a str,
}

impl Part<'_> {
    fn place(&self) -> String {
        self.line.map_or_else(|| self.source.to_owned(), |line| format!("{}:{line}", self.source))
    }
}

/// The result of one part.
#[derive(Default)]
struct PartResult {
    findings: usize,
    rejected: Vec<String>,
    replayed: Vec<Replayed>,
    unplaced: Vec<AccountId>,
}

impl Replayer {
    pub(super) fn new(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for path in paths {
            inputs::collect(path, &mut files).map_err(|error| {
                Failure::Usage(format!("cannot read `{}`: {error}", path.display()))
            })?;
        }
        let mut replayer = Self { files, texts: Vec::new() };
        // Findings may be read twice, standard input only once.
        if replayer.files.iter().any(|file| file.as_os_str() == "-") {
            replayer.files.retain(|file| file.as_os_str() != "-");
            let text = inputs::text(&PathBuf::from("-"))?;
            replayer.texts.push(Source { name: "standard input".to_owned(), text });
        }
        Ok(replayer)
    }

    pub(super) async fn read_security_hub(
        &mut self,
        engine: &Engine,
        since: SignedDuration,
    ) -> Result<(), Failure> {
        let to = engine.now();
        let from = to
            .checked_sub(since)
            .map_err(|error| Failure::Usage(format!("--since reaches too far: {error}")))?;
        let bar = bar("pages read from Security Hub", SPINNER);
        let each = |text| {
            let name = format!("page {} of Security Hub", self.texts.len() + 1);
            self.texts.push(Source { name, text });
            bar.inc(1);
        };
        engine.security_hub.findings_since(from, to, each).await?;
        bar.finish_and_clear();
        Ok(())
    }

    /// The accounts of every finding.
    pub(super) fn accounts(&self) -> Result<BTreeSet<AccountId>, Failure> {
        let mut accounts = BTreeSet::new();
        self.for_each_part(
            "reading accounts",
            |part| {
                let findings = firebreak_intake::read(part.text);
                let targets = findings.iter().flatten().flat_map(|finding| &finding.targets);
                targets.map(|target| target.resource.account.clone()).collect::<BTreeSet<_>>()
            },
            |found| accounts.extend(found),
        )?;
        Ok(accounts)
    }

    /// Decides every finding by both policies.
    pub(super) fn run(
        &self,
        policies: (&Policy, &Policy),
        ou_path: &Lookup,
        compared_with: String,
    ) -> Result<BacktestReport, Failure> {
        let mut all = PartResult::default();
        let (mut rejected, mut unplaced) = (0, BTreeMap::new());
        let decide = |part: &Part<'_>| {
            let mut result = PartResult::default();
            for read in firebreak_intake::read(part.text) {
                match read {
                    Ok(finding) => {
                        let (replayed, unplaced) = replay(&finding, policies, ou_path);
                        result.findings += 1;
                        result.replayed.extend(replayed);
                        result.unplaced.extend(unplaced);
                    }
                    Err(rejection) => {
                        result.rejected.push(format!("{}: {rejection}", part.place()));
                    }
                }
            }
            result
        };
        self.for_each_part("replaying", decide, |result| {
            all.findings += result.findings;
            all.replayed.extend(result.replayed);
            rejected += result.rejected.len();
            let left = MAX_REASONS.saturating_sub(all.rejected.len());
            all.rejected.extend(result.rejected.into_iter().take(left));
            for account in result.unplaced {
                *unplaced.entry(account.to_string()).or_default() += 1;
            }
        })?;
        Ok(BacktestReport {
            compared_with,
            findings: all.findings,
            rejected,
            rejections: all.rejected,
            unplaced,
            backtest: Backtest::tally(all.replayed),
        })
    }

    /// Calls `each` with every part of every text, in parallel, and `collect` with the
    /// results, in order.
    fn for_each_part<T: Send>(
        &self,
        what: &str,
        each: impl Fn(&Part<'_>) -> T + Sync,
        mut collect: impl FnMut(T),
    ) -> Result<(), Failure> {
        let bar = bar(what, BAR);
        let mut batch: Vec<Source> = Vec::new();
        let mut bytes = 0;
        let mut decide = |sources: &[Source]| {
            let parts: Vec<Part<'_>> = sources.iter().flat_map(parts).collect();
            bar.inc_length(parts.len() as u64);
            let done: Vec<T> = parts
                .par_iter()
                .map(|part| {
                    let done = each(part);
                    bar.inc(1);
                    done
                })
                .collect();
            done.into_iter().for_each(&mut collect);
        };
        decide(&self.texts);
        for file in &self.files {
            let name = file.display().to_string();
            let text = inputs::text(file)
                .map_err(|error| Failure::Usage(format!("cannot read `{name}`: {error}")))?;
            bytes += text.len();
            batch.push(Source { name, text });
            if bytes >= BATCH_BYTES {
                decide(&batch);
                batch.clear();
                bytes = 0;
            }
        }
        decide(&batch);
        bar.finish_and_clear();
        Ok(())
    }
}

/// Each line of a text that has a JSON value on each line, else the whole text.
fn parts(source: &Source) -> Vec<Part<'_>> {
    let Source { name, text } = source;
    let lines = || {
        let numbered = text.lines().enumerate();
        numbered.filter(|(_, line)| !line.trim().is_empty())
    };
    let mut first = lines();
    let first_is_whole =
        first.next().is_some_and(|(_, line)| serde_json::from_str::<IgnoredAny>(line).is_ok());
    if first_is_whole && first.next().is_some() {
        let part = |(index, text)| Part { source: name, line: Some(index + 1), text };
        lines().map(part).collect()
    } else {
        vec![Part { source: name, line: None, text }]
    }
}

const BAR: &str = "{msg} {wide_bar} {human_pos}/{human_len} ({per_sec})";
const SPINNER: &str = "{spinner} {human_pos} {msg}";

/// Progress on standard error, if that is a terminal.
fn bar(what: &str, look: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0).with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template(look) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_with_a_json_value_is_a_part() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let source = Source { name: "f".to_owned(), text: text.to_owned() };
            let parts = parts(&source);
            let seen: Vec<(String, &str)> =
                parts.iter().map(|part| (part.place(), part.text)).collect();
            let seen: Vec<(&str, &str)> =
                seen.iter().map(|(place, text)| (place.as_str(), *text)).collect();
            assert_eq!(seen, expected, "{text}");
        };
        check("{\"a\": 1}\n\n{\"a\": 2}\n", &[("f:1", "{\"a\": 1}"), ("f:3", "{\"a\": 2}")]);
        check("{\n\"a\": 1}\n", &[("f", "{\n\"a\": 1}\n")]);
        check("{\"a\": 1}\n", &[("f", "{\"a\": 1}\n")]);
        check("", &[("f", "")]);
        // A truncated line does not affect the others.
        check("{}\n{\"a\"\n{}", &[("f:1", "{}"), ("f:2", "{\"a\""), ("f:3", "{}")]);
    }
}
