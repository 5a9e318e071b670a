//! ARN patterns of protections. A pattern that could never match is refused.

use firebreak_event_pattern::Glob;
use firebreak_model::resource::AccountId;

/// An ARN in which `*` matches any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArnPattern {
    pub(crate) text: String,
    glob: Glob,
}

/// Why a text is not an ARN pattern of a protection, and what to write instead.
pub(crate) struct ArnPatternError {
    pub(crate) why: &'static str,
    pub(crate) help: &'static str,
}

const PRINCIPAL_HELP: &str = "write it as in arn:*:iam::*:role/BreakGlass*";

impl ArnPattern {
    /// Parses a pattern of any resource; `*` alone is every resource. A pattern that could
    /// never match is refused: its author would believe that something is protected.
    pub(crate) fn parse_resource(text: &str) -> Result<Self, ArnPatternError> {
        if text == "*" {
            return Ok(Self { text: text.to_owned(), glob: Glob::new(text) });
        }
        let refuse = |why, help| Err(ArnPatternError { why, help });
        let Some(Parts { service, resource, .. }) = parts(text) else {
            return refuse(
                "an ARN has six parts with colons between them",
                "write it as in arn:*:s3:::backup-*, or `*` for everything",
            );
        };
        if service == "iam" || service == "sts" {
            return Self::parse_principal(text);
        }
        if service == "s3" && resource.contains('/') {
            return refuse(
                "actions change buckets, not the objects in them",
                "protect the bucket, as in arn:*:s3:::backup-*",
            );
        }
        if service == "ec2" && !resource.contains(['/', '*']) {
            return refuse(
                "an EC2 resource has its type before a slash",
                "write it as in arn:*:ec2:*:*:instance/i-0123456789abcdef0",
            );
        }
        Self::with_valid_account(text)
    }

    /// Parses a pattern of users and roles; `*` alone is all of them.
    pub(crate) fn parse_principal(text: &str) -> Result<Self, ArnPatternError> {
        let refuse = |why, help| Err(ArnPatternError { why, help });
        if text == "*" {
            return Ok(Self { text: text.to_owned(), glob: Glob::new(text) });
        }
        let Some(Parts { service, region, resource, .. }) = parts(text) else {
            return refuse("an ARN has six parts with colons between them", PRINCIPAL_HELP);
        };
        let (kind, name) = resource.split_once('/').unwrap_or((resource, "*"));
        if kind == "assumed-role" {
            let why = "a role's sessions are protected by their role";
            return refuse(why, PRINCIPAL_HELP);
        }
        let federated = service == "sts" && kind == "federated-user";
        if service != "iam" && !service.contains('*') && !federated {
            return refuse("users and roles belong to iam", PRINCIPAL_HELP);
        }
        if !federated && !kind.contains('*') && !["user", "role", "root"].contains(&kind) {
            return refuse("a principal is a user/…, a role/… or root", PRINCIPAL_HELP);
        }
        if name.contains('/') {
            return refuse(
                "findings name users and roles without their path",
                "leave the path out: a name is unique in its account whatever its path",
            );
        }
        if !region.is_empty() && region != "*" {
            return refuse("users and roles have no Region", PRINCIPAL_HELP);
        }
        Self::with_valid_account(text)
    }

    /// The pattern, if its account is a whole account id, a pattern of one, `aws` or empty.
    fn with_valid_account(text: &str) -> Result<Self, ArnPatternError> {
        let account = parts(text).map_or("", |parts| parts.account);
        let whole = account.parse::<AccountId>().is_ok();
        if !whole && !account.is_empty() && account != "aws" && !account.contains('*') {
            return Err(ArnPatternError {
                why: "its account is not an account id of twelve digits",
                help: "write twelve digits, or * for any account",
            });
        }
        Ok(Self { text: text.to_owned(), glob: Glob::new(text) })
    }

    pub(crate) fn matches(&self, arn: &str) -> bool {
        self.glob.matches(arn)
    }
}

/// The parts of an ARN or of a pattern of ARNs.
struct Parts<'a> {
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let mut parts = text.splitn(6, ':');
    let (arn, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    (arn == "arn" && !service.is_empty() && !resource.is_empty()).then_some(Parts {
        service,
        region,
        account,
        resource,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_pattern_that_could_never_match_is_refused() {
        let check = |text: &str, accepted: bool| {
            assert_eq!(ArnPattern::parse_principal(text).is_ok(), accepted, "{text}");
        };
        check("*", true);
        check("arn:*:iam::*:role/BreakGlass*", true);
        check("arn:aws:iam::111111111111:user/alice", true);
        check("arn:*:iam::*:root", true);
        check("arn:*:iam::*:*", true);
        check("arn:*:sts::*:federated-user/ops-*", true);
        check("BreakGlass", false);
        check("arn:aws:iam::role/BreakGlass", false);
        check("arn:*:sts::*:assumed-role/BreakGlass/*", false);
        check("arn:*:s3:::backup", false);
        check("arn:*:iam::*:group/Admins", false);
        check("arn:*:iam::*:role/ops/BreakGlass", false);
        check("arn:aws:iam:us-east-1:111111111111:role/x", false);
        check("arn:aws:iam::1111:role/x", false);
        check("arn:*:iam:*:1111*:role/x", true);
    }

    #[test]
    fn a_resource_pattern_is_an_arn() {
        let check = |text: &str, accepted: bool| {
            assert_eq!(ArnPattern::parse_resource(text).is_ok(), accepted, "{text}");
        };
        check("*", true);
        check("arn:*:s3:::backup-*", true);
        check("arn:aws:ec2:eu-west-1:111111111111:instance/i-0abc", true);
        check("arn:*:iam::*:role/App", true);
        check("arn:aws:rds:*:111111111111:db:orders", true);
        check("backup-*", false);
        check("arn:*:iam::*:role/ops/App", false);
        check("arn:*:sts::*:assumed-role/App/*", false);
        check("arn:*:s3:::reports/*", false);
        check("arn:aws:ec2:eu-west-1:111111111111:i-0abc", false);
        check("arn:aws:ec2:eu-west-1:1111:instance/i-0abc", false);
        check("arn:aws:s3:backup", false);
    }
}
