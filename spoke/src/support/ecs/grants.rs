//! Statements of the spoke role that several actions in ECS share.

use crate::grant::GrantScope;

pub(crate) const SUSPEND_SCALING: GrantScope = GrantScope {
    sid: "SuspendScaling",
    why: "Whether Application Auto Scaling changes a service's desired count.",
    resources: &[
        "arn:${AWS::Partition}:application-autoscaling:*:${AWS::AccountId}:scalable-target/*",
    ],
    conditions: &[],
    within: None,
};

pub(crate) const STOP_CONTAINERS: GrantScope = GrantScope {
    sid: "StopContainers",
    why: "Tasks, services and container instances of ECS.",
    resources: &[
        "arn:${AWS::Partition}:ecs:*:${AWS::AccountId}:container-instance/*",
        "arn:${AWS::Partition}:ecs:*:${AWS::AccountId}:service/*",
        "arn:${AWS::Partition}:ecs:*:${AWS::AccountId}:task/*",
    ],
    conditions: &[],
    within: None,
};
