//! Roles that no action touches, even if policy asks for it: otherwise Firebreak, the
//! organization's deployment or its people would be locked out, or AWS refuses to
//! change them anyway.

use firebreak_model::error::{ActionError, ErrorKind};

/// Refuses a role that must not be touched. `spoke_role` is the name, with or
/// without path, of the role that Firebreak itself uses in the account.
pub(crate) fn refuse_protected(
    name: &str,
    path: &str,
    spoke_role: &str,
) -> Result<(), ActionError> {
    let own = spoke_role.rsplit('/').next().unwrap_or(spoke_role);
    let why = if name == own {
        "it is Firebreak's own role in this account"
    } else if path.starts_with("/aws-service-role/") || name.starts_with("AWSServiceRoleFor") {
        "it is a service-linked role, which only its AWS service can change"
    } else if path.starts_with("/aws-reserved/") || name.starts_with("AWSReservedSSO_") {
        "it belongs to IAM Identity Center: revoke the user's session and permission set there"
    } else if name.starts_with("stacksets-exec-") {
        "CloudFormation StackSets deploys with it"
    } else if matches!(name, "AWSControlTowerExecution" | "OrganizationAccountAccessRole") {
        "the organization administers the account with it"
    } else {
        return Ok(());
    };
    Err(ActionError::new(ErrorKind::Refused, format!("refused to change the role `{name}`: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_roles_are_refused_and_others_are_not() {
        let check = |name: &str, path: &str, refused: bool| {
            let result = refuse_protected(name, path, "/security/FirebreakSpoke");
            assert_eq!(result.is_err(), refused, "{path}{name}");
        };
        check("FirebreakSpoke", "/security/", true);
        check("AWSServiceRoleForAutoScaling", "/aws-service-role/autoscaling.amazonaws.com/", true);
        check("AWSReservedSSO_Admin_0123456789abcdef", "/aws-reserved/sso.amazonaws.com/", true);
        check("stacksets-exec-0123456789abcdef", "/", true);
        check("AWSControlTowerExecution", "/", true);
        check("OrganizationAccountAccessRole", "/", true);
        check("web-server", "/", false);
        check("FirebreakSpokeTest", "/", false);
    }
}
