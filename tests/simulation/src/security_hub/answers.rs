//! Security Hub's calls, as its API reference has them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::model::{Key, SecurityHub};
use super::{ocsf, setup};
use crate::state::State;
use crate::wire::HttpRequest;

/// Where and when a call is made.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The caller's account.
    pub account: &'a str,
    /// The Region.
    pub region: &'a str,
    /// The present time.
    pub now: Timestamp,
}

/// An error as AWS codes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// AWS's error code.
    pub code: &'static str,
    /// The message.
    pub message: String,
}

pub(super) type Answer = Result<Value, Refusal>;

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal { status: 400, code: "InvalidInputException", message: message.into() }
}

/// The operation that a method and path name; `None` for one that is not modelled.
pub fn operation(method: &str, path: &str) -> Option<&'static str> {
    match (method, path) {
        ("PATCH", "/findings/batchupdate") => Some("BatchUpdateFindings"),
        ("POST", "/findings") => Some("GetFindings"),
        ("PATCH", "/findingsv2/batchupdatev2") => Some("BatchUpdateFindingsV2"),
        ("POST", "/findingsv2") => Some("GetFindingsV2"),
        ("POST", "/findings/import") => Some("BatchImportFindings"),
        _ => setup::operation(method, path),
    }
}

/// Answers a call that [`operation`] named.
pub fn answer(
    state: &mut State,
    place: Place<'_>,
    operation: &str,
    (request, input): (&HttpRequest, &Value),
) -> Answer {
    if let Some(answer) = setup::answer(state, place, operation, (request, input)) {
        return answer;
    }
    let hub = &mut state.security_hub;
    match operation {
        "BatchUpdateFindings" => batch_update(hub, place, input),
        "GetFindings" => get_findings(hub, place, input),
        "BatchUpdateFindingsV2" => ocsf::batch_update(hub, place, input),
        "GetFindingsV2" => ocsf::get_findings(hub, place, input),
        "BatchImportFindings" => batch_import(hub, place, input),
        other => Err(Refusal {
            status: 501,
            code: "NotModelled",
            message: format!("the simulation does not model securityhub:{other}"),
        }),
    }
}

/// "Id: maximum length of 512" (ASFF syntax). A longer one spoils the request.
const ID_CHARACTERS: usize = 512;

fn batch_update(hub: &mut SecurityHub, place: Place<'_>, input: &Value) -> Answer {
    let identifiers = input.get("FindingIdentifiers").and_then(Value::as_array);
    let identifiers = identifiers.filter(|list| !list.is_empty()).ok_or_else(|| {
        invalid("Invalid parameter: FindingIdentifiers must have at least one item")
    })?;
    if identifiers.len() > 100 {
        return Err(invalid("Invalid parameter: FindingIdentifiers must have at most 100 items"));
    }
    if let Some(note) = input.get("Note") {
        let text = note.get("Text").and_then(Value::as_str).unwrap_or_default();
        if !(1..=512).contains(&text.chars().count()) {
            return Err(invalid("Invalid parameter: Note.Text must have 1 to 512 characters"));
        }
    }
    if let Some(fields) = input.get("UserDefinedFields").and_then(Value::as_object) {
        let too_long = |(key, value): (&String, &Value)| {
            key.chars().count() > 128
                || value.as_str().is_none_or(|value| value.chars().count() > 1_024)
        };
        if fields.len() > 50 || fields.iter().any(too_long) {
            return Err(invalid("Invalid parameter: UserDefinedFields exceeds its limits"));
        }
    }
    let update: Map<String, Value> = ["Note", "Workflow", "UserDefinedFields"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), input.get(name)?.clone())))
        .collect();
    let (mut processed, mut unprocessed) = (Vec::new(), Vec::new());
    let mut named = std::collections::BTreeSet::new();
    for identifier in identifiers {
        let key = key(identifier);
        if key.as_ref().is_some_and(|(id, _)| id.chars().count() > ID_CHARACTERS) {
            return Err(invalid("Invalid parameter: FindingIdentifiers"));
        }
        let twice = key.as_ref().is_some_and(|key| !named.insert(key.clone()));
        let refused = match key {
            Some(_) if twice => {
                Some(("DuplicatedFindingIdentifier".to_owned(), "The finding is named twice"))
            }
            None => Some(("InvalidInput".to_owned(), "Id and ProductArn are required")),
            Some(key) => match hub.unprocessed.get(&key.0) {
                Some(code) => Some((code.clone(), "The simulation was told to refuse it")),
                None => update_one(hub, place, &key, &update),
            },
        };
        match refused {
            None => processed.push(identifier.clone()),
            Some((code, message)) => unprocessed.push(json!({
                "FindingIdentifier": identifier, "ErrorCode": code, "ErrorMessage": message,
            })),
        }
    }
    Ok(json!({ "ProcessedFindings": processed, "UnprocessedFindings": unprocessed }))
}

