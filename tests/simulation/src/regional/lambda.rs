//! Lambda's calls, as its API reference has them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Params, Place, number, required};
use crate::state::State;
use crate::wire::{self, ServiceError};

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lambda {
    /// Functions by name.
    pub functions: BTreeMap<String, Function>,
    /// Event source mappings by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Source>,
}

/// A function.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Function {
    /// Its reserved concurrency; absent when it draws on the account's.
    pub reserved: Option<i64>,
    /// The provisioned concurrency of its versions and aliases.
    pub provisioned: BTreeMap<String, i64>,
    /// `AuthType` of its URL; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_auth: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How it runs, where a stack said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// Who may invoke it, by the statement's id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub permissions: BTreeMap<String, Permission>,
    /// What EventBridge invoked it with, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invoked: Vec<Value>,
}

/// How a function runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Configuration {
    /// The ARN of its role.
    pub role: String,
    /// `provided.al2023`.
    pub runtime: String,
    /// `arm64` or `x86_64`.
    pub architectures: Vec<String>,
    /// Seconds.
    pub timeout: i64,
    /// Megabytes.
    pub memory: i64,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
}

/// An event source mapping of a queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Source {
    /// The queue's ARN.
    pub queue: String,
    /// The function's name.
    pub function: String,
    /// `BatchSize`.
    pub batch: usize,
    /// `MaximumBatchingWindowInSeconds`.
    pub window: i64,
    /// `MaximumConcurrency`.
    pub at_once: Option<i64>,
    /// Whether it has `ReportBatchItemFailures`: without, a batch fails as a whole.
    pub reports_failures: bool,
}

/// Who may invoke a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Permission {
    /// `events.amazonaws.com`.
    pub principal: String,
    /// The ARN on behalf of which.
    pub source: Option<String>,
}

/// The Region's concurrency, and what of it nobody may reserve (Lambda developer
/// guide, "Configuring reserved concurrency").
const CONCURRENCY: i64 = 1_000;
const UNRESERVED: i64 = 100;

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    let lambda = &mut state.regional(&place.account, &place.region).lambda;
    Some(match operation {
        "GetFunctionConcurrency" => get(lambda, place, input),
        "PutFunctionConcurrency" => put(lambda, place, input),
        "DeleteFunctionConcurrency" => delete(lambda, place, input),
        "GetFunctionConfiguration" => configuration(lambda, place, input),
        "ListProvisionedConcurrencyConfigs" => list_provisioned(lambda, place, input),
        "PutProvisionedConcurrencyConfig" => put_provisioned(lambda, place, input),
        "DeleteProvisionedConcurrencyConfig" => delete_provisioned(lambda, place, input),
        "GetFunctionUrlConfig" => get_url(lambda, place, input),
        "UpdateFunctionUrlConfig" => update_url(lambda, place, input),
        "ListTags" => list_tags(lambda, place, input),
        _ => return None,
    })
}

/// The operation of a request, and what its path names.
pub fn route(method: &str, path: &str) -> Option<(&'static str, Params)> {
    let segments: Vec<String> = path.trim_matches('/').split('/').map(wire::decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (method, segments.as_slice()) {
        ("GET", ["2019-09-30", "functions", name, "concurrency"]) => {
            Some(("GetFunctionConcurrency", vec![("FunctionName", (*name).to_owned())]))
        }
        ("PUT", ["2017-10-31", "functions", name, "concurrency"]) => {
            Some(("PutFunctionConcurrency", vec![("FunctionName", (*name).to_owned())]))
        }
        ("DELETE", ["2017-10-31", "functions", name, "concurrency"]) => {
            Some(("DeleteFunctionConcurrency", vec![("FunctionName", (*name).to_owned())]))
        }
        ("GET", ["2015-03-31", "functions", name, "configuration"]) => {
            Some(("GetFunctionConfiguration", vec![("FunctionName", (*name).to_owned())]))
        }
        (method, ["2019-09-30", "functions", name, "provisioned-concurrency"]) => {
            let operation = match method {
                "GET" => "ListProvisionedConcurrencyConfigs",
                "PUT" => "PutProvisionedConcurrencyConfig",
                _ => "DeleteProvisionedConcurrencyConfig",
            };
            Some((operation, vec![("FunctionName", (*name).to_owned())]))
        }
        ("GET", ["2021-10-31", "functions", name, "url"]) => {
            Some(("GetFunctionUrlConfig", vec![("FunctionName", (*name).to_owned())]))
        }
        ("PUT", ["2021-10-31", "functions", name, "url"]) => {
            Some(("UpdateFunctionUrlConfig", vec![("FunctionName", (*name).to_owned())]))
        }
        ("GET", ["2017-03-31", "tags", arn]) => {
            Some(("ListTags", vec![("Resource", (*arn).to_owned())]))
        }
        _ => None,
    }
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, "InvalidParameterValueException", message)
}

/// The function of a call. A name, an ARN and half an ARN all name it.
fn function<'a>(
    lambda: &'a mut Lambda,
    place: &Place,
    named: &str,
) -> Result<&'a mut Function, ServiceError> {
    let name = named.rsplit(':').next().unwrap_or(named);
    lambda.functions.get_mut(name).ok_or_else(|| {
        let Place { account, region, .. } = place;
        let message =
            format!("Function not found: arn:aws:lambda:{region}:{account}:function:{name}");
        ServiceError::new(404, "ResourceNotFoundException", message)
    })
}

