//! From a request to its answer: service, caller, permission, dispatch.

use http::HeaderValue;
use jiff::Timestamp;
use serde_json::Value;

use crate::caller::Caller;
use crate::cloudformation::stack_sets;
use crate::ec2::form::Form;
use crate::permissions::{self, Denied, Needed};
use crate::policy::{Context, Principal, Question, Verdict, addressed, evaluate};
use crate::s3::{answers as s3, objects};
use crate::security_hub::answers as security_hub;
use crate::state::State;
use crate::wire::{self, HttpRequest, HttpResponse, Protocol, ServiceError};
use crate::{
    account, cloudformation_access, ec2, events, guardduty, iam, organizations, regional, sns, sqs,
    sts,
};

/// What a request turned out to be.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The service's name in IAM actions; `s3-control` for S3 Control.
    pub service: String,
    /// The Region of the credential scope.
    pub region: String,
    /// The API's name of the operation.
    pub operation: String,
    /// How it is written.
    pub protocol: Protocol,
    /// The access key id, where the request is signed.
    pub access_key_id: Option<String>,
    /// The session token, where the request brings one.
    pub session_token: Option<String>,
}

/// Takes a request apart; `Err` for one that nobody here answers.
pub fn route(request: &HttpRequest) -> Result<Routed, String> {
    if regional::kubernetes::is_cluster(&request.host) {
        return cluster(request);
    }
    // Credential=AKIA…/20260101/us-east-1/ec2/aws4_request
    let scope: Option<Vec<String>> = request
        .header("authorization")
        .and_then(|header| header.split("Credential=").nth(1))
        .and_then(|rest| rest.split([',', ' ']).next())
        .map(|scope| scope.split('/').map(str::to_owned).collect());
    let (access_key_id, region, service) = match scope.as_deref() {
        Some([key, _, region, service, _]) => (Some(key.clone()), region.clone(), service.clone()),
        // Unsigned: only S3 answers nobody in particular.
        _ if request.host.contains(".s3") || request.host.starts_with("s3") => {
            (None, s3_region(&request.host), "s3".to_owned())
        }
        _ => return Err("the request is not signed".to_owned()),
    };
    let control = request.host.contains("s3-control")
        || request.path.starts_with("/v20180820/")
        || request.header("x-amz-account-id").is_some() && service == "s3";
    let service = if service == "s3" && control { "s3-control".to_owned() } else { service };
    let (protocol, operation) = match service.as_str() {
        "ec2" => (Protocol::Ec2, query_action(request)),
        "cloudformation" | "iam" | "sts" | "sns" => (Protocol::Query, query_action(request)),
        "organizations" | "dynamodb" | "sqs" | "events" => {
            let target = request.header("x-amz-target").unwrap_or_default();
            (Protocol::Json, target.rsplit('.').next().map(str::to_owned))
        }
        "securityhub" => {
            let operation = security_hub::operation(&request.method, &request.path);
            (Protocol::RestJson, operation.map(str::to_owned))
        }
        "guardduty" => {
            let operation = guardduty::operation(&request.method, &request.path);
            (Protocol::RestJson, operation.map(str::to_owned))
        }
        "account" => {
            let operation = account::operation(&request.method, &request.path);
            (Protocol::RestJson, operation.map(str::to_owned))
        }
        "s3" => (Protocol::RestXml, s3_operation(request).map(str::to_owned)),
        "s3-control" => (Protocol::RestXmlWrapped, s3_operation(request).map(str::to_owned)),
        other => regional::route(other, request)
            .ok_or_else(|| format!("the simulation does not model the service {other}"))?,
    };
    let operation = operation.ok_or_else(|| {
        let HttpRequest { method, path, .. } = request;
        format!("the simulation does not model {service}: {method} {path}")
    })?;
    let session_token = request.header("x-amz-security-token").map(str::to_owned);
    Ok(Routed { service, region, operation, protocol, access_key_id, session_token })
}

