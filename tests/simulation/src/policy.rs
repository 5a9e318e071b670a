//! IAM's evaluation: which statements of which policies apply to a request.
//!
//! Explicit deny wins; an allow is needed from the identity policies and, if
//! there is one, from the session policy too (IAM user guide, "Policy
//! evaluation logic"). What is not modelled is an error, never ignored.

use std::collections::BTreeMap;

use serde_json::Value;

/// The request's context: condition keys, lower case, with their values.
pub type Context = BTreeMap<String, Vec<String>>;

/// One question to the policies.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The action, such as `ec2:DescribeInstances`.
    pub action: &'a str,
    /// The resource's ARN, or `*`.
    pub resource: &'a str,
    /// Condition keys.
    pub context: &'a Context,
}

/// What a set of policies says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some statement allows and none denies.
    Allow,
    /// Some statement denies.
    ExplicitDeny,
    /// No statement speaks.
    ImplicitDeny,
}

/// A policy that this model cannot evaluate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulation cannot evaluate this policy: {0}")]
pub struct NotModelled(pub String);

/// Evaluates policies, each a document with statements.
pub fn evaluate<'a>(
    policies: impl IntoIterator<Item = &'a Value>,
    question: &Question<'_>,
) -> Result<Verdict, NotModelled> {
    let mut verdict = Verdict::ImplicitDeny;
    for policy in policies {
        for statement in list(policy.get("Statement")) {
            if !applies(statement, question)? {
                continue;
            }
            match statement.get("Effect").and_then(Value::as_str) {
                Some("Deny") => return Ok(Verdict::ExplicitDeny),
                Some("Allow") => verdict = Verdict::Allow,
                other => return Err(NotModelled(format!("the effect {other:?}"))),
            }
        }
    }
    Ok(verdict)
}

/// Who a resource's policy may name.
#[derive(Clone, Copy, Debug)]
pub enum Principal<'a> {
    /// A principal of an account.
    Aws {
        /// Its ARN: a role's, not its session's.
        arn: &'a str,
        /// Its account.
        account: &'a str,
    },
    /// A service, such as `events.amazonaws.com`.
    Service(&'a str),
}

/// The statements of a resource's policy that name a principal, without the
/// name: as a policy that [`evaluate`] reads with its resources.
pub fn addressed(document: &Value, principal: Principal<'_>) -> Value {
    let statements: Vec<Value> = list(document.get("Statement"))
        .into_iter()
        .filter(|statement| names(statement.get("Principal"), principal))
        .map(|statement| {
            let mut statement = statement.clone();
            statement.as_object_mut().map(|held| held.remove("Principal"));
            statement
        })
        .collect();
    serde_json::json!({ "Statement": statements })
}

fn names(named: Option<&Value>, principal: Principal<'_>) -> bool {
    if named.and_then(Value::as_str) == Some("*") {
        return true;
    }
    let of = |kind: &str| list(named.and_then(|named| named.get(kind))).into_iter();
    match principal {
        Principal::Service(service) => {
            of("Service").any(|it| it == service) || of("AWS").any(|it| it == "*")
        }
        Principal::Aws { arn, account } => {
            let root = format!("arn:aws:iam::{account}:root");
            of("AWS")
                .filter_map(Value::as_str)
                .any(|it| it == "*" || it == arn || it == root || it == account)
        }
    }
}

/// A value that may stand alone or in a list.
pub fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    list(value)
        .into_iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect()
}

