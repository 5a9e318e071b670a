//! The table of resource kinds. It has everything that depends on the kind alone: its
//! type name, its ARN, the syntax of its ids, its console page, whose identity it is.
//! Tags are read by kind in the spoke (`spoke/src/tags/mod.rs`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Resource;
use super::principal::{Principal, PrincipalType};
use super::syntax::{
    ACCESS_KEY_ID, BUCKET, DATABASE_CLUSTER, DATABASE_INSTANCE, ECS_CLUSTER, ECS_SERVICE,
    EKS_CLUSTER, FOREIGN_TASK, FUNCTION, IAM_NAME, INSTANCE_ID, KUBERNETES_NAME, KUBERNETES_USER,
    PRINCIPAL_ID, Part, ROLE, USER,
};

/// A workload in a Kubernetes cluster, as GuardDuty's
/// `kubernetesDetails.kubernetesWorkloadDetails` has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// `pods`, `deployments`, `daemonsets` and so on, in lower case.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The kinds of resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ResourceKind {
    /// An EC2 instance.
    Instance {
        /// `i-…`.
        instance_id: String,
    },
    /// Credentials: a user's long-term key or a session's temporary one.
    AccessKey {
        /// `AKIA…` or `ASIA…`; `None` if the finding names none.
        access_key_id: Option<String>,
        /// The owner of the key.
        principal: Principal,
    },
    /// An IAM user.
    User {
        /// Its name, without path.
        name: String,
    },
    /// An IAM role.
    Role {
        /// Its name, without path.
        name: String,
    },
    /// An S3 bucket.
    Bucket {
        /// Its name.
        name: String,
    },
    /// An RDS DB instance, in an Aurora cluster or alone.
    DbInstance {
        /// `DBInstanceIdentifier`.
        identifier: String,
    },
    /// An RDS DB cluster: Aurora, Multi-AZ or Limitless.
    DbCluster {
        /// `DBClusterIdentifier`.
        identifier: String,
    },
    /// A Lambda function.
    Function {
        /// Its name, without version or alias: both share its concurrency.
        name: String,
    },
    /// An ECS cluster, or a task in it if the finding names one.
    EcsCluster {
        /// The cluster's name.
        cluster: String,
        /// The task's ARN.
        task: Option<String>,
        /// The service that started the task, by name.
        service: Option<String>,
    },
    /// An EKS cluster, or a workload in it if the finding names one.
    EksCluster {
        /// The cluster's name.
        name: String,
        /// The workload that the finding is about.
        workload: Option<Workload>,
        /// The Kubernetes user who called the cluster's API.
        username: Option<String>,
    },
    /// A type that no action acts on; policy can still match it.
    Other {
        /// The type as the finding names it.
        name: String,
        /// Its id or ARN, if the finding has one.
        id: Option<String>,
    },
}

/// One row of the table, filled in for a resource.
pub(super) struct Row<'a> {
    /// The type's name in policies: GuardDuty's `resourceType` where it has one.
    pub(super) type_name: &'a str,
    /// The id or name by which the service's own API knows it, if the finding has it;
    /// for a task or workload the cluster's.
    pub(super) id: Option<&'a str>,
    pub(super) arn: ArnForm<'a>,
    /// Whether it can be named without a Region: only IAM works without one, and
    /// nothing acts on `Other`.
    pub(super) global: bool,
    /// Each part that comes from the finding, with the syntax that it has to have.
    pub(super) parts: [Option<Part<'a>>; 5],
    /// Its page in the console: the path, in which `{region}` and `{id}` stand for
    /// the Region and this id.
    pub(super) console: Option<(&'static str, &'a str)>,
    /// The user, role or other principal that it is, or whose credentials it is.
    pub(super) principal: Option<PrincipalRef<'a>>,
}

/// A principal by type and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrincipalRef<'a> {
    /// The type of the principal.
    pub kind: &'a PrincipalType,
    /// Its name without path, if the finding has it.
    pub name: Option<&'a str>,
    /// Its unique id, if the finding has it; for a session, with the session's name.
    pub id: Option<&'a str>,
}

