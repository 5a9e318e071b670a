//! The inline policy that ends sessions, on a user or a role. One for each
//! response, so that two responses never overwrite one another: what stands
//! under a response's name was put there by an earlier run of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Scope, Undone};
use crate::error::{ActionError, Kind};
use crate::pace::Class;

/// Whose sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holder {
    /// An IAM user, by name.
    User(String),
    /// A role, by name.
    Role(String),
}

impl Holder {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::User(name) => format!("user `{name}`"),
            Self::Role(name) => format!("role `{name}`"),
        }
    }
}

/// Which of the holder's sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which<'a> {
    /// All that began before a moment.
    Before(Timestamp),
    /// The one of this `aws:userid`.
    UserId(&'a str),
}

/// "As of now + 30 s": clocks differ, and a session that is being issued while
/// the policy spreads must not slip through (IAM user guide, "Revoking IAM role
/// temporary security credentials"). Whole seconds, as the policy has them.
pub(super) fn cutoff(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second().saturating_add(30)).unwrap_or(Timestamp::MAX)
}

pub(super) fn policy_name(response: &str) -> String {
    format!("FirebreakRevokeSessions-{response}")
}

/// The deny. Long-term keys carry no `aws:TokenIssueTime`, so a user's own keys
/// are not hit by the time condition: `deactivate-access-key` is for those.
pub(super) fn document(which: &Which<'_>) -> Value {
    let condition = match which {
        Which::Before(cutoff) => {
            let time = cutoff.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            json!({ "DateLessThan": { "aws:TokenIssueTime": time } })
        }
        Which::UserId(id) => json!({ "StringEquals": { "aws:userid": id } }),
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "FirebreakRevokeSessions",
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": condition,
        }],
    })
}

const ISSUED_BEFORE: &str = "/Statement/0/Condition/DateLessThan/aws:TokenIssueTime";
const USER_ID: &str = "/Statement/0/Condition/StringEquals/aws:userid";

/// Puts the policy. A moment that an earlier run of this response put is moved
/// on, never back: sessions may have begun since.
pub(super) async fn put(
    scope: Scope<'_>,
    holder: &Holder,
    which: &Which<'_>,
) -> Result<(), ActionError> {
    let there = match which {
        // The policy for one session is the same each time: no need to look.
        Which::UserId(_) => false,
        Which::Before(_) => is_in_force(scope, holder, which).await?,
    };
    if there {
        return Ok(());
    }
    let (name, text) = (policy_name(scope.response), document(which).to_string());
    let iam = scope.account.iam(Class::IamWrite).await;
    let result = match holder {
        Holder::User(user) => iam
            .put_user_policy()
            .user_name(user)
            .policy_name(name)
            .policy_document(text)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| ActionError::from_sdk("iam:PutUserPolicy", &error)),
        Holder::Role(role) => iam
            .put_role_policy()
            .role_name(role)
            .policy_name(name)
            .policy_document(text)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| ActionError::from_sdk("iam:PutRolePolicy", &error)),
    };
    result.map_err(|error| {
        if error.has_code("LimitExceeded") {
            let help = "remove an inline policy that is not needed: IAM allows 2,048 characters on a user and 10,240 on a role in all".to_owned();
            ActionError { help: Some(help), ..error }
        } else {
            error
        }
    })
}

/// Whether this response's policy is there and ends what `which` asks for.
pub(super) async fn is_in_force(
    scope: Scope<'_>,
    holder: &Holder,
    which: &Which<'_>,
) -> Result<bool, ActionError> {
    Ok(get(scope, holder).await?.is_some_and(|present| is_as_strong(&present, which)))
}

/// The policy of this response's name, if it is there. IAM answers a missing
/// policy and a missing user or role alike.
async fn get(scope: Scope<'_>, holder: &Holder) -> Result<Option<Value>, ActionError> {
    let name = policy_name(scope.response);
    let iam = scope.account.iam(Class::IamRead).await;
    let text = match holder {
        Holder::User(user) => iam
            .get_user_policy()
            .user_name(user)
            .policy_name(name)
            .send()
            .await
            .map(|answer| answer.policy_document)
            .map_err(|error| ActionError::from_sdk("iam:GetUserPolicy", &error)),
        Holder::Role(role) => iam
            .get_role_policy()
            .role_name(role)
            .policy_name(name)
            .send()
            .await
            .map(|answer| answer.policy_document)
            .map_err(|error| ActionError::from_sdk("iam:GetRolePolicy", &error)),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind == Kind::Gone => return Ok(None),
        Err(error) => return Err(error),
    };
    // IAM returns documents URL-encoded (IAM API reference, GetRolePolicy).
    let text = percent_decode(&text);
    // One that is no JSON is not ours: undo reports it as drift.
    Ok(Some(serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Takes this response's policy off, unless somebody changed it.
pub(super) async fn take_off(scope: Scope<'_>, holder: &Holder) -> Result<Undone, ActionError> {
    let name = policy_name(scope.response);
    let described = holder.describe();
    let Some(present) = get(scope, holder).await? else { return Ok(Undone::default()) };
    if !is_ours(&present) {
        let drift = vec![format!("the inline policy `{name}` of {described} was changed since")];
        return Ok(Undone { drift, ..Undone::default() });
    }
    let iam = scope.account.iam(Class::IamWrite).await;
    let result = match holder {
        Holder::User(user) => iam
            .delete_user_policy()
            .user_name(user)
            .policy_name(&name)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| ActionError::from_sdk("iam:DeleteUserPolicy", &error)),
        Holder::Role(role) => iam
            .delete_role_policy()
            .role_name(role)
            .policy_name(&name)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| ActionError::from_sdk("iam:DeleteRolePolicy", &error)),
    };
    match result {
        Ok(()) => {
            let restored = vec![format!("the inline policy {name} of {described} is taken off")];
            Ok(Undone { restored, ..Undone::default() })
        }
        Err(error) if error.kind == Kind::Gone => Ok(Undone::default()),
        Err(error) => Err(error),
    }
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

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
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
    fn a_document_that_somebody_changed_is_not_ours() {
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

    #[test]
    fn a_user_and_a_role_of_one_name_stay_apart_in_the_record() {
        for holder in [Holder::User("deploy".to_owned()), Holder::Role("deploy".to_owned())] {
            let json = serde_json::to_value(&holder).unwrap();
            assert_eq!(serde_json::from_value::<Holder>(json).unwrap(), holder);
        }
    }

    #[test]
    fn iam_s_url_encoding_is_undone() {
        assert_eq!(percent_decode("%7B%22a%22%3A%201%7D"), "{\"a\": 1}");
        assert_eq!(percent_decode("100%"), "100%");
    }
}
