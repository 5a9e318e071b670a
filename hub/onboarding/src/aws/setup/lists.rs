//! A list of entities in S3, and the set in each Region that GuardDuty reads it by.
//!
//! Entity sets, not the older IP sets: they hold domains too, and GuardDuty reads
//! the file with the caller's permission instead of writing a policy for each
//! Region to its service-linked role, whose size is limited (GuardDuty user
//! guide, "Understanding entity lists and IP address lists").
//!
//! The object's key carries the list's digest: the same list changes nothing,
//! another one never overwrites what a set still reads.

use aws_config::SdkConfig;
use aws_sdk_guardduty::types::{ThreatEntitySetFormat, TrustedEntitySetFormat};
use aws_sdk_s3::primitives::ByteStream;
use firebreak_model::digest::sha256_hex;
use firebreak_model::resource::Region;
use futures::StreamExt;
use serde::Serialize;

use super::guardduty::GuardDuty;
use super::trouble::{Trouble, trouble};
use super::{Progress, REGIONS_AT_ONCE, Setup, SetupError, regional};
use crate::setup::entities::{Entities, ListKind};
use firebreak_aws::error::HubError;

/// Where a list is put.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The bucket; it belongs to the administrator's account.
    pub bucket: String,
    /// The bucket's Region.
    pub region: Region,
}

/// What became of the set in one Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListOutcome {
    /// It reads this list already.
    Unchanged,
    /// It was made.
    Created,
    /// It read another list, or none.
    Updated,
    /// GuardDuty is not there, or not on.
    Skipped(String),
    /// Why it failed.
    Failed(String),
}

/// What became of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Where it is.
    pub location: String,
    /// Whether the object was there already.
    pub uploaded: bool,
    /// Each Region's set.
    pub regions: Vec<(Region, ListOutcome)>,
}

impl Setup {
    /// Puts a list in force in every Region.
    ///
    /// # Errors
    ///
    /// `Refused` without the administrator's credentials; AWS's where the list
    /// cannot be uploaded. What fails in a Region stands in the answer.
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
            uploaded.map_err(|trouble| SetupError::Aws(HubError::Failed(trouble.to_string())))?;
        let location = format!("s3://{}/{key}", upload.bucket);
        let regions = futures::stream::iter(&self.regions).map(|region| {
            let location = location.as_str();
            async move {
                let outcome = in_region(config, region, kind, location).await;
                progress(&format!("{region}: {}", outcome_word(&outcome)));
                (region.clone(), outcome)
            }
        });
        let regions = regions.buffered(REGIONS_AT_ONCE).collect().await;
        Ok(Listed { location, uploaded, regions })
    }

    /// Uploads the list, unless it is there; whether it was.
    async fn upload(
        &self,
        config: &SdkConfig,
        upload: &Upload,
        key: &str,
        entities: &Entities,
    ) -> Result<bool, Trouble> {
        let client = aws_sdk_s3::Client::new(&regional(config, &upload.region));
        // Another account may have made a bucket of the name.
        let owner = self.administrator.as_str();
        let head = client.head_object().bucket(&upload.bucket).key(key);
        match head.expected_bucket_owner(owner).send().await {
            Ok(_) => return Ok(false),
            Err(error) => {
                // A response to HEAD has no body, only a status.
                let status = error.raw_response().map(|answer| answer.status().as_u16());
                match status {
                    Some(404) => {}
                    Some(301) => {
                        return Err(Trouble::new(format!(
                            "the bucket `{}` is not in {}\nhelp: give --bucket-region",
                            upload.bucket, upload.region
                        )));
                    }
                    Some(403) => {
                        return Err(Trouble::new(format!(
                            "the bucket `{}` may not be read, or is not of account {owner}\nhelp: grant s3:GetObject, s3:PutObject and s3:ListBucket on it",
                            upload.bucket
                        )));
                    }
                    Some(_) | None => return Err(trouble("s3:GetObject", &error)),
                }
            }
        }
        let body = ByteStream::from(entities.text.clone().into_bytes());
        let put = client.put_object().bucket(&upload.bucket).key(key).content_type("text/plain");
        let answer = put.expected_bucket_owner(owner).body(body).send().await;
        answer.map_err(|error| trouble("s3:PutObject", &error))?;
        Ok(true)
    }
}

/// The outcome in a word or a sentence.
fn outcome_word(outcome: &ListOutcome) -> String {
    match outcome {
        ListOutcome::Unchanged => "unchanged".to_owned(),
        ListOutcome::Created => "created".to_owned(),
        ListOutcome::Updated => "updated".to_owned(),
        ListOutcome::Skipped(why) => format!("skipped: {why}"),
        ListOutcome::Failed(why) => format!("failed: {why}"),
    }
}