/// A cluster's API: its requests are not signed, they carry a token.
fn cluster(request: &HttpRequest) -> Result<Routed, String> {
    let HttpRequest { method, path, host, .. } = request;
    let operation = regional::kubernetes::operation(method, path)
        .ok_or_else(|| format!("the simulation does not model kubernetes: {method} {path}"))?;
    let (access_key_id, session_token) = match regional::kubernetes::signer(request) {
        Some((key, token)) => (Some(key), token),
        None => (None, None),
    };
    Ok(Routed {
        service: "kubernetes".to_owned(),
        region: regional::kubernetes::region(host),
        operation,
        protocol: Protocol::Kubernetes,
        access_key_id,
        session_token,
    })
}

fn query_action(request: &HttpRequest) -> Option<String> {
    Form::new(wire::form(&request.text())).get("Action").map(str::to_owned)
}

fn s3_region(host: &str) -> String {
    let after = host.split("s3.").nth(1).unwrap_or_default();
    let region = after.split('.').next().unwrap_or_default();
    if region.contains('-') { region.to_owned() } else { "us-east-1".to_owned() }
}

fn s3_operation(request: &HttpRequest) -> Option<&'static str> {
    let block = request.has_query("publicAccessBlock")
        || request.path.ends_with("/configuration/publicAccessBlock");
    let tagging = request.has_query("tagging");
    let others = block || tagging || request.host.contains("s3-control");
    if let Some(operation) = objects::operation(request).filter(|_| !others) {
        return Some(operation);
    }
    match request.method.as_str() {
        "GET" if block => Some("GetPublicAccessBlock"),
        "PUT" if block => Some("PutPublicAccessBlock"),
        "DELETE" if block => Some("DeletePublicAccessBlock"),
        "GET" if tagging => Some("GetBucketTagging"),
        "PUT" if tagging => Some("PutBucketTagging"),
        "DELETE" if tagging => Some("DeleteBucketTagging"),
        "GET" if request.has_query("policyStatus") => Some("GetBucketPolicyStatus"),
        "GET" if request.has_query("policy") => Some("GetBucketPolicy"),
        "PUT" if request.has_query("policy") => Some("PutBucketPolicy"),
        "DELETE" if request.has_query("policy") => Some("DeleteBucketPolicy"),
        "GET" if request.has_query("acl") => Some("GetBucketAcl"),
        "PUT" if request.has_query("acl") => Some("PutBucketAcl"),
        "GET" if request.has_query("ownershipControls") => Some("GetBucketOwnershipControls"),
        "GET" if request.has_query("versioning") => Some("GetBucketVersioning"),
        "PUT" if request.has_query("versioning") => Some("PutBucketVersioning"),
        "GET" if request.has_query("replication") => Some("GetBucketReplication"),
        "PUT" if request.has_query("replication") => Some("PutBucketReplication"),
        "GET" if request.has_query("lifecycle") => Some("GetBucketLifecycleConfiguration"),
        "PUT" if request.has_query("lifecycle") => Some("PutBucketLifecycleConfiguration"),
        "GET" if request.has_query("location") => Some("GetBucketLocation"),
        "GET" if request.has_query("list-type") => Some("ListObjectsV2"),
        "HEAD" => Some("HeadBucket"),
        _ => None,
    }
}

/// The bucket of an S3 request, by virtual host or by path.
pub fn bucket(request: &HttpRequest) -> String {
    let host = &request.host;
    for mark in [".s3.", ".s3-"] {
        if let Some((bucket, _)) = host.split_once(mark) {
            return bucket.to_owned();
        }
    }
    request.path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned()
}

