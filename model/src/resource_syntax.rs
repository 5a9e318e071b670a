//! Validates identifier syntax before any call: ids in the form that AWS gives
//! them, in an account, a Region and a partition that fit together. Pure; says
//! nothing of whether the resource is there.
//!
//! A finding's ids come from outside, and end in calls: in paths, in ARNs, in
//! keys of a table. What has no possible form is refused before any call.

use crate::resource::{ParseError, Partition, Resource, ResourceKind, Workload};
use crate::text::is_plain;

/// The longest ARN that is kept: a DynamoDB partition key holds 2,048 bytes
/// (DynamoDB developer guide, "Quotas"), and ours has a prefix.
const LONGEST_ARN: usize = 1_900;

impl Resource {
    /// Whether it can exist. Every session in a member account is opened behind
    /// this check.
    ///
    /// # Errors
    ///
    /// Names the first part that has no possible form.
    pub fn check_form(&self) -> Result<(), ParseError> {
        let Self { partition, account, region, kind } = self;
        require(account.is_real(), account.as_str(), "an account id of twelve digits")?;
        // Only IAM answers without a Region; nothing acts on other kinds.
        let anywhere = matches!(
            kind,
            ResourceKind::AccessKey { .. }
                | ResourceKind::User { .. }
                | ResourceKind::Role { .. }
                | ResourceKind::Other { .. }
        );
        if !(anywhere && region.is_global()) {
            require(region.is_real(), region.as_str(), "a Region code such as `us-east-1`")?;
            let fits = *partition == Partition::of_region(region);
            require(fits, partition.as_str(), "the partition of the resource's Region")?;
        }
        self.check_kind()?;
        let arn = self.arn();
        let fits = arn.len() <= LONGEST_ARN && arn.chars().all(is_plain);
        require(fits, &arn, "an ARN: it is too long or holds control characters")
    }

    fn check_kind(&self) -> Result<(), ParseError> {
        match &self.kind {
            ResourceKind::Instance { instance_id } => require(
                is_instance(instance_id),
                instance_id,
                "an instance id such as `i-0123456789abcdef0`",
            ),
            ResourceKind::AccessKey { access_key_id, principal } => {
                if let Some(id) = access_key_id {
                    let fits = (16..=128).contains(&id.len()) && all(id, "_");
                    require(fits, id, "an access key id such as `AKIAIOSFODNN7EXAMPLE`")?;
                }
                if let Some(name) = &principal.name {
                    require(is_iam_name(name), name, "a name of a user or role")?;
                }
                match &principal.id {
                    Some(id) => require(
                        id.len() <= 256 && all(id, "_+=,.@:-"),
                        id,
                        "a principal id such as `AROAEXAMPLE:session`",
                    ),
                    None => Ok(()),
                }
            }
            ResourceKind::User { name } => require(is_iam_name(name), name, "a user's name"),
            ResourceKind::Role { name } => require(is_iam_name(name), name, "a role's name"),
            ResourceKind::Bucket { name } => require(is_bucket(name), name, "a bucket's name"),
            ResourceKind::DbInstance { identifier } => {
                require(is_database(identifier), identifier, "a DB instance identifier")
            }
            ResourceKind::DbCluster { identifier } => {
                require(is_database(identifier), identifier, "a DB cluster identifier")
            }
            ResourceKind::Function { name } => {
                let fits = (1..=64).contains(&name.len()) && all(name, "-_");
                require(fits, name, "a function's name")
            }
            ResourceKind::EcsCluster { cluster, task, service } => {
                require(is_ecs_name(cluster), cluster, "an ECS cluster's name")?;
                if let Some(service) = service {
                    require(is_ecs_name(service), service, "an ECS service's name")?;
                }
                match task {
                    Some(task) => {
                        require(self.is_own_task(task), task, "a task of this account and Region")
                    }
                    None => Ok(()),
                }
            }
            ResourceKind::EksCluster { name, workload, username } => {
                let fits = (1..=100).contains(&name.len()) && all(name, "-_");
                require(fits, name, "an EKS cluster's name")?;
                if let Some(Workload { kind, namespace, name }) = workload {
                    for part in [kind, namespace, name] {
                        require(is_kubernetes(part), part, "a name in Kubernetes")?;
                    }
                }
                match username {
                    Some(name) => require(
                        name.len() <= 1_024 && name.chars().all(is_plain),
                        name,
                        "a Kubernetes user's name",
                    ),
                    None => Ok(()),
                }
            }
            ResourceKind::Other { .. } => Ok(()),
        }
    }

