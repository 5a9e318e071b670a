//! What is acted on: one AWS resource with the account, Region and partition
//! that it belongs to. Parsed once at the edge; never guessed from a name alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// An AWS account id: exactly twelve digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

/// Why a text is no account id, Region or partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {expected}", printable(text))]
pub struct ParseError {
    /// The text that was refused.
    pub text: String,
    /// What was expected, with its article.
    pub expected: &'static str,
}

impl AccountId {
    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a finding writes it. One that is not twelve digits (a
    /// placeholder, a digit too many) is no account of anybody's: it can be
    /// read and explained, and [`Self::is_real`] keeps it from being acted on.
    pub fn as_written(text: &str) -> Result<Self, ParseError> {
        word(text, "an account id").map(Self)
    }

    /// Whether it has the form of an account id.
    pub fn is_real(&self) -> bool {
        is_account_id(&self.0)
    }
}

fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Letters, digits, dashes and underscores: what may stand in an ARN without
/// changing what the ARN says.
fn word(text: &str, expected: &'static str) -> Result<String, ParseError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(ParseError { text: text.to_owned(), expected })
    }
}

impl FromStr for AccountId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if is_account_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError { text: text.to_owned(), expected: "an account id of twelve digits" })
        }
    }
}

/// A Region's code, such as `eu-central-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

impl Region {
    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The Region as a finding writes it, whatever its form: one that does not
    /// exist has no endpoint, so nothing can be done in it.
    pub fn as_written(text: &str) -> Result<Self, ParseError> {
        word(text, "a Region").map(Self)
    }

    /// AWS's pseudo Region of the global services, for findings that name none.
    pub fn global() -> Self {
        Self(GLOBAL.to_owned())
    }

    /// Whether it is the pseudo Region of the global services.
    pub fn is_global(&self) -> bool {
        self.0 == GLOBAL
    }

    /// Whether it has the form of a Region code.
    pub fn is_real(&self) -> bool {
        is_region_code(&self.0)
    }
}

const GLOBAL: &str = "aws-global";

/// Words of lower-case letters and a number, joined by dashes: it ends up in the
/// names of hosts.
fn is_region_code(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let words = parts.len() >= 3
        && parts
            .iter()
            .rev()
            .skip(1)
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()));
    let number = parts
        .last()
        .is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    words && number && text.len() <= 32
}

impl FromStr for Region {
    type Err = ParseError;

    /// Accepts the form of a Region code, not a list of Regions: new ones
    /// appear, and one that does not exist fails at its endpoint.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if is_region_code(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError { text: text.to_owned(), expected: "a Region code such as `us-east-1`" })
        }
    }
}

/// A partition: `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, `aws-iso`…
/// Taken from an ARN or from the finding; never assumed where either says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Partition(String);

/// Every partition in the SDKs' partition metadata. A text from outside that is
/// none of these is not put into an ARN.
const PARTITIONS: &[&str] =
    &["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"];

impl Partition {
    /// The partition's name as it stands in ARNs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition that a Region lies in, by the prefixes that AWS publishes
    /// in its SDKs' partition metadata.
    pub fn of_region(region: &Region) -> Self {
        let name = match region.as_str() {
            code if code.starts_with("cn-") => "aws-cn",
            code if code.starts_with("us-gov-") => "aws-us-gov",
            code if code.starts_with("eusc-") => "aws-eusc",
            code if code.starts_with("us-iso-") => "aws-iso",
            code if code.starts_with("us-isob-") => "aws-iso-b",
            code if code.starts_with("eu-isoe-") => "aws-iso-e",
            code if code.starts_with("us-isof-") => "aws-iso-f",
            _ => "aws",
        };
        Self(name.to_owned())
    }
}

impl FromStr for Partition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if PARTITIONS.contains(&text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError { text: text.to_owned(), expected: "a partition such as `aws`" })
        }
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    )*};
}
text_type!(AccountId, Region, Partition);

impl TryFrom<String> for AccountId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl TryFrom<String> for Region {
    type Error = ParseError;

    /// A record of what is about a global service has to be read back.
    fn try_from(text: String) -> Result<Self, ParseError> {
        if text == GLOBAL { Ok(Self::global()) } else { text.parse() }
    }
}

impl TryFrom<String> for Partition {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

/// Who used credentials, as CloudTrail's `userIdentity.type` names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PrincipalType {
    /// A user with long-term credentials.
    #[serde(rename = "IAMUser")]
    IamUser,
    /// A session of a role.
    AssumedRole,
    /// A role itself.
    Role,
    /// A session of GetFederationToken.
    FederatedUser,
    /// The account's root user.
    Root,
    /// An Identity Center user.
    IdentityCenterUser,
    /// Another account.
    #[serde(rename = "AWSAccount")]
    AwsAccount,
    /// An AWS service.
    #[serde(rename = "AWSService")]
    AwsService,
    /// A type that this version does not know, as it was written.
    #[serde(untagged)]
    Other(String),
}