/// Who signed a request, if the credentials are good.
pub fn authenticate(
    state: &State,
    access_key_id: Option<&str>,
    token: Option<&str>,
    now: Timestamp,
) -> Result<Caller, Denied> {
    let Some(id) = access_key_id else { return Ok(Caller::Anonymous) };
    let caller = state.caller(id).ok_or(Denied::Credentials("nobody has this access key"))?;
    match &caller {
        Caller::Role(session) => {
            if token != Some(session.token.as_str()) {
                return Err(Denied::Credentials("the session token does not fit"));
            }
            if now >= session.expires {
                return Err(Denied::Expired);
            }
        }
        Caller::User { account, name } => {
            let user = state.effective_iam(account, now).and_then(|iam| iam.users.get(name));
            match user.and_then(|user| user.keys.get(id)) {
                Some(true) => {}
                Some(false) => return Err(Denied::Credentials("the access key is inactive")),
                None => return Err(Denied::Credentials("the access key was deleted")),
            }
        }
        Caller::Anonymous => {}
    }
    Ok(caller)
}

/// A refusal, coded as the service codes it.
pub fn refusal(service: &str, denied: &Denied) -> ServiceError {
    let message = denied.to_string();
    let (status, code) = match (denied, service) {
        (Denied::NotModelled(_), _) => (500, "NotModelled"),
        (_, "kubernetes") => (401, "Unauthorized"),
        (Denied::Expired, "ec2") => (400, "RequestExpired"),
        (
            Denied::Expired,
            "dynamodb" | "organizations" | "securityhub" | "guardduty" | "ecs" | "ssm" | "wafv2"
            | "lambda" | "eks" | "events" | "account",
        ) => (400, "ExpiredTokenException"),
        (Denied::Expired, _) => (403, "ExpiredToken"),
        (Denied::Credentials(_), "ec2") => (401, "AuthFailure"),
        (Denied::Credentials(_), "s3" | "s3-control") => (403, "InvalidAccessKeyId"),
        (
            Denied::Credentials(_),
            "sts"
            | "iam"
            | "autoscaling"
            | "elasticloadbalancing"
            | "rds"
            | "sns"
            | "sqs"
            | "cloudformation",
        ) => (403, "InvalidClientTokenId"),
        (Denied::Credentials(_), _) => (400, "UnrecognizedClientException"),
        (Denied::Policy { .. }, "ec2") => (403, "UnauthorizedOperation"),
        (Denied::Policy { .. }, "sns") => (403, "AuthorizationError"),
        (
            Denied::Policy { .. },
            "sts"
            | "iam"
            | "s3"
            | "s3-control"
            | "autoscaling"
            | "elasticloadbalancing"
            | "rds"
            | "cloudformation",
        ) => (403, "AccessDenied"),
        (Denied::Policy { .. }, _) => (400, "AccessDeniedException"),
    };
    ServiceError::new(status, code, message)
}

/// Checks every permission that a call needs.
pub fn authorize(
    state: &State,
    caller: &Caller,
    routed: &Routed,
    request: &HttpRequest,
    now: Timestamp,
) -> Result<(), Denied> {
    let Routed { service, region, operation, .. } = routed;
    let account = caller.account();
    for needed in permissions::needed(state, service, operation, account, region, request) {
        let said = permissions::of_request(state, service, operation, region, request, &needed);
        if service == "s3" {
            bucket_policy(state, caller, region, &needed, request, said, now)?;
        } else {
            permissions::authorize(state, caller, region, &needed, said, now)?;
        }
    }
    Ok(())
}

