//! The principal behind credentials.

use serde::{Deserialize, Serialize};

/// The type of a principal, as in CloudTrail's `userIdentity.type`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalType {
    /// A user with long-term credentials.
    #[serde(rename = "IAMUser")]
    IamUser,
    /// A session of a role.
    AssumedRole,
    /// A role itself.
    Role,
    /// A session of GetFederationToken.
    FederatedUser,
    /// The account's root user.
    Root,
    /// An Identity Center user.
    IdentityCenterUser,
    /// Another account.
    #[serde(rename = "AWSAccount")]
    AwsAccount,
    /// An AWS service.
    #[serde(rename = "AWSService")]
    AwsService,
    /// A type that this version does not know, as it was written.
    #[serde(untagged)]
    Other(String),
}

impl PrincipalType {
    /// Reads the name that GuardDuty, CloudTrail and ASFF use.
    pub fn named(name: &str) -> Self {
        match name {
            "IAMUser" => Self::IamUser,
            "AssumedRole" => Self::AssumedRole,
            "Role" => Self::Role,
            "FederatedUser" => Self::FederatedUser,
            "Root" => Self::Root,
            "IdentityCenterUser" => Self::IdentityCenterUser,
            "AWSAccount" => Self::AwsAccount,
            "AWSService" => Self::AwsService,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name that GuardDuty, CloudTrail and ASFF use.
    pub fn name(&self) -> &str {
        match self {
            Self::IamUser => "IAMUser",
            Self::AssumedRole => "AssumedRole",
            Self::Role => "Role",
            Self::FederatedUser => "FederatedUser",
            Self::Root => "Root",
            Self::IdentityCenterUser => "IdentityCenterUser",
            Self::AwsAccount => "AWSAccount",
            Self::AwsService => "AWSService",
            Self::Other(name) => name,
        }
    }
}

/// The principal behind an access key. The name alone never identifies it:
/// a user and a role may share one, and for a role's session
/// `accessKeyDetails.userName` holds the *role's* name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The type of the principal.
    #[serde(rename = "type")]
    pub kind: PrincipalType,
    /// The user's or role's name, without path.
    pub name: Option<String>,
    /// The unique id: `AIDA…` for a user, `AROA…:session` for a role's session.
    pub id: Option<String>,
}

impl Principal {
    /// The unique id, or the name where the finding has no id.
    pub(super) fn any_id(&self) -> Option<&str> {
        self.id.as_deref().or(self.name.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_s_type_reads_back_as_it_was_written() {
        for name in [
            "IAMUser",
            "AssumedRole",
            "Role",
            "FederatedUser",
            "Root",
            "IdentityCenterUser",
            "AWSAccount",
            "AWSService",
            "SAMLUser",
        ] {
            let kind = PrincipalType::named(name);
            assert_eq!(kind.name(), name);
            let json = serde_json::to_value(&kind).unwrap();
            assert_eq!(json, serde_json::Value::String(name.to_owned()));
            assert_eq!(serde_json::from_value::<PrincipalType>(json).unwrap(), kind);
        }
    }
}