impl PrincipalType {
    /// Reads the name that GuardDuty, CloudTrail and ASFF use.
    pub fn named(name: &str) -> Self {
        match name {
            "IAMUser" => Self::IamUser,
            "AssumedRole" => Self::AssumedRole,
            "Role" => Self::Role,
            "FederatedUser" => Self::FederatedUser,
            "Root" => Self::Root,
            "IdentityCenterUser" => Self::IdentityCenterUser,
            "AWSAccount" => Self::AwsAccount,
            "AWSService" => Self::AwsService,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name that GuardDuty, CloudTrail and ASFF use.
    pub fn name(&self) -> &str {
        match self {
            Self::IamUser => "IAMUser",
            Self::AssumedRole => "AssumedRole",
            Self::Role => "Role",
            Self::FederatedUser => "FederatedUser",
            Self::Root => "Root",
            Self::IdentityCenterUser => "IdentityCenterUser",
            Self::AwsAccount => "AWSAccount",
            Self::AwsService => "AWSService",
            Self::Other(name) => name,
        }
    }
}

/// The principal behind an access key. The name alone never identifies it:
/// a user and a role may share one, and for a role's session
/// `accessKeyDetails.userName` holds the *role's* name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// What kind of principal it is.
    #[serde(rename = "type")]
    pub kind: PrincipalType,
    /// The user's or role's name, without path.
    pub name: Option<String>,
    /// The unique id: `AIDA…` for a user, `AROA…:session` for a role's session.
    pub id: Option<String>,
}

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

/// What is acted on, by kind.
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
        /// `AKIA…` or `ASIA…`; absent where the finding names none.
        access_key_id: Option<String>,
        /// Whose key it is.
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
    /// An ECS cluster, or what runs in it as far as the finding says.
    EcsCluster {
        /// The cluster's name.
        cluster: String,
        /// The task's ARN.
        task: Option<String>,
        /// The service that started the task, by name.
        service: Option<String>,
    },
    /// An EKS cluster, or what is in it as far as the finding says.
    EksCluster {
        /// The cluster's name.
        name: String,
        /// The workload that the finding is about.
        workload: Option<Workload>,
        /// The Kubernetes user who called the cluster's API.
        username: Option<String>,
    },
    /// A kind that no action here acts on; policy still matches it and says so.
    Other {
        /// The type as the finding names it.
        name: String,
        /// Its id or ARN, where the finding has one.
        id: Option<String>,
    },
}

impl ResourceKind {
    /// The id or name by which the service's own API knows it, as far as the
    /// finding says; of what runs in a cluster, the cluster's.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Instance { instance_id } => Some(instance_id),
            Self::AccessKey { access_key_id, .. } => access_key_id.as_deref(),
            Self::User { name }
            | Self::Role { name }
            | Self::Bucket { name }
            | Self::Function { name }
            | Self::EksCluster { name, .. } => Some(name),
            Self::DbInstance { identifier } | Self::DbCluster { identifier } => Some(identifier),
            Self::EcsCluster { cluster, .. } => Some(cluster),
            Self::Other { id, .. } => id.as_deref(),
        }
    }
}

/// One resource, in its account and Region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// The partition.
    pub partition: Partition,
    /// The account that owns the resource.
    pub account: AccountId,
    /// The Region in which the finding saw it; for the global services (IAM,
    /// S3's names) it is not part of the identity.
    pub region: Region,
    /// What it is.
    #[serde(flatten)]
    pub kind: ResourceKind,
}

impl Resource {
    /// The resource's identity: its ARN where AWS has one, otherwise a text of
    /// the same form. Global resources have no Region in it, so a finding that
    /// GuardDuty repeats in every Region names one and the same resource.
    pub fn arn(&self) -> String {
        let Self { partition, account, region, kind } = self;
        match kind {
            ResourceKind::Instance { instance_id } => {
                format!("arn:{partition}:ec2:{region}:{account}:instance/{instance_id}")
            }
            ResourceKind::AccessKey { access_key_id: Some(id), .. } => {
                format!("arn:{partition}:iam::{account}:access-key/{id}")
            }
            ResourceKind::AccessKey { access_key_id: None, principal } => {
                let id = principal.id.as_deref().or(principal.name.as_deref()).unwrap_or("unknown");
                format!("arn:{partition}:iam::{account}:principal/{id}")
            }
            ResourceKind::User { name } => format!("arn:{partition}:iam::{account}:user/{name}"),
            ResourceKind::Role { name } => format!("arn:{partition}:iam::{account}:role/{name}"),
            ResourceKind::Bucket { name } => format!("arn:{partition}:s3:::{name}"),
            ResourceKind::DbInstance { identifier } => {
                format!("arn:{partition}:rds:{region}:{account}:db:{identifier}")
            }
            ResourceKind::DbCluster { identifier } => {
                format!("arn:{partition}:rds:{region}:{account}:cluster:{identifier}")
            }
            ResourceKind::Function { name } => {
                format!("arn:{partition}:lambda:{region}:{account}:function:{name}")
            }
            ResourceKind::EcsCluster { task: Some(task), .. }
                if task.starts_with("arn:") && self.is_own_task(task) =>
            {
                task.clone()
            }
            ResourceKind::EcsCluster { cluster, task: Some(task), .. } => {
                format!("arn:{partition}:ecs:{region}:{account}:task/{cluster}/{task}")
            }
            ResourceKind::EcsCluster { cluster, task: None, .. } => {
                format!("arn:{partition}:ecs:{region}:{account}:cluster/{cluster}")
            }
            ResourceKind::EksCluster { name, workload, username } => {
                let cluster = format!("arn:{partition}:eks:{region}:{account}:cluster/{name}");
                match (workload, username) {
                    (Some(Workload { kind, namespace, name }), _) => {
                        format!("{cluster}/{kind}/{namespace}/{name}")
                    }
                    (None, Some(username)) => format!("{cluster}/user/{username}"),
                    (None, None) => cluster,
                }
            }
            ResourceKind::Other { name, id } => {
                let id = id.as_deref().unwrap_or("unknown");
                if id.starts_with("arn:") && !is_of_another_kind(id) {
                    id.to_owned()
                } else {
                    format!("arn:{partition}:other:{region}:{account}:{name}/{id}")
                }
            }
        }
    }

