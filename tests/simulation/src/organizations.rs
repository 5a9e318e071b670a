//! AWS Organizations: the tree, the calls that read it, and what services are
//! trusted and whom they are administered by.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::policy::{Context, Principal, Question, Verdict, evaluate};
use crate::wire::ServiceError;

/// The organization's tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Organizations {
    /// `o-…`.
    pub id: String,
    /// `r-…`.
    pub root: String,
    /// The management account.
    pub management: String,
    /// Accounts that may call as delegated administrators.
    pub delegated: Vec<String>,
    /// Services with trusted access, by their principals.
    pub trusted: BTreeSet<String>,
    /// Delegated administrators by the principal of their service.
    pub delegations: BTreeMap<String, BTreeSet<String>>,
    /// OUs by id: parent and name.
    pub units: BTreeMap<String, (String, String)>,
    /// Accounts by id.
    pub accounts: BTreeMap<String, Member>,
    /// The organization's resource policy, by which the management account lets
    /// other accounts call.
    pub resource_policy: Option<Value>,
    /// Whether DescribeAccount leaves `Paths` out, as older endpoints do.
    pub without_paths: bool,
    /// Whether lists begin with an empty page that has a NextToken, as AWS's may.
    pub empty_first_page: bool,
}

/// An account of the organization.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The root or OU that holds it.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `SUSPENDED`, …
    pub state: String,
}

impl Organizations {
    /// The ids from the root down to what holds an account or OU.
    pub fn ancestors(&self, child: &str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut at = self.parent(child);
        while let Some(id) = at {
            at = self.parent(&id);
            ids.push(id);
        }
        ids.reverse();
        ids
    }

    /// Who administers a service for the organization.
    pub fn delegated_for(&self, principal: &str) -> Option<&BTreeSet<String>> {
        self.delegations.get(principal).filter(|accounts| !accounts.is_empty())
    }

    /// Makes an account the delegated administrator of a service.
    pub fn register(&mut self, principal: &str, account: &str) {
        self.delegations.entry(principal.to_owned()).or_default().insert(account.to_owned());
    }

    /// Whether an account may call as a delegated administrator of anything.
    fn is_delegated(&self, account: &str) -> bool {
        self.delegated.iter().any(|id| id == account)
            || self.delegations.values().any(|accounts| accounts.contains(account))
    }

    /// Whether the resource policy lets an account call (Organizations user guide,
    /// "Resource-based delegation policies").
    fn delegates(&self, account: &str, operation: &str) -> bool {
        let Some(policy) = &self.resource_policy else { return false };
        let caller = format!("arn:aws:iam::{account}:root");
        let addressed = crate::policy::addressed(policy, Principal::Aws { arn: &caller, account });
        let (action, context) = (format!("organizations:{operation}"), Context::new());
        let question = Question { action: &action, resource: "*", context: &context };
        evaluate([&addressed], &question) == Ok(Verdict::Allow)
    }

    fn parent(&self, child: &str) -> Option<String> {
        let unit = self.units.get(child).map(|(parent, _)| parent);
        unit.or(self.accounts.get(child).map(|account| &account.parent)).cloned()
    }
}

fn error(code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, code, message)
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(
    organizations: &mut Organizations,
    account: &str,
    operation: &str,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    // "This operation can be called from any account in the organization."
    if operation == "DescribeOrganization" && organizations.accounts.contains_key(account) {
        return Some(Ok(describe_organization(organizations)));
    }
    let managing = account == organizations.management;
    let changing = ["EnableAWSServiceAccess", "RegisterDelegatedAdministrator"];
    let allowed = managing
        || organizations.is_delegated(account) && !changing.contains(&operation)
        || organizations.delegates(account, operation);
    if !allowed {
        return Some(Err(error(
            "AccessDeniedException",
            "You don't have permissions to access this resource: only the management account and delegated administrators do.",
        )));
    }
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    let answer = match operation {
        "DescribeOrganization" => Ok(describe_organization(organizations)),
        "EnableAWSServiceAccess" => {
            organizations.trusted.insert(text("ServicePrincipal").to_owned());
            Ok(json!({}))
        }
        "ListAWSServiceAccessForOrganization" => {
            let all = organizations.trusted.iter().map(|it| json!({ "ServicePrincipal": it }));
            let all: Vec<Value> = all.collect();
            page(organizations, input, "EnabledServicePrincipals", &all)
        }
        "RegisterDelegatedAdministrator" => {
            register(organizations, text("AccountId"), text("ServicePrincipal"))
        }
        "ListDelegatedAdministrators" => {
            let wanted = input.get("ServicePrincipal").and_then(Value::as_str);
            let all: BTreeSet<&String> = organizations
                .delegations
                .iter()
                .filter(|(principal, _)| wanted.is_none_or(|wanted| wanted == *principal))
                .flat_map(|(_, accounts)| accounts)
                .collect();
            let all: Vec<Value> = all.into_iter().map(|id| json!({ "Id": id })).collect();
            page(organizations, input, "DelegatedAdministrators", &all)
        }
        "DescribeAccount" => describe_account(organizations, text("AccountId")),
        "ListParents" => list_parents(organizations, text("ChildId")),
        "ListRoots" => Ok(json!({ "Roots": [{ "Id": organizations.root, "Name": "Root" }] })),
        "DescribeOrganizationalUnit" => {
            let id = text("OrganizationalUnitId");
            organizations
                .units
                .get(id)
                .map(|(_, name)| json!({ "OrganizationalUnit": { "Id": id, "Name": name } }))
                .ok_or_else(|| {
                    error("OrganizationalUnitNotFoundException", format!("no unit {id}"))
                })
        }
        "ListAccounts" => {
            let all = organizations.accounts.keys().map(|id| describe(organizations, id));
            page(organizations, input, "Accounts", &all.collect::<Vec<_>>())
        }
        _ => return None,
    };
    Some(answer)
}

