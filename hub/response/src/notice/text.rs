//! A notice for people: an e-mail's text. At most some forty lines.

use super::NoticeKind;
use super::detail::{Detail, ResidualDetail, StepDetail};

/// At most so many steps are listed in full.
const STEPS: usize = 14;

pub(super) fn of(detail: &Detail) -> String {
    let Detail { response, links, .. } = detail;
    let (resource, finding) = (&response.resource, &response.finding);
    let mut lines = vec![first(detail), String::new()];
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("{:<12}{value}", format!("{name}:")));
        }
    };
    field("Why", &response.reason);
    if let Some(budget) = &detail.budget {
        let by = budget.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
        let (actions, per, document) = (budget.actions, &budget.per, &budget.document);
        field("Budget", &format!("{actions} action(s) per {per}{by}, of {document}"));
        field("Until", &budget.window_ends);
    }
    if let Some(undelivered) = &detail.undelivered {
        field("Not delivered", &format!("{}: {}", undelivered.to, undelivered.why));
    }
    let (kind, severity, label) = (&finding.kind, finding.severity, &finding.severity_label);
    field("Finding", &format!("{kind}, severity {severity:.1} ({label}), of {}", finding.product));
    field("Title", &finding.title);
    field("Finding id", &finding.id);
    field("Resource", &resource.arn);
    field("Account", &format!("{} in {}", resource.account, response.ou_path));
    field("Rule", &response.rule);
    field("Response", &format!("{}, {} at {}", response.id, response.state, response.updated));
    if let Some(due) = &response.due {
        field("Due", due);
    }
    if let Some(by) = &response.undone_by {
        field("Undo by", by);
    }
    if !response.steps.is_empty() {
        lines.push(String::new());
        lines.push("Steps:".to_owned());
        let width = response.steps.iter().map(|step| step.action.len()).max().unwrap_or_default();
        lines.extend(response.steps.iter().take(STEPS).map(|step| render(step, width)));
        if response.step_count > STEPS {
            lines.push(format!("  and {} more", response.step_count - STEPS));
        }
    }
    if !response.residual.is_empty() {
        lines.push(String::new());
        lines.push("May still be open:".to_owned());
        lines.extend(response.residual.iter().take(STEPS).map(open));
    }
    lines.push(String::new());
    lines.push("To run:".to_owned());
    lines.extend(detail.commands.iter().map(|command| format!("  {}", command.run)));
    let found = [
        ("Resource", &links.resource),
        ("GuardDuty", &links.guard_duty),
        ("Security Hub", &links.security_hub),
    ];
    let found: Vec<String> = found
        .iter()
        .filter_map(|(name, link)| Some(format!("  {name}: {}", link.as_ref()?)))
        .collect();
    if !found.is_empty() {
        lines.push(String::new());
        lines.push("Consoles (sign in to the account first):".to_owned());
        lines.extend(found);
    }
    lines.push(String::new());
    lines.push(format!("Notice {}", detail.id));
    lines.join("\n")
}

fn render(step: &StepDetail, width: usize) -> String {
    let StepDetail { action, state, detail, .. } = step;
    format!("  {action:<width$}  {state:<8} {detail}").trim_end().to_owned()
}

fn open(residual: &ResidualDetail) -> String {
    let ResidualDetail { what, closed_by, .. } = residual;
    match closed_by.as_slice() {
        [] => format!("  {what}"),
        closed_by => format!("  {what} (closed by {})", closed_by.join(" or ")),
    }
}

/// The first sentence: what happened. It claims no more than the record does.
fn first(detail: &Detail) -> String {
    let resource = &detail.response.resource;
    let (name, account, region) = (&resource.name, &resource.account, &resource.region);
    let target = format!("{name} in account {account}, {region}");
    let drifted = detail.response.steps.iter().any(|step| step.state == "drifted");
    let undone = detail.response.steps.iter().any(|step| step.state == "undone");
    let undid = match (drifted, undone) {
        (false, _) => "undid",
        (true, true) => "partly undid",
        (true, false) => "could not undo",
    };
    match detail.kind {
        NoticeKind::AwaitingApproval => {
            format!("Firebreak awaits approval to act on {target}. Nothing is changed yet.")
        }
        NoticeKind::Contained if !detail.response.residual.is_empty() => format!(
            "Firebreak contained {target}, and verified it by reading back. Something may still be open, see below."
        ),
        NoticeKind::Contained => {
            format!("Firebreak contained {target}, and verified it by reading back.")
        }
        NoticeKind::Completed => {
            format!("Firebreak acted on {target}. No step was one that contains.")
        }
        NoticeKind::PartiallyContained => {
            format!("Firebreak contained {target} only in part. A person has to check it.")
        }
        NoticeKind::Failed => format!("Firebreak could not contain {target}. A person has to act."),
        NoticeKind::ContainedWhileRunning => format!(
            "Firebreak contained {target}, and verified it by reading back. Other steps are still pending."
        ),
        NoticeKind::Refused => format!("Firebreak did not act on {target}."),
        NoticeKind::Denied => {
            format!("The plan for {target} was denied; nothing was changed.")
        }
        NoticeKind::Undone => format!("Firebreak {undid} what it did to {target}."),
        NoticeKind::Expired => {
            format!("The `expires` of the rule is over: Firebreak {undid} what it did to {target}.")
        }
        NoticeKind::BudgetSpent => format!(
            "A budget is spent. Until there is budget again, plans wait for approval, first for {target}. Further plans that wait because of this budget cause no notice."
        ),
        NoticeKind::ApprovalDue => {
            format!("Nobody has decided yet whether Firebreak may act on {target}.")
        }
        NoticeKind::Undelivered => format!(
            "Firebreak could not report on {target} and does not try again. What it did there remains in effect."
        ),
    }
}
