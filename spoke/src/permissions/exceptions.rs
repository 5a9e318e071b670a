//! Which changes are granted on every resource, and which roles are never changed.

/// A change that is granted on `*` without a condition, and why it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbounded {
    pub permission: &'static str,
    pub why: &'static str,
}

/// Every such change.
pub const UNBOUNDED: &[Unbounded] = &[Unbounded {
    permission: "s3:PutAccountPublicAccessBlock",
    why: "It has no resource type: what it changes is the setting of the role's own account.",
}];

/// The roles that no action touches, as `support/iam/protected_roles.rs` refuses them, and
/// the hub's own, for the account in which it runs.
pub(super) const NEVER: &[&str] = &[
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/FirebreakSpoke",
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${HubRoleName}",
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/*",
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-reserved/*",
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/stacksets-exec-*",
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/AWSControlTowerExecution",
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/OrganizationAccountAccessRole",
];

pub(super) const NEVER_WHY: &str = "The program refuses to change these roles. The denial holds \
     even if the program errs: an attacker who takes it over cannot raise its own permissions.";