fn rendered(reserved: Option<i64>) -> Value {
    reserved.map_or_else(|| json!({}), |it| json!({ "ReservedConcurrentExecutions": it }))
}

fn get(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    Ok(rendered(function(lambda, place, required(input, "FunctionName")?)?.reserved))
}

fn put(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let name = required(input, "FunctionName")?;
    let wanted = number(input, "ReservedConcurrentExecutions")
        .filter(|wanted| *wanted >= 0)
        .ok_or_else(|| invalid("ReservedConcurrentExecutions must be at least 0"))?;
    let all: i64 = lambda.functions.values().filter_map(|function| function.reserved).sum();
    let function = function(lambda, place, name)?;
    if wanted < function.provisioned.values().sum() {
        return Err(invalid(
            "ReservedConcurrentExecutions must not be less than the function's provisioned concurrency",
        ));
    }
    if CONCURRENCY - (all - function.reserved.unwrap_or(0) + wanted) < UNRESERVED {
        return Err(invalid(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
        )));
    }
    function.reserved = Some(wanted);
    Ok(rendered(function.reserved))
}

fn configuration(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let name = required(input, "FunctionName")?;
    let account = &place.account;
    let own = function(lambda, place, name)?.configuration.as_ref().map(|it| it.role.clone());
    let role = own.unwrap_or_else(|| format!("arn:aws:iam::{account}:role/{name}"));
    Ok(json!({ "FunctionName": name, "Role": role }))
}

fn list_provisioned(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let name = required(input, "FunctionName")?;
    let Place { account, region, .. } = place;
    let provisioned = &function(lambda, place, name)?.provisioned;
    let configs: Vec<Value> = provisioned
        .iter()
        .map(|(qualifier, count)| {
            json!({
                "FunctionArn":
                    format!("arn:aws:lambda:{region}:{account}:function:{name}:{qualifier}"),
                "RequestedProvisionedConcurrentExecutions": count,
                "AllocatedProvisionedConcurrentExecutions": count,
                "Status": "READY",
            })
        })
        .collect();
    Ok(json!({ "ProvisionedConcurrencyConfigs": configs }))
}

fn put_provisioned(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let qualifier = required(input, "Qualifier")?.to_owned();
    let count = number(input, "ProvisionedConcurrentExecutions")
        .filter(|count| *count > 0)
        .ok_or_else(|| invalid("ProvisionedConcurrentExecutions must be at least 1"))?;
    let function = function(lambda, place, required(input, "FunctionName")?)?;
    let others: i64 =
        function.provisioned.iter().filter(|(it, _)| **it != qualifier).map(|(_, it)| it).sum();
    if function.reserved.is_some_and(|reserved| others + count > reserved) {
        return Err(invalid(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        ));
    }
    function.provisioned.insert(qualifier, count);
    Ok(json!({ "RequestedProvisionedConcurrentExecutions": count, "Status": "IN_PROGRESS" }))
}

fn delete_provisioned(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let qualifier = required(input, "Qualifier")?;
    let function = function(lambda, place, required(input, "FunctionName")?)?;
    function.provisioned.remove(qualifier).ok_or_else(|| {
        let message = "No Provisioned Concurrency Config found for this function";
        ServiceError::new(404, "ProvisionedConcurrencyConfigNotFoundException", message)
    })?;
    Ok(json!({}))
}

fn delete(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    function(lambda, place, required(input, "FunctionName")?)?.reserved = None;
    Ok(json!({}))
}

/// The `AuthType` of a function's URL, and the URL's configuration.
fn url<'a>(
    lambda: &'a mut Lambda,
    place: &Place,
    input: &Value,
) -> Result<&'a mut String, ServiceError> {
    let function = function(lambda, place, required(input, "FunctionName")?)?;
    let missing = || {
        ServiceError::new(
            404,
            "ResourceNotFoundException",
            "The resource you requested does not exist.",
        )
    };
    function.url_auth.as_mut().ok_or_else(missing)
}

fn rendered_url(place: &Place, name: &str, auth: &str) -> Value {
    let Place { account, region, .. } = place;
    json!({
        "FunctionUrl": format!("https://{name}.lambda-url.{region}.on.aws/"),
        "FunctionArn": format!("arn:aws:lambda:{region}:{account}:function:{name}"),
        "AuthType": auth,
        "CreationTime": "2026-01-01T00:00:00.000Z",
        "LastModifiedTime": "2026-01-01T00:00:00.000Z",
    })
}

fn get_url(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let auth = url(lambda, place, input)?.clone();
    Ok(rendered_url(place, required(input, "FunctionName")?, &auth))
}

fn update_url(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let auth = url(lambda, place, input)?;
    if let Some(wanted) = input.get("AuthType").and_then(Value::as_str) {
        if !["NONE", "AWS_IAM"].contains(&wanted) {
            return Err(invalid(format!("{wanted} is not an AuthType")));
        }
        wanted.clone_into(auth);
    }
    let auth = auth.clone();
    Ok(rendered_url(place, required(input, "FunctionName")?, &auth))
}

fn list_tags(lambda: &mut Lambda, place: &Place, input: &Value) -> Answer {
    let arn = required(input, "Resource")?;
    if !arn.starts_with("arn:") {
        return Err(invalid(format!("{arn} is not the ARN of a function")));
    }
    Ok(json!({ "Tags": function(lambda, place, arn)?.tags }))
}
