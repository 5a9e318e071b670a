//! Organizations: its one resource policy.

use super::{Before, Here, Kind, Made, Physical, Properties};
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    (name == "AWS::Organizations::ResourcePolicy").then_some(Kind { put: policy, delete })
}

fn policy(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["Content"])?;
    let document = properties.policy("Content")?;
    let organizations = &mut state.organizations;
    if here.account != organizations.management {
        return Err("AccessDeniedException: only the management account may".to_owned());
    }
    // "An organization has one resource policy."
    if organizations.resource_policy.is_some() && before.is_none() {
        return Err("the organization has a resource policy already".to_owned());
    }
    organizations.resource_policy = Some(document);
    Ok(Physical::new("rp-00000000", []))
}

fn delete(state: &mut State, _: Here<'_>, _: &Before<'_>) {
    state.organizations.resource_policy = None;
}
