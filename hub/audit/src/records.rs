//! Compares what was recorded of responses with their records. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::chain::{Chain, ChainId};
use super::verify::{Fault, Wrong, read};
use firebreak_model::digest::sha256_hex;
use firebreak_response::record::{ResponseId, State};

/// The latest that was recorded of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestEvent {
    /// In which chain.
    pub id: ChainId,
    /// At which event; `None` while it waits.
    pub seq: Option<u64>,
    /// Under what the event is kept.
    pub key: String,
    /// The record's revision.
    pub revision: u64,
    /// The state that it then had.
    pub state: Option<State>,
    /// The digest of the record.
    pub record: Option<String>,
}

impl LatestEvent {
    fn fault(&self, wrong: Wrong, response: &ResponseId, says: String) -> Fault {
        Fault {
            seq: self.seq,
            key: Some(self.key.clone()),
            response: Some(response.clone()),
            ..Fault::in_chain(wrong, &self.id, says)
        }
    }
}

/// Adds to `described` the latest event of a chain about each response.
pub fn collect(chain: &Chain, latest: &mut BTreeMap<ResponseId, LatestEvent>) {
    let chained = chain.events.iter().map(|event| (Some(event.seq), &event.key, &event.body));
    let waiting = chain.waiting.iter().map(|event| (None, &event.key, &event.body));
    for (seq, key, body) in chained.chain(waiting) {
        // What cannot be read is reported by `verify`.
        let Ok(event) = read(body) else { continue };
        let (Some(response), Some(revision)) = (event.response, event.revision) else { continue };
        if latest.get(&response).is_none_or(|before| before.revision <= revision) {
            let (id, key) = (chain.id.clone(), key.clone());
            let (state, record) = (event.state, event.record);
            latest.insert(response, LatestEvent { id, seq, key, revision, state, record });
        }
    }
}

/// What of a record is looked at.
#[derive(Deserialize)]
struct Record {
    revision: u64,
    state: State,
    updated: Timestamp,
}

/// What is wrong with a response's record, whose exact text is `record`. What
/// was recorded was read no earlier than `read_at`.
pub fn compare(
    response: &ResponseId,
    latest: &LatestEvent,
    record: Option<&str>,
    read_at: Timestamp,
) -> Option<Fault> {
    let Some(text) = record else {
        let says = format!("the record of {response} is not there");
        return Some(latest.fault(Wrong::RecordMissing, response, says));
    };
    let record: Record = match serde_json::from_str(text) {
        Ok(record) => record,
        Err(error) => {
            let says = format!("the record of {response} cannot be read: {error}");
            return Some(latest.fault(Wrong::RecordChanged, response, says));
        }
    };
    let (is, was) = (record.revision, latest.revision);
    if is < was {
        let says = format!("the record of {response} is at revision {is}, and {was} was recorded");
        return Some(latest.fault(Wrong::RecordBehind, response, says));
    }
    if is == was {
        let changed = latest.record.as_ref().is_some_and(|record| *record != sha256_hex(text));
        let says = format!("the record of {response} was changed after its revision {was}");
        return changed.then(|| latest.fault(Wrong::RecordChanged, response, says));
    }
    // Every change of state is recorded in the transaction that makes it. One
    // that was made while we read is not looked at.
    let state = latest.state.filter(|state| *state != record.state)?;
    (record.updated < read_at).then(|| {
        let says = format!(
            "the record of {response} is {}, and nothing was recorded since it was {state}",
            record.state
        );
        latest.fault(Wrong::RecordAhead, response, says)
    })
}
