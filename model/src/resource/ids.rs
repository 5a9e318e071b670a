//! Account ids, Regions and partitions: parsed once at the edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// An AWS account id: exactly twelve digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

/// Why a text is not an account id, Region or partition.
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

    /// The id as a finding writes it. A text that is not twelve digits (a placeholder,
    /// a digit too many) is nobody's account: it can be read and explained, and
    /// [`Self::is_real`] keeps it from being acted on.
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

/// Letters, digits, dashes and underscores: the characters that do not change the
/// meaning of an ARN.
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

    /// The Region as a finding writes it, in any form: a Region that does not exist has
    /// no endpoint, so nothing can be done in it.
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

/// Words of lower-case letters and a number, joined by dashes, because it becomes a
/// part of host names.
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

/// A partition: `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, `aws-iso`… Taken from an ARN
/// or from the finding; never assumed if either has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Partition(String);

/// Every partition in the SDKs' partition metadata. A text from outside that is
/// none of these is not put into an ARN.
const PARTITIONS: &[&str] =
    &["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"];

impl Partition {
    /// The partition's name in ARNs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition of a Region, by the prefixes that AWS publishes in its SDKs'
    /// partition metadata.
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

    /// Accepts the pseudo Region too, because records about global services have it.
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

#[cfg(test)]
mod tests {
    use super::*;

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
