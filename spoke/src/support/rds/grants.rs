//! Statements of the spoke role that several actions on databases share.

use crate::grant::GrantScope;

pub(crate) const CLUSTER_SNAPSHOTS: &str =
    "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:cluster-snapshot:*";

pub(crate) const DB_SNAPSHOTS: &str = "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:snapshot:*";

pub(crate) const CHANGE_DATABASES: GrantScope = GrantScope {
    sid: "ChangeDatabases",
    why: "Their security groups and public access, and snapshots of them.",
    resources: &[
        "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:cluster:*",
        "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:db:*",
        CLUSTER_SNAPSHOTS,
        DB_SNAPSHOTS,
    ],
    conditions: &[],
    within: None,
};
