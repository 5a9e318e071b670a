//! The policy in DynamoDB: each push is a version of its own, and one pointer
//! says which is in force.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `policy` | `current` | the version in force, and the `pk` of its documents |
//! | `policy#<version>-<digest>` | `document#<attach>` | one document, as JSON |
//!
//! A push writes all documents of the new version and then moves the pointer
//! in one conditional write: readers see the old policy or the new one, never
//! a mixture, and of two pushes at once one loses and changes nothing. The
//! digest of the contents keeps a push that was cut off out of the next one.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::aws::config;
use crate::aws::error::{HubError, failed};
use crate::policy::{Policy, StoredDocument};
use crate::settings::Settings;

#[derive(Clone, Debug)]
struct Loaded {
    version: Version,
    policy: Arc<Policy>,
    until: Timestamp,
}

/// A pushed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counts the pushes, from 1; 0 when none was ever made.
    pub number: u64,
    key: String,
}

/// The policy that is in force, kept for the settings' TTL.
#[derive(Debug)]
pub struct Policies {
    client: aws_sdk_dynamodb::Client,
    config: SdkConfig,
    settings: Settings,
    loaded: Mutex<Option<Loaded>>,
}

impl Policies {
    /// Reads and writes under the hub's credentials.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Self {
        Self {
            client: aws_sdk_dynamodb::Client::new(config),
            config: config.clone(),
            settings: settings.clone(),
            loaded: Mutex::new(None),
        }
    }

    /// The policy in force, at most the TTL old. When it cannot be read there
    /// is none: an error, never an older or an empty one.
    pub async fn current(&self) -> Result<Arc<Policy>, HubError> {
        // Held over the read, so that a cold start reads once.
        let mut loaded = self.loaded.lock().await;
        let now = config::now(&self.config);
        if let Some(known) = loaded.as_ref().filter(|known| now < known.until) {
            return Ok(known.policy.clone());
        }
        let cannot = |error: HubError| error.context("cannot read the policy");
        let version = self.version().await.map_err(cannot)?;
        if version.number == 0 {
            return Err(HubError::Failed(
                "no policy is in force\nhelp: push one with `firebreak policy push policies/`"
                    .to_owned(),
            ));
        }
        let policy = match loaded.take() {
            Some(known) if known.version == version => known.policy,
            _ => Arc::new(Policy::from_stored(self.documents(&version).await.map_err(cannot)?)),
        };
        let until = now + self.settings.policy_ttl;
        *loaded = Some(Loaded { version, policy: policy.clone(), until });
        Ok(policy)
    }

    /// The version in force.
    pub async fn version(&self) -> Result<Version, HubError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.settings.table)
            .key("pk", AttributeValue::S("policy".to_owned()))
            .key("sk", AttributeValue::S("current".to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        let Some(item) = answer.item else {
            return Ok(Version { number: 0, key: String::new() });
        };
        let number = item.get("version").and_then(|number| number.as_n().ok()?.parse().ok());
        let key = item.get("documents").and_then(|key| key.as_s().ok()).cloned();
        number.zip(key).map(|(number, key)| Version { number, key }).ok_or_else(|| {
            HubError::Failed("the policy's pointer has no `version` or no `documents`".to_owned())
        })
    }

    /// Every document of a version, as stored.
    pub async fn documents(&self, version: &Version) -> Result<Vec<StoredDocument>, HubError> {
        let mut documents = Vec::new();
        let mut pages = self
            .client
            .query()
            .table_name(&self.settings.table)
            .key_condition_expression("pk = :version")
            .expression_attribute_values(":version", AttributeValue::S(version.key.clone()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| failed("dynamodb:Query", &error))?;
            let text = |name: &str| {
                item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default()
            };
            let attach = text("sk").trim_start_matches("document#").to_owned();
            documents.push(StoredDocument { attach, file: text("file"), json: text("body") });
        }
        Ok(documents)
    }

    /// Puts a policy in force as the version after `before`.
    ///
    /// # Errors
    ///
    /// `Failed` when another push came between; nothing is in force of this one.
    pub async fn push(
        &self,
        documents: &[StoredDocument],
        before: &Version,
    ) -> Result<Version, HubError> {
        let number = before.number + 1;
        let version = Version { number, key: format!("policy#{number}-{}", digest(documents)) };
        for document in documents {
            self.client
                .put_item()
                .table_name(&self.settings.table)
                .item("pk", AttributeValue::S(version.key.clone()))
                .item("sk", AttributeValue::S(format!("document#{}", document.attach)))
                .item("file", AttributeValue::S(document.file.clone()))
                .item("body", AttributeValue::S(document.json.clone()))
                .send()
                .await
                .map_err(|error| failed("dynamodb:PutItem", &error))?;
        }
        let pointer = self
            .client
            .put_item()
            .table_name(&self.settings.table)
            .item("pk", AttributeValue::S("policy".to_owned()))
            .item("sk", AttributeValue::S("current".to_owned()))
            .item("version", AttributeValue::N(number.to_string()))
            .item("documents", AttributeValue::S(version.key.clone()))
            .item("pushed", AttributeValue::S(config::now(&self.config).to_string()))
            .condition_expression("attribute_not_exists(pk) OR #version = :before")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":before", AttributeValue::N(before.number.to_string()));
        pointer.send().await.map_err(|error| {
            let refused = error
                .as_service_error()
                .is_some_and(|error| error.is_conditional_check_failed_exception());
            if refused {
                HubError::Failed(format!(
                    "another push made version {number} meanwhile; yours is not in force\nhelp: look at it with `firebreak policy explain`, then push again"
                ))
            } else {
                failed("dynamodb:PutItem", &error)
            }
        })?;
        *self.loaded.lock().await = None;
        Ok(version)
    }
}

fn digest(documents: &[StoredDocument]) -> String {
    let mut hash = Sha256::new();
    for document in documents {
        for part in [&document.attach, &document.json] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