    /// Whether a task's ARN is of the resource's own account and Region, or its
    /// id stands alone: `arn:…:task/CLUSTER/ID`, and the older `arn:…:task/ID`.
    pub fn is_own_task(&self, task: &str) -> bool {
        let Self { partition, account, region, .. } = self;
        if !task.starts_with("arn:") {
            return task.len() <= 64 && all(task, "-");
        }
        let own = format!("arn:{partition}:ecs:{region}:{account}:task/");
        task.strip_prefix(&own).is_some_and(|rest| {
            let parts: Vec<&str> = rest.split('/').collect();
            parts.len() <= 2 && parts.iter().all(|part| is_ecs_name(part))
        })
    }
}

fn require(fits: bool, text: &str, expected: &'static str) -> Result<(), ParseError> {
    if fits { Ok(()) } else { Err(ParseError { text: text.to_owned(), expected }) }
}

/// Whether a text is not empty and holds ASCII letters, digits and these only.
fn all(text: &str, beside: &str) -> bool {
    let fits = |char: char| char.is_ascii_alphanumeric() || beside.contains(char);
    !text.is_empty() && text.chars().all(fits)
}

/// `^i-(\w{8}|\w{17})$` (Systems Manager API reference, InstanceId).
fn is_instance(text: &str) -> bool {
    text.strip_prefix("i-").is_some_and(|rest| matches!(rest.len(), 8 | 17) && all(rest, "_"))
}

/// `[\w+=,.@-]+`, up to 128 (IAM API reference, UserName and RoleName).
fn is_iam_name(text: &str) -> bool {
    text.len() <= 128 && all(text, "_+=,.@-")
}

/// Buckets made before 2018 in us-east-1 have up to 255 characters, capitals and
/// underscores among them (S3 user guide, "Bucket naming rules").
fn is_bucket(text: &str) -> bool {
    let begins = text.starts_with(|char: char| char.is_ascii_alphanumeric());
    (3..=255).contains(&text.len()) && all(text, "._-") && begins && !text.contains("..")
}

/// Letters, digits and hyphens, a letter first, up to 63 (RDS API reference,
/// CreateDBInstance and CreateDBCluster).
fn is_database(text: &str) -> bool {
    text.len() <= 63 && all(text, "-") && text.starts_with(|char: char| char.is_ascii_alphabetic())
}

/// Up to 255 letters, digits, underscores and hyphens (ECS API reference,
/// CreateCluster and CreateService).
fn is_ecs_name(text: &str) -> bool {
    text.len() <= 255 && all(text, "-_")
}

