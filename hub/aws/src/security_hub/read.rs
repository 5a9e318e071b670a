//! Reads findings by their ids, right before they are updated.

use std::collections::HashMap;

use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::operation::get_findings::GetFindingsOutput;
use aws_sdk_securityhub::operation::get_findings_v2::GetFindingsV2Output;
use aws_sdk_securityhub::types::{
    AllowedOperators, AwsSecurityFindingFilters, CompositeFilter, OcsfFindingFilters,
    OcsfStringField, OcsfStringFilter, StringFilter, StringFilterComparison,
};
use aws_smithy_runtime_api::client::interceptors::context::Output;
use firebreak_client::rate_limit::Class;
use firebreak_model::resource::Region;
use serde_json::Value;

use super::SecurityHub;
use super::failure::{Failure, failure, halves};
use super::update::UpdateResult;
use crate::error::HubError;
use crate::raw_response::RawResponse;
use firebreak_model::finding::SecurityHubId;
use firebreak_response::status::merge::{Noted, Present, Schema};

/// "You can filter by up to 10 finding attributes. For each attribute, you can
/// provide up to 20 filter values" (Security Hub API reference, GetFindings).
pub(super) const IDS_PER_CALL: usize = 20;
/// "MaxResults: maximum value of 100" (same).
const FINDINGS_PER_PAGE: i32 = 100;

/// Each finding as it is, or why it could not be read.
pub(super) type Read = HashMap<SecurityHubId, Result<Present, UpdateResult>>;

/// The schema that an id belongs to.
pub(super) fn schema_of(id: &SecurityHubId) -> Schema {
    match id {
        SecurityHubId::Asff { .. } => Schema::Asff,
        SecurityHubId::Ocsf { .. } => Schema::Ocsf,
    }
}

impl SecurityHub {
    /// Reads these findings, each of which must be of `schema`. The result has every
    /// one of them.
    pub(super) async fn read(
        &self,
        region: &Region,
        schema: Schema,
        ids: &[SecurityHubId],
    ) -> Read {
        let mut read = Read::new();
        let mut batches: Vec<Vec<SecurityHubId>> =
            ids.chunks(IDS_PER_CALL).map(<[_]>::to_vec).collect();
        // In the order of the findings.
        batches.reverse();
        while let Some(batch) = batches.pop() {
            match self.fetch(region, schema, &batch).await {
                Ok(found) => {
                    for id in batch {
                        let present = found.get(&id).ok_or(UpdateResult::NotFound);
                        let present = present.map(|finding| match schema {
                            Schema::Asff => asff(finding),
                            Schema::Ocsf => ocsf(finding),
                        });
                        read.insert(id, present);
                    }
                }
                Err(Failure { is_invalid: true, .. }) if batch.len() > 1 => {
                    batches.extend(halves(&batch));
                }
                Err(failure) => {
                    let result = failure.result();
                    read.extend(batch.into_iter().map(|id| (id, Err(result.clone()))));
                }
            }
        }
        read
    }