/// The form of an ARN.
pub(super) enum ArnForm<'a> {
    /// With account and Region: service, and the resource in two parts.
    Regional(&'static str, &'static str, Cow<'a, str>),
    /// IAM's, with an account and no Region.
    Iam(&'static str, &'a str),
    /// S3's, with neither.
    Bucket(&'a str),
    /// A complete ARN.
    Whole(Cow<'a, str>),
}

use ArnForm::{Iam, Regional, Whole};

impl ResourceKind {
    /// The row of a resource of this kind.
    #[expect(clippy::too_many_lines, reason = "one table, one row a kind")]
    pub(super) fn row<'a>(&'a self, resource: &'a Resource) -> Row<'a> {
        match self {
            Self::Instance { instance_id } => Row {
                arn: Regional("ec2", "instance/", instance_id.into()),
                console: Some((
                    "ec2/home?region={region}#InstanceDetails:instanceId={id}",
                    instance_id,
                )),
                ..named("Instance", instance_id, INSTANCE_ID.of(instance_id))
            },
            Self::AccessKey { access_key_id, principal } => Row {
                type_name: "AccessKey",
                id: access_key_id.as_deref(),
                arn: match access_key_id {
                    Some(id) => Iam("access-key/", id),
                    None => Iam("principal/", principal.any_id().unwrap_or("unknown")),
                },
                global: true,
                parts: [
                    access_key_id.as_deref().map(|it| ACCESS_KEY_ID.of(it)),
                    principal.name.as_deref().map(|it| IAM_NAME.of(it)),
                    principal.id.as_deref().map(|it| PRINCIPAL_ID.of(it)),
                    None,
                    None,
                ],
                console: principal.name.as_deref().and_then(|name| page_of(&principal.kind, name)),
                principal: Some(PrincipalRef {
                    kind: &principal.kind,
                    name: principal.name.as_deref(),
                    id: principal.id.as_deref(),
                }),
            },
            Self::User { name } => Row {
                arn: Iam("user/", name),
                global: true,
                console: page_of(&PrincipalType::IamUser, name),
                principal: Some(principal(&PrincipalType::IamUser, name)),
                ..named("User", name, USER.of(name))
            },
            Self::Role { name } => Row {
                arn: Iam("role/", name),
                global: true,
                console: page_of(&PrincipalType::Role, name),
                principal: Some(principal(&PrincipalType::Role, name)),
                ..named("Role", name, ROLE.of(name))
            },
            Self::Bucket { name } => Row {
                arn: ArnForm::Bucket(name),
                console: Some(("s3/buckets/{id}?region={region}", name)),
                ..named("S3Bucket", name, BUCKET.of(name))
            },
            Self::DbInstance { identifier } => Row {
                arn: Regional("rds", "db:", identifier.into()),
                console: Some((
                    "rds/home?region={region}#database:id={id};is-cluster=false",
                    identifier,
                )),
                ..named("RDSDBInstance", identifier, DATABASE_INSTANCE.of(identifier))
            },
            Self::DbCluster { identifier } => Row {
                arn: Regional("rds", "cluster:", identifier.into()),
                console: Some((
                    "rds/home?region={region}#database:id={id};is-cluster=true",
                    identifier,
                )),
                ..named("RDSDBCluster", identifier, DATABASE_CLUSTER.of(identifier))
            },
            Self::Function { name } => Row {
                arn: Regional("lambda", "function:", name.into()),
                console: Some(("lambda/home?region={region}#/functions/{id}", name)),
                ..named("Lambda", name, FUNCTION.of(name))
            },
            Self::EcsCluster { cluster, task, service } => {
                let foreign = task.as_deref().filter(|task| !resource.is_own_task(task));
                Row {
                    arn: match task {
                        Some(task) if task.starts_with("arn:") && foreign.is_none() => {
                            Whole(task.into())
                        }
                        Some(task) => Regional("ecs", "task/", format!("{cluster}/{task}").into()),
                        None => Regional("ecs", "cluster/", cluster.into()),
                    },
                    parts: [
                        Some(ECS_CLUSTER.of(cluster)),
                        service.as_deref().map(|it| ECS_SERVICE.of(it)),
                        foreign.map(|it| FOREIGN_TASK.of(it)),
                        None,
                        None,
                    ],
                    console: Some(("ecs/v2/clusters/{id}?region={region}", cluster)),
                    ..named("ECSCluster", cluster, ECS_CLUSTER.of(cluster))
                }
            }
            Self::EksCluster { name, workload, username } => Row {
                arn: Regional(
                    "eks",
                    "cluster/",
                    in_cluster(name, workload.as_ref(), username.as_deref()),
                ),
                parts: [
                    Some(EKS_CLUSTER.of(name)),
                    workload.as_ref().map(|it| KUBERNETES_NAME.of(&it.kind)),
                    workload.as_ref().map(|it| KUBERNETES_NAME.of(&it.namespace)),
                    workload.as_ref().map(|it| KUBERNETES_NAME.of(&it.name)),
                    username.as_deref().map(|it| KUBERNETES_USER.of(it)),
                ],
                console: Some(("eks/home?region={region}#/clusters/{id}", name)),
                ..named("EKSCluster", name, EKS_CLUSTER.of(name))
            },
            Self::Other { name, id } => Row {
                type_name: name,
                id: id.as_deref(),
                arn: Whole(of_other(resource, name, id.as_deref())),
                global: true,
                parts: [None; 5],
                console: None,
                principal: None,
            },
        }
    }

    /// A resource of this type, for tests of policies: without an id it gets one that
    /// AWS never assigns, or the name `owner`. An access key belongs to the user
    /// `owner`. A type that is not in the table becomes `Other`.
    pub fn named(type_name: &str, id: Option<&str>, owner: &str) -> Self {
        let name = id.unwrap_or(owner).to_owned();
        match type_name {
            "Instance" => {
                Self::Instance { instance_id: id.unwrap_or("i-0123456789abcdef0").to_owned() }
            }
            "AccessKey" => Self::AccessKey {
                access_key_id: Some(id.unwrap_or("AKIAFIREBREAKEXAMPLE").to_owned()),
                principal: Principal {
                    kind: PrincipalType::IamUser,
                    name: Some(owner.to_owned()),
                    id: None,
                },
            },
            "User" => Self::User { name },
            "Role" => Self::Role { name },
            "S3Bucket" => Self::Bucket { name },
            "RDSDBInstance" => Self::DbInstance { identifier: name },
            "RDSDBCluster" => Self::DbCluster { identifier: name },
            "Lambda" => Self::Function { name },
            "ECSCluster" => Self::EcsCluster { cluster: name, task: None, service: None },
            "EKSCluster" => Self::EksCluster { name, workload: None, username: None },
            other => Self::Other { name: other.to_owned(), id: Some(name) },
        }
    }
}

/// The type names of all kinds but `Other`.
pub const TYPE_NAMES: &[&str] = &[
    "Instance",
    "AccessKey",
    "User",
    "Role",
    "S3Bucket",
    "RDSDBInstance",
    "RDSDBCluster",
    "Lambda",
    "ECSCluster",
    "EKSCluster",
];

/// How the ARNs of the kinds above begin, by service; those of S3 that have no key.
const ARN_PREFIXES: &[(&str, &[&str])] = &[
    ("ec2", &["instance/"]),
    ("iam", &["access-key/", "principal/", "user/", "role/"]),
    ("rds", &["db:", "cluster:"]),
    ("lambda", &["function:"]),
    ("ecs", &["cluster/", "task/"]),
    ("eks", &["cluster/"]),
];

/// A row for a resource that has one id, an account and a Region, and is not a
/// principal.
fn named<'a>(type_name: &'static str, id: &'a str, part: Part<'a>) -> Row<'a> {
    Row {
        type_name,
        id: Some(id),
        arn: Whole(Cow::Borrowed("")),
        global: false,
        parts: [Some(part), None, None, None, None],
        console: None,
        principal: None,
    }
}