/// What may be a segment of a path in Kubernetes' API; RBAC's names hold colons
/// (Kubernetes documentation, "Object Names and IDs").
fn is_kubernetes(text: &str) -> bool {
    text.len() <= 253 && all(text, ".:-_") && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A resource of this id or name.
    type Of<'a> = &'a dyn Fn(&str) -> Value;

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn resource(kind: Value) -> Resource {
        let mut whole = json!({
            "partition": "aws", "account": "222222222222", "region": "eu-central-1",
        });
        for (key, value) in kind.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    /// Texts that no id of AWS's can be, whatever it names.
    const IMPOSSIBLE: &[&str] = &[
        "",
        " ",
        "*",
        "a/b",
        "../../x",
        "a\nb",
        "a\u{0}b",
        "a\u{202e}b",
        "a b",
        "a?b=c",
        "a#b",
        "a%2fb",
        "ä",
        "$(id)",
        "{{x}}",
        "__proto__/x",
        "a;b",
        "a'b",
        "a\"b",
        "<b>",
        "a\\b",
        "arn:aws:ec2:eu-central-1:333333333333:instance/i-0123456789abcdef0",
    ];

    #[test]
    fn ids_that_aws_gives_are_taken_and_all_others_refused() {
        let key = |id: &str| json!({ "type": "AccessKey", "accessKeyId": id, "principal": { "type": "IAMUser", "name": "a", "id": null } });
        let named = |name: &str| json!({ "type": "AccessKey", "accessKeyId": null, "principal": { "type": "AssumedRole", "name": name, "id": null } });
        let task = |task: &str| json!({ "type": "EcsCluster", "cluster": "jobs", "task": task, "service": null });
        let workload = |name: &str| json!({ "type": "EksCluster", "name": "shop", "workload": { "type": "pods", "namespace": "a", "name": name }, "username": null });
        let kinds: &[(&str, Of<'_>)] = &[
            ("i-0123456789abcdef0", &|id| json!({ "type": "Instance", "instanceId": id })),
            ("i-10000000", &|id| json!({ "type": "Instance", "instanceId": id })),
            ("AKIAIOSFODNN7EXAMPLE", &key),
            ("deploy@example.com", &named),
            ("deploy", &|name| json!({ "type": "User", "name": name })),
            (
                "AWSReservedSSO_Admin_0123456789abcdef",
                &|name| json!({ "type": "Role", "name": name }),
            ),
            ("my.logs-2017", &|name| json!({ "type": "Bucket", "name": name })),
            ("orders-1", &|id| json!({ "type": "DbInstance", "identifier": id })),
            ("orders", &|id| json!({ "type": "DbCluster", "identifier": id })),
            ("re_size-2", &|name| json!({ "type": "Function", "name": name })),
            (
                "jobs_1",
                &|name| json!({ "type": "EcsCluster", "cluster": name, "task": null, "service": null }),
            ),
            ("0123456789abcdef0123456789abcdef", &task),
            ("arn:aws:ecs:eu-central-1:222222222222:task/jobs/0123456789abcdef", &task),
            (
                "shop",
                &|name| json!({ "type": "EksCluster", "name": name, "workload": null, "username": null }),
            ),
            ("system:controller", &workload),
        ];
        for (good, kind) in kinds {
            assert_eq!(resource(kind(good)).check_form(), Ok(()), "{good}");
            for bad in IMPOSSIBLE.iter().copied().map(str::to_owned).chain(["a".repeat(1_000)]) {
                let refused = resource(kind(&bad)).check_form();
                assert!(refused.is_err(), "{good}: {bad:?}");
                let described = refused.unwrap_err().to_string();
                assert!(described.chars().all(is_plain) && described.len() < 1_300, "{described}");
            }
        }
    }

    #[test]
    fn account_region_and_partition_have_to_fit_together() {
        let fits = |change: Value| {
            let mut kind = json!({ "type": "Instance", "instanceId": "i-0123456789abcdef0" });
            for (key, value) in change.as_object().unwrap() {
                kind[key] = value.clone();
            }
            resource(kind).check_form().is_ok()
        };
        assert!(fits(json!({ "region": "cn-north-1", "partition": "aws-cn" })));
        assert!(!fits(json!({ "partition": "aws-cn" })));
        assert!(!fits(json!({ "region": "cn-north-1" })));
        assert!(!fits(json!({ "region": "aws-global" })), "no instance is everywhere");
        let mut user =
            resource(json!({ "type": "User", "name": "deploy", "region": "aws-global" }));
        assert_eq!(user.check_form(), Ok(()));
        user.account = crate::resource::AccountId::as_written("YOUR_ACCOUNT").unwrap();
        assert!(user.check_form().is_err());
        user.account = "222222222222".parse().unwrap();
        user.region = crate::resource::Region::as_written("Frankfurt").unwrap();
        assert!(user.check_form().is_err());
    }
}