    /// The type's name in policies: GuardDuty's `resourceType` where it has one.
    pub fn type_name(&self) -> &str {
        match &self.kind {
            ResourceKind::Instance { .. } => "Instance",
            ResourceKind::AccessKey { .. } => "AccessKey",
            ResourceKind::User { .. } => "User",
            ResourceKind::Role { .. } => "Role",
            ResourceKind::Bucket { .. } => "S3Bucket",
            ResourceKind::DbInstance { .. } => "RDSDBInstance",
            ResourceKind::DbCluster { .. } => "RDSDBCluster",
            ResourceKind::Function { .. } => "Lambda",
            ResourceKind::EcsCluster { .. } => "ECSCluster",
            ResourceKind::EksCluster { .. } => "EKSCluster",
            ResourceKind::Other { name, .. } => name,
        }
    }
}

/// Whether an ARN is one that a kind above has. Whoever writes a finding says
/// what kind a resource is of: called something else, it must not take the
/// identity of an instance, whose responses it would then stand in the way of.
fn is_of_another_kind(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, rest) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
    let begins = |starts: &[&str]| starts.iter().any(|start| rest.starts_with(start));
    match service {
        "ec2" => begins(&["instance/"]),
        "iam" => begins(&["access-key/", "principal/", "user/", "role/"]),
        "s3" => !rest.contains('/'),
        "rds" => begins(&["db:", "cluster:"]),
        "lambda" => begins(&["function:"]),
        "ecs" => begins(&["cluster/", "task/"]),
        "eks" => begins(&["cluster/"]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_s_type_reads_back_as_it_was_written() {
        for name in [
            "IAMUser",
            "AssumedRole",
            "Role",
            "FederatedUser",
            "Root",
            "IdentityCenterUser",
            "AWSAccount",
            "AWSService",
            "SAMLUser",
        ] {
            let kind = PrincipalType::named(name);
            assert_eq!(kind.name(), name);
            let json = serde_json::to_value(&kind).unwrap();
            assert_eq!(json, serde_json::Value::String(name.to_owned()));
            assert_eq!(serde_json::from_value::<PrincipalType>(json).unwrap(), kind);
        }
    }

    #[test]
    fn what_is_called_something_else_does_not_take_an_instance_s_identity() {
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

    #[test]
    fn the_region_of_a_global_service_reads_back() {
        let written = serde_json::to_string(&Region::global()).unwrap();
        assert_eq!(serde_json::from_str::<Region>(&written).unwrap(), Region::global());
    }

    #[test]
    fn regions_partitions_and_accounts_are_taken_by_their_form() {
        let check = |text: &str, fits: bool| {
            assert_eq!(text.parse::<Region>().is_ok(), fits, "{text}");
        };
        check("eu-central-1", true);
        check("us-gov-west-1", true);
        check("eu-central", false);
        check("eu central 1", false);
        check("", false);
        for hostile in [
            "evil.example/#",
            "https://evil.example",
            "eu-central-1.evil.example",
            "eu-central-1/",
            "eu-central-1\n",
            "EU-CENTRAL-1",
            "eu-central-1@evil",
            "eu--1",
            "-a-1",
            "eu-\u{e4}-1",
            "eu-central-1\u{0}",
            "../eu-central-1",
            "aws-global",
        ] {
            check(hostile, false);
            let host = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
            let written = Region::as_written(hostile);
            assert!(written.is_err() || hostile.chars().all(host), "{hostile}");
        }
        for partition in ["aws-evil", "aws/", "aws.evil", "AWS", "", "aws-", "*"] {
            assert!(partition.parse::<Partition>().is_err(), "{partition}");
        }
        assert!("111111111111".parse::<AccountId>().is_ok());
        assert!("11111111111".parse::<AccountId>().is_err());
        let region = "cn-north-1".parse().unwrap();
        assert_eq!(Partition::of_region(&region).as_str(), "aws-cn");
    }
}