fn update_one(
    hub: &mut SecurityHub,
    place: Place<'_>,
    key: &Key,
    update: &Map<String, Value>,
) -> Option<(String, &'static str)> {
    let region = hub.visible_regions(place.region).into_iter().find(|region| {
        hub.is_known(&key.0, place.now)
            && hub
                .findings
                .get(region)
                .and_then(|findings| findings.get(key))
                .is_some_and(|finding| hub.sees(place.account, finding))
    });
    match region {
        Some(region) => {
            hub.update(&region, key, update, &place.now.to_string());
            None
        }
        None => Some(("FindingNotFound".to_owned(), "Finding Not Found")),
    }
}

fn key(identifier: &Value) -> Option<Key> {
    let text = |name: &str| identifier.get(name).and_then(Value::as_str).map(str::to_owned);
    Some((text("Id")?, text("ProductArn")?))
}

fn get_findings(hub: &SecurityHub, place: Place<'_>, input: &Value) -> Answer {
    let empty = Map::new();
    let filters = input.get("Filters").and_then(Value::as_object).unwrap_or(&empty);
    check(filters)?;
    let mut found = Vec::new();
    let named = named(filters);
    for region in hub.visible_regions(place.region) {
        let Some(held) = hub.findings.get(&region) else { continue };
        // What is asked for by its id costs what it finds, however many there are.
        let looked_at: Vec<_> = match &named {
            Some(ids) => ids.iter().flat_map(|id| of_id(held, id)).collect(),
            None => held.iter().collect(),
        };
        for ((id, _), finding) in looked_at {
            if hub.is_known(id, place.now)
                && hub.sees(place.account, finding)
                && passes(filters, finding)?
            {
                found.push(finding.clone());
            }
        }
    }
    page(&found, input)
}

/// The ids that a filter asks for; `None` where it asks for others as well.
fn named(filters: &Map<String, Value>) -> Option<BTreeSet<&str>> {
    let alternatives = filters.get("Id")?.as_array()?;
    let id = |it| {
        let it: &Value = it;
        let is_exact = it.get("Comparison").and_then(Value::as_str) == Some("EQUALS");
        it.get("Value").and_then(Value::as_str).filter(|_| is_exact)
    };
    alternatives.iter().map(id).collect()
}

/// The findings of one id, each of another product.
fn of_id<'a>(
    held: &'a BTreeMap<Key, Value>,
    id: &str,
) -> impl Iterator<Item = (&'a Key, &'a Value)> {
    let id = id.to_owned();
    held.range((id.clone(), String::new())..).take_while(move |((it, _), _)| *it == id)
}

