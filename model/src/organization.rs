//! The place of an account: its path from the organization's root down. Pure;
//! `aws::organization` looks it up.

use std::fmt;
use std::str::FromStr;

use crate::resource::AccountId;
use serde::{Deserialize, Serialize};

/// The path from the root to the OU that holds an account: the root's id, then
/// OU ids from the top down, with slashes between them. Ids, not names, because
/// OUs can be renamed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OuPath(String);

/// Why a text is not an OU path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path of OUs: {why}")]
pub struct OuPathError {
    /// The text that was refused.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl OuPath {
    /// Builds a path from ids, the root first.
    pub fn new(ids: &[&str]) -> Result<Self, OuPathError> {
        let wrong = |why| Err(OuPathError { text: ids.join("/"), why });
        let Some((root, ous)) = ids.split_first() else {
            return wrong("it is empty; it starts with the root's id, `r-…`");
        };
        if !root.starts_with("r-") {
            return wrong("it does not start with the root's id, `r-…`");
        }
        if !ous.iter().all(|ou| ou.starts_with("ou-")) {
            return wrong("every part after the root is an OU id, `ou-…`");
        }
        if ous.len() > 5 {
            return wrong("AWS Organizations nests OUs at most five deep");
        }
        Ok(Self(ids.join("/")))
    }

    /// The ids, the root first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The root or OU that holds the account.
    pub fn unit(&self) -> &str {
        self.ids().next_back().unwrap_or_default()
    }

    /// The path as it is written, ids with slashes between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OuPath {
    type Err = OuPathError;

    /// Reads `r-a1b2/ou-…/ou-…`, and AWS's own form of it in `Account.Paths`
    /// and `aws:PrincipalOrgPaths`: `o-…/r-…/ou-…/123456789012/`.
    fn from_str(text: &str) -> Result<Self, OuPathError> {
        let mut ids: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        if ids.first().is_some_and(|id| id.starts_with("o-")) {
            ids.remove(0);
        }
        if ids.last().is_some_and(|id| id.parse::<AccountId>().is_ok()) {
            ids.pop();
        }
        Self::new(&ids).map_err(|error| OuPathError { text: text.to_owned(), ..error })
    }
}

impl fmt::Display for OuPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for OuPath {
    type Error = OuPathError;

    fn try_from(text: String) -> Result<Self, OuPathError> {
        text.parse()
    }
}

impl From<OuPath> for String {
    fn from(path: OuPath) -> String {
        path.0
    }
}

/// An account and its OU path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The account.
    pub account: AccountId,
    /// The OUs above it.
    pub ou_path: OuPath,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organization_id_and_account_id_are_dropped_from_a_path() {
        let path: OuPath = "o-aa111bb222/r-a1b2/ou-a1b2-prod1111/222222222222/".parse().unwrap();
        assert_eq!(path.ids().collect::<Vec<_>>(), ["r-a1b2", "ou-a1b2-prod1111"]);
        assert_eq!(path.unit(), "ou-a1b2-prod1111");
        assert_eq!(path.to_string(), "r-a1b2/ou-a1b2-prod1111");
    }

    #[test]
    fn a_path_without_a_root_is_refused() {
        for text in ["", "ou-a1b2-prod1111", "222222222222", "r-a1b2/prod"] {
            assert!(text.parse::<OuPath>().is_err(), "{text}");
        }
    }
}
