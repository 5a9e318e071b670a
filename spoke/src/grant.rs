//! The permissions that an action declares: which statement of the spoke role allows
//! each of its changes. `permissions` renders the role from it.
//!
//! Resource types and condition keys are those of the Service Authorization
//! Reference. Where it offers a narrower resource than is used, `why` says the
//! reason.

/// A condition of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The operator, such as `StringEquals`.
    pub operator: &'static str,
    pub key: &'static str,
    /// Any of them.
    pub values: &'static [&'static str],
}

/// A statement of the spoke role without its permissions. Actions that name the
/// same one share the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantScope {
    /// The statement's id.
    pub sid: &'static str,
    /// What it is for, and why its resources are no narrower.
    pub why: &'static str,
    /// ARN patterns, with CloudFormation's placeholders such as `${AWS::Partition}`.
    pub resources: &'static [&'static str],
    /// All of them have to hold.
    pub conditions: &'static [Condition],
    /// The id of a statement that allows all of this one and more: permissions of that
    /// one are left out of this one.
    pub within: Option<&'static str>,
}

impl GrantScope {
    /// The grant of these IAM actions in this scope.
    pub(crate) const fn allows(self, permissions: &'static [&'static str]) -> Grant {
        Grant { scope: self, permissions }
    }
}

/// IAM actions of one action, and the scope in which they are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Resources and conditions.
    pub scope: GrantScope,
    /// IAM actions.
    pub permissions: &'static [&'static str],
}
