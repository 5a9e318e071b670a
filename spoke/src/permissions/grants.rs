//! The table: which permission is granted on which resources, under which
//! conditions. Resource types and condition keys are those of the Service
//! Authorization Reference; where it offers more than is used, the reason
//! stands beside it.

/// What has to hold for a statement to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The operator, such as `StringEquals`.
    pub operator: &'static str,
    /// The condition key.
    pub key: &'static str,
    /// Any of them.
    pub values: &'static [&'static str],
}

/// Whose permissions a grant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Every action that declares them, unless a grant above names the action.
    Any,
    /// These actions.
    Only(&'static [&'static str]),
}

/// Permissions that share their resources and conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The statement's id.
    pub sid: &'static str,
    /// What it is for, and why its resources are no narrower.
    pub why: &'static str,
    /// Whose permissions they are.
    pub of: Of,
    /// IAM actions.
    pub permissions: &'static [&'static str],
    /// ARN patterns, with CloudFormation's placeholders.
    pub resources: &'static [&'static str],
    /// All of them have to hold.
    pub conditions: &'static [Condition],
    /// The grant of the same permissions that allows all of this one and more.
    pub within: Option<&'static str>,
}

impl Grant {
    /// Whether it grants this action this permission.
    pub fn is_for(&self, action: &str, permission: &str) -> bool {
        let of = match self.of {
            Of::Any => true,
            Of::Only(actions) => actions.contains(&action),
        };
        of && self.permissions.contains(&permission)
    }
}

/// A change that is granted on `*` without a condition, and why it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbounded {
    /// The permission.
    pub permission: &'static str,
    /// Why.
    pub why: &'static str,
}

/// Every such change.
pub const UNBOUNDED: &[Unbounded] = &[Unbounded {
    permission: "s3:PutAccountPublicAccessBlock",
    why: "It has no resource type: what it changes is the setting of the role's own account.",
}];

/// The roles that no action touches, as `actions/protected.rs` refuses them, and
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

pub(super) const NEVER_WHY: &str = "The program refuses to touch these roles. This holds even \
     where it errs: whoever took it over could not raise its own permissions.";

