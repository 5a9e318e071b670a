//! Tells Security Hub how responses stand: reads the findings, merges, and
//! writes what differs, in as few calls as there are different updates.
//!
//! # Guarantees
//!
//! - There is one [`Told`] for each finding of each telling, in their order;
//!   what fails for one finding, call or Region hides nothing of the others.
//! - Telling the same again writes nothing.
//! - An analyst's status is never overwritten (see `status::merge`).
//!
//! # Caveats
//!
//! Security Hub takes minutes over an update and knows no condition. Somebody
//! who writes between our reading and our writing is overwritten.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::Region;
use futures::future::join_all;

use super::SecurityHub;
use super::read::schema_of;
use firebreak_model::finding::SecurityHubId;
use firebreak_response::status::merge::{Schema, Verdict, Write, after, merge};
use firebreak_response::status::{StatusUpdate, Workflow};

/// One update of findings of one Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Where the findings were raised. The call goes to the home Region where
    /// there is an aggregator.
    pub region: Region,
    /// The findings, of either schema.
    pub findings: Vec<SecurityHubId>,
    /// What is said of all of them.
    pub update: StatusUpdate,
}

/// What became of one finding of a telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The finding.
    pub finding: SecurityHubId,
    /// What became of it.
    pub result: TellResult,
}

/// What Security Hub made of an update of one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TellResult {
    /// It says what it was to say, written now or before. `None`: the status
    /// was left as it was.
    Written {
        /// The workflow status that stands.
        workflow: Option<Workflow>,
    },
    /// Somebody's word stands: our fields were written, status and note were not.
    Kept {
        /// Their status.
        status: String,
        /// Who wrote the note beside it; `somebody else` where that is not known.
        by: String,
    },
    /// Security Hub does not know the finding, or not yet: an import takes up to
    /// five minutes.
    NotFound,
    /// Worth another try, and why: throttled, unreachable, or another update was
    /// under way.
    Later(String),
    /// Another try would fail alike, and why.
    Refused(String),
}

/// One finding to be told one update; `index` is its place in the answer.
#[derive(Clone, Copy)]
struct Item<'a> {
    index: usize,
    id: &'a SecurityHubId,
    update: &'a StatusUpdate,
}

impl SecurityHub {
    /// Tells all of it. Regions are called side by side, each at its own rate.
    pub async fn tell(&self, tellings: &[Telling]) -> Vec<Told> {
        let all: Vec<(&Region, &SecurityHubId, &StatusUpdate)> = tellings
            .iter()
            .flat_map(|it| it.findings.iter().map(move |id| (&it.region, id, &it.update)))
            .collect();
        let mut places: BTreeMap<(&Region, Schema), Vec<Item<'_>>> = BTreeMap::new();
        for (index, (region, id, update)) in all.iter().enumerate() {
            let region = self.aggregator_region.as_ref().unwrap_or(region);
            places.entry((region, schema_of(id))).or_default().push(Item { index, id, update });
        }
        let places = places
            .into_iter()
            .map(|((region, schema), items)| self.tell_place(region, schema, items));
        let results = join_all(places).await;
        let mut results: Vec<(usize, TellResult)> = results.into_iter().flatten().collect();
        results.sort_by_key(|(index, _)| *index);
        let results = results.into_iter().map(|(_, result)| result);
        let told = all.iter().zip(results);
        told.map(|((_, id, _), result)| Told { finding: (*id).clone(), result }).collect()
    }

    /// Tells the findings of one Region and schema. Gives each item one result.
    async fn tell_place(
        &self,
        region: &Region,
        schema: Schema,
        items: Vec<Item<'_>>,
    ) -> Vec<(usize, TellResult)> {
        let mut distinct = BTreeSet::new();
        let ids: Vec<SecurityHubId> =
            items.iter().filter(|it| distinct.insert(it.id)).map(|it| it.id.clone()).collect();
        let mut present = self.read(region, schema, &ids).await;
        let mut results = Vec::new();
        let mut waiting = items;
        // A call may name a finding once: where several updates are for one
        // finding, the later ones go on top of what the earlier left.
        while !waiting.is_empty() {
            let mut named = BTreeSet::new();
            let (round, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|item| named.insert(item.id));
            waiting = later;
            let mut writes: BTreeMap<Write, Vec<(Item<'_>, Verdict)>> = BTreeMap::new();
            for item in round {
                match present.get(item.id) {
                    Some(Ok(present)) => {
                        let (write, verdict) = merge(schema, present, item.update);
                        if write.is_empty() {
                            results.push((item.index, said(verdict)));
                        } else {
                            writes.entry(write).or_default().push((item, verdict));
                        }
                    }
                    Some(Err(result)) => results.push((item.index, result.clone())),
                    None => results.push((item.index, TellResult::NotFound)),
                }
            }
            for (write, items) in writes {
                let ids: Vec<SecurityHubId> = items.iter().map(|(it, _)| it.id.clone()).collect();
                let mut wrote = self.write(region, schema, &ids, &write).await;
                for (item, verdict) in items {
                    let result = match wrote.remove(item.id) {
                        Some(Ok(())) => {
                            if let Some(Ok(present)) = present.get_mut(item.id) {
                                *present = after(schema, present, &write);
                            }
                            said(verdict)
                        }
                        Some(Err(result)) => result,
                        None => TellResult::Later("the update was not answered for".to_owned()),
                    };
                    results.push((item.index, result));
                }
            }
        }
        results
    }
}

fn said(verdict: Verdict) -> TellResult {
    match verdict {
        Verdict::Ours(workflow) => TellResult::Written { workflow },
        Verdict::Kept { status, by } => TellResult::Kept { status, by },
    }
}
