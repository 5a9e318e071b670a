//! Which product raised a finding, by what nobody but the product can write.
//!
//! Security Hub sets a product's reserved ARN itself,
//! `arn:<partition>:securityhub:<region>::product/<company>/<product>`, without
//! an account. Whoever may call BatchImportFindings can import under their own,
//! `…:<account>:product/<account>/default`, and claim anything in the names,
//! types and fields (Security Hub user guide, "Using BatchImportFindings"). So
//! names are believed of reserved products only, and what looks like a finding
//! type of GuardDuty's of AWS's own only: other claims stand in `detail` alone.

use firebreak_model::resource::Partition;

use super::fields::arn;

/// The product's name of every finding that is GuardDuty's.
pub const GUARDDUTY: &str = "GuardDuty";

/// Who stands behind a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// GuardDuty itself.
    GuardDuty,
    /// Another product of AWS's.
    Aws(String),
    /// Another company's, under its reserved ARN: `company/product`.
    Company(String),
    /// Anybody, under what the ARN calls them: `account/default`.
    Custom(String),
}

impl Product {
    /// Reads a product's ARN. One that contradicts the finding's own Region, or
    /// itself, is nobody's reserved one.
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

    /// Whether it is a service of AWS's.
    pub(super) fn is_aws(&self) -> bool {
        match self {
            Self::GuardDuty | Self::Aws(_) => true,
            Self::Company(_) | Self::Custom(_) => false,
        }
    }

    pub(super) fn is_guardduty(&self) -> bool {
        *self == Self::GuardDuty
    }

    /// Its name, as policies see it; `claimed` is what the finding calls it.
    pub(super) fn name(&self, claimed: Option<String>) -> String {
        // AWS writes the names of its own products. A company's is its own word,
        // but never somebody else's.
        let own = |claimed: &String| !claimed.eq_ignore_ascii_case(GUARDDUTY);
        match self {
            Self::GuardDuty => GUARDDUTY.to_owned(),
            Self::Aws(name) | Self::Company(name) => {
                claimed.filter(own).unwrap_or_else(|| name.clone())
            }
            Self::Custom(name) => name.clone(),
        }
    }

    /// Whether a finding type is believed. GuardDuty's have a colon, Security
    /// Hub's own taxonomy (`namespace/category/classifier`) has none.
    pub(super) fn may_say(&self, kind: &str) -> bool {
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
    fn a_product_is_known_by_its_reserved_arn_only() {
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
    fn nobody_else_is_called_guardduty() {
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