fn applies(statement: &Value, question: &Question<'_>) -> Result<bool, NotModelled> {
    let known = [
        "Sid",
        "Effect",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "Principal",
    ];
    if let Some(key) =
        statement.as_object().and_then(|it| it.keys().find(|key| !known.contains(&key.as_str())))
    {
        return Err(NotModelled(format!("the element {key}")));
    }
    let action = |pattern: &String| {
        wildcard(&pattern.to_ascii_lowercase(), &question.action.to_ascii_lowercase())
    };
    let resource = |pattern: &String| {
        with_variables(pattern, question.context)
            .is_some_and(|pattern| wildcard(&pattern, question.resource))
    };
    let matches = |name: &str, not: &str, one: &dyn Fn(&String) -> bool| {
        if statement.get(not).is_some() {
            !texts(statement.get(not)).iter().any(one)
        } else {
            texts(statement.get(name)).iter().any(one)
        }
    };
    // A trust policy has no resource: it is the role that carries it.
    let trust = statement.get("Principal").is_some();
    Ok(matches("Action", "NotAction", &action)
        && (trust || matches("Resource", "NotResource", &resource))
        && conditions(statement.get("Condition"), question.context)?)
}

/// A pattern with its policy variables filled in (IAM user guide, "Policy
/// variables"); `None` where the request has no such key.
fn with_variables(pattern: &str, context: &Context) -> Option<String> {
    let (mut filled, mut rest) = (String::new(), pattern);
    while let Some((before, after)) = rest.split_once("${") {
        let (key, after) = after.split_once('}')?;
        filled.push_str(before);
        filled.push_str(context.get(&key.to_ascii_lowercase())?.first()?);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

/// `*` and `?` as IAM has them.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match (pattern.get(at), text.get(in_text)) {
            (Some(b'*'), _) => {
                star = Some((at, in_text));
                at += 1;
            }
            (Some(one), Some(other)) if *one == b'?' || one == other => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((star_at, consumed)) => {
                    at = star_at + 1;
                    in_text = consumed + 1;
                    star = Some((star_at, consumed + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

fn conditions(condition: Option<&Value>, context: &Context) -> Result<bool, NotModelled> {
    let Some(condition) = condition else { return Ok(true) };
    let operators = condition.as_object().ok_or_else(|| NotModelled("Condition".to_owned()))?;
    for (operator, keys) in operators {
        let keys = keys.as_object().ok_or_else(|| NotModelled(format!("{operator}'s keys")))?;
        for (key, wanted) in keys {
            if !condition_holds(operator, key, &texts(Some(wanted)), context)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Keys that a request may lack, as on AWS. Any other key that is absent from
/// the context is one that this model does not fill.
const KNOWN_KEYS: &[&str] = &[
    "aws:tokenissuetime",
    "aws:userid",
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principaltag/",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:tagkeys",
    "ec2:createaction",
    "ec2:resourcetag/",
    "events:detail-type",
    "events:eventbusinvocation",
    "events:source",
    "iam:passedtoservice",
    "iam:policyarn",
    "kms:grantisforawsresource",
    "kms:viaservice",
    "securityhub:asffsyntaxpath/",
    "sts:externalid",
    "sts:rolesessionname",
    "sts:sourceidentity",
];

fn condition_holds(
    operator: &str,
    key: &str,
    wanted: &[String],
    context: &Context,
) -> Result<bool, NotModelled> {
    let key = key.to_ascii_lowercase();
    let known = KNOWN_KEYS
        .iter()
        .any(|known| key == *known || (known.ends_with('/') && key.starts_with(known)));
    if !known {
        return Err(NotModelled(format!("the condition key {key}")));
    }
    let (set, operator) = match operator.split_once(':') {
        Some((set, operator)) => (Some(set), operator),
        None => (None, operator),
    };
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let present = context.get(&key);
    if operator == "Null" {
        let absent = wanted.iter().any(|wanted| wanted == "true");
        return Ok(present.is_none() == absent);
    }
    let Some(present) = present else {
        let negated = operator.contains("Not");
        return Ok(if_exists || negated || set == Some("ForAllValues"));
    };
    let one = |value: &String| compare(operator, value, wanted);
    let results: Vec<bool> = present.iter().map(one).collect::<Result<_, _>>()?;
    match set {
        Some("ForAllValues") => Ok(results.iter().all(|it| *it)),
        None | Some("ForAnyValue") => Ok(results.iter().any(|it| *it)),
        Some(other) => Err(NotModelled(format!("the set operator {other}"))),
    }
}

fn compare(operator: &str, value: &str, wanted: &[String]) -> Result<bool, NotModelled> {
    let any = |test: &dyn Fn(&str) -> bool| wanted.iter().any(|wanted| test(wanted));
    let times = |test: &dyn Fn(jiff::Timestamp, jiff::Timestamp) -> bool| {
        let value: Option<jiff::Timestamp> = value.parse().ok();
        any(&|wanted| {
            value.zip(wanted.parse().ok()).is_some_and(|(value, wanted)| test(value, wanted))
        })
    };
    Ok(match operator {
        "StringEquals" => any(&|wanted| value == wanted),
        "StringNotEquals" => !any(&|wanted| value == wanted),
        "StringEqualsIgnoreCase" => any(&|wanted| value.eq_ignore_ascii_case(wanted)),
        "StringLike" | "ArnLike" | "ArnEquals" => any(&|wanted| wildcard(wanted, value)),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => !any(&|wanted| wildcard(wanted, value)),
        "Bool" => any(&|wanted| value.eq_ignore_ascii_case(wanted)),
        "DateLessThan" => times(&|value, wanted| value < wanted),
        "DateLessThanEquals" => times(&|value, wanted| value <= wanted),
        "DateGreaterThan" => times(&|value, wanted| value > wanted),
        "DateGreaterThanEquals" => times(&|value, wanted| value >= wanted),
        other => return Err(NotModelled(format!("the condition operator {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(policy: &Value, action: &str, resource: &str, context: &[(&str, &str)]) -> Verdict {
        let context = context
            .iter()
            .map(|(key, value)| (key.to_ascii_lowercase(), vec![(*value).to_owned()]))
            .collect();
        let question = Question { action, resource, context: &context };
        evaluate([policy], &question).unwrap()
    }

    #[test]
    fn an_explicit_deny_wins_over_any_allow() {
        let policy = json!({ "Statement": [
            { "Effect": "Allow", "Action": "*", "Resource": "*" },
            { "Effect": "Deny", "Action": "s3:Get*", "Resource": "arn:aws:s3:::secret/*" },
        ]});
        assert_eq!(
            verdict(&policy, "s3:GetObject", "arn:aws:s3:::secret/x", &[]),
            Verdict::ExplicitDeny
        );
        assert_eq!(verdict(&policy, "s3:GetObject", "arn:aws:s3:::open/x", &[]), Verdict::Allow);
    }

    #[test]
    fn a_session_issued_before_the_cutoff_is_denied_and_a_long_term_key_is_not() {
        let deny = json!({ "Statement": [{
            "Effect": "Deny", "Action": "*", "Resource": "*",
            "Condition": { "DateLessThan": { "aws:TokenIssueTime": "2026-01-01T00:00:30Z" } },
        }]});
        let at = |time| verdict(&deny, "s3:GetObject", "*", &[("aws:TokenIssueTime", time)]);
        assert_eq!(at("2026-01-01T00:00:00Z"), Verdict::ExplicitDeny);
        assert_eq!(at("2026-01-01T00:00:30Z"), Verdict::ImplicitDeny);
        assert_eq!(verdict(&deny, "s3:GetObject", "*", &[]), Verdict::ImplicitDeny);
    }

    #[test]
    fn what_is_not_modelled_is_an_error() {
        let context = Context::new();
        let question = Question { action: "s3:GetObject", resource: "*", context: &context };
        for condition in [
            json!({ "NumericEquals": { "aws:userid": "1" } }),
            json!({ "StringEquals": { "aws:SourceVpc": "vpc-1" } }),
        ] {
            let context = Context::from([("aws:userid".to_owned(), vec!["1".to_owned()])]);
            let question = Question { context: &context, ..question };
            let policy = json!({ "Statement": [{
                "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition,
            }]});
            assert!(evaluate([&policy], &question).is_err(), "{condition}");
        }
    }

    #[test]
    fn wildcards_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("ec2:Describe*", "ec2:DescribeInstances", true),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("i-?", "i-1", true),
            ("i-?", "i-12", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }
}
