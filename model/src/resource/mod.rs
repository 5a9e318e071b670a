//! One AWS resource with its account, Region and partition. Parsed once at the edge;
//! never guessed from a name alone.

mod ids;
mod kind;
mod principal;
mod syntax;

use serde::{Deserialize, Serialize};

pub use self::ids::{AccountId, ParseError, Partition, Region};
use self::kind::{ArnForm, Row};
pub use self::kind::{PrincipalRef, ResourceKind, TYPE_NAMES, Workload};
pub use self::principal::{Principal, PrincipalType};
use crate::text::percent_encoded;

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
    /// Its kind.
    #[serde(flatten)]
    pub kind: ResourceKind,
}

impl Resource {
    fn row(&self) -> Row<'_> {
        self.kind.row(self)
    }

    /// The resource's identity: its ARN if AWS has one, otherwise a text of the same
    /// form. The identity of a global resource has no Region, so a finding that
    /// GuardDuty repeats in every Region names the same resource.
    pub fn arn(&self) -> String {
        let Self { partition, account, region, .. } = self;
        match self.row().arn {
            ArnForm::Regional(service, prefix, rest) => {
                format!("arn:{partition}:{service}:{region}:{account}:{prefix}{rest}")
            }
            ArnForm::Iam(prefix, name) => format!("arn:{partition}:iam::{account}:{prefix}{name}"),
            ArnForm::Bucket(name) => format!("arn:{partition}:s3:::{name}"),
            ArnForm::Whole(arn) => arn.into_owned(),
        }
    }

    /// The type's name in policies: GuardDuty's `resourceType` where it has one.
    pub fn type_name(&self) -> &str {
        self.row().type_name
    }

    /// The principal that it is, or whose credentials it is.
    pub fn principal(&self) -> Option<PrincipalRef<'_>> {
        self.row().principal
    }

    /// The path of its page in the console; `None` where it has no page.
    pub fn console_path(&self) -> Option<String> {
        let (path, id) = self.row().console?;
        let path = path.replace("{region}", self.region.as_str());
        Some(path.replace("{id}", &percent_encoded(id)))
    }

    /// The id or name by which the service's own API knows it, if the finding has it;
    /// for a task or workload the cluster's.
    pub fn id(&self) -> Option<&str> {
        self.row().id
    }
}
