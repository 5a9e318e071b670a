//! What GuardDuty and Security Hub have in common: delegation and members.

use std::collections::BTreeMap;

use firebreak_model::resource::AccountId;

use crate::aws::call_error::CallError;
use crate::setup::OrganizationAccount;

/// "maximum number of 50 items" (GuardDuty API reference, CreateMembers); "up to 50
/// accounts" (Security Hub API reference, CreateMembers).
const MEMBERS_PER_CALL: usize = 50;

/// The accounts that are not members yet, in as many as one call takes.
pub(super) fn missing_members<'a>(
    accounts: &[&'a OrganizationAccount],
    members: &BTreeMap<AccountId, String>,
) -> Vec<Vec<&'a OrganizationAccount>> {
    let missing: Vec<&OrganizationAccount> =
        accounts.iter().copied().filter(|it| !members.contains_key(&it.id)).collect();
    missing.chunks(MEMBERS_PER_CALL).map(<[_]>::to_vec).collect()
}

/// Says how to become the administrator, where AWS's code says that the caller is not.
pub(super) fn explain_not_administrator(error: CallError, code: &str, service: &str) -> CallError {
    if !error.has_code(code) {
        return error;
    }
    error.help(&format!(
        "the account is not the administrator of {service} in this Region yet: run `firebreak org enable` with credentials of the management account first"
    ))
}