/// A bucket may be read by everyone; otherwise only its own account's
/// principals with a permission of theirs get at it.
fn bucket_policy(
    state: &State,
    caller: &Caller,
    region: &str,
    needed: &Needed,
    request: &HttpRequest,
    said: Context,
    now: Timestamp,
) -> Result<(), Denied> {
    let name = bucket(request);
    if needed.action == "s3:ListBucket" && state.s3.anyone_can_read(&name) {
        return Ok(());
    }
    // Whoever asks is told that a bucket is not there: before its owner is known,
    // there are no permissions to ask for (S3 API reference, "NoSuchBucket").
    if !name.is_empty() && !state.s3.buckets.contains_key(&name) {
        return Ok(());
    }
    let owner = state.s3.buckets.get(&name).map(|bucket| bucket.account.as_str());
    let guests = state.s3.objects.guests.get(&name);
    let guest = guests.is_some_and(|guests| guests.contains(caller.account()))
        || admits(state, caller, &name, needed, &said)?;
    if owner.is_some_and(|owner| owner != caller.account()) && !guest {
        let Needed { action, resource } = needed.clone();
        let why = "the bucket belongs to another account";
        return Err(Denied::Policy { caller: caller.arn(), action, resource, why });
    }
    permissions::authorize(state, caller, region, needed, said, now)?;
    let Some(bucket) = state.s3.buckets.get(&name) else { return Ok(()) };
    let context = permissions::principal_context(state, caller);
    let principal = permissions::principal_arn(state, caller);
    let Needed { action, resource } = needed.clone();
    if bucket.denies(&principal, &action, &resource, &context)? {
        let why = "the bucket policy denies it explicitly";
        return Err(Denied::Policy { caller: caller.arn(), action, resource, why });
    }
    Ok(())
}

/// The refusal of a Region that the caller's account has not enabled, by the
/// services that are set up for each Region.
pub fn disabled(state: &State, routed: &Routed, caller: &Caller) -> Option<ServiceError> {
    let Routed { service, region, .. } = routed;
    let regional = ["guardduty", "securityhub"].contains(&service.as_str());
    (regional && state.regions.is_disabled(caller.account(), region)).then(|| {
        let message = "The security token included in the request is invalid.";
        ServiceError::new(403, "UnrecognizedClientException", message)
    })
}

/// Whether a bucket's policy lets a caller of another account in.
fn admits(
    state: &State,
    caller: &Caller,
    bucket: &str,
    needed: &Needed,
    said: &Context,
) -> Result<bool, Denied> {
    let policy = state.s3.buckets.get(bucket).and_then(|bucket| bucket.policy.as_deref());
    let Some(policy) = policy.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return Ok(false);
    };
    let mut context = permissions::principal_context(state, caller);
    context.extend(said.clone());
    let arn = permissions::principal_arn(state, caller);
    let principal = Principal::Aws { arn: &arn, account: caller.account() };
    let Needed { action, resource } = needed;
    let question = Question { action, resource, context: &context };
    Ok(evaluate([&addressed(&policy, principal)], &question)? == Verdict::Allow)
}

