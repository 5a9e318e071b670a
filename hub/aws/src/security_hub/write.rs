//! Updates findings: one call for up to 100 findings with the same update. A finding
//! counts as updated when Security Hub lists it as processed.

use std::collections::HashMap;

use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::types::{
    AwsSecurityFindingIdentifier, NoteUpdate, WorkflowStatus, WorkflowUpdate,
};
use firebreak_client::rate_limit::Class;
use firebreak_model::resource::Region;

use super::SecurityHub;
use super::failure::{Failure, failure, halves, unprocessed};
use super::update::UpdateResult;
use firebreak_model::finding::SecurityHubId;
use firebreak_response::status::Workflow;
use firebreak_response::status::merge::{AUTHOR, Schema, StatusWrite};

/// "Array Members: maximum number of 100 items" (Security Hub API reference,
/// BatchUpdateFindings, FindingIdentifiers; the same for MetadataUids of its V2).
const FINDINGS_PER_CALL: usize = 100;

/// The result for each finding; `Ok` if Security Hub updated it.
pub(super) type WriteResults = HashMap<SecurityHubId, Result<(), UpdateResult>>;

impl SecurityHub {
    /// Writes the same update to these findings, which must all be of `schema`, without
    /// duplicates. The result has every one of them.
    pub(super) async fn write(
        &self,
        region: &Region,
        schema: Schema,
        ids: &[SecurityHubId],
        write: &StatusWrite,
    ) -> WriteResults {
        let client = self.client(region);
        let mut results = WriteResults::new();
        let mut batches: Vec<Vec<SecurityHubId>> =
            ids.chunks(FINDINGS_PER_CALL).map(<[_]>::to_vec).collect();
        batches.reverse();
        while let Some(batch) = batches.pop() {
            self.rate_limits.permit_hub(region, Class::SecurityHubUpdate).await;
            let output = match schema {
                Schema::Asff => update_asff(&client, &batch, write).await,
                Schema::Ocsf => update_ocsf(&client, &batch, write).await,
            };
            match output {
                Ok(mut output) => {
                    for id in batch {
                        let result = output.remove(&id).unwrap_or_else(|| {
                            let why = format!("Security Hub's response lacks `{}`", id.id());
                            Err(UpdateResult::Later(why))
                        });
                        results.insert(id, result);
                    }
                }
                Err(Failure { is_invalid: true, .. }) if batch.len() > 1 => {
                    batches.extend(halves(&batch));
                }
                Err(failure) => {
                    let result = failure.result();
                    results.extend(batch.into_iter().map(|id| (id, Err(result.clone()))));
                }
            }
        }
        results
    }
}

async fn update_asff(
    client: &Client,
    ids: &[SecurityHubId],
    write: &StatusWrite,
) -> Result<WriteResults, Failure> {
    const CALL: &str = "securityhub:BatchUpdateFindings";
    let mut request = client.batch_update_findings();
    for id in ids {
        let SecurityHubId::Asff { id, product_arn } = id else { continue };
        let identifier =
            AwsSecurityFindingIdentifier::builder().id(id).product_arn(product_arn).build();
        request = request.finding_identifiers(identifier);
    }
    if let Some(note) = &write.note {
        request = request.note(NoteUpdate::builder().text(note).updated_by(AUTHOR).build());
    }
    if let Some(workflow) = write.workflow {
        let status = match workflow {
            Workflow::New => WorkflowStatus::New,
            Workflow::Notified => WorkflowStatus::Notified,
            Workflow::Resolved => WorkflowStatus::Resolved,
        };
        request = request.workflow(WorkflowUpdate::builder().status(status).build());
    }
    for (key, value) in write.fields.iter().flatten() {
        request = request.user_defined_fields(key, value);
    }
    let output = request.send().await.map_err(|error| failure(CALL, &error))?;
    let id_of = |identifier: Option<&AwsSecurityFindingIdentifier>| {
        Some(SecurityHubId::Asff {
            id: identifier?.id()?.to_owned(),
            product_arn: identifier?.product_arn()?.to_owned(),
        })
    };
    let processed =
        output.processed_findings().iter().filter_map(|it| Some((id_of(Some(it))?, Ok(()))));
    let not_updated = output.unprocessed_findings().iter().filter_map(|it| {
        let result = unprocessed(CALL, it.error_code().unwrap_or("unknown"), it.error_message());
        Some((id_of(it.finding_identifier())?, Err(result)))
    });
    // Last, so that a finding that appears in both lists does not count as updated.
    Ok(processed.chain(not_updated).collect())
}

async fn update_ocsf(
    client: &Client,
    ids: &[SecurityHubId],
    write: &StatusWrite,
) -> Result<WriteResults, Failure> {
    const CALL: &str = "securityhub:BatchUpdateFindingsV2";
    // OCSF schema, Detection Finding, `status_id`: New, In Progress, Resolved.
    let status_id = write.workflow.map(|workflow| match workflow {
        Workflow::New => 1,
        Workflow::Notified => 2,
        Workflow::Resolved => 4,
    });
    let uids = ids.iter().map(|id| id.id().to_owned()).collect();
    let request = client
        .batch_update_findings_v2()
        .set_metadata_uids(Some(uids))
        .set_comment(write.note.clone())
        .set_status_id(status_id);
    let output = request.send().await.map_err(|error| failure(CALL, &error))?;
    let id_of = |uid: Option<&str>| Some(SecurityHubId::Ocsf { metadata_uid: uid?.to_owned() });
    let processed = output
        .processed_findings()
        .iter()
        .filter_map(|it| Some((id_of(it.metadata_uid())?, Ok(()))));
    let not_updated = output.unprocessed_findings().iter().filter_map(|it| {
        let code = it.error_code().map_or("unknown", |code| code.as_str());
        let result = unprocessed(CALL, code, it.error_message());
        Some((id_of(it.metadata_uid())?, Err(result)))
    });
    Ok(processed.chain(not_updated).collect())
}
