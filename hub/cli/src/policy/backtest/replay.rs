//! Reads stored findings and decides about them, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use firebreak_model::resource::AccountId;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use rayon::prelude::*;
use serde::de::IgnoredAny;

use super::super::super::{Failure, inputs};
use super::Lookup;
use firebreak_engine::Engine;
use firebreak_policy::{Backtest, Policy, Replayed, replay};
use firebreak_report::backtest::Report;

/// How much is read before it is decided: enough for every core, and no more
/// in memory than that.
const BATCH_BYTES: usize = 64 << 20;

/// How many reasons for rejections are kept.
const REASONS: usize = 20;

/// Stored findings, as texts.
pub(super) struct Replayer {
    files: Vec<PathBuf>,
    /// What was read from elsewhere than files.
    texts: Vec<Source>,
}

/// A text, and what to call it in messages.
struct Source {
    name: String,
    text: String,
}

/// A part of a source that is read on its own.
struct Part<'a> {
    source: &'a str,
    /// Its line, where the source has a JSON value on each.
    line: Option<usize>,
    text: &'a str,
}

impl Part<'_> {
    /// Where it stands, for a message.
    fn place(&self) -> String {
        self.line.map_or_else(|| self.source.to_owned(), |line| format!("{}:{line}", self.source))
    }
}

/// What came of one piece of text.
#[derive(Default)]
struct Piece {
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
        // Standard input can be read once, and findings may be gone through twice.
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
        self.go_through(
            "looking for accounts",
            |part| {
                let findings = firebreak_intake::read(part.text);
                let targets = findings.iter().flatten().flat_map(|finding| &finding.targets);
                targets.map(|target| target.resource.account.clone()).collect::<BTreeSet<_>>()
            },
            |found| accounts.extend(found),
        )?;
        Ok(accounts)
    }

    /// Decides about every finding by both policies.
    pub(super) fn run(
        &self,
        policies: (&Policy, &Policy),
        ou_path: &Lookup,
        compared_with: String,
    ) -> Result<Report, Failure> {
        let mut all = Piece::default();
        let (mut rejected, mut unplaced) = (0, BTreeMap::new());
        let decide = |part: &Part<'_>| {
            let mut piece = Piece::default();
            for read in firebreak_intake::read(part.text) {
                match read {
                    Ok(finding) => {
                        let (replayed, unplaced) = replay(&finding, policies, ou_path);
                        piece.findings += 1;
                        piece.replayed.extend(replayed);
                        piece.unplaced.extend(unplaced);
                    }
                    Err(rejection) => {
                        piece.rejected.push(format!("{}: {rejection}", part.place()));
                    }
                }
            }
            piece
        };
        self.go_through("replaying", decide, |piece| {
            all.findings += piece.findings;
            all.replayed.extend(piece.replayed);
            rejected += piece.rejected.len();
            let left = REASONS.saturating_sub(all.rejected.len());
            all.rejected.extend(piece.rejected.into_iter().take(left));
            for account in piece.unplaced {
                *unplaced.entry(account.to_string()).or_default() += 1;
            }
        })?;
        Ok(Report {
            compared_with,
            findings: all.findings,
            rejected,
            rejections: all.rejected,
            unplaced,
            backtest: Backtest::tally(all.replayed),
        })
    }

    /// Hands every piece of every text to `each`, side by side, and what comes
    /// of it to `collect`, in order.
    fn go_through<T: Send>(
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

/// The lines of a text that has a JSON value on each, or the whole of another.
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

/// How progress looks where the end is known so far, and where it is not.
const BAR: &str = "{msg} {wide_bar} {human_pos}/{human_len} ({per_sec})";
const SPINNER: &str = "{spinner} {human_pos} {msg}";

/// Progress on standard error; none where nobody looks.
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
    fn a_value_on_each_line_is_a_part_of_its_own() {
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
        // One line that is cut off leaves the others whole.
        check("{}\n{\"a\"\n{}", &[("f:1", "{}"), ("f:2", "{\"a\""), ("f:3", "{}")]);
    }
}
