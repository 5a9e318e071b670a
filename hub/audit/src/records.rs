//! Compares the records of responses with the audit events about them. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::chain::{Chain, ChainId};
use super::verify::{Fault, FaultKind, parse_event};
use firebreak_model::digest::sha256_hex;
use firebreak_response::record::{ResponseId, State};

/// The latest audit event about a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestEvent {
    pub id: ChainId,
    /// `None` while it is not chained.
    pub seq: Option<u64>,
    pub key: String,
    /// The record's revision then.
    pub revision: u64,
    /// The response's state then.
    pub state: Option<State>,
    /// The digest of the record then.
    pub record: Option<String>,
}

impl LatestEvent {
    fn fault(&self, kind: FaultKind, response: &ResponseId, message: String) -> Fault {
        Fault {
            seq: self.seq,
            key: Some(self.key.clone()),
            response: Some(response.clone()),
            ..Fault::in_chain(kind, &self.id, message)
        }
    }
}

/// Adds to `latest` the latest event of a chain about each response.
pub fn collect(chain: &Chain, latest: &mut BTreeMap<ResponseId, LatestEvent>) {
    let chained = chain.events.iter().map(|event| (Some(event.seq), &event.key, &event.body));
    let waiting = chain.waiting.iter().map(|event| (None, &event.key, &event.body));
    for (seq, key, body) in chained.chain(waiting) {
        // `verify` reports an event that cannot be read.
        let Ok(event) = parse_event(body) else { continue };
        let (Some(response), Some(revision)) = (event.response, event.revision) else { continue };
        if latest.get(&response).is_none_or(|before| before.revision <= revision) {
            let (id, key) = (chain.id.clone(), key.clone());
            let (state, record) = (event.state, event.record);
            latest.insert(response, LatestEvent { id, seq, key, revision, state, record });
        }
    }
}

/// The compared fields of a record.
#[derive(Deserialize)]
struct Record {
    revision: u64,
    state: State,
    updated: Timestamp,
}

/// The fault in a response's record, whose exact text is `record`, if any. The events were
/// read at `read_at` or later.
pub fn compare(
    response: &ResponseId,
    latest: &LatestEvent,
    record: Option<&str>,
    read_at: Timestamp,
) -> Option<Fault> {
    let Some(text) = record else {
        let message = format!("the record of {response} is missing");
        return Some(latest.fault(FaultKind::RecordMissing, response, message));
    };
    let record: Record = match serde_json::from_str(text) {
        Ok(record) => record,
        Err(error) => {
            let message = format!("the record of {response} cannot be read: {error}");
            return Some(latest.fault(FaultKind::RecordChanged, response, message));
        }
    };
    let (present, recorded) = (record.revision, latest.revision);
    if present < recorded {
        let message = format!(
            "the record of {response} is at revision {present}, but revision {recorded} was recorded"
        );
        return Some(latest.fault(FaultKind::RecordBehind, response, message));
    }
    if present == recorded {
        let changed = latest.record.as_ref().is_some_and(|record| *record != sha256_hex(text));
        let message = format!("the record of {response} was changed after revision {recorded}");
        return changed.then(|| latest.fault(FaultKind::RecordChanged, response, message));
    }
    // Every change of state is recorded in the transaction that makes it. A change made
    // while the events were read is not compared.
    let state = latest.state.filter(|state| *state != record.state)?;
    (record.updated < read_at).then(|| {
        let message = format!(
            "the record of {response} is {}, but the last recorded state is {state}",
            record.state
        );
        latest.fault(FaultKind::RecordAhead, response, message)
    })
}
