//! A bucket policy as a document: its statements, what is the same for S3, and principals
//! that do not exist any more. Pure.

use serde_json::{Value, json};

/// A policy's statements, which may be a list or a single one.
pub(crate) fn statements(policy: &Value) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

/// The policy with these statements in place of its own.
pub(crate) fn with_statements(mut policy: Value, statements: Vec<Value>) -> Value {
    if let Some(policy) = policy.as_object_mut() {
        policy.insert("Statement".to_owned(), Value::Array(statements));
    }
    policy
}

/// Whether two statements say the same. S3 returns lists in an order of its own, and a list of
/// one element as that element (AWS support in ansible issue 19310), so lists are compared as
/// sets.
pub(crate) fn same_statement(one: &Value, other: &Value) -> bool {
    as_sets(one) == as_sets(other)
}

/// Whether two policies say the same, their statements in the same order.
pub(crate) fn same_policy(one: &Value, other: &Value) -> bool {
    let rest = |policy: &Value| with_statements(policy.clone(), Vec::new());
    let (first, second) = (statements(one), statements(other));
    rest(one) == rest(other)
        && first.len() == second.len()
        && first.iter().zip(&second).all(|(one, other)| same_statement(one, other))
}

fn as_sets(value: &Value) -> Value {
    match value {
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(as_sets).collect();
            list.sort_by_key(Value::to_string);
            list.dedup();
            match <[Value; 1]>::try_from(list) {
                Ok([one]) => one,
                Err(list) => Value::Array(list),
            }
        }
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), as_sets(value))).collect()
        }
        other => other.clone(),
    }
}

/// The unique ids in a policy in place of principals that were deleted: S3 shows them so, and
/// refuses a policy that names one (IAM user guide, "IAM JSON policy elements: Principal").
pub(crate) fn deleted_principals(policy: &Value) -> Vec<String> {
    let mut ids: Vec<String> = statements(policy)
        .iter()
        .flat_map(|statement| ["Principal", "NotPrincipal"].map(|name| named(statement, name)))
        .flatten()
        .filter(|principal| is_unique_id(principal))
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// The policy without them. A statement that is about nobody else goes, because it has no
/// effect; a deny of everyone but them denies everyone.
pub(crate) fn without_deleted_principals(policy: &Value) -> Value {
    let kept = statements(policy).into_iter().filter_map(|mut statement| {
        for name in ["Principal", "NotPrincipal"] {
            let all = named(&statement, name);
            let existing: Vec<&String> = all.iter().filter(|it| !is_unique_id(it)).collect();
            if existing.len() == all.len() {
                continue;
            }
            let fields = statement.as_object_mut()?;
            let of_element = fields.get_mut(name)?.as_object_mut()?;
            if !existing.is_empty() {
                of_element.insert("AWS".to_owned(), json!(existing));
            } else if of_element.len() > 1 {
                of_element.remove("AWS");
            } else if name == "NotPrincipal" {
                fields.remove(name);
                fields.insert("Principal".to_owned(), json!("*"));
            } else {
                return None;
            }
        }
        Some(statement)
    });
    with_statements(policy.clone(), kept.collect())
}

/// The principals of AWS that a statement names.
fn named(statement: &Value, element: &str) -> Vec<String> {
    let of_aws = statement.get(element).and_then(|it| it.get("AWS"));
    let texts = match of_aws {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    texts.into_iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether it is a unique id, as AIDA… or AROA… (IAM user guide, "IAM identifiers"), and no
/// ARN, account id or `*`.
fn is_unique_id(principal: &str) -> bool {
    principal.len() >= 16
        && principal.starts_with('A')
        && principal.chars().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared_as_sets_and_statements_in_order() {
        let one = json!({ "Action": "s3:*", "Resource": ["a", "b"], "Condition": { "X": { "k": ["v"] } } });
        let same = json!({ "Action": ["s3:*"], "Resource": ["b", "a"], "Condition": { "X": { "k": "v" } } });
        let other =
            json!({ "Action": "s3:*", "Resource": ["a"], "Condition": { "X": { "k": "v" } } });
        assert!(same_statement(&one, &same) && !same_statement(&one, &other));
        let policy =
            |statements: &[&Value]| json!({ "Version": "2012-10-17", "Statement": statements });
        assert!(same_policy(&policy(&[&one, &other]), &policy(&[&same, &other])));
        assert!(!same_policy(&policy(&[&one, &other]), &policy(&[&other, &one])));
        let single = json!({ "Version": "2012-10-17", "Statement": one });
        assert!(same_policy(&single, &policy(&[&same])));
        assert!(!same_policy(&single, &json!({ "Version": "2008-10-17", "Statement": [one] })));
    }

    #[test]
    fn what_names_deleted_principals_keeps_its_meaning_without_them() {
        let (gone, arn) = ("AROAEXAMPLEDELETED00", "arn:aws:iam::111111111111:root");
        let check = |statement: Value, expected: Option<Value>| {
            let policy = json!({ "Statement": [statement] });
            let expected: Vec<Value> = expected.into_iter().collect();
            assert_eq!(statements(&without_deleted_principals(&policy)), expected, "{policy}");
        };
        let unchanged = |statement: Value| check(statement.clone(), Some(statement));
        unchanged(json!({ "Principal": "*" }));
        unchanged(json!({ "Principal": { "AWS": [arn, "111111111111", "*"] } }));
        unchanged(json!({ "Principal": { "CanonicalUser": gone } }));
        check(
            json!({ "Principal": { "AWS": [gone, arn] } }),
            Some(json!({ "Principal": { "AWS": [arn] } })),
        );
        check(json!({ "Effect": "Allow", "Principal": { "AWS": gone } }), None);
        check(
            json!({ "Principal": { "AWS": gone, "Service": "s" } }),
            Some(json!({ "Principal": { "Service": "s" } })),
        );
        check(
            json!({ "Effect": "Deny", "NotPrincipal": { "AWS": gone } }),
            Some(json!({ "Effect": "Deny", "Principal": "*" })),
        );
        let policy = json!({ "Statement": { "Principal": { "AWS": [gone, arn, gone] } } });
        assert_eq!(deleted_principals(&policy), [gone]);
    }
}
