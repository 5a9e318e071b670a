//! Statements of the spoke role that several actions on users and roles share.

use crate::grant::{Condition, Grant, GrantScope};

pub(crate) const ROLES: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*";

pub(crate) const USERS: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/*";

/// A role may be handed to these services alone.
pub(crate) const fn passed_to(services: &'static [&'static str]) -> Condition {
    Condition { operator: "StringEquals", key: "iam:PassedToService", values: services }
}

pub(crate) const CHANGE_USERS: GrantScope = GrantScope {
    sid: "ChangeUsers",
    why: "Policy decides which users: any user's key may have leaked.",
    resources: &[USERS],
    conditions: &[],
    within: None,
};

pub(crate) const CHANGE_ROLES: GrantScope = GrantScope {
    sid: "ChangeRoles",
    why: "Policy decides which roles; roles that the policy `never` names are not changed.",
    resources: &[ROLES],
    conditions: &[],
    within: None,
};

pub(crate) const ATTACH_ANY_POLICY: Grant = ANY_POLICY_SCOPE.allows(&[
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:DetachRolePolicy",
    "iam:DetachUserPolicy",
]);

const ANY_POLICY_SCOPE: GrantScope = GrantScope {
    sid: "AttachAnyPolicy",
    why: "To attach the managed policies that policies name, and to attach detached ones again.",
    resources: &[ROLES, USERS],
    conditions: &[],
    within: None,
};

pub(crate) const ATTACH_DENY_ALL: GrantScope = GrantScope {
    sid: "AttachDenyAll",
    why: "Where an inline denial does not fit. No other managed policy.",
    resources: &[ROLES, USERS],
    conditions: &[Condition {
        operator: "ArnEquals",
        key: "iam:PolicyARN",
        values: &["arn:${AWS::Partition}:iam::aws:policy/AWSDenyAll"],
    }],
    within: Some("AttachAnyPolicy"),
};
