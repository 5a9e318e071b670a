//! Takes a snapshot of an RDS database as evidence. Undo keeps it.
//!
//! Its identifier names the response, so that a repeat finds its own; its tags
//! name the finding, so that the finding's next response takes none again. A DB
//! instance in a cluster has no snapshot of its own: the cluster's is taken (RDS
//! API reference, CreateDBSnapshot and CreateDBClusterSnapshot). RDS starts one only
//! of an available database: a stopped one is refused, and one that is being modified
//! is tried again.

use aws_sdk_rds::types::Tag;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Reversal,
    Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::rds::database::{self, Found, InstanceOrCluster};
use crate::support::rds::grants::{CHANGE_DATABASES, CLUSTER_SNAPSHOTS, DB_SNAPSHOTS};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

pub(crate) struct SnapshotDb;

/// Whose snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Origin {
    /// An earlier response to the finding took it.
    Earlier,
    /// This response takes it.
    Ours,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    source: InstanceOrCluster,
    snapshot: String,
    origin: Origin,
}

/// A snapshot as RDS lists it.
struct Listed {
    id: String,
    status: String,
    finding: Option<String>,
}

const TAG_DATABASE_SNAPSHOTS: GrantScope = GrantScope {
    sid: "TagDatabaseSnapshots",
    why: "As they are made.",
    resources: &[CLUSTER_SNAPSHOTS, DB_SNAPSHOTS],
    conditions: &[],
    within: None,
};

impl Action for SnapshotDb {
    const SPEC: ActionSpec = ActionSpec {
        name: "snapshot-db",
        sentence: "Takes a snapshot of the database or of its cluster, once for each finding.",
        resource_types: &["RDSDBInstance", "RDSDBCluster"],
        reads: &[
            "rds:DescribeDBClusterSnapshots",
            "rds:DescribeDBClusters",
            "rds:DescribeDBInstances",
            "rds:DescribeDBSnapshots",
        ],
        writes: &["rds:AddTagsToResource", "rds:CreateDBClusterSnapshot", "rds:CreateDBSnapshot"],
        reversal: Reversal::Kept,
        phase: Phase::Collect,
    };
    const GRANTS: &'static [Grant] = &[
        CHANGE_DATABASES.allows(&["rds:CreateDBClusterSnapshot", "rds:CreateDBSnapshot"]),
        TAG_DATABASE_SNAPSHOTS.allows(&["rds:AddTagsToResource"]),
    ];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let source = source(context).await?;
        let finding = tag_value(context.finding);
        let listed = match &source {
            InstanceOrCluster::Instance(id) => of_instance(context, id).await?,
            InstanceOrCluster::Cluster(id) => of_cluster(context, id).await?,
        };
        let earlier = listed
            .into_iter()
            .find(|it| it.status != FAILED && it.finding.as_ref() == Some(&finding));
        if let Some(Listed { id: snapshot, .. }) = earlier {
            let prior = Prior { source, snapshot, origin: Origin::Earlier };
            return Ok(CapturedState { prior, changes: Vec::new() });
        }
        let snapshot = identifier(context.response);
        let change = Change {
            what: format!("snapshot of {source}"),
            before: "none for this finding".to_owned(),
            after: snapshot.clone(),
        };
        let prior = Prior { source, snapshot, origin: Origin::Ours };
        Ok(CapturedState { prior, changes: vec![change] })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        match prior.origin {
            Origin::Earlier => Ok(()),
            Origin::Ours => create(context, &prior.source, &prior.snapshot).await,
        }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let Prior { source, snapshot, .. } = prior;
        Ok(match status(context, source, snapshot).await?.as_deref() {
            Some("available") => Verification::InEffect(format!(
                "the snapshot `{snapshot}` of {source} is available"
            )),
            Some(FAILED) => {
                Verification::NotInEffect(format!("the snapshot `{snapshot}` of {source} failed"))
            }
            Some(status) => Verification::InProgress(format!(
                "the snapshot `{snapshot}` of {source} is {status}"
            )),
            None => {
                Verification::NotInEffect(format!("there is no snapshot `{snapshot}` of {source}"))
            }
        })
    }

    async fn undo(
        _: ActionContext<'_>,
        _: &NoParameters,
        _: &Prior,
    ) -> Result<Undone, ActionError> {
        Ok(Undone::default())
    }
}

const FINDING: &str = "firebreak:finding";
const FAILED: &str = "failed";

/// What the snapshot is taken of. A missing or stopped database is an error.
async fn source(context: ActionContext<'_>) -> Result<InstanceOrCluster, ActionError> {
    let cluster = match database::of_target(context).await? {
        Found::Instance(id, instance) => {
            let source = InstanceOrCluster::Instance(id);
            let status = instance.db_instance_status().unwrap_or_default();
            database::refuse_stopped(&source.to_string(), status)?;
            return Ok(source);
        }
        Found::Cluster(id) => id,
    };
    let found = database::cluster(context.account, &cluster).await?;
    let source = InstanceOrCluster::Cluster(cluster);
    database::refuse_stopped(&source.to_string(), found.status().unwrap_or_default())?;
    Ok(source)
}

/// The snapshot's identifier: letters, digits and single hyphens, as RDS has it,
/// and well under a cluster snapshot's 63.
fn identifier(response: &str) -> String {
    let words = response.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = std::iter::once("firebreak").chain(words).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
}

