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

impl Identity {
    /// Every policy that speaks for it.
    pub fn policies(&self) -> Vec<Value> {
        let attached = self.attached.iter().filter_map(|arn| managed(arn));
        self.inline.values().cloned().chain(attached).collect()
    }

    /// The aggregate size of the inline policies, without white space as IAM
    /// counts it (IAM user guide, "IAM and STS quotas").
    pub fn inline_size(&self) -> usize {
        self.inline.values().map(|policy| policy.to_string().len()).sum()
    }
}
