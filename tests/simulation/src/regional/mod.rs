//! The services that are told as values: what one account holds of them in one
//! Region, and which of them a call is for.

pub mod application_autoscaling;
pub mod autoscaling;
pub mod ecs;
pub mod eks;
pub mod elb;
pub mod elbv2;
pub mod kubernetes;
pub mod lambda;
mod query;
pub mod rds;
pub mod ssm;
pub mod wafv2;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::state::State;
use crate::wire::{self, HttpRequest, HttpResponse, Protocol, ServiceError};

/// What one account holds in one Region, of the services here.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Regional {
    /// EC2 Auto Scaling.
    pub autoscaling: autoscaling::AutoScaling,
    /// Classic Load Balancers.
    pub elb: elb::Elb,
    /// Target groups.
    pub elbv2: elbv2::Elbv2,
    /// RDS.
    pub rds: rds::Rds,
    /// Lambda.
    pub lambda: lambda::Lambda,
    /// ECS.
    pub ecs: ecs::Ecs,
    /// Application Auto Scaling.
    pub scaling: application_autoscaling::Scaling,
    /// EKS.
    pub eks: eks::Eks,
    /// Systems Manager.
    pub ssm: ssm::Ssm,
    /// AWS WAF.
    pub wafv2: wafv2::Waf,
}

/// Where and when a call is made.
#[derive(Clone, Debug)]
pub struct Place {
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The present time.
    pub now: jiff::Timestamp,
}

/// What a service answers: a value, or an error.
pub type Answer = Result<Value, ServiceError>;

/// A required text of the input.
pub fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, ServiceError> {
    input.get(name).and_then(Value::as_str).ok_or_else(|| {
        ServiceError::new(400, "ValidationError", format!("{name} is required and must be a text"))
    })
}

/// The texts of a list in the input; empty when it is absent.
pub fn texts(input: &Value, name: &str) -> Vec<String> {
    let list = input.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a flag of the input is set: JSON's `true` or Query's `"true"`.
pub fn flag(input: &Value, name: &str) -> Option<bool> {
    let value = input.get(name)?;
    value.as_bool().or_else(|| value.as_str().map(|text| text == "true"))
}

/// A number of the input: JSON's or Query's.
pub fn number(input: &Value, name: &str) -> Option<i64> {
    let value = input.get(name)?;
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// One page of a list, and the token of the next: any page may be shorter than
/// a caller asked for.
pub fn page<'a>(all: &'a [Value], token: Option<&Value>) -> (&'a [Value], Option<String>) {
    const SIZE: usize = 3;
    let start = token.and_then(Value::as_str).and_then(|token| token.parse().ok());
    let rest = all.get(start.unwrap_or(0)..).unwrap_or_default();
    let page = rest.get(..SIZE).unwrap_or(rest);
    let next = (page.len() < rest.len()).then(|| (all.len() - rest.len() + SIZE).to_string());
    (page, next)
}

/// The protocol and the operation of a request; `None` for another service's.
pub fn route(service: &str, request: &HttpRequest) -> Option<(Protocol, Option<String>)> {
    let target = || {
        let target = request.header("x-amz-target").unwrap_or_default();
        target.rsplit('.').next().map(str::to_owned)
    };
    let action = || {
        let pairs = wire::form(&request.text());
        pairs.into_iter().find(|(key, _)| key == "Action").map(|(_, value)| value)
    };
    let by_path = |route: Option<(&'static str, Params)>| route.map(|(name, _)| name.to_owned());
    Some(match service {
        "autoscaling" | "elasticloadbalancing" | "rds" => (Protocol::Query, action()),
        "application-autoscaling" | "ecs" | "ssm" | "wafv2" => (Protocol::Json, target()),
        "lambda" => (Protocol::RestJson, by_path(lambda::route(&request.method, &request.path))),
        "eks" => (Protocol::RestJson, by_path(eks::route(&request.method, &request.path))),
        _ => return None,
    })
}

/// What the path of a REST call names.
pub type Params = Vec<(&'static str, String)>;

/// Lets the service answer; `None` for a call that is not modelled.
pub fn dispatch(
    state: &mut State,
    place: &Place,
    service: &str,
    operation: &str,
    request: &HttpRequest,
) -> Option<HttpResponse> {
    let text = request.text();
    let json = || serde_json::from_slice::<Value>(&request.body).unwrap_or(Value::Null);
    let rest = |params: Params| {
        let mut input = json();
        if !input.is_object() {
            input = Value::Object(Map::new());
        }
        if let Some(object) = input.as_object_mut() {
            let query = request.query.iter().cloned();
            let params = params.into_iter().map(|(name, value)| (name.to_owned(), value));
            object.extend(query.chain(params).map(|(name, value)| (name, Value::String(value))));
        }
        input
    };
    let plain = |_: &str| "member";
    match service {
        "autoscaling" => {
            let answer = autoscaling::answer(state, place, operation, &query::input(&text))?;
            Some(rendered_as_query(operation, answer, plain))
        }
        // Both generations sign as one service; the version tells them apart.
        "elasticloadbalancing" if text.contains("Version=2012-06-01") => {
            let answer = elb::answer(state, place, operation, &query::input(&text))?;
            Some(rendered_as_query(operation, answer, plain))
        }
        "elasticloadbalancing" => {
            let answer = elbv2::answer(state, place, operation, &query::input(&text))?;
            Some(rendered_as_query(operation, answer, plain))
        }
        "rds" => {
            let answer = rds::answer(state, place, operation, &query::input(&text))?;
            Some(rendered_as_query(operation, answer, rds::member))
        }
        "application-autoscaling" => {
            application_autoscaling::answer(state, place, operation, &json()).map(rendered_as_json)
        }
        "ecs" => ecs::answer(state, place, operation, &json()).map(rendered_as_json),
        "ssm" => ssm::answer(state, place, operation, &json()).map(rendered_as_json),
        "wafv2" => wafv2::answer(state, place, operation, &json()).map(rendered_as_json),
        "lambda" => {
            let (_, params) = lambda::route(&request.method, &request.path)?;
            lambda::answer(state, place, operation, &rest(params)).map(rendered_as_json)
        }
        "eks" => {
            let (_, params) = eks::route(&request.method, &request.path)?;
            eks::answer(state, place, operation, &rest(params)).map(rendered_as_json)
        }
        _ => None,
    }
}

fn rendered_as_query(
    operation: &str,
    answer: Answer,
    member: fn(&str) -> &'static str,
) -> HttpResponse {
    match answer {
        Ok(value) => query::answer(operation, &value, member),
        Err(error) => wire::error(Protocol::Query, &error),
    }
}

fn rendered_as_json(answer: Answer) -> HttpResponse {
    match answer {
        Ok(value) => wire::json(&value),
        Err(error) => wire::error(Protocol::Json, &error),
    }
}

/// An account's Region without what it does not hold: a service that was only
/// looked at is as one that never was.
pub fn held(regional: &Regional) -> Value {
    let empty = serde_json::json!(Regional::default());
    let mut held = serde_json::json!(regional);
    if let Some(services) = held.as_object_mut() {
        services.retain(|name, service| empty.get(name) != Some(service));
    }
    held
}