fn principal<'a>(kind: &'a PrincipalType, name: &'a str) -> PrincipalRef<'a> {
    PrincipalRef { kind, name: Some(name), id: None }
}

fn page_of<'a>(kind: &PrincipalType, name: &'a str) -> Option<(&'static str, &'a str)> {
    match kind {
        PrincipalType::IamUser => Some(("iam/home#/users/details/{id}", name)),
        PrincipalType::AssumedRole | PrincipalType::Role => {
            Some(("iam/home#/roles/details/{id}", name))
        }
        PrincipalType::FederatedUser
        | PrincipalType::Root
        | PrincipalType::IdentityCenterUser
        | PrincipalType::AwsAccount
        | PrincipalType::AwsService
        | PrincipalType::Other(_) => None,
    }
}

fn in_cluster<'a>(
    cluster: &'a str,
    workload: Option<&Workload>,
    username: Option<&str>,
) -> Cow<'a, str> {
    match (workload, username) {
        (Some(Workload { kind, namespace, name }), _) => {
            format!("{cluster}/{kind}/{namespace}/{name}").into()
        }
        (None, Some(username)) => format!("{cluster}/user/{username}").into(),
        (None, None) => cluster.into(),
    }
}

fn of_other<'a>(resource: &Resource, name: &str, id: Option<&'a str>) -> Cow<'a, str> {
    let Resource { partition, account, region, .. } = resource;
    match id {
        Some(id) if id.starts_with("arn:") && !is_of_another_kind(id) => id.into(),
        id => {
            let id = id.unwrap_or("unknown");
            format!("arn:{partition}:other:{region}:{account}:{name}/{id}").into()
        }
    }
}