/// One page of what was found, with the token of the next.
pub(super) fn page(found: &[Value], input: &Value) -> Answer {
    let start: usize = input
        .get("NextToken")
        .and_then(Value::as_str)
        .map_or(Ok(0), str::parse)
        .map_err(|_| invalid("Invalid parameter: NextToken"))?;
    let size = input.get("MaxResults").and_then(Value::as_u64).unwrap_or(100);
    if !(1..=100).contains(&size) {
        return Err(invalid("Invalid parameter: MaxResults must be 1 to 100"));
    }
    let size = usize::try_from(size).unwrap_or(100);
    let page: Vec<Value> = found.iter().skip(start).take(size).cloned().collect();
    let next = start + page.len();
    let mut answer = json!({ "Findings": page });
    if next < found.len()
        && let Some(object) = answer.as_object_mut()
    {
        object.insert("NextToken".to_owned(), json!(next.to_string()));
    }
    Ok(answer)
}

/// "For each attribute, you can provide up to 20 filter values." What is wrong
/// with a filter does not depend on what there is to find.
fn check(filters: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, values) in filters {
        let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
        let long = |value: &Value| {
            let text = value.get("Value").and_then(Value::as_str).unwrap_or_default();
            text.chars().count() > ID_CHARACTERS
        };
        if values.len() > 20 || values.iter().any(long) {
            return Err(invalid(format!("Invalid parameter: {name}")));
        }
    }
    Ok(())
}

/// String filters: values of one field are alternatives, fields all must pass.
fn passes(filters: &Map<String, Value>, finding: &Value) -> Result<bool, Refusal> {
    for (name, alternatives) in filters {
        if name == "UpdatedAt" {
            if !within(alternatives, finding.get("UpdatedAt"))? {
                return Ok(false);
            }
            continue;
        }
        let pointer = match name.as_str() {
            "Id" | "ProductArn" | "AwsAccountId" | "RecordState" | "GeneratorId" => {
                format!("/{name}")
            }
            "WorkflowStatus" => "/Workflow/Status".to_owned(),
            other => {
                return Err(invalid(format!("the simulation does not model the filter {other}")));
            }
        };
        let value = finding.pointer(&pointer).and_then(Value::as_str).unwrap_or_default();
        let mut any = false;
        for alternative in alternatives.as_array().into_iter().flatten() {
            let text = alternative.get("Value").and_then(Value::as_str).unwrap_or_default();
            any |= match alternative.get("Comparison").and_then(Value::as_str) {
                Some("EQUALS") => value == text,
                Some("PREFIX") => value.starts_with(text),
                Some("NOT_EQUALS") => value != text,
                other => {
                    return Err(invalid(format!(
                        "the simulation does not model the comparison {other:?}"
                    )));
                }
            };
        }
        if !any {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A date filter with a start and an end, both included.
fn within(ranges: &Value, updated: Option<&Value>) -> Result<bool, Refusal> {
    let time = |value: Option<&Value>| -> Result<Timestamp, Refusal> {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        text.parse().map_err(|_| invalid(format!("Invalid parameter: `{text}` is no timestamp")))
    };
    let updated = time(updated)?;
    for range in ranges.as_array().into_iter().flatten() {
        let (start, end) = (time(range.get("Start"))?, time(range.get("End"))?);
        if (start..=end).contains(&updated) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn batch_import(hub: &mut SecurityHub, place: Place<'_>, input: &Value) -> Answer {
    let findings = input.get("Findings").and_then(Value::as_array);
    let findings = findings.filter(|list| (1..=100).contains(&list.len()));
    let findings = findings.ok_or_else(|| invalid("Findings must have 1 to 100 items"))?.clone();
    let (mut imported, mut failed) = (0, Vec::new());
    for finding in findings {
        let id = finding.get("Id").cloned().unwrap_or_default();
        match hub.import_at(place.region, finding, Some(place.now)) {
            Some(_) => imported += 1,
            None => failed.push(json!({
                "Id": id, "ErrorCode": "InvalidInput", "ErrorMessage": "Id and ProductArn are required",
            })),
        }
    }
    Ok(json!({
        "SuccessCount": imported, "FailedCount": failed.len(), "FailedFindings": failed,
    }))
}
