//! Who makes a call: a user with a long-term key, a session of a role, or nobody.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// A session that AssumeRole gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The account of the role.
    pub account: String,
    /// The role's name.
    pub role: String,
    /// The role's unique id.
    pub role_id: String,
    /// RoleSessionName; for an instance's credentials the instance id.
    pub name: String,
    /// When it was issued: `aws:TokenIssueTime`.
    pub issued: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// The secret half that a request must bring.
    pub token: String,
    /// The session policy: the session may do only what both allow.
    pub policy: Option<Value>,
    /// Session tags: `aws:PrincipalTag/*`.
    pub tags: BTreeMap<String, String>,
    /// SourceIdentity, which nobody can change afterwards.
    pub source_identity: Option<String>,
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Caller {
    /// An IAM user with a long-term key.
    User {
        /// The user's account.
        account: String,
        /// The user's name.
        name: String,
    },
    /// A session of a role.
    Role(Box<Session>),
    /// An unsigned request.
    Anonymous,
}

impl Caller {
    /// The account; empty for nobody.
    pub fn account(&self) -> &str {
        match self {
            Self::User { account, .. } => account,
            Self::Role(session) => &session.account,
            Self::Anonymous => "",
        }
    }

    /// The ARN, as GetCallerIdentity tells it.
    pub fn arn(&self) -> String {
        match self {
            Self::User { account, name } => format!("arn:aws:iam::{account}:user/{name}"),
            Self::Role(session) => {
                let Session { account, role, name, .. } = session.as_ref();
                format!("arn:aws:sts::{account}:assumed-role/{role}/{name}")
            }
            Self::Anonymous => "anonymous".to_owned(),
        }
    }
}
