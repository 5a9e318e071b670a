//! The calls on OCSF findings, as Security Hub's API reference has them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::answers::{Answer, Place, invalid, page};
use super::model::SecurityHub;

/// A longer value is refused with the whole request.
const UID_CHARACTERS: usize = 512;

pub(super) fn batch_update(hub: &mut SecurityHub, place: Place<'_>, input: &Value) -> Answer {
    let uids: Vec<&str> = input
        .get("MetadataUids")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !(1..=100).contains(&uids.len()) {
        return Err(invalid("Invalid parameter: MetadataUids must have 1 to 100 items"));
    }
    if uids.iter().any(|uid| uid.chars().count() > UID_CHARACTERS) {
        return Err(invalid("Invalid parameter: MetadataUids"));
    }
    let mut update = Map::new();
    if let Some(comment) = input.get("Comment") {
        let length = comment.as_str().unwrap_or_default().chars().count();
        if !(1..=512).contains(&length) {
            return Err(invalid("Invalid parameter: Comment must have 1 to 512 characters"));
        }
        update.insert("comment".to_owned(), comment.clone());
    }
    if let Some(id) = input.get("StatusId") {
        // "The string sibling status will automatically be updated."
        let caption = match id.as_u64() {
            Some(0) => "Unknown",
            Some(1) => "New",
            Some(2) => "In Progress",
            Some(3) => "Suppressed",
            Some(4) => "Resolved",
            Some(5) => "Archived",
            Some(99) => "Other",
            _ => return Err(invalid("Invalid parameter: StatusId")),
        };
        update.insert("status_id".to_owned(), id.clone());
        update.insert("status".to_owned(), json!(caption));
    }
    let (mut processed, mut unprocessed) = (Vec::new(), Vec::new());
    let mut named = BTreeSet::new();
    for uid in uids {
        let refused = match hub.unprocessed.get(uid) {
            _ if !named.insert(uid) => Some("ValidationException".to_owned()),
            Some(code) => Some(code.clone()),
            None => match region_of(hub, place, uid) {
                Some(region) => {
                    hub.update_ocsf(&region, uid, &update);
                    None
                }
                None => Some("ResourceNotFoundException".to_owned()),
            },
        };
        match refused {
            None => processed.push(json!({ "MetadataUid": uid })),
            Some(code) => unprocessed.push(json!({
                "MetadataUid": uid, "ErrorCode": code, "ErrorMessage": "not updated",
            })),
        }
    }
    Ok(json!({ "ProcessedFindings": processed, "UnprocessedFindings": unprocessed }))
}

fn region_of(hub: &SecurityHub, place: Place<'_>, uid: &str) -> Option<String> {
    hub.visible_regions(place.region).into_iter().find(|region| {
        hub.is_known(uid, place.now)
            && hub
                .ocsf
                .get(region)
                .and_then(|findings| findings.get(uid))
                .is_some_and(|finding| hub.sees(place.account, finding))
    })
}

pub(super) fn get_findings(hub: &SecurityHub, place: Place<'_>, input: &Value) -> Answer {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let filters = list(input.pointer("/Filters/CompositeFilters"));
    if filters.len() > 10 {
        return Err(invalid("Invalid parameter: more than 10 composite filters"));
    }
    let mut wanted: Option<BTreeSet<String>> = None;
    for filter in &filters {
        if filter.get("Operator").and_then(Value::as_str) != Some("OR") || filters.len() > 1 {
            return Err(invalid("the simulation models one composite filter, with OR"));
        }
        let strings = list(filter.get("StringFilters"));
        if strings.len() > 20 {
            return Err(invalid("Invalid parameter: more than 20 string filters"));
        }
        for string in strings {
            let text = |pointer: &str| string.pointer(pointer).and_then(Value::as_str);
            let value = text("/Filter/Value").unwrap_or_default();
            let exact = text("/Filter/Comparison") == Some("EQUALS");
            if text("/FieldName") != Some("metadata.uid") || !exact {
                return Err(invalid("the simulation models metadata.uid EQUALS"));
            }
            if value.chars().count() > UID_CHARACTERS {
                return Err(invalid("Invalid parameter: metadata.uid is too long"));
            }
            wanted.get_or_insert_default().insert(value.to_owned());
        }
    }
    let mut found = Vec::new();
    for region in hub.visible_regions(place.region) {
        for (uid, finding) in hub.ocsf.get(&region).into_iter().flatten() {
            let asked = wanted.as_ref().is_none_or(|wanted| wanted.contains(uid));
            if asked && hub.is_known(uid, place.now) && hub.sees(place.account, finding) {
                found.push(finding.clone());
            }
        }
    }
    page(&found, input)
}
