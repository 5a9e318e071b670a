//! Uploads a list of entities to S3, and activates it as GuardDuty's entity set in each
//! Region.
//!
//! Entity sets, not the older IP sets: they also hold domains, and GuardDuty reads
//! the file with the caller's permission. For IP sets it writes a policy for each
//! Region to its service-linked role, whose size is limited (GuardDuty user guide,
//! "Understanding entity lists and IP address lists").
//!
//! The object's key contains the list's digest: the same list changes nothing, and
//! another list never overwrites a file that a set still reads.

use aws_config::SdkConfig;
use aws_sdk_guardduty::types::{ThreatEntitySetFormat, TrustedEntitySetFormat};
use aws_sdk_s3::primitives::ByteStream;
use firebreak_model::digest::sha256_hex;
use firebreak_model::resource::Region;
use futures::StreamExt;
use serde::Serialize;

use super::guardduty::GuardDutySetup;
use super::{MAX_PARALLEL_REGIONS, Progress, Setup, SetupError};
use crate::aws::call_error::{CallError, for_each_page};
use crate::aws::regional;
use crate::setup::entities::{Entities, ListKind};
use firebreak_aws::error::HubError;

/// Where a list is uploaded.
#[derive(Clone, Debug)]
pub struct Upload {
    /// A bucket of the administrator's account.
    pub bucket: String,
    pub region: Region,
}

/// The outcome in one Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListOutcome {
    /// The set has this list already.
    Unchanged,
    Created,
    /// The set had another list, or was inactive.
    Updated,
    /// The Region has no GuardDuty, or GuardDuty is off.
    Skipped(String),
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The object in S3.
    pub location: String,
    /// Whether the object was uploaded now; otherwise it existed already.
    pub uploaded: bool,
    pub regions: Vec<(Region, ListOutcome)>,
}

impl Setup {
    /// Activates a list in every Region.
    ///
    /// # Errors
    ///
    /// `Refused` without the administrator's credentials; `Aws` if the list cannot be
    /// uploaded. A failure in a Region is part of the result.
    pub async fn put_list(
        &self,
        upload: &Upload,
        kind: ListKind,
        entities: &Entities,
        progress: Progress<'_>,
    ) -> Result<Listed, SetupError> {
        let Some(config) = &self.administering else {
            return Err(SetupError::Refused(format!(
                "lists belong to the administrator {}\nhelp: use its credentials, or give --administrator-role",
                self.administrator
            )));
        };
        let digest = sha256_hex(&entities.text);
        let key = format!("firebreak/{}-{digest}.txt", kind.set_name());
        let uploaded = self.upload(config, upload, &key, entities).await;
        let uploaded =
            uploaded.map_err(|error| SetupError::Aws(HubError::failed(error.to_string())))?;
        let location = format!("s3://{}/{key}", upload.bucket);
        let regions = futures::stream::iter(&self.regions).map(|region| {
            let location = location.as_str();
            async move {
                let outcome = put_in_region(config, region, kind, location).await;
                progress(&format!("{region}: {}", outcome_word(&outcome)));
                (region.clone(), outcome)
            }
        });
        let regions = regions.buffered(MAX_PARALLEL_REGIONS).collect().await;
        Ok(Listed { location, uploaded, regions })
    }

