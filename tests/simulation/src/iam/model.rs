//! What IAM holds in one account.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

/// One account's IAM.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Iam {
    /// Users by name.
    pub users: BTreeMap<String, User>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Instance profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The account's own managed policies by ARN.
    pub policies: BTreeMap<String, Value>,
}

/// Policies, tags and name: what users and roles share.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Identity {
    /// The unique id: `AIDA…` or `AROA…`.
    pub id: String,
    /// The path, `/` at least.
    pub path: String,
    /// Inline policies by name.
    pub inline: BTreeMap<String, Value>,
    /// Attached managed policies by ARN.
    pub attached: BTreeSet<String>,
    /// The permissions boundary, by the ARN of its policy.
    pub boundary: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct User {
    /// What it shares with a role.
    #[serde(flatten)]
    pub identity: Identity,
    /// Whether each of its access keys is active, by id.
    pub keys: BTreeMap<String, bool>,
    /// The password for the console, where there is one.
    pub login: Option<Login>,
}

/// A user's login profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Login {
    /// Whether the next sign-in has to set a new password.
    pub password_reset_required: bool,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Role {
    /// What it shares with a user.
    #[serde(flatten)]
    pub identity: Identity,
    /// Who may assume it.
    pub trust: Value,
}

/// An instance profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Profile {
    /// The unique id: `AIPA…`.
    pub id: String,
    /// The role in it.
    pub role: Option<String>,
}

/// The managed policies that are modelled: AWS's own of these names.
pub fn managed(arn: &str) -> Option<Value> {
    let statement = |effect: &str, action: Value| {
        Some(json!({ "Statement": [{ "Effect": effect, "Action": action, "Resource": "*" }] }))
    };
    match arn {
        "arn:aws:iam::aws:policy/AdministratorAccess" => statement("Allow", json!("*")),
        "arn:aws:iam::aws:policy/AWSDenyAll" => statement("Deny", json!("*")),
        "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess" => {
            statement("Allow", json!(["s3:Get*", "s3:List*"]))
        }
        _ => None,
    }
}

impl Iam {
    /// A managed policy: AWS's or the account's own.
    pub fn policy(&self, arn: &str) -> Option<Value> {
        managed(arn).or_else(|| self.policies.get(arn).cloned())
    }

    /// Every policy that speaks for a user or role.
    pub fn policies_of(&self, identity: &Identity) -> Vec<Value> {
        let attached = identity.attached.iter().filter_map(|arn| self.policy(arn));
        identity.inline.values().cloned().chain(attached).collect()
    }

    /// The policy that bounds what a user or role may do.
    pub fn boundary_of(&self, identity: &Identity) -> Option<Value> {
        self.policy(identity.boundary.as_deref()?)
    }
}

impl Identity {
    /// The aggregate size of the inline policies, without white space as IAM
    /// counts it (IAM user guide, "IAM and STS quotas").
    pub fn inline_size(&self) -> usize {
        self.inline.values().map(|policy| policy.to_string().len()).sum()
    }
}
