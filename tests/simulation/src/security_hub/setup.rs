//! How Security Hub is set up in an organization: who administers it, where it
//! is on, what new accounts are given, where findings are gathered.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answers::{Answer, Place, Refusal, invalid};
use super::model::SecurityHub;
use crate::state::State;
use crate::wire::{HttpRequest, decode};

/// The service principal by which AWS Organizations knows Security Hub.
const PRINCIPAL: &str = "securityhub.amazonaws.com";
/// "up to 50 accounts" (Security Hub API reference, CreateMembers).
const ACCOUNTS_AT_MOST: usize = 50;
/// "Valid Range: Minimum value of 1. Maximum value of 50." (ListMembers).
const PAGE: usize = 50;

/// The operation that a method and path name; `None` for one that is not here.
pub(super) fn operation(method: &str, path: &str) -> Option<&'static str> {
    match (method, path) {
        ("GET", "/findingAggregator/list") => Some("ListFindingAggregators"),
        ("GET", path) if path.starts_with("/findingAggregator/get/") => {
            Some("GetFindingAggregator")
        }
        ("POST", "/findingAggregator/create") => Some("CreateFindingAggregator"),
        ("GET", "/accounts") => Some("DescribeHub"),
        ("POST", "/accounts") => Some("EnableSecurityHub"),
        ("GET", "/organization/admin") => Some("ListOrganizationAdminAccounts"),
        ("POST", "/organization/admin/enable") => Some("EnableOrganizationAdminAccount"),
        ("GET", "/organization/configuration") => Some("DescribeOrganizationConfiguration"),
        ("POST", "/organization/configuration") => Some("UpdateOrganizationConfiguration"),
        ("GET", "/members") => Some("ListMembers"),
        ("POST", "/members") => Some("CreateMembers"),
        _ => None,
    }
}

fn no_access(message: impl Into<String>) -> Refusal {
    Refusal { status: 401, code: "InvalidAccessException", message: message.into() }
}

/// Answers a call of [`operation`]; `None` for others.
pub(super) fn answer(
    state: &mut State,
    place: Place<'_>,
    operation: &str,
    (request, input): (&HttpRequest, &Value),
) -> Option<Answer> {
    let managing = place.account == state.organizations.management;
    if ["ListOrganizationAdminAccounts", "EnableOrganizationAdminAccount"].contains(&operation) {
        if !managing {
            return Some(Err(no_access("The account is not an organization management account")));
        }
        if operation == "EnableOrganizationAdminAccount" {
            return Some(designate(state, place, input));
        }
        let held = state.security_hub.administrator_in(place.region);
        let listed: Vec<Value> =
            held.iter().map(|id| json!({ "AccountId": id, "Status": "ENABLED" })).collect();
        return Some(Ok(json!({ "AdminAccounts": listed })));
    }
    let known = [
        "ListFindingAggregators",
        "GetFindingAggregator",
        "CreateFindingAggregator",
        "DescribeHub",
        "EnableSecurityHub",
        "DescribeOrganizationConfiguration",
        "UpdateOrganizationConfiguration",
        "ListMembers",
        "CreateMembers",
    ];
    if !known.contains(&operation) {
        return None;
    }
    let is_on = state.security_hub.is_on(place.account, place.region);
    if operation == "EnableSecurityHub" {
        if is_on {
            let message = "Account is already subscribed to Security Hub".to_owned();
            return Some(Err(Refusal { status: 409, code: "ResourceConflictException", message }));
        }
        state.security_hub.enable(place.account, place.region);
        return Some(Ok(json!({})));
    }
    if !is_on {
        let message = format!("Account {} is not subscribed to AWS Security Hub", place.account);
        return Some(Err(no_access(message)));
    }
    let administering = ["OrganizationConfiguration", "CreateMembers"];
    if administering.iter().any(|it| operation.ends_with(it))
        && state.security_hub.administrator_in(place.region) != Some(place.account)
    {
        let message = "The account is not the Security Hub administrator of an organization";
        return Some(Err(no_access(message)));
    }
    Some(match operation {
        "DescribeHub" => Ok(json!({
            "HubArn": format!("arn:aws:securityhub:{}:{}:hub/default", place.region, place.account),
            "SubscribedAt": "2026-01-01T00:00:00.000Z",
            "AutoEnableControls": true,
        })),
        "DescribeOrganizationConfiguration" => Ok(describe(&state.security_hub, place.region)),
        "UpdateOrganizationConfiguration" => update(&mut state.security_hub, place.region, input),
        "ListMembers" => list_members(&state.security_hub, place, request),
        "CreateMembers" => create_members(state, place, input),
        _ => aggregators(&mut state.security_hub, place, operation, (request, input)),
    })
}