/// A text as a tag may have it: at most 256 characters of those that AWS allows
/// in every service (RDS user guide, "Tagging Amazon RDS resources").
fn tag_value(text: &str) -> String {
    let allowed = |letter: char| letter.is_alphanumeric() || " _.:/=+-@".contains(letter);
    text.chars().take(256).map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}

fn tags(context: ActionContext<'_>, source: &InstanceOrCluster) -> Vec<Tag> {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(tag_value(value)).build();
    vec![
        tag(FINDING, context.finding),
        tag("firebreak:response", context.response),
        tag("firebreak:source", &source.arn(context)),
    ]
}

fn finding(tags: &[Tag]) -> Option<String> {
    tags.iter().find(|tag| tag.key() == Some(FINDING))?.value().map(str::to_owned)
}

/// The manual snapshots of a DB instance.
async fn of_instance(context: ActionContext<'_>, id: &str) -> Result<Vec<Listed>, ActionError> {
    let (mut listed, mut marker) = (Vec::new(), None);
    loop {
        let rds = context.account.rds().await;
        let call = rds.describe_db_snapshots().db_instance_identifier(id).snapshot_type("manual");
        let page = call
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| from_sdk("rds:DescribeDBSnapshots", &error))?;
        listed.extend(page.db_snapshots().iter().filter_map(|snapshot| {
            Some(Listed {
                id: snapshot.db_snapshot_identifier()?.to_owned(),
                status: snapshot.status().unwrap_or_default().to_owned(),
                finding: finding(snapshot.tag_list()),
            })
        }));
        marker = page.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(listed);
        }
    }
}

/// The manual snapshots of a DB cluster.
async fn of_cluster(context: ActionContext<'_>, id: &str) -> Result<Vec<Listed>, ActionError> {
    let (mut listed, mut marker) = (Vec::new(), None);
    loop {
        let rds = context.account.rds().await;
        let call = rds.describe_db_cluster_snapshots().db_cluster_identifier(id);
        let page = call
            .snapshot_type("manual")
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| from_sdk("rds:DescribeDBClusterSnapshots", &error))?;
        listed.extend(page.db_cluster_snapshots().iter().filter_map(|snapshot| {
            Some(Listed {
                id: snapshot.db_cluster_snapshot_identifier()?.to_owned(),
                status: snapshot.status().unwrap_or_default().to_owned(),
                finding: finding(snapshot.tag_list()),
            })
        }));
        marker = page.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(listed);
        }
    }
}

/// Starts the snapshot, unless it was started before.
async fn create(
    context: ActionContext<'_>,
    source: &InstanceOrCluster,
    snapshot: &str,
) -> Result<(), ActionError> {
    let (rds, tags) = (context.account.rds().await, Some(tags(context, source)));
    let result = match source {
        InstanceOrCluster::Instance(id) => {
            let call = rds.create_db_snapshot().db_instance_identifier(id);
            let result = call.db_snapshot_identifier(snapshot).set_tags(tags).send().await;
            result.map(|_| ()).map_err(|error| from_sdk("rds:CreateDBSnapshot", &error))
        }
        InstanceOrCluster::Cluster(id) => {
            let call = rds.create_db_cluster_snapshot().db_cluster_identifier(id);
            let result = call.db_cluster_snapshot_identifier(snapshot).set_tags(tags).send().await;
            result.map(|_| ()).map_err(|error| from_sdk("rds:CreateDBClusterSnapshot", &error))
        }
    };
    match result {
        Err(error)
            if error.has_code("DBSnapshotAlreadyExists")
                || error.has_code("DBClusterSnapshotAlreadyExistsFault") =>
        {
            Ok(())
        }
        result => result,
    }
}

/// The snapshot's status; `None` when the source has no such snapshot.
async fn status(
    context: ActionContext<'_>,
    source: &InstanceOrCluster,
    snapshot: &str,
) -> Result<Option<String>, ActionError> {
    let rds = context.account.rds().await;
    let found = match source {
        InstanceOrCluster::Instance(id) => {
            let call = rds.describe_db_snapshots().db_snapshot_identifier(snapshot);
            let output = call.db_instance_identifier(id).send().await;
            output
                .map(|output| {
                    let found = output.db_snapshots().first();
                    found.and_then(|found| found.status().map(str::to_owned))
                })
                .map_err(|error| from_sdk("rds:DescribeDBSnapshots", &error))
        }
        InstanceOrCluster::Cluster(id) => {
            let call = rds.describe_db_cluster_snapshots().db_cluster_snapshot_identifier(snapshot);
            let output = call.db_cluster_identifier(id).send().await;
            output
                .map(|output| {
                    let found = output.db_cluster_snapshots().first();
                    found.and_then(|found| found.status().map(str::to_owned))
                })
                .map_err(|error| from_sdk("rds:DescribeDBClusterSnapshots", &error))
        }
    };
    match found {
        Err(error)
            if error.has_code("DBSnapshotNotFound")
                || error.has_code("DBClusterSnapshotNotFoundFault") =>
        {
            Ok(None)
        }
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_one_that_rds_takes() {
        let check = |response: &str, expected: &str| assert_eq!(identifier(response), expected);
        check("r-0123456789abcdef", "firebreak-r-0123456789abcdef");
        check("R--1_2-", "firebreak-r-1-2");
    }

    #[test]
    fn a_tag_s_value_is_one_that_rds_takes() {
        assert_eq!(tag_value("arn:aws:x/1"), "arn:aws:x/1");
        assert_eq!(tag_value("a<b>"), "a_b_");
        assert_eq!(tag_value(&"é".repeat(300)).chars().count(), 256);
    }
}
