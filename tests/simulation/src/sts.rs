//! STS: AssumeRole with all that it checks, GetCallerIdentity.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::caller::{Caller, Session};
use crate::ec2::form::Form;
use crate::ec2::xml;
use crate::permissions;
use crate::policy::{Context, Question, Verdict, evaluate, list};
use crate::state::State;
use crate::wire::ServiceError;

type Answer = Result<String, ServiceError>;

/// Answers a call; `None` for one that is not modelled.
pub fn answer(
    state: &mut State,
    caller: &Caller,
    region: &str,
    now: Timestamp,
    action: &str,
    form: &Form,
) -> Option<Answer> {
    match action {
        "AssumeRole" => Some(assume_role(state, caller, region, now, form)),
        "GetCallerIdentity" => Some(Ok(caller_identity(state, caller))),
        _ => None,
    }
}

fn caller_identity(state: &State, caller: &Caller) -> String {
    let user_id = permissions::user_id(state, caller);
    let mut out = String::new();
    xml::text(&mut out, "Arn", &caller.arn());
    xml::text(&mut out, "UserId", &user_id);
    xml::text(&mut out, "Account", caller.account());
    out
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(400, "ValidationError", message)
}

fn denied(caller: &Caller, action: &str, role_arn: &str) -> ServiceError {
    ServiceError::new(
        403,
        "AccessDenied",
        format!(
            "User: {} is not authorized to perform: {action} on resource: {role_arn}",
            caller.arn()
        ),
    )
}

/// The form and length that STS documents for names it is given.
fn check_text(name: &str, text: &str, shortest: usize, longest: usize) -> Result<(), ServiceError> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "_+=,.@:/-".contains(char);
    if (shortest..=longest).contains(&text.len()) && text.chars().all(allowed) {
        Ok(())
    } else {
        Err(invalid(format!(
            "1 validation error detected: Value '{text}' at '{name}' failed to satisfy its length or pattern"
        )))
    }
}

struct Request {
    account: String,
    role: String,
    session: String,
    external_id: Option<String>,
    source_identity: Option<String>,
    tags: BTreeMap<String, String>,
    policy: Option<Value>,
    seconds: i64,
}