    /// Uploads the list unless the object exists; returns whether it did.
    async fn upload(
        &self,
        config: &SdkConfig,
        upload: &Upload,
        key: &str,
        entities: &Entities,
    ) -> Result<bool, CallError> {
        let client = aws_sdk_s3::Client::new(&regional(config, &upload.region));
        // The bucket of this name may belong to another account.
        let owner = self.administrator.as_str();
        let head = client.head_object().bucket(&upload.bucket).key(key);
        match head.expected_bucket_owner(owner).send().await {
            Ok(_) => return Ok(false),
            Err(error) => {
                // A response to HEAD has no body, only a status.
                let status = error.raw_response().map(|response| response.status().as_u16());
                match status {
                    Some(404) => {}
                    Some(301) => {
                        return Err(CallError::new(format!(
                            "the bucket `{}` is not in {}\nhelp: give --bucket-region",
                            upload.bucket, upload.region
                        )));
                    }
                    Some(403) => {
                        return Err(CallError::new(format!(
                            "access to the bucket `{}` is denied, or it does not belong to account {owner}\nhelp: grant s3:GetObject, s3:PutObject and s3:ListBucket on it",
                            upload.bucket
                        )));
                    }
                    Some(_) | None => return Err(CallError::from_sdk("s3:GetObject", &error)),
                }
            }
        }
        let body = ByteStream::from(entities.text.clone().into_bytes());
        let put = client.put_object().bucket(&upload.bucket).key(key).content_type("text/plain");
        let output = put.expected_bucket_owner(owner).body(body).send().await;
        output.map_err(|error| CallError::from_sdk("s3:PutObject", &error))?;
        Ok(true)
    }
}

fn outcome_word(outcome: &ListOutcome) -> String {
    match outcome {
        ListOutcome::Unchanged => "unchanged".to_owned(),
        ListOutcome::Created => "created".to_owned(),
        ListOutcome::Updated => "updated".to_owned(),
        ListOutcome::Skipped(why) => format!("skipped: {why}"),
        ListOutcome::Failed(why) => format!("failed: {why}"),
    }
}

async fn put_in_region(
    config: &SdkConfig,
    region: &Region,
    kind: ListKind,
    location: &str,
) -> ListOutcome {
    let put = async {
        let Some(detector) = GuardDutySetup::new(config, region).detector_id().await? else {
            return Ok(ListOutcome::Skipped("GuardDuty has no detector in this Region".to_owned()));
        };
        let client = aws_sdk_guardduty::Client::new(&regional(config, region));
        Sets { client, detector, kind }.put(location).await
    };
    match put.await {
        Ok(outcome) => outcome,
        Err(CallError::NoEndpoint(why)) => ListOutcome::Skipped(why),
        Err(error @ CallError::Failed { .. }) => ListOutcome::Failed(error.to_string()),
    }
}

/// A set, as GuardDuty returns it.
struct Set {
    id: String,
    name: String,
    location: String,
    status: String,
    error: Option<String>,
}

impl Set {
    fn new(
        id: &str,
        name: Option<&str>,
        location: Option<&str>,
        status: Option<&str>,
        error: Option<&str>,
    ) -> Self {
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            id: id.to_owned(),
            name: owned(name),
            location: owned(location),
            status: owned(status),
            error: error.map(str::to_owned),
        }
    }
}

/// The sets of one kind in one Region.
struct Sets {
    client: aws_sdk_guardduty::Client,
    detector: String,
    kind: ListKind,
}

impl Sets {
    async fn put(&self, location: &str) -> Result<ListOutcome, CallError> {
        let name = self.kind.set_name();
        let (mut own, mut others) = (None, Vec::new());
        for id in self.ids().await? {
            let set = self.get(&id).await?;
            if set.name == name { own = Some(set) } else { others.push(set.name) }
        }
        let Some(own) = own else {
            // "you can have only one trusted entity set" (GuardDuty API
            // reference, CreateTrustedEntitySet): another one is not replaced.
            if let (ListKind::Trusted, Some(other)) = (self.kind, others.first()) {
                return Err(CallError::new(format!(
                    "the trusted entity set `{other}` exists, and GuardDuty allows only one\nhelp: copy its entries and delete it"
                )));
            }
            let id = self.create(location).await?;
            return self.checked(&id, ListOutcome::Created).await;
        };
        let active = ["ACTIVE", "ACTIVATING"].contains(&own.status.as_str());
        if own.location == location && active {
            return Ok(ListOutcome::Unchanged);
        }
        self.update(&own.id, location).await?;
        self.checked(&own.id, ListOutcome::Updated).await
    }

    /// The set's status shows whether GuardDuty can read the list.
    async fn checked(&self, id: &str, outcome: ListOutcome) -> Result<ListOutcome, CallError> {
        let set = self.get(id).await?;
        if set.status == "ERROR" {
            let why = set.error.unwrap_or_else(|| "no reason given".to_owned());
            return Err(CallError::new(format!("GuardDuty cannot use the list: {why}")));
        }
        Ok(outcome)
    }

