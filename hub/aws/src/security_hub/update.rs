//! Updates findings in Security Hub: reads them, merges, and writes what differs,
//! with one call for each distinct update.
//!
//! # Guarantees
//!
//! - There is one [`UpdatedFinding`] for each finding of each update, in order; a
//!   failure of one finding, call or Region does not hide the others.
//! - Sending the same update again writes nothing.
//! - An analyst's status is never overwritten (see `status::merge`).
//!
//! # Caveats
//!
//! An update takes Security Hub minutes and cannot be conditional. A change that
//! another client makes between our read and our write is overwritten.

use std::collections::{BTreeMap, BTreeSet};

use firebreak_model::resource::Region;
use futures::future::join_all;

use super::SecurityHub;
use super::read::schema_of;
use firebreak_model::finding::SecurityHubId;
use firebreak_response::status::merge::{Schema, StatusOwner, StatusWrite, after, merge};
use firebreak_response::status::{StatusUpdate, Workflow};

/// One update of findings of one Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingUpdate {
    /// The Region where the findings were raised. With an aggregator the home Region is
    /// called.
    pub region: Region,
    /// The findings, of either schema.
    pub findings: Vec<SecurityHubId>,
    /// The same update for all of them.
    pub update: StatusUpdate,
}

/// The result for one finding of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatedFinding {
    pub finding: SecurityHubId,
    pub result: UpdateResult,
}

/// The result of updating one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateResult {
    /// The finding has the update, written now or before. `None`: the status was
    /// not changed.
    Written {
        /// The present workflow status.
        workflow: Option<Workflow>,
    },
    /// An analyst has set a status: our fields were written, status and note were not.
    Kept {
        status: String,
        /// Who wrote the present note; `another author` if that is not known.
        by: String,
    },
    /// Security Hub does not know the finding, or not yet: an import takes up to
    /// five minutes.
    NotFound,
    /// A retry may succeed, and why: throttled, unreachable, or another update
    /// was in progress.
    Later(String),
    /// A retry would fail in the same way, and why.
    Refused(String),
}

/// One update of one finding; `index` is its position in the result.
#[derive(Clone, Copy)]
struct Item<'a> {
    index: usize,
    id: &'a SecurityHubId,
    update: &'a StatusUpdate,
}

impl SecurityHub {
    /// Sends all updates. Regions are called concurrently, each at its own rate.
    pub async fn update_findings(&self, updates: &[FindingUpdate]) -> Vec<UpdatedFinding> {
        let all: Vec<(&Region, &SecurityHubId, &StatusUpdate)> = updates
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
            .map(|((region, schema), items)| self.update_place(region, schema, items));
        let results = join_all(places).await;
        let mut results: Vec<(usize, UpdateResult)> = results.into_iter().flatten().collect();
        results.sort_by_key(|(index, _)| *index);
        let results = results.into_iter().map(|(_, result)| result);
        let paired = all.iter().zip(results);
        paired
            .map(|((_, id, _), result)| UpdatedFinding { finding: (*id).clone(), result })
            .collect()
    }

    /// Updates the findings of one Region and schema. Gives each item one result.
    async fn update_place(
        &self,
        region: &Region,
        schema: Schema,
        items: Vec<Item<'_>>,
    ) -> Vec<(usize, UpdateResult)> {
        let mut distinct = BTreeSet::new();
        let ids: Vec<SecurityHubId> =
            items.iter().filter(|it| distinct.insert(it.id)).map(|it| it.id.clone()).collect();
        let mut present = self.read(region, schema, &ids).await;
        let mut results = Vec::new();
        let mut waiting = items;
        // A call may name a finding once: several updates of one finding are merged in
        // order, each with the result of the one before.
        while !waiting.is_empty() {
            let mut named = BTreeSet::new();
            let (round, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|item| named.insert(item.id));
            waiting = later;
            let mut writes: BTreeMap<StatusWrite, Vec<(Item<'_>, StatusOwner)>> = BTreeMap::new();
            for item in round {
                match present.get(item.id) {
                    Some(Ok(present)) => {
                        let (write, owner) = merge(schema, present, item.update);
                        if write.is_empty() {
                            results.push((item.index, said(owner)));
                        } else {
                            writes.entry(write).or_default().push((item, owner));
                        }
                    }
                    Some(Err(result)) => results.push((item.index, result.clone())),
                    None => results.push((item.index, UpdateResult::NotFound)),
                }
            }
            for (write, items) in writes {
                let ids: Vec<SecurityHubId> = items.iter().map(|(it, _)| it.id.clone()).collect();
                let mut wrote = self.write(region, schema, &ids, &write).await;
                for (item, owner) in items {
                    let result = match wrote.remove(item.id) {
                        Some(Ok(())) => {
                            if let Some(Ok(present)) = present.get_mut(item.id) {
                                *present = after(schema, present, &write);
                            }
                            said(owner)
                        }
                        Some(Err(result)) => result,
                        None => UpdateResult::Later("the update was not answered for".to_owned()),
                    };
                    results.push((item.index, result));
                }
            }
        }
        results
    }
}

fn said(owner: StatusOwner) -> UpdateResult {
    match owner {
        StatusOwner::Ours(workflow) => UpdateResult::Written { workflow },
        StatusOwner::Kept { status, by } => UpdateResult::Kept { status, by },
    }
}
