//! Validates identifier syntax before any call: ids must have the form that AWS gives
//! them, and account, Region and partition must fit together. Pure; it does not check
//! that the resource exists.
//!
//! A finding's ids come from outside and are used in calls: in paths, in ARNs, in keys
//! of a table. An impossible form is refused before any call.

use super::{ParseError, Partition, Resource};
use crate::text::is_plain;

/// The longest ARN that is kept: a DynamoDB partition key holds 2,048 bytes
/// (DynamoDB developer guide, "Quotas"), and ours has a prefix.
const LONGEST_ARN: usize = 1_900;

impl Resource {
    /// Checks that the resource can exist. Every session in a member account is opened
    /// after this check.
    ///
    /// # Errors
    ///
    /// Names the first part that has an impossible form.
    pub fn check_form(&self) -> Result<(), ParseError> {
        let Self { partition, account, region, .. } = self;
        require(account.is_real(), account.as_str(), "an account id of twelve digits")?;
        let row = self.row();
        if !(row.global && region.is_global()) {
            require(region.is_real(), region.as_str(), "a Region code such as `us-east-1`")?;
            let fits = *partition == Partition::of_region(region);
            require(fits, partition.as_str(), "the partition of the resource's Region")?;
        }
        for Part { text, syntax } in row.parts.into_iter().flatten() {
            require((syntax.fits)(text), text, syntax.expected)?;
        }
        let arn = self.arn();
        let fits = arn.len() <= LONGEST_ARN && arn.chars().all(is_plain);
        require(fits, &arn, "an ARN: it is too long or holds control characters")
    }

    /// Whether a task's ARN is of the resource's own account and Region, or has only an
    /// id: `arn:…:task/CLUSTER/ID`, and the older `arn:…:task/ID`.
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

/// The syntax of one part of an identifier.
#[derive(Clone, Copy)]
pub(super) struct Syntax {
    fits: fn(&str) -> bool,
    /// What was expected, with its article.
    expected: &'static str,
}

/// A part of an identifier, and the syntax that it has to have.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    text: &'a str,
    syntax: Syntax,
}

impl Syntax {
    pub(super) fn of(self, text: &str) -> Part<'_> {
        Part { text, syntax: self }
    }
}

const fn syntax(fits: fn(&str) -> bool, expected: &'static str) -> Syntax {
    Syntax { fits, expected }
}

pub(super) const INSTANCE_ID: Syntax =
    syntax(is_instance, "an instance id such as `i-0123456789abcdef0`");
pub(super) const ACCESS_KEY_ID: Syntax = syntax(
    |id| (16..=128).contains(&id.len()) && all(id, "_"),
    "an access key id such as `AKIAIOSFODNN7EXAMPLE`",
);
pub(super) const IAM_NAME: Syntax = syntax(is_iam_name, "a name of a user or role");
pub(super) const USER: Syntax = syntax(is_iam_name, "a user's name");
pub(super) const ROLE: Syntax = syntax(is_iam_name, "a role's name");
pub(super) const PRINCIPAL_ID: Syntax = syntax(
    |id| id.len() <= 256 && all(id, "_+=,.@:-"),
    "a principal id such as `AROAEXAMPLE:session`",
);
pub(super) const BUCKET: Syntax = syntax(is_bucket, "a bucket's name");
pub(super) const DATABASE_INSTANCE: Syntax = syntax(is_database, "a DB instance identifier");
pub(super) const DATABASE_CLUSTER: Syntax = syntax(is_database, "a DB cluster identifier");
pub(super) const FUNCTION: Syntax =
    syntax(|name| (1..=64).contains(&name.len()) && all(name, "-_"), "a function's name");
pub(super) const ECS_CLUSTER: Syntax = syntax(is_ecs_name, "an ECS cluster's name");
pub(super) const ECS_SERVICE: Syntax = syntax(is_ecs_name, "an ECS service's name");
/// For a task that [`Resource::is_own_task`] refused.
pub(super) const FOREIGN_TASK: Syntax = syntax(|_| false, "a task of this account and Region");
pub(super) const EKS_CLUSTER: Syntax =
    syntax(|name| (1..=100).contains(&name.len()) && all(name, "-_"), "an EKS cluster's name");
pub(super) const KUBERNETES_NAME: Syntax = syntax(is_kubernetes, "a name in Kubernetes");
pub(super) const KUBERNETES_USER: Syntax =
    syntax(|name| name.len() <= 1_024 && name.chars().all(is_plain), "a Kubernetes user's name");

fn require(fits: bool, text: &str, expected: &'static str) -> Result<(), ParseError> {
    if fits { Ok(()) } else { Err(ParseError { text: text.to_owned(), expected }) }
}

/// Whether a text is not empty and has only ASCII letters, digits and these characters.
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

/// A valid segment of a path in Kubernetes' API; RBAC's names may contain colons
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

    /// Texts that are not an id of any AWS resource.
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