    async fn ids(&self) -> Result<Vec<String>, CallError> {
        let (client, detector) = (&self.client, &self.detector);
        let mut ids = Vec::new();
        match self.kind {
            ListKind::Threat => {
                let call = "guardduty:ListThreatEntitySets";
                let listing = client.list_threat_entity_sets().detector_id(detector);
                for_each_page(call, listing.into_paginator().send(), |page| {
                    ids.extend(page.threat_entity_set_ids().iter().cloned());
                    Ok(())
                })
                .await?;
            }
            ListKind::Trusted => {
                let call = "guardduty:ListTrustedEntitySets";
                let listing = client.list_trusted_entity_sets().detector_id(detector);
                for_each_page(call, listing.into_paginator().send(), |page| {
                    ids.extend(page.trusted_entity_set_ids().iter().cloned());
                    Ok(())
                })
                .await?;
            }
        }
        Ok(ids)
    }

    async fn get(&self, id: &str) -> Result<Set, CallError> {
        let (client, detector) = (&self.client, &self.detector);
        match self.kind {
            ListKind::Threat => {
                let get = client.get_threat_entity_set().detector_id(detector);
                let set = get.threat_entity_set_id(id).send().await;
                let set = set
                    .map_err(|error| CallError::from_sdk("guardduty:GetThreatEntitySet", &error))?;
                let status = set.status().map(|it| it.as_str());
                Ok(Set::new(id, set.name(), set.location(), status, set.error_details()))
            }
            ListKind::Trusted => {
                let get = client.get_trusted_entity_set().detector_id(detector);
                let set = get.trusted_entity_set_id(id).send().await;
                let set = set.map_err(|error| {
                    CallError::from_sdk("guardduty:GetTrustedEntitySet", &error)
                })?;
                let status = set.status().map(|it| it.as_str());
                Ok(Set::new(id, set.name(), set.location(), status, set.error_details()))
            }
        }
    }

    async fn create(&self, location: &str) -> Result<String, CallError> {
        let (client, detector, name) = (&self.client, &self.detector, self.kind.set_name());
        let (call, id) = match self.kind {
            ListKind::Threat => {
                let call = "guardduty:CreateThreatEntitySet";
                let create = client.create_threat_entity_set().detector_id(detector).name(name);
                let create = create.format(ThreatEntitySetFormat::Txt).location(location);
                let output = create.activate(true).send().await;
                let output = output.map_err(|error| CallError::from_sdk(call, &error))?;
                (call, output.threat_entity_set_id().map(str::to_owned))
            }
            ListKind::Trusted => {
                let call = "guardduty:CreateTrustedEntitySet";
                let create = client.create_trusted_entity_set().detector_id(detector).name(name);
                let create = create.format(TrustedEntitySetFormat::Txt).location(location);
                let output = create.activate(true).send().await;
                let output = output.map_err(|error| CallError::from_sdk(call, &error))?;
                (call, output.trusted_entity_set_id().map(str::to_owned))
            }
        };
        id.ok_or_else(|| CallError::new(format!("{call} returned no id")))
    }

    async fn update(&self, id: &str, location: &str) -> Result<(), CallError> {
        let (client, detector) = (&self.client, &self.detector);
        match self.kind {
            ListKind::Threat => {
                let update = client.update_threat_entity_set().detector_id(detector);
                let update = update.threat_entity_set_id(id).location(location).activate(true);
                let output = update.send().await;
                output.map_err(|error| {
                    CallError::from_sdk("guardduty:UpdateThreatEntitySet", &error)
                })?;
            }
            ListKind::Trusted => {
                let update = client.update_trusted_entity_set().detector_id(detector);
                let update = update.trusted_entity_set_id(id).location(location).activate(true);
                let output = update.send().await;
                output.map_err(|error| {
                    CallError::from_sdk("guardduty:UpdateTrustedEntitySet", &error)
                })?;
            }
        }
        Ok(())
    }
}