fn describe_organization(organizations: &Organizations) -> Value {
    json!({ "Organization": {
        "Id": organizations.id, "MasterAccountId": organizations.management,
    }})
}

/// Once for a service and an account, and only where the service is trusted
/// (Organizations API reference, RegisterDelegatedAdministrator).
fn register(
    organizations: &mut Organizations,
    account: &str,
    principal: &str,
) -> Result<Value, ServiceError> {
    if account == organizations.management {
        return Err(error(
            "ConstraintViolationException",
            "CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR: you cannot register the management account",
        ));
    }
    if !organizations.accounts.contains_key(account) {
        return Err(error("AccountNotFoundException", "no such account in this organization"));
    }
    if !organizations.trusted.contains(principal) {
        return Err(error(
            "ConstraintViolationException",
            "SERVICE_ACCESS_NOT_ENABLED: enable service access for it first",
        ));
    }
    if organizations.delegated_for(principal).is_some_and(|held| held.contains(account)) {
        return Err(error(
            "AccountAlreadyRegisteredException",
            "The provided account is already a delegated administrator for your organization.",
        ));
    }
    organizations.register(principal, account);
    Ok(json!({}))
}

fn describe(organizations: &Organizations, id: &str) -> Value {
    let Some(account) = organizations.accounts.get(id) else { return Value::Null };
    let management = &organizations.management;
    let organization = &organizations.id;
    let mut described = json!({
        "Id": id,
        "Arn": format!("arn:aws:organizations::{management}:account/{organization}/{id}"),
        "Name": account.name,
        "Email": format!("aws+{id}@example.com"),
        "State": account.state,
    });
    if let (false, Some(object)) = (organizations.without_paths, described.as_object_mut()) {
        let path = organizations.ancestors(id).join("/");
        object.insert("Paths".to_owned(), json!([format!("{organization}/{path}/{id}/")]));
    }
    described
}

fn describe_account(organizations: &Organizations, id: &str) -> Result<Value, ServiceError> {
    if organizations.accounts.contains_key(id) {
        return Ok(json!({ "Account": describe(organizations, id) }));
    }
    Err(error(
        "AccountNotFoundException",
        "You specified an account that doesn't exist in this organization.",
    ))
}

fn list_parents(organizations: &Organizations, child: &str) -> Result<Value, ServiceError> {
    let Some(parent) = organizations.parent(child) else {
        return Err(error("ChildNotFoundException", format!("no child {child}")));
    };
    let kind = if parent == organizations.root { "ROOT" } else { "ORGANIZATIONAL_UNIT" };
    Ok(json!({ "Parents": [{ "Id": parent, "Type": kind }] }))
}

/// Pages of 20 (Organizations API reference), after an empty one when asked for.
fn page(
    organizations: &Organizations,
    input: &Value,
    name: &str,
    all: &[Value],
) -> Result<Value, ServiceError> {
    let token = input.get("NextToken").and_then(Value::as_str);
    let start: usize = match token {
        None if organizations.empty_first_page => {
            return Ok(json!({ name: [], "NextToken": "0" }));
        }
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| error("InvalidInputException", "You provided an invalid NextToken"))?,
    };
    let page: Vec<Value> = all.iter().skip(start).take(20).cloned().collect();
    let next = start + page.len();
    if next < all.len() {
        Ok(json!({ name: page, "NextToken": next.to_string() }))
    } else {
        Ok(json!({ name: page }))
    }
}