async fn in_region(
    config: &SdkConfig,
    region: &Region,
    kind: ListKind,
    location: &str,
) -> ListOutcome {
    let put = async {
        let Some(detector) = GuardDuty::new(config, region).detector_id().await? else {
            return Ok(ListOutcome::Skipped("GuardDuty has no detector there".to_owned()));
        };
        let client = aws_sdk_guardduty::Client::new(&regional(config, region));
        Sets { client, detector, kind }.put(location).await
    };
    match put.await {
        Ok(outcome) => outcome,
        Err(Trouble::NoHost(why)) => ListOutcome::Skipped(why),
        Err(trouble @ Trouble::Failed { .. }) => ListOutcome::Failed(trouble.to_string()),
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

/// The sets of one kind in one Region.
struct Sets {
    client: aws_sdk_guardduty::Client,
    detector: String,
    kind: ListKind,
}

impl Sets {
    async fn put(&self, location: &str) -> Result<ListOutcome, Trouble> {
        let name = self.kind.set_name();
        let (mut own, mut others) = (None, Vec::new());
        for id in self.ids().await? {
            let set = self.get(&id).await?;
            if set.name == name { own = Some(set) } else { others.push(set.name) }
        }
        let Some(own) = own else {
            // "you can have only one trusted entity set" (GuardDuty API
            // reference, CreateTrustedEntitySet): somebody else's is not replaced.
            if let (ListKind::Trusted, Some(other)) = (self.kind, others.first()) {
                return Err(Trouble::new(format!(
                    "there is the trusted entity set `{other}` already, and only one is possible\nhelp: take its entries over and delete it"
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

    /// What GuardDuty cannot read, it says in the set's status.
    async fn checked(&self, id: &str, outcome: ListOutcome) -> Result<ListOutcome, Trouble> {
        let set = self.get(id).await?;
        if set.status == "ERROR" {
            let why = set.error.unwrap_or_else(|| "no reason given".to_owned());
            return Err(Trouble::new(format!("GuardDuty cannot use the list: {why}")));
        }
        Ok(outcome)
    }

    async fn ids(&self) -> Result<Vec<String>, Trouble> {
        let (client, detector) = (&self.client, &self.detector);
        let mut ids = Vec::new();
        match self.kind {
            ListKind::Threat => {
                let call = "guardduty:ListThreatEntitySets";
                let listing = client.list_threat_entity_sets().detector_id(detector);
                let mut pages = listing.into_paginator().send();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|error| trouble(call, &error))?;
                    ids.extend(page.threat_entity_set_ids().iter().cloned());
                }
            }
            ListKind::Trusted => {
                let call = "guardduty:ListTrustedEntitySets";
                let listing = client.list_trusted_entity_sets().detector_id(detector);
                let mut pages = listing.into_paginator().send();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|error| trouble(call, &error))?;
                    ids.extend(page.trusted_entity_set_ids().iter().cloned());
                }
            }
        }
        Ok(ids)
    }

    async fn get(&self, id: &str) -> Result<Set, Trouble> {
        let (client, detector) = (&self.client, &self.detector);
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        match self.kind {
            ListKind::Threat => {
                let get = client.get_threat_entity_set().detector_id(detector);
                let set = get.threat_entity_set_id(id).send().await;
                let set = set.map_err(|error| trouble("guardduty:GetThreatEntitySet", &error))?;
                Ok(Set {
                    id: id.to_owned(),
                    name: owned(set.name()),
                    location: owned(set.location()),
                    status: owned(set.status().map(|it| it.as_str())),
                    error: set.error_details().map(str::to_owned),
                })
            }
            ListKind::Trusted => {
                let get = client.get_trusted_entity_set().detector_id(detector);
                let set = get.trusted_entity_set_id(id).send().await;
                let set = set.map_err(|error| trouble("guardduty:GetTrustedEntitySet", &error))?;
                Ok(Set {
                    id: id.to_owned(),
                    name: owned(set.name()),
                    location: owned(set.location()),
                    status: owned(set.status().map(|it| it.as_str())),
                    error: set.error_details().map(str::to_owned),
                })
            }
        }
    }

    async fn create(&self, location: &str) -> Result<String, Trouble> {
        let (client, detector, name) = (&self.client, &self.detector, self.kind.set_name());
        let (call, id) = match self.kind {
            ListKind::Threat => {
                let call = "guardduty:CreateThreatEntitySet";
                let create = client.create_threat_entity_set().detector_id(detector).name(name);
                let create = create.format(ThreatEntitySetFormat::Txt).location(location);
                let answer = create.activate(true).send().await;
                let answer = answer.map_err(|error| trouble(call, &error))?;
                (call, answer.threat_entity_set_id().map(str::to_owned))
            }
            ListKind::Trusted => {
                let call = "guardduty:CreateTrustedEntitySet";
                let create = client.create_trusted_entity_set().detector_id(detector).name(name);
                let create = create.format(TrustedEntitySetFormat::Txt).location(location);
                let answer = create.activate(true).send().await;
                let answer = answer.map_err(|error| trouble(call, &error))?;
                (call, answer.trusted_entity_set_id().map(str::to_owned))
            }
        };
        id.ok_or_else(|| Trouble::new(format!("{call} answered without an id")))
    }

    async fn update(&self, id: &str, location: &str) -> Result<(), Trouble> {
        let (client, detector) = (&self.client, &self.detector);
        match self.kind {
            ListKind::Threat => {
                let update = client.update_threat_entity_set().detector_id(detector);
                let update = update.threat_entity_set_id(id).location(location).activate(true);
                let answer = update.send().await;
                answer.map_err(|error| trouble("guardduty:UpdateThreatEntitySet", &error))?;
            }
            ListKind::Trusted => {
                let update = client.update_trusted_entity_set().detector_id(detector);
                let update = update.trusted_entity_set_id(id).location(location).activate(true);
                let answer = update.send().await;
                answer.map_err(|error| trouble("guardduty:UpdateTrustedEntitySet", &error))?;
            }
        }
        Ok(())
    }
}
