//! The product that raised a finding, by its ARN, which others cannot forge.
//!
//! Security Hub sets a product's reserved ARN,
//! `arn:<partition>:securityhub:<region>::product/<company>/<product>`, which has no
//! account. A caller of BatchImportFindings can import under its own account's ARN,
//! `…:<account>:product/<account>/default`, with any names, types and fields
//! (Security Hub user guide, "Using BatchImportFindings"). So a product's name is
//! trusted for reserved ARNs only, and a type that looks like GuardDuty's for AWS's
//! products only. Other claims remain in `detail`.

use firebreak_model::resource::Partition;

use crate::fields::arn;

/// The product name of GuardDuty's findings.
pub const GUARDDUTY: &str = "GuardDuty";

/// Who raised a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Product {
    GuardDuty,
    /// Another AWS service.
    Aws(String),
    /// Another company's product, by its reserved ARN: `company/product`.
    Company(String),
    /// Anything else, by the path in the ARN: `account/default`.
    Custom(String),
}

impl Product {
    /// An ARN that contradicts the finding's Region, or itself, is not a reserved one.
    pub(super) fn of(product_arn: &str, region: Option<&str>) -> Self {
        let Some([partition, service, arn_region, account, resource]) = arn(product_arn) else {
            return Self::Custom(product_arn.to_owned());
        };
        // `productv2` is how OCSF findings write it.
        let path = resource.strip_prefix("product/").or(resource.strip_prefix("productv2/"));
        let Some(path) = path.filter(|_| service == "securityhub") else {
            return Self::Custom(product_arn.to_owned());
        };
        let in_partition = arn_region
            .parse()
            .is_ok_and(|region| Partition::of_region(&region).as_str() == partition);
        if !account.is_empty() {
            return Self::Custom(path.to_owned());
        }
        if !in_partition || region.is_some_and(|region| region != arn_region) {
            return Self::Custom(product_arn.to_owned());
        }
        match path.split_once('/') {
            Some(("aws", "guardduty")) => Self::GuardDuty,
            Some(("aws", name)) => Self::Aws(name.to_owned()),
            Some(_) => Self::Company(path.to_owned()),
            None => Self::Custom(product_arn.to_owned()),
        }
    }

    pub(super) fn is_aws(&self) -> bool {
        match self {
            Self::GuardDuty | Self::Aws(_) => true,
            Self::Company(_) | Self::Custom(_) => false,
        }
    }

    pub(super) fn is_guardduty(&self) -> bool {
        *self == Self::GuardDuty
    }

    /// The name that policies match; `claimed` is the name in the finding.
    pub(super) fn name(&self, claimed: Option<String>) -> String {
        // Only GuardDuty may be called GuardDuty.
        let own = |claimed: &String| !claimed.eq_ignore_ascii_case(GUARDDUTY);
        match self {
            Self::GuardDuty => GUARDDUTY.to_owned(),
            Self::Aws(name) | Self::Company(name) => {
                claimed.filter(own).unwrap_or_else(|| name.clone())
            }
            Self::Custom(name) => name.clone(),
        }
    }

    /// Whether the product may use a finding type. GuardDuty's types have a colon,
    /// Security Hub's taxonomy (`namespace/category/classifier`) has none.
    pub(super) fn may_claim(&self, kind: &str) -> bool {
        match self {
            Self::GuardDuty | Self::Aws(_) => true,
            Self::Company(_) | Self::Custom(_) => !kind.contains(':'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reserved_arn_names_a_product() {
        let custom = |name: &str| Product::Custom(name.to_owned());
        for (arn, region, expected) in [
            ("arn:aws:securityhub:eu-west-1::product/aws/guardduty", None, Product::GuardDuty),
            (
                "arn:aws:securityhub:eu-west-1::productv2/aws/guardduty",
                Some("eu-west-1"),
                Product::GuardDuty,
            ),
            (
                "arn:aws-cn:securityhub:cn-north-1::product/aws/guardduty",
                Some("cn-north-1"),
                Product::GuardDuty,
            ),
            (
                "arn:aws:securityhub:eu-west-1::product/aws/macie",
                None,
                Product::Aws("macie".to_owned()),
            ),
            (
                "arn:aws:securityhub:eu-west-1::product/prowler/prowler",
                None,
                Product::Company("prowler/prowler".to_owned()),
            ),
            (
                "arn:aws:securityhub:eu-west-1:111111111111:product/111111111111/default",
                None,
                custom("111111111111/default"),
            ),
            // An account where none belongs, another Region, another partition.
            (
                "arn:aws:securityhub:eu-west-1:111111111111:product/aws/guardduty",
                None,
                custom("aws/guardduty"),
            ),
            (
                "arn:aws:securityhub:eu-west-1::product/aws/guardduty",
                Some("us-east-1"),
                custom("arn:aws:securityhub:eu-west-1::product/aws/guardduty"),
            ),
            (
                "arn:aws-cn:securityhub:eu-west-1::product/aws/guardduty",
                None,
                custom("arn:aws-cn:securityhub:eu-west-1::product/aws/guardduty"),
            ),
            (
                "arn:aws:lambda:eu-west-1::product/aws/guardduty",
                None,
                custom("arn:aws:lambda:eu-west-1::product/aws/guardduty"),
            ),
            (
                "arn:aws:securityhub:eu-west-1::my-product/aws/guardduty",
                None,
                custom("arn:aws:securityhub:eu-west-1::my-product/aws/guardduty"),
            ),
            ("x/product/aws/guardduty", None, custom("x/product/aws/guardduty")),
        ] {
            assert_eq!(Product::of(arn, region), expected, "{arn} {region:?}");
        }
    }

    #[test]
    fn no_other_product_is_called_guardduty() {
        let claimed = || Some("guardduty".to_owned());
        for product in [
            Product::Aws("macie".to_owned()),
            Product::Company("prowler/prowler".to_owned()),
            Product::Custom("111111111111/default".to_owned()),
        ] {
            assert!(!product.name(claimed()).eq_ignore_ascii_case(GUARDDUTY), "{product:?}");
        }
    }
}
