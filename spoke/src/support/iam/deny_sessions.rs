//! The inline policy that ends sessions of a user or role. Each response has its own,
//! named after it, so that two responses never overwrite one another. Where it does
//! not fit, the managed `AWSDenyAll` is attached instead, which denies more.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::contract::{ActionContext, Undone};
use crate::support::iam::deny_policy::{self, Attached, DenyPresence};
use crate::support::iam::principals::Holder;
use firebreak_model::error::ActionError;

/// Which of the holder's sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// All that began before a time.
    Before(Timestamp),
    /// The session with this `aws:userid`.
    UserId(&'a str),
}

/// "As of now + 30 s": clocks differ, and a session that is being issued while
/// the policy spreads must not slip through (IAM user guide, "Revoking IAM role
/// temporary security credentials"). Whole seconds, as the policy has them.
pub(crate) fn cutoff(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second().saturating_add(30)).unwrap_or(Timestamp::MAX)
}

pub(crate) fn policy_name(response: &str) -> String {
    format!("FirebreakRevokeSessions-{response}")
}

/// The deny. Long-term keys carry no `aws:TokenIssueTime`, so a user's own keys
/// are not denied by the time condition: `deactivate-access-key` is for those.
pub(crate) fn document(which: &Which<'_>) -> Value {
    let condition = match which {
        Which::Before(cutoff) => {
            let time = cutoff.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            json!({ "DateLessThan": { "aws:TokenIssueTime": time } })
        }
        Which::UserId(id) => json!({ "StringEquals": { "aws:userid": id } }),
    };
    deny_policy::document("FirebreakRevokeSessions", Some(condition))
}

const ISSUED_BEFORE: &str = "/Statement/0/Condition/DateLessThan/aws:TokenIssueTime";
const USER_ID: &str = "/Statement/0/Condition/StringEquals/aws:userid";

/// The deny in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// Nothing.
    Nothing,
    /// The inline deny, which ends exactly the sessions asked for.
    Sessions,
    /// The managed deny, which denies new sessions and long-term keys as well.
    Everything,
}

/// Puts the policy. The time that an earlier run of this response put is moved
/// forward, never back: sessions may have begun since.
pub(crate) async fn put(
    context: ActionContext<'_>,
    holder: &Holder,
    which: &Which<'_>,
    managed: Attached,
) -> Result<(), ActionError> {
    match (force(context, holder, which).await?, managed) {
        // The managed deny is our own of an earlier run, unless it was there before.
        (Force::Sessions, _) | (Force::Everything, Attached::NotBefore) => Ok(()),
        (Force::Nothing, _) | (Force::Everything, Attached::Before) => {
            let name = policy_name(context.response);
            deny_policy::put(context, holder, &name, &document(which)).await
        }
    }
}

/// The deny in effect that ends the sessions of `which`.
pub(crate) async fn force(
    context: ActionContext<'_>,
    holder: &Holder,
    which: &Which<'_>,
) -> Result<Force, ActionError> {
    let name = policy_name(context.response);
    Ok(match deny_policy::standing(context, holder, &name).await? {
        DenyPresence::Inline(present) if is_as_strong(&present, which) => Force::Sessions,
        DenyPresence::Inline(_) | DenyPresence::Nothing => Force::Nothing,
        DenyPresence::Managed => Force::Everything,
    })
}

/// Removes this response's policy, unless it was changed.
pub(crate) async fn take_off(
    context: ActionContext<'_>,
    holder: &Holder,
    managed: Attached,
) -> Result<Undone, ActionError> {
    deny_policy::take_off(context, holder, &policy_name(context.response), is_ours, managed).await
}

/// Whether a document is one that [`document`] makes, for any moment or id.
fn is_ours(present: &Value) -> bool {
    let without_condition = |document: &Value| {
        let mut document = document.clone();
        if let Some(statement) = document.pointer_mut("/Statement/0").and_then(Value::as_object_mut)
        {
            statement.remove("Condition");
        }
        document
    };
    let own = document(&Which::UserId(""));
    let conditions = present.pointer("/Statement/0/Condition").and_then(Value::as_object);
    let condition = conditions.is_some_and(|conditions| {
        conditions.len() == 1
            && (present.pointer(ISSUED_BEFORE).is_some() || present.pointer(USER_ID).is_some())
    });
    condition && without_condition(present) == without_condition(&own)
}

/// Whether the policy that is there ends what `wanted` asks for: the same
/// session, or every session that began before that moment.
fn is_as_strong(present: &Value, wanted: &Which<'_>) -> bool {
    let text = |pointer: &str| present.pointer(pointer).and_then(Value::as_str);
    is_ours(present)
        && match wanted {
            Which::UserId(id) => text(USER_ID) == Some(*id),
            Which::Before(cutoff) => text(ISSUED_BEFORE)
                .and_then(|time| time.parse::<Timestamp>().ok())
                .is_some_and(|time| time >= *cutoff),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deny_names_the_moment_or_the_session_and_nothing_else() {
        let now: Timestamp = "2026-01-01T00:00:00.9Z".parse().unwrap();
        let before = document(&Which::Before(cutoff(now)));
        assert_eq!(
            before.pointer("/Statement/0/Condition"),
            Some(&json!({ "DateLessThan": { "aws:TokenIssueTime": "2026-01-01T00:00:30Z" } }))
        );
        let one = document(&Which::UserId("AROAEXAMPLE:i-0abc"));
        assert_eq!(
            one.pointer("/Statement/0/Condition"),
            Some(&json!({ "StringEquals": { "aws:userid": "AROAEXAMPLE:i-0abc" } }))
        );
    }

    #[test]
    fn a_changed_document_is_not_ours() {
        let own = document(&Which::UserId("AROAEXAMPLE:i-0abc"));
        assert!(is_ours(&own));
        for (pointer, value) in [
            ("/Statement/0/Action", json!("s3:*")),
            ("/Statement/0/Effect", json!("Allow")),
            ("/Statement/0/Condition", json!({ "Bool": { "aws:SecureTransport": "false" } })),
        ] {
            let mut changed = own.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert!(!is_ours(&changed), "{pointer}");
        }
        assert!(!is_ours(&json!("not JSON")));
    }

    #[test]
    fn a_policy_of_an_earlier_run_is_kept_unless_sessions_began_since() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let before = document(&Which::Before(now));
        assert!(is_as_strong(&before, &Which::Before(now)));
        assert!(!is_as_strong(&before, &Which::Before(cutoff(now))));
        assert!(!is_as_strong(&before, &Which::UserId("AROAEXAMPLE:i-0abc")));
        let one = document(&Which::UserId("AROAEXAMPLE:i-0abc"));
        assert!(is_as_strong(&one, &Which::UserId("AROAEXAMPLE:i-0abc")));
        assert!(!is_as_strong(&one, &Which::UserId("AROAEXAMPLE:i-0def")));
        assert!(!is_as_strong(&one, &Which::Before(now)));
    }

    #[test]
    fn two_responses_have_policies_of_their_own() {
        assert_ne!(policy_name("r-1"), policy_name("r-2"));
    }
}
