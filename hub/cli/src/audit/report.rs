//! Writes the result of `firebreak audit verify`.

use std::collections::BTreeMap;
use std::io::Write;

use firebreak_audit::account::Range;
use firebreak_audit::report::{AuditReport, ChainCount};
use firebreak_audit::verify::Fault;
use jiff::civil::Date;
use serde_json::json;

use crate::terminal::write_json;
use crate::{Failure, Output};

/// `Err` when there is a fault.
pub(super) fn write(report: &AuditReport, output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => json(report, &mut out)?,
        Output::Text => text(report, &mut out)?,
    }
    if report.faults.is_empty() { Ok(()) } else { Err(Failure::No) }
}

fn json(report: &AuditReport, out: &mut impl Write) -> Result<(), Failure> {
    let chains: Vec<_> = report
        .chains
        .iter()
        .map(|((account, day), ChainCount { events, waiting })| {
            json!({ "account": account, "day": day, "events": events, "waiting": waiting })
        })
        .collect();
    let whole = json!({
        "since": report.range.since, "until": report.range.until, "chains": chains,
        "responses": report.responses, "links_before": report.links_before,
        "faults": report.faults,
    });
    write_json(out, &whole)
}

fn text(report: &AuditReport, out: &mut impl Write) -> Result<(), std::io::Error> {
    let mut by_chain: BTreeMap<(&str, Option<Date>), Vec<&Fault>> = BTreeMap::new();
    for fault in &report.faults {
        by_chain.entry((&fault.account, fault.day)).or_default().push(fault);
    }
    for ((account, day), faults) in by_chain {
        match day {
            Some(day) => {
                let key = (account.to_owned(), day);
                let events = report.chains.get(&key).copied().unwrap_or_default().events;
                writeln!(out, "{account} {day}, {events} events in the chain:")?;
            }
            None => writeln!(out, "{account}:")?,
        }
        for fault in faults {
            writeln!(out, "  {fault}")?;
        }
    }
    let Range { since, until } = report.range;
    let (events, waiting) = report.events();
    writeln!(
        out,
        "{since} to {until}: {} accounts, {} chains, {events} events, {waiting} not chained \
         yet, {} responses",
        report.accounts,
        report.chains.len(),
        report.responses,
    )?;
    if report.links_before > 0 {
        let links = report.links_before;
        writeln!(out, "{links} links lead to days before {since}, which were not verified")?;
    }
    match report.faults.len() {
        0 => writeln!(out, "no fault was found"),
        1 => writeln!(out, "1 fault was found"),
        faults => writeln!(out, "{faults} faults were found"),
    }
}
