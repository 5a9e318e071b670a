//! ARN patterns of protections, and the ARN of the principal behind a target.

use firebreak_spoke::resource::{Principal, PrincipalType, ResourceKind};

use super::pattern::Glob;
use crate::finding::Target;

/// An ARN in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArnPattern {
    pub(super) text: String,
    glob: Glob,
}

/// Why a text is no ARN pattern, and what to write instead.
pub(super) struct NoArnPattern {
    pub(super) why: &'static str,
    pub(super) help: &'static str,
}

const PRINCIPAL_HELP: &str = "write it as in arn:*:iam::*:role/BreakGlass*";

impl ArnPattern {
    /// Reads a pattern of any resource; `*` alone is every resource.
    pub(super) fn resource(text: &str) -> Result<Self, NoArnPattern> {
        if text != "*" && parts(text).is_none() {
            return Err(NoArnPattern {
                why: "an ARN has six parts with colons between them",
                help: "write it as in arn:*:s3:::backup-*, or `*` for everything",
            });
        }
        Ok(Self { text: text.to_owned(), glob: Glob::new(text) })
    }

    /// Reads a pattern of users and roles. One that could never match is
    /// refused: a protection that protects nothing is worse than none.
    pub(super) fn principal(text: &str) -> Result<Self, NoArnPattern> {
        let refuse = |why, help| Err(NoArnPattern { why, help });
        let accepted = Ok(Self { text: text.to_owned(), glob: Glob::new(text) });
        if text == "*" {
            return accepted;
        }
        let Some((service, resource)) = parts(text) else {
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
        accepted
    }

    pub(super) fn matches(&self, arn: &str) -> bool {
        self.glob.matches(arn)
    }
}

/// The service and the resource of an ARN or of a pattern of ARNs.
fn parts(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.splitn(6, ':');
    let arn = parts.next()?;
    let (_partition, service) = (parts.next()?, parts.next()?);
    let (_region, _account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    (arn == "arn" && !service.is_empty() && !resource.is_empty()).then_some((service, resource))
}

/// Whose credentials or identity a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// A principal with this ARN.
    Principal(String),
    /// Somebody whom the finding does not name well enough.
    Unknown,
    /// Nobody: the target is no identity.
    Nobody,
}

/// The principal behind a target, by its type and never by its name alone: a
/// user and a role may have the same name.
pub(super) fn behind(target: &Target) -> Behind {
    let resource = &target.resource;
    let (partition, account) = (&resource.partition, &resource.account);
    let iam = |kind: &str, name: &str| {
        Behind::Principal(format!("arn:{partition}:iam::{account}:{kind}/{name}"))
    };
    let Principal { kind, name, .. } = match &resource.kind {
        ResourceKind::User { name } => return iam("user", name),
        ResourceKind::Role { name } => return iam("role", name),
        ResourceKind::AccessKey { principal, .. } => principal,
        ResourceKind::Instance { .. }
        | ResourceKind::Bucket { .. }
        | ResourceKind::Other { .. } => return Behind::Nobody,
    };
    match (kind, name) {
        (PrincipalType::Root, _) => {
            Behind::Principal(format!("arn:{partition}:iam::{account}:root"))
        }
        (PrincipalType::IamUser, Some(name)) => iam("user", name),
        (PrincipalType::AssumedRole | PrincipalType::Role, Some(name)) => iam("role", name),
        (PrincipalType::FederatedUser, Some(name)) => {
            Behind::Principal(format!("arn:{partition}:sts::{account}:federated-user/{name}"))
        }
        (
            PrincipalType::IamUser
            | PrincipalType::AssumedRole
            | PrincipalType::Role
            | PrincipalType::FederatedUser,
            None,
        )
        | (
            PrincipalType::IdentityCenterUser
            | PrincipalType::AwsAccount
            | PrincipalType::AwsService
            | PrincipalType::Other(_),
            _,
        ) => Behind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_pattern_that_could_never_match_is_refused() {
        let check = |text: &str, accepted: bool| {
            assert_eq!(ArnPattern::principal(text).is_ok(), accepted, "{text}");
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
    }

    #[test]
    fn a_resource_pattern_is_an_arn() {
        let check = |text: &str, accepted: bool| {
            assert_eq!(ArnPattern::resource(text).is_ok(), accepted, "{text}");
        };
        check("*", true);
        check("arn:*:s3:::backup-*", true);
        check("arn:aws:ec2:eu-west-1:111111111111:instance/i-0abc", true);
        check("backup-*", false);
        check("arn:aws:s3:backup", false);
    }
}
