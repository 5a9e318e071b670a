//! Which instance profile an instance has, and how it is changed. An
//! association's id changes with every association, so profiles are compared
//! by ARN.

use std::collections::HashMap;

use aws_sdk_ec2::types::{
    Filter, IamInstanceProfileAssociationState as State, IamInstanceProfileSpecification,
};

use crate::account::AccountSession;
use crate::contract::ActionContext;
use crate::support::ec2::reads;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

/// An instance's profile.
#[derive(Clone, Debug)]
pub(crate) struct Association {
    pub(crate) id: String,
    pub(crate) profile_arn: String,
}

/// The instance's profile, without one that is being disassociated.
pub(crate) async fn association(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Option<Association>, ActionError> {
    reads::profile_of(context.account, instance_id).await
}

/// The profiles of the instances that a filter matches, by instance.
pub(super) async fn associations(
    account: &AccountSession,
    filter: Filter,
) -> Result<HashMap<String, Association>, ActionError> {
    let (mut found, mut next) = (HashMap::new(), None);
    loop {
        let page = account
            .ec2(Class::Ec2Read)
            .await
            .describe_iam_instance_profile_associations()
            .filters(filter.clone())
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| from_sdk("ec2:DescribeIamInstanceProfileAssociations", &error))?;
        for described in page.iam_instance_profile_associations() {
            let present = matches!(described.state(), Some(State::Associated | State::Associating));
            let arn = described.iam_instance_profile().and_then(|profile| profile.arn());
            if let (true, Some(instance), Some(id), Some(arn)) =
                (present, described.instance_id(), described.association_id(), arn)
            {
                let (id, profile_arn) = (id.to_owned(), arn.to_owned());
                found.entry(instance.to_owned()).or_insert(Association { id, profile_arn });
            }
        }
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// The name in a profile's ARN, behind its path.
pub(crate) fn name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Whether a profile, by ARN, is the one that a policy names, by ARN or name.
pub(crate) fn is(arn: &str, named: &str) -> bool {
    arn == named || (!named.starts_with("arn:") && name(arn) == named)
}

fn specification(name_or_arn: &str) -> IamInstanceProfileSpecification {
    let builder = IamInstanceProfileSpecification::builder();
    if name_or_arn.starts_with("arn:") {
        builder.arn(name_or_arn).build()
    } else {
        builder.name(name_or_arn).build()
    }
}

/// Gives a profile to an instance without one. If the response to a first call was
/// lost, the SDK's retry is refused because of the first: then the present profile is
/// read.
pub(crate) async fn associate(
    context: ActionContext<'_>,
    instance: &str,
    profile: &str,
) -> Result<(), ActionError> {
    let call = context
        .account
        .ec2(Class::InstanceProfile)
        .await
        .associate_iam_instance_profile()
        .instance_id(instance)
        .iam_instance_profile(specification(profile));
    let result = call.send().await.map(|_| ());
    let error = match result {
        Ok(()) => return Ok(()),
        Err(error) => from_sdk("ec2:AssociateIamInstanceProfile", &error),
    };
    if error.has_code("IncorrectState")
        && let Some(now) = association(context, instance).await?
        && is(&now.profile_arn, profile)
    {
        return Ok(());
    }
    Err(error)
}

/// Disassociates a profile.
pub(crate) async fn disassociate(
    context: ActionContext<'_>,
    association: &str,
) -> Result<(), ActionError> {
    let call = context
        .account
        .ec2(Class::InstanceProfile)
        .await
        .disassociate_iam_instance_profile()
        .association_id(association);
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("ec2:DisassociateIamInstanceProfile", &error))
}

/// Replaces a profile by another.
pub(crate) async fn replace(
    context: ActionContext<'_>,
    association: &str,
    profile: &str,
) -> Result<(), ActionError> {
    let call = context
        .account
        .ec2(Class::InstanceProfile)
        .await
        .replace_iam_instance_profile_association()
        .association_id(association)
        .iam_instance_profile(specification(profile));
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("ec2:ReplaceIamInstanceProfileAssociation", &error))
}

/// Whether EC2 refused because the profile itself does not exist any more.
pub(crate) fn is_missing_profile(error: &ActionError) -> bool {
    error.has_code("InvalidParameterValue") && {
        let message = error.message.to_ascii_lowercase();
        message.contains("instanceprofile") || message.contains("instance profile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_model::error::ErrorKind;

    #[test]
    fn a_profile_is_named_by_its_arn_or_its_name_behind_the_path() {
        let arn = "arn:aws:iam::111111111111:instance-profile/team/web";
        assert!(is(arn, arn));
        assert!(is(arn, "web"));
        assert!(!is(arn, "eb"));
        assert!(!is(arn, "team/web"));
        assert!(!is(arn, "arn:aws:iam::111111111111:instance-profile/web"));
    }

    #[test]
    fn a_deleted_profile_is_distinguished_from_other_bad_values() {
        let check = |said: &str, expected: bool| {
            let mut error = ActionError::new(ErrorKind::Failed, said);
            error.code = Some("InvalidParameterValue".to_owned());
            assert_eq!(is_missing_profile(&error), expected, "{said}");
        };
        check("Value (x) for parameter iamInstanceProfile.arn is invalid", true);
        check("Invalid IAM Instance Profile ARN", true);
        check("Value (x) for parameter groupId is invalid", false);
    }
}
