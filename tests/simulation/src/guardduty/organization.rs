//! GuardDuty in an organization: who administers it, what members are given,
//! and the members themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::detectors::{BOTH_RUNTIMES, names, offered};
use super::{Place, bad_request};
use crate::state::State;
use crate::wire::{HttpRequest, ServiceError};

type Answer = Result<Value, ServiceError>;

/// The service principal by which AWS Organizations knows GuardDuty.
pub(crate) const PRINCIPAL: &str = "guardduty.amazonaws.com";
/// "maximum number of 50 items" (GuardDuty API reference, CreateMembers).
const ACCOUNTS_AT_MOST: usize = 50;

/// What an administrator's members are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Whether every account is given GuardDuty: `ALL`; else `NEW` or `NONE`.
    pub members: Option<String>,
    /// `ALL` or `NEW` by `FEATURE` or `FEATURE/ADDITION`.
    pub features: BTreeMap<String, String>,
}

/// A member account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its e-mail address, as it was given.
    pub email: String,
    /// `Enabled`, `Disabled`, …
    pub status: String,
}

/// The calls of the management account; `None` for other calls.
pub(super) fn designation(
    state: &mut State,
    place: Place<'_>,
    operation: &str,
    input: &Value,
) -> Option<Answer> {
    let calls = ["ListOrganizationAdminAccounts", "EnableOrganizationAdminAccount"];
    if !calls.contains(&operation) {
        return None;
    }
    if place.account != state.organizations.management {
        // "Only the organization's management account can run this API operation."
        return Some(Err(bad_request(
            "the current account is not the management account of an organization",
        )));
    }
    let held = state.guardduty.administrator_in(place.region).map(str::to_owned);
    if operation == "ListOrganizationAdminAccounts" {
        let listed: Vec<Value> = held
            .iter()
            .map(|id| json!({ "adminAccountId": id, "adminStatus": "ENABLED" }))
            .collect();
        return Some(Ok(json!({ "adminAccounts": listed })));
    }
    let wanted = input.get("adminAccountId").and_then(Value::as_str).unwrap_or_default();
    if held.is_some() {
        let why = "the organization already has a delegated administrator in this Region";
        return Some(Err(bad_request(why)));
    }
    Some(designate(state, place, wanted))
}

/// One administrator for a Region, and the same for all Regions; AWS
/// Organizations is told (GuardDuty user guide, "Considerations and
/// recommendations for a delegated administrator account").
fn designate(state: &mut State, place: Place<'_>, wanted: &str) -> Answer {
    let organizations = &mut state.organizations;
    if !organizations.accounts.contains_key(wanted) || wanted == organizations.management {
        return Err(bad_request("the account can't be made the delegated administrator"));
    }
    let delegated = organizations.delegated_for(PRINCIPAL);
    if delegated.is_some_and(|others| others.iter().any(|other| other != wanted)) {
        return Err(bad_request(
            "the organization has another delegated administrator for GuardDuty in another Region",
        ));
    }
    organizations.trusted.insert(PRINCIPAL.to_owned());
    organizations.register(PRINCIPAL, wanted);
    state.guardduty.administrators.insert(place.region.to_owned(), wanted.to_owned());
    if !state.guardduty.designation_leaves_off {
        state.guardduty.enable(wanted, place.region);
    }
    Ok(json!({}))
}

/// The calls of the administrator, of whose own detector the path speaks; `None`
/// for other calls.
pub(super) fn answer(
    state: &mut State,
    place: Place<'_>,
    operation: &str,
    (request, input): (&HttpRequest, &Value),
) -> Option<Answer> {
    let calls = [
        "DescribeOrganizationConfiguration",
        "UpdateOrganizationConfiguration",
        "CreateMembers",
        "ListMembers",
    ];
    if !calls.contains(&operation) {
        return None;
    }
    if state.guardduty.administrator_in(place.region) != Some(place.account) {
        return Some(Err(bad_request(
            "the current account is not a delegated administrator account",
        )));
    }
    Some(match operation {
        "DescribeOrganizationConfiguration" => Ok(describe(state, place.region)),
        "UpdateOrganizationConfiguration" => update(state, place.region, input),
        "CreateMembers" => create_members(state, place, input),
        _ => list_members(state, place, request),
    })
}

fn describe(state: &State, region: &str) -> Value {
    let empty = Configuration::default();
    let held = state.guardduty.configurations.get(region).unwrap_or(&empty);
    let of = |name: &str| held.features.get(name).map_or("NONE", String::as_str);
    let features: Vec<Value> = offered(&state.guardduty, region)
        .map(|(name, additions)| {
            let additions: Vec<Value> = additions
                .iter()
                .map(|it| json!({ "name": it, "autoEnable": of(&format!("{name}/{it}")) }))
                .collect();
            json!({ "name": name, "autoEnable": of(name), "additionalConfiguration": additions })
        })
        .collect();
    let members = held.members.as_deref().unwrap_or("NONE");
    json!({
        "autoEnable": members != "NONE",
        "autoEnableOrganizationMembers": members,
        "memberAccountLimitReached": false,
        "features": features,
    })
}

