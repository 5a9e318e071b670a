//! Reads, puts and deletes inline policies of users and roles.

use serde_json::Value;

use crate::contract::ActionContext;
use crate::support::iam::principals::Holder;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// The policy of this name, if it exists. IAM returns the same error for a missing
/// policy and for a missing user or role.
pub(crate) async fn get(
    context: ActionContext<'_>,
    holder: &Holder,
    name: &str,
) -> Result<Option<Value>, ActionError> {
    let iam = context.account.iam(Class::IamRead).await;
    let text = match holder {
        Holder::User(user) => iam
            .get_user_policy()
            .user_name(user)
            .policy_name(name)
            .send()
            .await
            .map(|output| output.policy_document)
            .map_err(|error| from_sdk("iam:GetUserPolicy", &error)),
        Holder::Role(role) => iam
            .get_role_policy()
            .role_name(role)
            .policy_name(name)
            .send()
            .await
            .map(|output| output.policy_document)
            .map_err(|error| from_sdk("iam:GetRolePolicy", &error)),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind == ErrorKind::Gone => return Ok(None),
        Err(error) => return Err(error),
    };
    // IAM returns documents URL-encoded (IAM API reference, GetRolePolicy).
    let text = percent_decode(&text);
    // One that is not JSON is not ours: undo reports it as drift.
    Ok(Some(serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Puts a policy. IAM's `LimitExceeded` says that all inline policies together
/// are too long.
pub(crate) async fn put(
    context: ActionContext<'_>,
    holder: &Holder,
    name: &str,
    document: &Value,
) -> Result<(), ActionError> {
    let iam = context.account.iam(Class::IamWrite).await;
    let result = match holder {
        Holder::User(user) => iam
            .put_user_policy()
            .user_name(user)
            .policy_name(name)
            .policy_document(document.to_string())
            .send()
            .await
            .map(|_| ())
            .map_err(|error| from_sdk("iam:PutUserPolicy", &error)),
        Holder::Role(role) => iam
            .put_role_policy()
            .role_name(role)
            .policy_name(name)
            .policy_document(document.to_string())
            .send()
            .await
            .map(|_| ())
            .map_err(|error| from_sdk("iam:PutRolePolicy", &error)),
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

/// Deletes a policy; whether it was there.
pub(crate) async fn delete(
    context: ActionContext<'_>,
    holder: &Holder,
    name: &str,
) -> Result<bool, ActionError> {
    let iam = context.account.iam(Class::IamWrite).await;
    let result = match holder {
        Holder::User(user) => iam
            .delete_user_policy()
            .user_name(user)
            .policy_name(name)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| from_sdk("iam:DeleteUserPolicy", &error)),
        Holder::Role(role) => iam
            .delete_role_policy()
            .role_name(role)
            .policy_name(name)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| from_sdk("iam:DeleteRolePolicy", &error)),
    };
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind == ErrorKind::Gone => Ok(false),
        Err(error) => Err(error),
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
    fn iam_s_url_encoding_is_undone() {
        assert_eq!(percent_decode("%7B%22a%22%3A%201%7D"), "{\"a\": 1}");
        assert_eq!(percent_decode("100%"), "100%");
    }
}
