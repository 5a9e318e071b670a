//! Reads findings by their ids, right before they are updated.

use std::collections::HashMap;

use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::types::{
    AllowedOperators, AwsSecurityFinding, AwsSecurityFindingFilters, CompositeFilter,
    OcsfFindingFilters, OcsfStringField, OcsfStringFilter, StringFilter, StringFilterComparison,
};
use aws_smithy_types::Document;
use firebreak_spoke::resource::Region;

use super::SecurityHub;
use super::failure::{Failure, failure, halves};
use super::tell::TellResult;
use crate::finding::SecurityHubId;
use crate::status::merge::{Noted, Present, Schema};

/// "You can filter by up to 10 finding attributes. For each attribute, you can
/// provide up to 20 filter values" (Security Hub API reference, GetFindings).
const IDS_PER_CALL: usize = 20;
/// "MaxResults: maximum value of 100" (same).
const FINDINGS_PER_PAGE: i32 = 100;

/// Each finding as it is, or what became of reading it.
pub(super) type Read = HashMap<SecurityHubId, Result<Present, TellResult>>;

impl SecurityHub {
    /// Reads these findings, each of which must be of `schema`. Every one of
    /// them is in the answer.
    pub(super) async fn read(
        &self,
        region: &Region,
        schema: Schema,
        ids: &[SecurityHubId],
    ) -> Read {
        let client = self.client(region);
        let mut read = Read::new();
        let mut batches: Vec<Vec<SecurityHubId>> =
            ids.chunks(IDS_PER_CALL).map(<[_]>::to_vec).collect();
        // From the front, so that the calls come in the findings' order.
        batches.reverse();
        while let Some(batch) = batches.pop() {
            let found = match schema {
                Schema::Asff => self.read_asff(&client, region, &batch).await,
                Schema::Ocsf => self.read_ocsf(&client, region, &batch).await,
            };
            match found {
                Ok(mut found) => {
                    for id in batch {
                        let present = found.remove(&id).ok_or(TellResult::NotFound);
                        read.insert(id, present);
                    }
                }
                Err(Failure { is_invalid: true, .. }) if batch.len() > 1 => {
                    batches.extend(halves(&batch));
                }
                Err(Failure { result, .. }) => {
                    read.extend(batch.into_iter().map(|id| (id, Err(result.clone()))));
                }
            }
        }
        read
    }

    async fn read_asff(
        &self,
        client: &Client,
        region: &Region,
        ids: &[SecurityHubId],
    ) -> Result<HashMap<SecurityHubId, Present>, Failure> {
        let mut filters = AwsSecurityFindingFilters::builder();
        let mut products = Vec::new();
        for id in ids {
            let SecurityHubId::Asff { id, product_arn } = id else { continue };
            filters = filters.id(equals(id));
            if !products.contains(&product_arn) {
                products.push(product_arn);
            }
        }
        for product_arn in products {
            filters = filters.product_arn(equals(product_arn));
        }
        let filters = filters.build();
        let mut found = HashMap::new();
        let mut token = None;
        loop {
            self.rates.read(region).await;
            let answer = client
                .get_findings()
                .filters(filters.clone())
                .max_results(FINDINGS_PER_PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failure("securityhub:GetFindings", &error))?;
            for finding in answer.findings() {
                let (Some(id), Some(product_arn)) = (finding.id(), finding.product_arn()) else {
                    continue;
                };
                let id =
                    SecurityHubId::Asff { id: id.to_owned(), product_arn: product_arn.to_owned() };
                found.insert(id, asff(finding));
            }
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn read_ocsf(
        &self,
        client: &Client,
        region: &Region,
        ids: &[SecurityHubId],
    ) -> Result<HashMap<SecurityHubId, Present>, Failure> {
        let mut filter = CompositeFilter::builder().operator(AllowedOperators::Or);
        for id in ids {
            let id = OcsfStringFilter::builder()
                .field_name(OcsfStringField::MetadataUid)
                .filter(equals(id.id()))
                .build();
            filter = filter.string_filters(id);
        }
        let filters = OcsfFindingFilters::builder().composite_filters(filter.build()).build();
        let mut found = HashMap::new();
        let mut token = None;
        loop {
            self.rates.read(region).await;
            let answer = client
                .get_findings_v2()
                .filters(filters.clone())
                .max_results(FINDINGS_PER_PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failure("securityhub:GetFindingsV2", &error))?;
            found.extend(answer.findings().iter().filter_map(ocsf));
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

fn equals(value: &str) -> StringFilter {
    StringFilter::builder().value(value).comparison(StringFilterComparison::Equals).build()
}

fn asff(finding: &AwsSecurityFinding) -> Present {
    let status = finding.workflow().and_then(|workflow| workflow.status());
    let note = finding.note().map(|note| Noted {
        by: Some(note.updated_by().unwrap_or_default().to_owned()),
        text: note.text().unwrap_or_default().to_owned(),
    });
    let fields = finding.user_defined_fields().into_iter().flatten();
    Present {
        status: status.map(|status| status.as_str().to_owned()),
        note,
        fields: fields.map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

/// An OCSF finding; `None` for one without the id that it was asked for by.
fn ocsf(finding: &Document) -> Option<(SecurityHubId, Present)> {
    let finding = finding.as_object()?;
    let metadata_uid = finding.get("metadata")?.as_object()?.get("uid")?.as_string()?.to_owned();
    let comment = finding.get("comment").and_then(Document::as_string);
    let status_id = finding.get("status_id").and_then(Document::as_number);
    // OCSF schema, Detection Finding, `status_id`. What none of our words stands
    // for keeps its number: somebody chose it.
    let status_id = status_id.and_then(|id| i64::try_from(*id).ok());
    let status = status_id.and_then(|id| match id {
        0 | 1 => None,
        2 => Some("NOTIFIED".to_owned()),
        3 => Some("SUPPRESSED".to_owned()),
        4 => Some("RESOLVED".to_owned()),
        other => Some(format!("status_id {other}")),
    });
    let note = comment.filter(|text| !text.trim().is_empty());
    let note = note.map(|text| Noted { by: None, text: text.to_owned() });
    let present = Present { status, note, ..Present::default() };
    Some((SecurityHubId::Ocsf { metadata_uid }, present))
}