/// Lets the service answer.
pub fn dispatch(
    state: &mut State,
    caller: &Caller,
    routed: &Routed,
    request: &HttpRequest,
    now: Timestamp,
) -> HttpResponse {
    let Routed { service, region, operation, protocol, .. } = routed;
    let account = caller.account().to_owned();
    let not_modelled = || {
        let message = format!("the simulation does not model {service}:{operation}");
        wire::error(*protocol, &ServiceError::new(501, "NotModelled", message))
    };
    let json_body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let form = || Form::new(wire::form(&request.text()));
    let json = |answer: Result<Value, ServiceError>| match answer {
        Ok(value) => wire::json(&value),
        Err(error) => wire::error(*protocol, &error),
    };
    match service.as_str() {
        "sts" => {
            let answer = sts::answer(state, caller, region, now, operation, &form());
            query(operation, *protocol, answer).unwrap_or_else(not_modelled)
        }
        "cloudformation" => {
            let (here, form) = ((account.as_str(), region.as_str()), form());
            let answer = stack_sets::answers::answer(state, here, now, operation, &form);
            let answer = answer.or_else(|| {
                cloudformation_access::answer(&mut state.organizations, &account, operation, &form)
            });
            query(operation, *protocol, answer).unwrap_or_else(not_modelled)
        }
        "iam" => dispatch_iam(state, caller, operation, &form(), now).unwrap_or_else(not_modelled),
        "ec2" => {
            let profiles = state.iam(&account).profiles.clone();
            let profile = |named: &str| {
                let name = named.rsplit('/').next().unwrap_or(named);
                let found = profiles.get(name)?;
                let arn = format!("arn:aws:iam::{account}:instance-profile/{name}");
                Some((arn, found.id.clone()))
            };
            let place = ec2::answers::Place { account: &account, region, now, profile: &profile };
            let seen =
                operation.starts_with("Describe").then(|| state.seen_ec2(&account, region, now));
            let before = state.ec2_delay.is_positive().then(|| state.ec2(&account, region).clone());
            let mut seen = seen.flatten();
            let held = seen.as_mut().unwrap_or_else(|| state.ec2(&account, region));
            let answer = ec2::answers::answer(held, place, operation, &form());
            if let Some(before) = before.filter(|before| state.ec2(&account, region) != before) {
                state.remember_ec2(&account, region, before, now);
            }
            match answer {
                Some(Ok(inner)) => wire::ec2(operation, &inner),
                Some(Err(refused)) => {
                    let status = if refused.code == "RequestLimitExceeded" { 503 } else { 400 };
                    let error = ServiceError::new(status, refused.code, refused.message);
                    wire::error(*protocol, &error)
                }
                None => not_modelled(),
            }
        }
        "organizations" => {
            let input = json_body();
            let answer =
                organizations::answer(&mut state.organizations, &account, operation, &input);
            answer.map_or_else(not_modelled, json)
        }
        "securityhub" => {
            let place = security_hub::Place { account: &account, region, now };
            let answer = security_hub::answer(state, place, operation, (request, &json_body()));
            json(answer.map_err(|it| ServiceError::new(it.status, it.code, it.message)))
        }
        "guardduty" => {
            let place = (account.as_str(), region.as_str());
            guardduty::answer(state, place, request, &json_body()).map_or_else(not_modelled, json)
        }
        "account" => account::answer(&state.regions, &account, operation, &json_body())
            .map_or_else(not_modelled, json),
        "s3" | "s3-control" => {
            dispatch_s3(state, &account, routed, request).unwrap_or_else(not_modelled)
        }
        "sqs" => {
            let place = sqs::answers::Place { account: &account, region, now };
            match sqs::answers::answer(&mut state.sqs, place, operation, &json_body()) {
                Some(Ok(value)) => wire::json(&value),
                Some(Err(error)) => sqs::answers::refused(&error),
                None => not_modelled(),
            }
        }
        "sns" => {
            let answer = sns::answer(&mut state.sns, (&account, region), now, operation, &form());
            query(operation, *protocol, answer).unwrap_or_else(not_modelled)
        }
        "events" => {
            let answer = dispatch_events(state, (&account, region), now, operation, &json_body());
            answer.map_or_else(not_modelled, json)
        }
        "kubernetes" => regional::kubernetes::answer(state, caller, request),
        _ => {
            let (account, region) = (account.clone(), region.clone());
            let place = regional::Place { account, region, now };
            regional::dispatch(state, &place, service, operation, request)
                .unwrap_or_else(not_modelled)
        }
    }
}

/// Lets EventBridge answer, and takes what was put on along the rules.
fn dispatch_events(
    state: &mut State,
    here: (&str, &str),
    now: Timestamp,
    operation: &str,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    let answer = events::answer(&mut state.events, here, now, operation, input);
    for (bus, event) in std::mem::take(&mut state.events.fresh) {
        events::deliver::follow(state, &bus, &event, true, now);
    }
    answer
}

/// An answer in AWS Query's protocol; `None` for a call that is not modelled.
fn query(
    operation: &str,
    protocol: Protocol,
    answer: Option<Result<String, ServiceError>>,
) -> Option<HttpResponse> {
    Some(match answer? {
        Ok(inner) => wire::query(operation, &inner),
        Err(error) => wire::error(protocol, &error),
    })
}