fn request(form: &Form, caller: &Caller) -> Result<Request, ServiceError> {
    let role_arn = form.get("RoleArn").unwrap_or_default();
    let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
    let [_, _, "iam", _, account, resource] = parts.as_slice() else {
        return Err(invalid(format!("{role_arn} is invalid")));
    };
    let role = resource.rsplit('/').next().unwrap_or_default();
    let session = form.get("RoleSessionName").unwrap_or_default().to_owned();
    check_text("roleSessionName", &session, 2, 64)?;
    let external_id = form.get("ExternalId").map(str::to_owned);
    if let Some(id) = &external_id {
        check_text("externalId", id, 2, 1_224)?;
    }
    let source_identity = form.get("SourceIdentity").map(str::to_owned);
    if let Some(identity) = &source_identity {
        check_text("sourceIdentity", identity, 2, 64)?;
    }
    let tags: BTreeMap<String, String> = form
        .structures("Tags.member")
        .iter()
        .map(|tag| {
            let text = |name: &str| tag.get(name).unwrap_or_default().to_owned();
            (text("Key"), text("Value"))
        })
        .collect();
    if tags.len() > 50 {
        return Err(invalid("Member must have length less than or equal to 50"));
    }
    let policy = match form.get("Policy") {
        None => None,
        Some(text) if text.len() > 2_048 => {
            return Err(invalid("Value at 'policy' failed: length less than or equal to 2048"));
        }
        Some(text) => Some(serde_json::from_str(text).map_err(|_| {
            ServiceError::new(400, "MalformedPolicyDocument", "The policy is not valid JSON")
        })?),
    };
    let seconds: i64 = form
        .get("DurationSeconds")
        .map_or(Ok(3_600), str::parse)
        .map_err(|_| invalid("DurationSeconds"))?;
    // Role chaining: an hour at most (IAM user guide, "Role chaining").
    if seconds > 3_600 && matches!(caller, Caller::Role(_)) {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    Ok(Request {
        account: (*account).to_owned(),
        role: role.to_owned(),
        session,
        external_id,
        source_identity,
        tags,
        policy,
        seconds,
    })
}

fn assume_role(
    state: &mut State,
    caller: &Caller,
    region: &str,
    now: Timestamp,
    form: &Form,
) -> Answer {
    let wanted = request(form, caller)?;
    let Request { account, role, .. } = &wanted;
    let role_arn = form.get("RoleArn").unwrap_or_default().to_owned();
    if let Some(enabled) = state.opt_in_regions.get(region)
        && !enabled.contains(account)
    {
        let message = format!("STS is not activated in this region for account:{account}");
        return Err(ServiceError::new(403, "RegionDisabledException", message));
    }
    let found = state.accounts.get(account).and_then(|it| it.iam.roles.get(role)).cloned();
    // A role that does not exist is answered as one that does not trust.
    let found = found.ok_or_else(|| denied(caller, "sts:AssumeRole", &role_arn))?;
    let mut context: Context = permissions::principal_context(state, caller);
    let mut add = |key: &str, value: &str| {
        context.insert(key.to_owned(), vec![value.to_owned()]);
    };
    add("sts:rolesessionname", &wanted.session);
    if let Some(id) = &wanted.external_id {
        add("sts:externalid", id);
    }
    if let Some(identity) = &wanted.source_identity {
        add("sts:sourceidentity", identity);
    }
    for (key, value) in &wanted.tags {
        add(&format!("aws:requesttag/{}", key.to_ascii_lowercase()), value);
    }
    context.insert("aws:tagkeys".to_owned(), wanted.tags.keys().cloned().collect());

    let mut actions = vec!["sts:AssumeRole"];
    if !wanted.tags.is_empty() {
        actions.push("sts:TagSession");
    }
    if wanted.source_identity.is_some() {
        actions.push("sts:SetSourceIdentity");
    }
    let principal = permissions::principal_arn(state, caller);
    for action in actions {
        let question = Question { action, resource: &role_arn, context: &context };
        let trusting: Vec<Value> = trusting(&found.trust, &principal, caller.account());
        let document = serde_json::json!({ "Statement": trusting });
        let verdict = evaluate([&document], &question)
            .map_err(|error| ServiceError::new(500, "NotModelled", error.to_string()))?;
        if verdict != Verdict::Allow {
            return Err(denied(caller, action, &role_arn));
        }
    }
    let claimed = state.misdirected_sessions.get(account).cloned();
    let session = Session {
        account: claimed.unwrap_or_else(|| account.clone()),
        role: role.clone(),
        role_id: found.identity.id.clone(),
        name: wanted.session.clone(),
        issued: now,
        expires: now + SignedDuration::from_secs(wanted.seconds),
        token: format!("token-{}", state.unique()),
        policy: wanted.policy,
        tags: wanted.tags,
        source_identity: wanted.source_identity,
    };
    Ok(give(state, session))
}

fn give(state: &mut State, session: Session) -> String {
    let key = format!("ASIA{:016}", state.unique());
    let mut out = String::new();
    xml::element(&mut out, "Credentials", |out| {
        xml::text(out, "AccessKeyId", &key);
        xml::text(out, "SecretAccessKey", "simulated-secret");
        xml::text(out, "SessionToken", &session.token);
        xml::text(out, "Expiration", &session.expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    });
    xml::element(&mut out, "AssumedRoleUser", |out| {
        let Session { account, role, role_id, name, .. } = &session;
        xml::text(out, "AssumedRoleId", &format!("{role_id}:{name}"));
        xml::text(out, "Arn", &format!("arn:aws:sts::{account}:assumed-role/{role}/{name}"));
    });
    state.sessions.insert(key, session);
    out
}

/// The trust statements whose principal admits the caller.
fn trusting(trust: &Value, principal_arn: &str, account: &str) -> Vec<Value> {
    let root = format!("arn:aws:iam::{account}:root");
    let admits = |statement: &&Value| {
        let principal = statement.get("Principal");
        if principal.and_then(Value::as_str) == Some("*") {
            return true;
        }
        let aws = principal.and_then(|principal| principal.get("AWS"));
        list(aws).into_iter().filter_map(Value::as_str).any(|admitted| {
            admitted == "*" || admitted == principal_arn || admitted == root || admitted == account
        })
    };
    list(trust.get("Statement")).into_iter().filter(admits).cloned().collect()
}
