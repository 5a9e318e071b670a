//! The subject: what happened, to what, where, and what was found.

use super::NoticeKind;
use crate::record::{Response, StepState};

/// SNS documents "less than 100 characters long", "ASCII text", no line breaks
/// (SNS API reference, Publish).
const CHARACTERS: usize = 99;

/// The length of an access key's id; an instance's is shorter.
const ID: usize = 20;

/// `Firebreak contained i-0abc in 222222222222 eu-central-1: Backdoor:EC2/…`.
/// Where it is too long the finding's type is cut first, then the resource's name down to
/// the length of an instance's or key's id; the verb and the account never are.
pub(super) fn of(kind: NoticeKind, response: &Response) -> String {
    let any = |state| response.steps.iter().any(|step| step.state == state);
    let (drifted, undone) = (any(StepState::Drifted), any(StepState::Undone));
    let verb = match kind {
        NoticeKind::AwaitingApproval => "awaits approval for",
        NoticeKind::ContainedWhileRunning => "contained (not done yet)",
        NoticeKind::Contained => "contained",
        NoticeKind::Completed => "acted on",
        NoticeKind::PartiallyContained => "contained only in part",
        NoticeKind::Failed => "could not contain",
        NoticeKind::Refused => "did not act on",
        NoticeKind::Denied => "was denied to act on",
        NoticeKind::Undone | NoticeKind::Expired if drifted && !undone => "could not undo",
        NoticeKind::Undone if drifted => "partly undid",
        NoticeKind::Undone => "undid",
        NoticeKind::Expired if drifted => "partly undid (expiry)",
        NoticeKind::Expired => "undid (expiry)",
        NoticeKind::BudgetSpent => "spent a budget and asks about",
        NoticeKind::ApprovalDue => "still awaits approval for",
        NoticeKind::Undelivered => "could not report on",
    };
    let resource = &response.resource;
    let head = format!("Firebreak {verb} ");
    let place = ascii(&format!(" in {} {}", resource.account, resource.region));
    let name = ascii(&super::detail::name_of(resource));
    let found = ascii(&response.finding.kind);
    let room = CHARACTERS.saturating_sub(head.len() + place.len());
    // The type keeps half of the room at most when both want more.
    let for_name = room.saturating_sub(found.len() + 2).max(room / 2).max(ID).min(room);
    let name = cut(&name, for_name);
    let for_found = room.saturating_sub(name.len() + 2);
    let found = cut(&found, for_found);
    let subject = if found.len() < 8 {
        format!("{head}{name}{place}")
    } else {
        format!("{head}{name}{place}: {found}")
    };
    // Only a forged finding has an account or Region of this length.
    cut(subject.trim_end(), CHARACTERS)
}

fn ascii(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' })
        .collect()
}

/// Cuts ASCII text, with dots where something is left out.
fn cut(text: &str, characters: usize) -> String {
    if text.len() <= characters {
        return text.to_owned();
    }
    let kept = characters.saturating_sub(3);
    let dots = characters.min(3);
    text.chars().take(kept).chain(std::iter::repeat_n('.', dots)).collect()
}