const INSTANCES: &str = "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:instance/*";
const INTERFACES: &str = "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:network-interface/*";
const GROUPS: &str = "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:security-group/*";
/// A snapshot's ARN has no account in it.
const SNAPSHOTS: &str = "arn:${AWS::Partition}:ec2:*::snapshot/*";
const ROLES: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*";
const USERS: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/*";
const EVIDENCE: &str = "arn:${AWS::Partition}:s3:::${EvidenceBuckets}";

const fn passed_to(services: &'static [&'static str]) -> Condition {
    Condition { operator: "StringEquals", key: "iam:PassedToService", values: services }
}

const fn made_by(calls: &'static [&'static str]) -> Condition {
    Condition { operator: "StringEquals", key: "ec2:CreateAction", values: calls }
}

/// Amazon EC2 alone uses the keys, in the role's name; the domain is another in
/// some partitions.
const THROUGH_EC2: Condition =
    Condition { operator: "StringLike", key: "kms:ViaService", values: &["ec2.*.amazonaws.*"] };

/// The table. The first grant that names a permission for an action counts.
pub const GRANTS: &[Grant] = &[
    Grant {
        sid: "ChangeInterfaces",
        why: "Security groups and subnets may be another account's that shares its VPC.",
        of: Of::Any,
        permissions: &["ec2:ModifyNetworkInterfaceAttribute"],
        resources: &[
            INTERFACES,
            INSTANCES,
            "arn:${AWS::Partition}:ec2:*:*:security-group/*",
            "arn:${AWS::Partition}:ec2:*:*:subnet/*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "MakeIsolationGroups",
        why: "The VPC may be another account's that shares it. Rules are put right in every \
              group of Firebreak's names, with its tag or without: whoever takes the tag off \
              shall not keep an opening.",
        of: Of::Any,
        permissions: &[
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ],
        resources: &[
            GROUPS,
            "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:security-group-rule/*",
            "arn:${AWS::Partition}:ec2:*:*:vpc/*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "DeleteOwnGroups",
        why: "Only groups that Firebreak made.",
        of: Of::Any,
        permissions: &["ec2:DeleteSecurityGroup"],
        resources: &[GROUPS],
        conditions: &[Condition {
            operator: "StringEquals",
            key: "aws:ResourceTag/firebreak",
            values: &["managed"],
        }],
        within: None,
    },
    Grant {
        sid: "TagOwnGroups",
        why: "As they are made, and never later.",
        of: Of::Only(&["isolate-instance", "quarantine-db"]),
        permissions: &["ec2:CreateTags"],
        resources: &[GROUPS],
        conditions: &[made_by(&["CreateSecurityGroup"])],
        within: None,
    },
    Grant {
        sid: "MoveAddresses",
        why: "Elastic IP addresses come off, and go back on.",
        of: Of::Any,
        permissions: &["ec2:AssociateAddress", "ec2:DisassociateAddress"],
        resources: &[
            "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:elastic-ip/*",
            INTERFACES,
            INSTANCES,
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "BlockAddresses",
        why: "The lists and network ACLs that policies name.",
        of: Of::Any,
        permissions: &[
            "ec2:CreateNetworkAclEntry",
            "ec2:DeleteNetworkAclEntry",
            "ec2:ModifyManagedPrefixList",
            "wafv2:UpdateIPSet",
        ],
        resources: &[
            "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:network-acl/*",
            "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:prefix-list/*",
            "arn:${AWS::Partition}:wafv2:*:${AWS::AccountId}:*/ipset/*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "ChangeInstances",
        why: "An instance with a licence is started under its licence configuration, which \
              may be another account's.",
        of: Of::Any,
        permissions: &[
            "ec2:AssociateIamInstanceProfile",
            "ec2:DisassociateIamInstanceProfile",
            "ec2:ModifyInstanceAttribute",
            "ec2:ReplaceIamInstanceProfileAssociation",
            "ec2:StartInstances",
            "ec2:StopInstances",
            "ec2:TerminateInstances",
        ],
        resources: &[
            INSTANCES,
            "arn:${AWS::Partition}:license-manager:*:*:license-configuration:*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "TagInstances",
        why: "Tags that policies name.",
        of: Of::Only(&["tag-resource"]),
        permissions: &["ec2:CreateTags", "ec2:DeleteTags"],
        resources: &[INSTANCES],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "HoldInstances",
        why: "Keeps Auto Scaling from replacing an instance.",
        of: Of::Any,
        permissions: &[
            "autoscaling:AttachInstances",
            "autoscaling:DetachInstances",
            "autoscaling:EnterStandby",
            "autoscaling:ExitStandby",
        ],
        resources: &[
            "arn:${AWS::Partition}:autoscaling:*:${AWS::AccountId}:autoScalingGroup:*:autoScalingGroupName/*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "TakeOutOfLoadBalancers",
        why: "An instance comes out, and goes back in.",
        of: Of::Any,
        permissions: &[
            "elasticloadbalancing:DeregisterInstancesFromLoadBalancer",
            "elasticloadbalancing:DeregisterTargets",
            "elasticloadbalancing:RegisterInstancesWithLoadBalancer",
            "elasticloadbalancing:RegisterTargets",
        ],
        resources: &[
            "arn:${AWS::Partition}:elasticloadbalancing:*:${AWS::AccountId}:loadbalancer/*",
            "arn:${AWS::Partition}:elasticloadbalancing:*:${AWS::AccountId}:targetgroup/*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "SnapshotVolumes",
        why: "And the account that policies name gets to see the copies.",
        of: Of::Any,
        permissions: &["ec2:CopySnapshot", "ec2:CreateSnapshots", "ec2:ModifySnapshotAttribute"],
        resources: &[
            INSTANCES,
            "arn:${AWS::Partition}:ec2:*:${AWS::AccountId}:volume/*",
            SNAPSHOTS,
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "TagOwnSnapshots",
        why: "As they are made, and never later.",
        of: Of::Only(&["snapshot-volumes"]),
        permissions: &["ec2:CreateTags"],
        resources: &[SNAPSHOTS],
        conditions: &[made_by(&["CopySnapshot", "CreateSnapshots"])],
        within: None,
    },
    Grant {
        sid: "CopyUnderKeys",
        why: "Only as Amazon EC2 uses a key to copy a snapshot. The key that policies name \
              may be another account's.",
        of: Of::Any,
        permissions: &[
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ],
        resources: &["arn:${AWS::Partition}:kms:*:*:key/*"],
        conditions: &[THROUGH_EC2],
        within: None,
    },
    Grant {
        sid: "LetEc2UseKeys",
        why: "A grant to Amazon EC2, and to nobody else.",
        of: Of::Any,
        permissions: &["kms:CreateGrant"],
        resources: &["arn:${AWS::Partition}:kms:*:*:key/*"],
        conditions: &[
            Condition { operator: "Bool", key: "kms:GrantIsForAWSResource", values: &["true"] },
            THROUGH_EC2,
        ],
        within: None,
    },
    Grant {
        sid: "KeepEvidence",
        why: "The evidence buckets, and no other. Objects are added and read, never deleted.",
        of: Of::Any,
        permissions: &[
            "s3:GetBucketObjectLockConfiguration",
            "s3:GetObject",
            "s3:ListBucket",
            "s3:PutObject",
            "s3:PutObjectRetention",
        ],
        resources: &[EVIDENCE, "arn:${AWS::Partition}:s3:::${EvidenceBuckets}/*"],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "RunCommands",
        why: "The documents are AWS's own, and the one for memory that policies name, which \
              may be shared by another account.",
        of: Of::Any,
        permissions: &["ssm:SendCommand"],
        resources: &["arn:${AWS::Partition}:ssm:*:*:document/*", INSTANCES, EVIDENCE],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "RunAutomations",
        why: "The document that policies name, which may be AWS's or shared by another account.",
        of: Of::Any,
        permissions: &["ssm:AddTagsToResource", "ssm:StartAutomationExecution"],
        resources: &[
            "arn:${AWS::Partition}:ssm:*:*:automation-definition/*",
            "arn:${AWS::Partition}:ssm:*:*:document/*",
            "arn:${AWS::Partition}:ssm:*:${AWS::AccountId}:automation-execution/*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "ChangeUsers",
        why: "Which users, policy decides: any may be the one whose key leaked.",
        of: Of::Any,
        permissions: &[
            "iam:DeleteLoginProfile",
            "iam:DeleteUserPermissionsBoundary",
            "iam:DeleteUserPolicy",
            "iam:PutUserPermissionsBoundary",
            "iam:PutUserPolicy",
            "iam:TagUser",
            "iam:UntagUser",
            "iam:UpdateAccessKey",
            "iam:UpdateLoginProfile",
        ],
        resources: &[USERS],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "ChangeRoles",
        why: "Which roles, policy decides; those that the policy `never` names stay as they are.",
        of: Of::Any,
        permissions: &[
            "iam:DeleteRolePermissionsBoundary",
            "iam:DeleteRolePolicy",
            "iam:PutRolePermissionsBoundary",
            "iam:PutRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
        ],
        resources: &[ROLES],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "AttachAnyPolicy",
        why: "The managed policies that policies name, and back on what was taken off.",
        of: Of::Only(&["attach-policy", "detach-policy"]),
        permissions: ATTACH,
        resources: &[ROLES, USERS],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "AttachDenyAll",
        why: "Where an inline denial does not fit. No other managed policy.",
        of: Of::Any,
        permissions: ATTACH,
        resources: &[ROLES, USERS],
        conditions: &[Condition {
            operator: "ArnEquals",
            key: "iam:PolicyARN",
            values: &["arn:${AWS::Partition}:iam::aws:policy/AWSDenyAll"],
        }],
        within: Some("AttachAnyPolicy"),
    },
    Grant {
        sid: "PassInstanceRoles",
        why: "An instance gets the profile back that it had.",
        of: Of::Only(&["revoke-instance-credentials"]),
        permissions: &["iam:PassRole"],
        resources: &[ROLES],
        conditions: &[passed_to(&["ec2.amazonaws.com", "ec2.amazonaws.com.cn"])],
        within: None,
    },
    Grant {
        sid: "PassReplicationRoles",
        why: "A replication that is suspended or resumed keeps its role.",
        of: Of::Only(&["suspend-replication"]),
        permissions: &["iam:PassRole"],
        resources: &[ROLES],
        conditions: &[passed_to(&["s3.amazonaws.com"])],
        within: None,
    },
    Grant {
        sid: "PassAutomationRoles",
        why: "An automation runs as the role that policies name.",
        of: Of::Only(&["run-automation"]),
        permissions: &["iam:PassRole"],
        resources: &[ROLES],
        conditions: &[passed_to(&["ssm.amazonaws.com"])],
        within: None,
    },
    Grant {
        sid: "ChangeBuckets",
        why: "A bucket's ARN has no account in it: the condition keeps to this account's.",
        of: Of::Any,
        permissions: &[
            "s3:DeleteBucketPolicy",
            "s3:PutBucketAcl",
            "s3:PutBucketPolicy",
            "s3:PutBucketPublicAccessBlock",
            "s3:PutBucketTagging",
            "s3:PutBucketVersioning",
            "s3:PutLifecycleConfiguration",
            "s3:PutReplicationConfiguration",
        ],
        resources: &["arn:${AWS::Partition}:s3:::*"],
        conditions: &[Condition {
            operator: "StringEquals",
            key: "aws:ResourceAccount",
            values: &["${AWS::AccountId}"],
        }],
        within: None,
    },
    Grant {
        sid: "CloseBucketsOfTheAccount",
        why: "AWS offers no resource level: what it changes is this account's setting.",
        of: Of::Any,
        permissions: &["s3:PutAccountPublicAccessBlock"],
        resources: &["*"],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "ChangeDatabases",
        why: "Their security groups and public access, and snapshots of them.",
        of: Of::Any,
        permissions: &[
            "rds:CreateDBClusterSnapshot",
            "rds:CreateDBSnapshot",
            "rds:ModifyDBCluster",
            "rds:ModifyDBInstance",
        ],
        resources: &[
            "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:cluster:*",
            "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:db:*",
            CLUSTER_SNAPSHOTS,
            DB_SNAPSHOTS,
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "TagDatabaseSnapshots",
        why: "As they are made.",
        of: Of::Any,
        permissions: &["rds:AddTagsToResource"],
        resources: &[CLUSTER_SNAPSHOTS, DB_SNAPSHOTS],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "FreezeFunctions",
        why: "Their reserved concurrency.",
        of: Of::Any,
        permissions: &["lambda:DeleteFunctionConcurrency", "lambda:PutFunctionConcurrency"],
        resources: &["arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*"],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "StopContainers",
        why: "Tasks, services and container instances of ECS.",
        of: Of::Any,
        permissions: &["ecs:StopTask", "ecs:UpdateContainerInstancesState", "ecs:UpdateService"],
        resources: &[
            "arn:${AWS::Partition}:ecs:*:${AWS::AccountId}:container-instance/*",
            "arn:${AWS::Partition}:ecs:*:${AWS::AccountId}:service/*",
            "arn:${AWS::Partition}:ecs:*:${AWS::AccountId}:task/*",
        ],
        conditions: &[],
        within: None,
    },
    Grant {
        sid: "ChangeClusterAccess",
        why: "Who gets into an EKS cluster; an access entry is made in its cluster.",
        of: Of::Any,
        permissions: &[
            "eks:AssociateAccessPolicy",
            "eks:CreateAccessEntry",
            "eks:DeleteAccessEntry",
            "eks:TagResource",
            "eks:UntagResource",
        ],
        resources: &[
            "arn:${AWS::Partition}:eks:*:${AWS::AccountId}:access-entry/*",
            "arn:${AWS::Partition}:eks:*:${AWS::AccountId}:cluster/*",
        ],
        conditions: &[],
        within: None,
    },
];

const ATTACH: &[&str] = &[
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:DetachRolePolicy",
    "iam:DetachUserPolicy",
];

const CLUSTER_SNAPSHOTS: &str = "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:cluster-snapshot:*";
const DB_SNAPSHOTS: &str = "arn:${AWS::Partition}:rds:*:${AWS::AccountId}:snapshot:*";