fn update(state: &mut State, region: &str, input: &Value) -> Answer {
    let members = input.get("autoEnableOrganizationMembers").and_then(Value::as_str);
    let Some(members) = members.filter(|_| input.get("autoEnable").is_none()) else {
        return Err(bad_request(
            "either autoEnableOrganizationMembers or autoEnable is required, not both",
        ));
    };
    let mut held = state.guardduty.configurations.get(region).cloned().unwrap_or_default();
    held.members = Some(members.to_owned());
    for value in ["ALL", "NEW"] {
        for (name, given) in names(&state.guardduty, region, input, "autoEnable", value)? {
            if given {
                held.features.insert(name, value.to_owned());
            }
        }
    }
    for (name, none) in names(&state.guardduty, region, input, "autoEnable", "NONE")? {
        if none {
            held.features.remove(&name);
        }
    }
    let runtime = ["RUNTIME_MONITORING", "EKS_RUNTIME_MONITORING"];
    if runtime.iter().all(|name| held.features.contains_key(*name)) {
        return Err(bad_request(BOTH_RUNTIMES));
    }
    state.guardduty.configurations.insert(region.to_owned(), held);
    Ok(json!({}))
}

/// Turns GuardDuty on in accounts of the organization. The management account
/// has to do so itself: "Operation failed because your organization master must
/// first enable GuardDuty to be added as a member".
fn create_members(state: &mut State, place: Place<'_>, input: &Value) -> Answer {
    let details = input.get("accountDetails").and_then(Value::as_array);
    let details = details.filter(|list| (1..=ACCOUNTS_AT_MOST).contains(&list.len()));
    let details = details
        .ok_or_else(|| bad_request("the parameter accountDetails must have 1 to 50 items"))?;
    let mut unprocessed = Vec::new();
    for detail in details {
        let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default();
        let (account, email) = (text("accountId"), text("email"));
        if let Some(why) = refused(state, place, account, email) {
            unprocessed.push(json!({ "accountId": account, "result": why }));
            continue;
        }
        state.guardduty.enable(account, place.region);
        let member = Member { email: email.to_owned(), status: "Enabled".to_owned() };
        let members = state.guardduty.members.entry(place.region.to_owned()).or_default();
        members.insert(account.to_owned(), member);
    }
    Ok(json!({ "unprocessedAccounts": unprocessed }))
}

fn refused(state: &State, place: Place<'_>, account: &str, email: &str) -> Option<&'static str> {
    let member = state.organizations.accounts.get(account);
    let key = (account.to_owned(), place.region.to_owned());
    let members = state.guardduty.members.get(place.region);
    if email.is_empty() {
        return Some("The request is rejected because the email address is invalid.");
    }
    if account == place.account {
        return Some("The request is rejected because an account can't be its own member.");
    }
    if members.is_some_and(|members| members.contains_key(account)) {
        return Some(
            "The request is rejected because the given account ID is already a member or associated member of the current account.",
        );
    }
    if member.is_none_or(|member| member.state != "ACTIVE") {
        return Some("Operation failed because the account is not active in your organization.");
    }
    if account == state.organizations.management && !state.guardduty.detectors.contains_key(&key) {
        return Some(
            "Operation failed because your organization master must first enable GuardDuty to be added as a member",
        );
    }
    None
}

/// Pages of 50 at most (GuardDuty API reference, ListMembers).
fn list_members(state: &State, place: Place<'_>, request: &HttpRequest) -> Answer {
    let query = |name: &str| {
        request.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let start: usize = query("nextToken")
        .map_or(Ok(0), str::parse)
        .map_err(|_| bad_request("the parameter nextToken is invalid"))?;
    let size: usize = query("maxResults")
        .map_or(Ok(50), str::parse)
        .ok()
        .filter(|size| (1..=50).contains(size))
        .ok_or_else(|| bad_request("the parameter maxResults must be 1 to 50"))?;
    let empty = BTreeMap::new();
    let members = state.guardduty.members.get(place.region).unwrap_or(&empty);
    let page: Vec<Value> = members
        .iter()
        .skip(start)
        .take(size)
        .map(|(id, member)| {
            json!({
                "accountId": id, "administratorId": place.account, "masterId": place.account,
                "email": member.email, "relationshipStatus": member.status,
                "updatedAt": "2026-01-01T00:00:00.000Z",
            })
        })
        .collect();
    let next = start + page.len();
    let mut answer = json!({ "members": page });
    if let Some(object) = answer.as_object_mut().filter(|_| next < members.len()) {
        object.insert("nextToken".to_owned(), json!(next.to_string()));
    }
    Ok(answer)
}
