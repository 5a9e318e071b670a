//! Statements of the spoke role that several actions on EC2 share.

use crate::grant::{Condition, Grant, GrantScope};

pub(crate) const INSTANCES: &str = "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:instance/*";

pub(crate) const VOLUMES: &str = "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:volume/*";

pub(crate) const INTERFACES: &str =
    "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:network-interface/*";

pub(crate) const GROUPS: &str = "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:security-group/*";

/// A snapshot's ARN has no account in it.
pub(crate) const SNAPSHOTS: &str = "arn:${AWS::Partition}:ec2:*::snapshot/*";

/// Tags may be set by these calls alone, on what they create.
pub(crate) const fn made_by(calls: &'static [&'static str]) -> Condition {
    Condition { operator: "StringEquals", key: "ec2:CreateAction", values: calls }
}

/// For every action that changes the security groups of network interfaces.
pub(crate) const CHANGE_INTERFACES: Grant =
    INTERFACE_SCOPE.allows(&["ec2:ModifyNetworkInterfaceAttribute"]);

const INTERFACE_SCOPE: GrantScope = GrantScope {
    sid: "ChangeInterfaces",
    why: "Security groups and subnets may be another account's that shares its VPC.",
    resources: &[
        INTERFACES,
        INSTANCES,
        "arn:${AWS::Partition}:ec2:*:*:security-group/*",
        "arn:${AWS::Partition}:ec2:*:*:subnet/*",
    ],
    conditions: &[],
    within: None,
};

pub(crate) const MAKE_ISOLATION_GROUPS: GrantScope = GrantScope {
    sid: "MakeIsolationGroups",
    why: "The VPC may belong to another account that shares it. Rules are corrected in every \
          group with Firebreak's names, tagged or not: removing the tag must not keep an opening.",
    resources: &[
        GROUPS,
        "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:security-group-rule/*",
        "arn:${AWS::Partition}:ec2:*:*:vpc/*",
    ],
    conditions: &[],
    within: None,
};

pub(crate) const DELETE_OWN_GROUPS: Grant = DELETE_SCOPE.allows(&["ec2:DeleteSecurityGroup"]);

const DELETE_SCOPE: GrantScope = GrantScope {
    sid: "DeleteOwnGroups",
    why: "Only groups that Firebreak made.",
    resources: &[GROUPS],
    conditions: &[Condition {
        operator: "StringEquals",
        key: "aws:ResourceTag/firebreak",
        values: &["managed"],
    }],
    within: None,
};

pub(crate) const TAG_OWN_GROUPS: Grant = TAG_SCOPE.allows(&["ec2:CreateTags"]);

const TAG_SCOPE: GrantScope = GrantScope {
    sid: "TagOwnGroups",
    why: "As they are made, and never later.",
    resources: &[GROUPS],
    conditions: &[made_by(&["CreateSecurityGroup"])],
    within: None,
};

pub(crate) const CHANGE_INSTANCES: GrantScope = GrantScope {
    sid: "ChangeInstances",
    why: "An instance with a licence is started under its licence configuration, which \
          may be another account's.",
    resources: &[INSTANCES, "arn:${AWS::Partition}:license-manager:*:*:license-configuration:*"],
    conditions: &[],
    within: None,
};

/// Amazon EC2 alone uses the keys, in the role's name; the domain is another in
/// some partitions.
pub(crate) const THROUGH_EC2: Condition =
    Condition { operator: "StringLike", key: "kms:ViaService", values: &["ec2.*.amazonaws.*"] };

pub(crate) const USE_KEYS_THROUGH_EC2: GrantScope = GrantScope {
    sid: "UseKeysThroughEc2",
    why: "Only as Amazon EC2 uses a key, to copy a snapshot or to start an instance. The \
          key may be another account's.",
    resources: &["arn:${AWS::Partition}:kms:*:*:key/*"],
    conditions: &[THROUGH_EC2],
    within: None,
};

pub(crate) const LET_EC2_USE_KEYS: GrantScope = GrantScope {
    sid: "LetEc2UseKeys",
    why: "A grant to Amazon EC2 only.",
    resources: &["arn:${AWS::Partition}:kms:*:*:key/*"],
    conditions: &[
        Condition { operator: "Bool", key: "kms:GrantIsForAWSResource", values: &["true"] },
        THROUGH_EC2,
    ],
    within: None,
};