/// One administrator for the organization (Security Hub user guide,
/// "Integrating Security Hub CSPM with AWS Organizations").
fn designate(state: &mut State, place: Place<'_>, input: &Value) -> Answer {
    let wanted = input.get("AdminAccountId").and_then(Value::as_str).unwrap_or_default();
    let conflict = |message: &str| {
        Err(Refusal { status: 409, code: "ResourceConflictException", message: message.to_owned() })
    };
    if state.security_hub.administrator_in(place.region).is_some() {
        return conflict("An administrator account is already designated");
    }
    let organizations = &mut state.organizations;
    if !organizations.accounts.contains_key(wanted) || wanted == organizations.management {
        return Err(invalid("The account can't be the administrator"));
    }
    let delegated = organizations.delegated_for(PRINCIPAL);
    if delegated.is_some_and(|others| others.iter().any(|other| other != wanted)) {
        return conflict("Another account is the delegated administrator of the organization");
    }
    organizations.trusted.insert(PRINCIPAL.to_owned());
    organizations.register(PRINCIPAL, wanted);
    let hub = &mut state.security_hub;
    hub.administrators.insert(place.region.to_owned(), wanted.to_owned());
    if !hub.designation_leaves_off {
        hub.enable(wanted, place.region);
    }
    Ok(json!({ "AdminAccountId": wanted }))
}

fn describe(hub: &SecurityHub, region: &str) -> Value {
    let held = hub.configurations.get(region).cloned().unwrap_or_default();
    json!({
        "AutoEnable": held.auto_enable,
        "AutoEnableStandards": held.standards,
        "MemberAccountLimitReached": false,
        "OrganizationConfiguration": { "ConfigurationType": held.kind, "Status": "ENABLED" },
    })
}

fn update(hub: &mut SecurityHub, region: &str, input: &Value) -> Answer {
    let Some(auto_enable) = input.get("AutoEnable").and_then(Value::as_bool) else {
        return Err(invalid("AutoEnable is required"));
    };
    let held = hub.configurations.entry(region.to_owned()).or_default();
    if held.kind == "CENTRAL" {
        return Err(no_access("AutoEnable can't be changed while the organization is CENTRAL"));
    }
    held.auto_enable = auto_enable;
    // "The default value of this parameter is equal to DEFAULT."
    let standards = input.get("AutoEnableStandards").and_then(Value::as_str);
    standards.unwrap_or("DEFAULT").clone_into(&mut held.standards);
    Ok(json!({}))
}

fn create_members(state: &mut State, place: Place<'_>, input: &Value) -> Answer {
    let details = input.get("AccountDetails").and_then(Value::as_array);
    let details = details
        .filter(|list| (1..=ACCOUNTS_AT_MOST).contains(&list.len()))
        .ok_or_else(|| invalid("AccountDetails must have 1 to 50 items"))?;
    let mut unprocessed = Vec::new();
    for detail in details {
        let account = detail.get("AccountId").and_then(Value::as_str).unwrap_or_default();
        if let Some(why) = refused(state, place, account) {
            unprocessed.push(json!({ "AccountId": account, "ProcessingResult": why }));
            continue;
        }
        state.security_hub.enable(account, place.region);
        let members = state.security_hub.members.entry(place.region.to_owned());
        members.or_default().insert(account.to_owned(), "Enabled".to_owned());
    }
    Ok(json!({ "UnprocessedAccounts": unprocessed }))
}

