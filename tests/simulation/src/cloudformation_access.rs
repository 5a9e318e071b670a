//! CloudFormation's trusted access to AWS Organizations, which service-managed
//! StackSets stand on. Nothing else of CloudFormation.
//!
//! It is one truth with Organizations: access is on when Organizations trusts
//! StackSets' principals.

use crate::ec2::form::Form;
use crate::ec2::xml;
use crate::organizations::Organizations;
use crate::wire::ServiceError;

/// The principals of StackSets in the management account and in members (AWS
/// Organizations user guide, "AWS CloudFormation StackSets and AWS Organizations").
pub const PRINCIPALS: [&str; 2] =
    ["stacksets.cloudformation.amazonaws.com", "member.org.stacksets.cloudformation.amazonaws.com"];

/// Answers a call; `None` for one that is not modelled.
pub fn answer(
    organizations: &mut Organizations,
    account: &str,
    operation: &str,
    form: &Form,
) -> Option<Result<String, ServiceError>> {
    let refused = |code: &str, message: &str| Some(Err(ServiceError::new(400, code, message)));
    let managing = account == organizations.management;
    match operation {
        "ActivateOrganizationsAccess" if managing => {
            organizations.trusted.extend(PRINCIPALS.map(str::to_owned));
            Some(Ok(String::new()))
        }
        "ActivateOrganizationsAccess" => {
            refused("InvalidOperationException", "You must be the management account to do so")
        }
        "DescribeOrganizationsAccess" => {
            let delegated = organizations
                .delegated_for(PRINCIPALS[1])
                .is_some_and(|accounts| accounts.contains(account));
            let as_delegated = form.get("CallAs") == Some("DELEGATED_ADMIN");
            if !(managing && !as_delegated || delegated && as_delegated) {
                let message = "You must be the management account or a delegated administrator";
                return refused("ValidationError", message);
            }
            let on = PRINCIPALS.iter().all(|it| organizations.trusted.contains(*it));
            let mut out = String::new();
            xml::text(&mut out, "Status", if on { "ENABLED" } else { "DISABLED" });
            Some(Ok(out))
        }
        _ => None,
    }
}