/// Lets IAM answer, and remembers what was there before a change; `None` for a
/// call that is not modelled.
fn dispatch_iam(
    state: &mut State,
    caller: &Caller,
    operation: &str,
    form: &Form,
    now: Timestamp,
) -> Option<HttpResponse> {
    let account = caller.account().to_owned();
    let caller_user = match caller {
        Caller::User { name, .. } => Some(name.clone()),
        Caller::Role(_) | Caller::Anonymous => None,
    };
    let place = iam::answers::Place { account: &account, caller_user: caller_user.as_deref() };
    let before = state.iam(&account).clone();
    Some(match iam::answers::answer(state.iam(&account), place, operation, form)? {
        Ok(inner) => {
            if *state.iam(&account) != before {
                state.remember_iam(&account, before, now);
            }
            wire::query(operation, &inner)
        }
        Err(error) => wire::error(Protocol::Query, &error),
    })
}

/// Lets S3 or S3 Control answer; `None` for a call that is not modelled.
fn dispatch_s3(
    state: &mut State,
    account: &str,
    routed: &Routed,
    request: &HttpRequest,
) -> Option<HttpResponse> {
    let Routed { service, region, operation, protocol, .. } = routed;
    let body = request.text();
    let control = service == "s3-control";
    let subject = if control { control_account(request) } else { bucket(request) };
    if control && subject != *account {
        let message = "Access Denied: the account is another";
        return Some(wire::error(*protocol, &ServiceError::new(403, "AccessDenied", message)));
    }
    let expected_owner = request.header("x-amz-expected-bucket-owner");
    let (subject, body) = (subject.as_str(), body.as_str());
    let call = s3::Call {
        operation,
        subject,
        expected_owner,
        region,
        canned_acl: request.header("x-amz-acl"),
        transition_minimum: request.header(TRANSITION_MINIMUM),
        body,
    };
    if let Some(answer) = objects::answer(&mut state.s3, &call, request).filter(|_| !control) {
        return Some(answer.unwrap_or_else(|it| {
            let error = ServiceError::new(it.status, it.code, it.message);
            let rendered = wire::error(*protocol, &error);
            // An answer to HEAD has no body.
            let body = if request.method == "HEAD" { Vec::new() } else { rendered.body };
            HttpResponse { body, ..rendered }
        }));
    }
    let answer = if control {
        s3::answer_control(&mut state.s3, &call)
    } else {
        s3::answer(&mut state.s3, &call)
    };
    Some(match answer? {
        Ok((status, body)) => {
            let mut answer = wire::rest_xml(status, body);
            let bucket = state.s3.buckets.get(subject);
            let minimum = bucket.and_then(|it| it.transition_minimum.as_deref());
            if operation.ends_with("LifecycleConfiguration")
                && let Some(Ok(value)) = minimum.map(HeaderValue::from_str)
            {
                answer.headers.insert(TRANSITION_MINIMUM, value);
            }
            answer
        }
        Err(error) => {
            let error = ServiceError::new(error.status, error.code, error.message);
            let mut answer = wire::error(*protocol, &error);
            // S3 tells where the bucket is (S3 user guide, "Request
            // redirection and the REST API").
            let bucket = state.s3.buckets.get(subject);
            if error.code == "PermanentRedirect"
                && let Some(Ok(value)) = bucket.map(|it| HeaderValue::from_str(&it.region))
            {
                answer.headers.insert("x-amz-bucket-region", value);
            }
            answer
        }
    })
}

const TRANSITION_MINIMUM: &str = "x-amz-transition-default-minimum-object-size";

fn control_account(request: &HttpRequest) -> String {
    request.header("x-amz-account-id").map_or_else(
        || request.host.split('.').next().unwrap_or_default().to_owned(),
        str::to_owned,
    )
}