/// Whether an ARN belongs to one of the kinds above. A finding's author chooses the
/// type of a resource: under another type it must not take an instance's ARN, because
/// it would then block the instance's responses.
fn is_of_another_kind(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, rest) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
    let begins = |(of, prefixes): &(&str, &[&str])| {
        *of == service && prefixes.iter().any(|it| rest.starts_with(it))
    };
    (service == "s3" && !rest.contains('/')) || ARN_PREFIXES.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(kind: ResourceKind) -> Resource {
        Resource {
            partition: "aws".parse().unwrap(),
            account: "333333333333".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            kind,
        }
    }

    /// Serde's message lists the variants.
    #[test]
    fn no_kind_is_missing_from_the_type_names() {
        let unknown = serde_json::json!({ "type": "?" });
        let message = serde_json::from_value::<ResourceKind>(unknown).unwrap_err().to_string();
        let variants = message.matches('`').count() / 2 - 1;
        assert_eq!(variants, TYPE_NAMES.len() + 1, "{message}");
    }

    #[test]
    fn every_kind_has_a_type_name_its_own_arn_and_a_console_page() {
        for type_name in TYPE_NAMES {
            let resource = resource(ResourceKind::named(type_name, None, "example"));
            assert_eq!(resource.type_name(), *type_name);
            assert_eq!(resource.check_form(), Ok(()), "{type_name}");
            assert!(is_of_another_kind(&resource.arn()), "{}", resource.arn());
            assert!(resource.arn().starts_with("arn:aws:"), "{}", resource.arn());
            let page = resource.console_path().unwrap();
            assert!(!page.contains(['{', '}']), "{page}");
            assert!(resource.id().is_some(), "{type_name}");
        }
        assert_eq!(resource(ResourceKind::named("Volume", None, "vol-1")).type_name(), "Volume");
    }

    #[test]
    fn a_resource_of_another_type_does_not_take_an_instance_s_identity() {
        let instance = "arn:aws:ec2:eu-central-1:222222222222:instance/i-0123456789abcdef0";
        let mut resource = Resource {
            partition: "aws".parse().unwrap(),
            account: "333333333333".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            kind: ResourceKind::Other { name: "Thing".to_owned(), id: Some(instance.to_owned()) },
        };
        assert!(resource.arn().starts_with("arn:aws:other:eu-central-1:333333333333:Thing/"));
        let task = Some(instance.to_owned());
        resource.kind =
            ResourceKind::EcsCluster { cluster: "jobs".to_owned(), task, service: None };
        assert!(resource.arn().starts_with("arn:aws:ecs:eu-central-1:333333333333:task/jobs/"));
        let volume = "arn:aws:ec2:eu-central-1:333333333333:volume/vol-1".to_owned();
        resource.kind = ResourceKind::Other { name: "Volume".to_owned(), id: Some(volume.clone()) };
        assert_eq!(resource.arn(), volume);
    }
}
