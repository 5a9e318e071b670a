//! The id of a response.

use std::fmt;
use std::str::FromStr;

use firebreak_model::digest::sha256_hex_of_parts;
use serde::{Deserialize, Serialize};

use crate::target::TargetKey;

/// The id of a response: `r-` and sixteen hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResponseId(String);

impl ResponseId {
    /// A response is identified by its target's ARN, the key of its entry there and the
    /// epoch, not by the message that caused it: every delivery of the same finding
    /// leads to the same id.
    pub fn of(target: &str, key: &TargetKey, epoch: u64) -> Self {
        let mut digits = sha256_hex_of_parts([target, &key.to_string(), &epoch.to_string()]);
        digits.truncate(16);
        Self(format!("r-{digits}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that is no response id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a response id: `r-` and sixteen hexadecimal digits")]
pub struct ResponseIdError(String);

impl FromStr for ResponseId {
    type Err = ResponseIdError;

    fn from_str(text: &str) -> Result<Self, ResponseIdError> {
        let digits = text.strip_prefix("r-").unwrap_or_default();
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() == 16 && digits.bytes().all(hexadecimal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ResponseIdError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ResponseId {
    type Error = ResponseIdError;

    fn try_from(text: String) -> Result<Self, ResponseIdError> {
        text.parse()
    }
}

impl From<ResponseId> for String {
    fn from(id: ResponseId) -> String {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_target_key_and_epoch_give_the_same_id() {
        let key = TargetKey::of_rule("r-fb01/isolate");
        let id = ResponseId::of("arn:aws:ec2:::instance/i-0abc", &key, 1);
        assert_eq!(id, ResponseId::of("arn:aws:ec2:::instance/i-0abc", &key, 1));
        assert_ne!(id, ResponseId::of("arn:aws:ec2:::instance/i-0abc", &key, 2));
        assert_eq!(id.as_str().parse::<ResponseId>().unwrap(), id);
        assert!("r-0ABC".parse::<ResponseId>().is_err());
    }
}
