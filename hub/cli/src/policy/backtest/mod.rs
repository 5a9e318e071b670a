//! `firebreak policy backtest`: replays stored findings through the current and the
//! proposed policy.

mod replay;
mod text;

use firebreak_spoke::registry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use firebreak_model::resource::AccountId;
use jiff::SignedDuration;
use serde_json::Value;

use self::replay::Replayer;
use super::files;
use crate::environment::engine_or;
use crate::terminal::write_json;
use crate::values::duration;
use crate::{Failure, Output};
use firebreak_aws::organization::Paths;
use firebreak_engine::Engine;
use firebreak_model::organization::OuPath;
use firebreak_policy::Policy;
use firebreak_report::backtest::page;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  firebreak policy backtest policies/ --from-security-hub --since 30d --html backtest.html"
)]
pub struct Arguments {
    /// Files and folders of the proposed policy.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Files and folders of findings, in any form in which findings arrive: one JSON value
    /// or one on each line, also `.gz`; `-` is standard input.
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "from_security_hub")]
    findings: Vec<PathBuf>,
    /// Read findings from Security Hub.
    #[arg(long)]
    from_security_hub: bool,
    /// How far back in Security Hub, such as `30d` or `12h`.
    #[arg(long, default_value = "30d", requires = "from_security_hub", value_parser = duration)]
    since: SignedDuration,
    /// Compare with these policy files instead of the policy in force.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    against: Vec<PathBuf>,
    /// The places of accounts, instead of those in AWS Organizations: the output of `aws
    /// organizations list-accounts`, or a JSON map from account ids to OU paths.
    #[arg(long, value_name = "FILE", conflicts_with = "ou_path")]
    places: Option<PathBuf>,
    /// Decide as if every account were at this path, such as `r-ab12/ou-ab12-prod1234`.
    #[arg(long)]
    ou_path: Option<OuPath>,
    /// Also write an HTML page with charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The OU path of an account, if it is known.
type Lookup = dyn Fn(&AccountId) -> Option<OuPath> + Sync;

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { paths, against, places, ou_path, html, .. } = arguments;
    let after = files::load(paths)?;
    let placed = places.is_some() || ou_path.is_some();
    // No call to AWS where files have everything.
    let online = arguments.from_security_hub || against.is_empty() || !placed;
    let help = "give the policy to compare with by --against, and the accounts' places by --places or --ou-path";
    let engine = if online { Some(engine_or(help).await?) } else { None };
    let (before, compared_with) = current_policy(engine.as_ref(), against).await?;
    let mut replayer = Replayer::new(&arguments.findings)?;
    if let (true, Some(engine)) = (arguments.from_security_hub, &engine) {
        replayer.read_security_hub(engine, arguments.since).await?;
    }
    let lookup: Box<Lookup> = match (ou_path, places) {
        (Some(ou_path), _) => {
            let ou_path = ou_path.clone();
            Box::new(move |_| Some(ou_path.clone()))
        }
        (None, Some(file)) => {
            let paths = read_places(file)?;
            Box::new(move |account| paths.get(account).cloned())
        }
        (None, None) => {
            let Some(engine) = &engine else {
                return Err(Failure::Usage("--places or --ou-path is missing".to_owned()));
            };
            let accounts = replayer.accounts()?;
            let paths: Paths = engine.organization.places(&accounts).await?;
            Box::new(move |account| paths.get(account).cloned())
        }
    };
    let report = replayer.run((&before, &after), &lookup, compared_with)?;
    if report.findings == 0 && report.rejected > 0 {
        let why = report.rejections.join("\n  ");
        return Err(Failure::Check(format!("there is no finding to replay:\n  {why}")));
    }
    if let Some(file) = html {
        std::fs::write(file, page(&report).into_string()).map_err(|error| {
            Failure::Usage(format!("cannot write `{}`: {error}", file.display()))
        })?;
    }
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => write_json(&mut out, &report)?,
        Output::Text => text::write(&mut out, &report)?,
    }
    Ok(())
}

async fn current_policy(
    engine: Option<&Engine>,
    against: &[PathBuf],
) -> Result<(Arc<Policy>, String), Failure> {
    match engine {
        Some(engine) if against.is_empty() => {
            let version = engine.policies.version().await?;
            let documents = engine.policies.documents_left(&version).await?;
            let name = match version.number {
                0 => "no policy, because none is in force".to_owned(),
                number => format!("version {number}, in force"),
            };
            Ok((Arc::new(Policy::from_stored(documents, registry::catalog())), name))
        }
        _ => {
            let names: Vec<String> =
                against.iter().map(|path| path.display().to_string()).collect();
            Ok((Arc::new(files::load(against)?), names.join(", ")))
        }
    }
}

/// Reads `{"Accounts": [{"Id": …, "Paths": [ … ]}]}`, or a map from ids to paths.
fn read_places(file: &Path) -> Result<Paths, Failure> {
    let wrong = |why: String| Failure::Usage(format!("`{}`: {why}", file.display()));
    let value: Value = serde_json::from_str(&files::text(file)?)
        .map_err(|error| wrong(format!("invalid JSON: {error}")))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pairs: Option<Vec<(String, String)>> = match value.get("Accounts") {
        Some(Value::Array(accounts)) => accounts
            .iter()
            .map(|account| Some((text(account.get("Id")?)?, text(account.get("Paths")?.get(0)?)?)))
            .collect(),
        _ => value
            .as_object()
            .and_then(|map| map.iter().map(|(id, path)| Some((id.clone(), text(path)?))).collect()),
    };
    let pairs = pairs.ok_or_else(|| {
        wrong("expected accounts with `Id` and `Paths`, or a map from ids to paths".to_owned())
    })?;
    pairs
        .into_iter()
        .map(|(id, path)| {
            let account = id.parse().map_err(|error| wrong(format!("{error}")))?;
            Ok((account, path.parse().map_err(|error| wrong(format!("{error}")))?))
        })
        .collect()
}
