//! Statements of the spoke role that several actions on buckets share.

use crate::grant::{Condition, GrantScope};

pub(crate) const CHANGE_BUCKETS: GrantScope = GrantScope {
    sid: "ChangeBuckets",
    why: "A bucket's ARN has no account in it: the condition keeps to this account's.",
    resources: &["arn:${AWS::Partition}:s3:::*"],
    conditions: &[Condition {
        operator: "StringEquals",
        key: "aws:ResourceAccount",
        values: &["${AWS::AccountId}"],
    }],
    within: None,
};