/// "Security Hub CSPM cannot be enabled automatically for the organization
/// management account" (Security Hub API reference, CreateMembers).
fn refused(state: &State, place: Place<'_>, account: &str) -> Option<&'static str> {
    let managing = account == state.organizations.management;
    let members = state.security_hub.members.get(place.region);
    if account == place.account {
        return Some("An account can't be its own member");
    }
    if members.is_some_and(|members| members.contains_key(account)) {
        return Some("The account is already a member");
    }
    if state.organizations.accounts.get(account).is_none_or(|it| it.state != "ACTIVE") {
        return Some("The account is not active in the organization");
    }
    if managing && !state.security_hub.is_on(account, place.region) {
        return Some("The organization management account has not enabled Security Hub");
    }
    None
}

fn list_members(hub: &SecurityHub, place: Place<'_>, request: &HttpRequest) -> Answer {
    let query = |name: &str| {
        request.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let start: usize =
        query("NextToken").map_or(Ok(0), str::parse).map_err(|_| invalid("NextToken"))?;
    let size: usize = query("MaxResults")
        .map_or(Ok(PAGE), str::parse)
        .ok()
        .filter(|size| (1..=PAGE).contains(size))
        .ok_or_else(|| invalid("MaxResults"))?;
    let empty = BTreeMap::new();
    let members = hub.members.get(place.region).unwrap_or(&empty);
    let page: Vec<Value> = members
        .iter()
        .skip(start)
        .take(size)
        .map(|(id, status)| {
            json!({ "AccountId": id, "AdministratorId": place.account, "MemberStatus": status })
        })
        .collect();
    let next = start + page.len();
    Ok(if next < members.len() {
        json!({ "Members": page, "NextToken": next.to_string() })
    } else {
        json!({ "Members": page })
    })
}

/// One aggregator for an account; its Region is the home Region.
fn aggregators(
    hub: &mut SecurityHub,
    place: Place<'_>,
    operation: &str,
    (request, input): (&HttpRequest, &Value),
) -> Answer {
    let arn = |region: &str| {
        let account = hub.administrator_in(region).unwrap_or(place.account);
        format!("arn:aws:securityhub:{region}:{account}:finding-aggregator/simulated")
    };
    let rendered = |region: &str, linking: Option<&str>| {
        json!({
            "FindingAggregatorArn": arn(region),
            "FindingAggregationRegion": region,
            "RegionLinkingMode": linking.unwrap_or("ALL_REGIONS"),
        })
    };
    match operation {
        "ListFindingAggregators" => {
            let listed: Vec<Value> = hub
                .home_region
                .iter()
                .map(|region| json!({ "FindingAggregatorArn": arn(region) }))
                .collect();
            Ok(json!({ "FindingAggregators": listed }))
        }
        "GetFindingAggregator" => {
            let asked = request.path.strip_prefix("/findingAggregator/get/").unwrap_or_default();
            match hub.home_region.as_deref().filter(|region| arn(region) == decode(asked)) {
                Some(region) => Ok(rendered(region, hub.linking.as_deref())),
                None => Err(Refusal {
                    status: 404,
                    code: "ResourceNotFoundException",
                    message: "No such finding aggregator".to_owned(),
                }),
            }
        }
        _ if hub.home_region.is_some() => Err(Refusal {
            status: 429,
            code: "LimitExceededException",
            message: "The account has a finding aggregator".to_owned(),
        }),
        _ => {
            let linking = input.get("RegionLinkingMode").and_then(Value::as_str);
            let Some(linking) = linking else {
                return Err(invalid("RegionLinkingMode is required"));
            };
            let answer = rendered(place.region, Some(linking));
            hub.linking = Some(linking.to_owned());
            hub.home_region = Some(place.region.to_owned());
            Ok(answer)
        }
    }
}
