//! `firebreak responses show`, and the same page for the commands that change a
//! response.

use std::io::Write;

use clap::Args;
use firebreak_response::record::{Approval, ApprovalAnswer, ApprovalDecision, Response};

use super::Id;
use crate::environment::engine;
use crate::respond::write_steps;
use crate::terminal::{to_seconds, write_json};
use crate::{Failure, Output};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    response: Id,
}

pub(super) async fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let response = engine().await?.load(&arguments.response.id).await?;
    write_response(&response, output)
}

pub(super) fn write_response(response: &Response, output: Output) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        return write_json(&mut out, response);
    }
    writeln!(out, "{} is {}: {}", response.id, response.state, response.reason)?;
    writeln!(out, "  target    {}", response.resource.arn())?;
    writeln!(out, "  OU path   {}", response.ou_path)?;
    writeln!(out, "  finding   {} {}", response.finding.kind, response.finding.id)?;
    writeln!(
        out,
        "  recorded  {}, last changed {}",
        to_seconds(response.created),
        to_seconds(response.updated)
    )?;
    if let Some(ends) = response.ends {
        writeln!(out, "  expires   {}", to_seconds(ends))?;
    }
    if let Some(waiting) = &response.waiting {
        let next = response.due.map(to_seconds).unwrap_or_default();
        writeln!(out, "  waits     {waiting}; continues {next}")?;
    }
    if let Some(approval) = &response.approval {
        write_approval(&mut out, response, approval)?;
    }
    if let Some(undo) = &response.undo {
        writeln!(out, "  undo      requested by {}", undo.cause)?;
        if let Some(until) = undo.suppress_until {
            writeln!(out, "  suppress  until {}", to_seconds(until))?;
        }
    }
    write_steps(&mut out, response)?;
    Ok(())
}

fn write_approval(
    out: &mut impl Write,
    response: &Response,
    approval: &Approval,
) -> std::io::Result<()> {
    match (&approval.answer, approval.within) {
        (Some(ApprovalAnswer { decision, by, at, reason }), _) => {
            let word = match decision {
                ApprovalDecision::Approved => "approved",
                ApprovalDecision::Denied => "denied",
            };
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            writeln!(out, "  {word:<9} {} by {by}{why}", to_seconds(*at))?;
        }
        (None, Some(_)) => {
            let (then, due) = (approval.otherwise.name(), response.due.map(to_seconds));
            writeln!(out, "  approve   by {}, otherwise {then}", due.unwrap_or_default())?;
        }
        (None, None) => {}
    }
    if let Some(approvers) = &approval.approvers {
        writeln!(out, "  approvers {approvers}")?;
    }
    Ok(())
}