    /// Reads these findings, at most [`IDS_PER_CALL`] of one schema, as Security Hub
    /// writes them. The result lacks those that it does not know.
    pub(super) async fn fetch(
        &self,
        region: &Region,
        schema: Schema,
        ids: &[SecurityHubId],
    ) -> Result<HashMap<SecurityHubId, Value>, Failure> {
        let client = self.client(region);
        let mut found = HashMap::new();
        let mut token = None;
        loop {
            self.rate_limits.permit_hub(region, Class::SecurityHubRead).await;
            let mut page = match schema {
                Schema::Asff => page_asff(&client, ids, token).await?,
                Schema::Ocsf => page_ocsf(&client, ids, token).await?,
            };
            let Some(Value::Array(findings)) = page.get_mut("Findings").map(Value::take) else {
                let why = "securityhub:GetFindings answered without `Findings`".to_owned();
                return Err(HubError::transient(why).into());
            };
            for finding in findings {
                if let Some(id) = id_of(schema, &finding).filter(|id| ids.contains(id)) {
                    found.insert(id, finding);
                }
            }
            token = page.get("NextToken").and_then(Value::as_str).map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

async fn page_asff(
    client: &Client,
    ids: &[SecurityHubId],
    token: Option<String>,
) -> Result<Value, Failure> {
    const CALL: &str = "securityhub:GetFindings";
    let mut filters = AwsSecurityFindingFilters::builder();
    let mut products = Vec::new();
    for id in ids {
        let SecurityHubId::Asff { id, product_arn } = id else { continue };
        filters = filters.id(equals(id));
        if !products.contains(&product_arn) {
            products.push(product_arn);
            filters = filters.product_arn(equals(product_arn));
        }
    }
    let text = RawResponse::new(|| Output::erase(GetFindingsOutput::builder().build()));
    let request = client
        .get_findings()
        .filters(filters.build())
        .max_results(FINDINGS_PER_PAGE)
        .set_next_token(token);
    let output = request.customize().interceptor(text.clone()).send().await;
    output.map_err(|error| failure(CALL, &error))?;
    Ok(text.json(CALL)?)
}

async fn page_ocsf(
    client: &Client,
    ids: &[SecurityHubId],
    token: Option<String>,
) -> Result<Value, Failure> {
    const CALL: &str = "securityhub:GetFindingsV2";
    let mut filter = CompositeFilter::builder().operator(AllowedOperators::Or);
    for id in ids {
        let id = OcsfStringFilter::builder()
            .field_name(OcsfStringField::MetadataUid)
            .filter(equals(id.id()))
            .build();
        filter = filter.string_filters(id);
    }
    let filters = OcsfFindingFilters::builder().composite_filters(filter.build()).build();
    let text = RawResponse::new(|| Output::erase(GetFindingsV2Output::builder().build()));
    let request = client
        .get_findings_v2()
        .filters(filters)
        .max_results(FINDINGS_PER_PAGE)
        .set_next_token(token);
    let output = request.customize().interceptor(text.clone()).send().await;
    output.map_err(|error| failure(CALL, &error))?;
    Ok(text.json(CALL)?)
}

fn equals(value: &str) -> StringFilter {
    StringFilter::builder().value(value).comparison(StringFilterComparison::Equals).build()
}

fn text(finding: &Value, pointer: &str) -> Option<String> {
    finding.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn id_of(schema: Schema, finding: &Value) -> Option<SecurityHubId> {
    Some(match schema {
        Schema::Asff => SecurityHubId::Asff {
            id: text(finding, "/Id")?,
            product_arn: text(finding, "/ProductArn")?,
        },
        Schema::Ocsf => SecurityHubId::Ocsf { metadata_uid: text(finding, "/metadata/uid")? },
    })
}

fn asff(finding: &Value) -> Present {
    let note = text(finding, "/Note/Text").map(|it| Noted {
        by: Some(text(finding, "/Note/UpdatedBy").unwrap_or_default()),
        text: it,
    });
    let fields = finding.get("UserDefinedFields").and_then(Value::as_object);
    let fields = fields.into_iter().flatten();
    Present {
        status: text(finding, "/Workflow/Status"),
        note,
        fields: fields
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    }
}

fn ocsf(finding: &Value) -> Present {
    // OCSF schema, Detection Finding, `status_id`. A number without a workflow status
    // is kept as a number: a person chose it.
    let status = finding.get("status_id").and_then(Value::as_i64).and_then(|id| match id {
        0 | 1 => None,
        2 => Some("NOTIFIED".to_owned()),
        3 => Some("SUPPRESSED".to_owned()),
        4 => Some("RESOLVED".to_owned()),
        other => Some(format!("status_id {other}")),
    });
    let comment = text(finding, "/comment").filter(|text| !text.trim().is_empty());
    let note = comment.map(|text| Noted { by: None, text });
    Present { status, note, ..Present::default() }
}
