//! The policy in DynamoDB: each push is a version, and one pointer says which version
//! is in force.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `policy` | `current` | the version in force |
//! | `policy` | `version#<number>` | one for each push: who, when, why, and the `pk` of its documents |
//! | `policy#<number>-<digest>` | `document#<attach>` | one document: its file's name and text |
//!
//! A push writes all documents of the new version, and then the version and the pointer
//! to it in one transaction: readers see the old or the new policy, never a mixture. Of
//! two concurrent pushes one fails and changes nothing. The key has a digest of the
//! contents, so that documents of an interrupted push are not mixed into the next one.
//! Versions are kept, so that each can be put in force again.

use std::collections::HashMap;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use firebreak_model::action::ActionCatalog;
use firebreak_model::digest::sha256_hex_of_parts;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::config;
use crate::error::{HubError, failed};
use crate::settings::Settings;
use firebreak_policy::{Policy, StoredDocument};

type Item = HashMap<String, AttributeValue>;

/// DynamoDB's limit for an item is 400 KB, and keys and the file's name take some of
/// it.
const LONGEST_DOCUMENT: usize = 380 * 1024;

/// How many documents are written concurrently.
const MAX_PARALLEL: usize = 16;

#[derive(Clone, Debug)]
struct Loaded {
    version: Version,
    policy: Arc<Policy>,
    until: Timestamp,
}

/// A pushed policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Counts the pushes, from 1; 0 before the first push.
    pub number: u64,
    /// The caller's ARN from GetCallerIdentity.
    pub by: String,
    /// The time of the push.
    pub at: Option<Timestamp>,
    /// The reason, in the words of the person who pushed.
    pub note: String,
    /// The number of documents.
    pub documents: usize,
    key: String,
}

/// Who pushes, and why.
#[derive(Clone, Debug)]
pub struct Author {
    /// The caller's ARN from GetCallerIdentity.
    pub by: String,
    /// The reason; may be empty.
    pub note: String,
}

/// The policy in force, cached for the TTL of the settings.
#[derive(Debug)]
pub struct Policies {
    client: aws_sdk_dynamodb::Client,
    config: SdkConfig,
    settings: Settings,
    actions: ActionCatalog,
    loaded: Mutex<Option<Loaded>>,
}

impl Policies {
    /// Uses the hub's credentials. `actions` are the actions that rules may name.
    pub fn new(config: &SdkConfig, settings: &Settings, actions: ActionCatalog) -> Self {
        Self {
            client: aws_sdk_dynamodb::Client::new(config),
            config: config.clone(),
            settings: settings.clone(),
            actions,
            loaded: Mutex::new(None),
        }
    }

    /// The policy in force, at most the TTL old. If it cannot be read, this is an
    /// error, never an older or an empty policy.
    pub async fn current(&self) -> Result<Arc<Policy>, HubError> {
        Ok(self.in_force().await?.1)
    }

    /// The same, with the number of its version.
    pub async fn in_force(&self) -> Result<(u64, Arc<Policy>), HubError> {
        // Held while reading, so that concurrent callers at a cold start read once.
        let mut loaded = self.loaded.lock().await;
        let now = config::now(&self.config);
        if let Some(known) = loaded.as_ref().filter(|known| now < known.until) {
            return Ok((known.version.number, known.policy.clone()));
        }
        let cannot = |error: HubError| error.context("cannot read the policy");
        let version = self.version().await.map_err(cannot)?;
        if version.number == 0 {
            return Err(HubError::refused(
                "no policy is in force\nhelp: push one with `firebreak policy push policies/`"
                    .to_owned(),
            ));
        }
        let policy = match loaded.take() {
            Some(known) if known.version == version => known.policy,
            _ => {
                let documents = self.documents(&version).await.map_err(cannot)?;
                Arc::new(Policy::from_stored(documents, self.actions))
            }
        };
        let (number, until) = (version.number, now + self.settings.policy_ttl);
        *loaded = Some(Loaded { version, policy: policy.clone(), until });
        Ok((number, policy))
    }

    /// The policy that was read last, however old; `None` before the first finding. For
    /// metrics, which must not cost a call.
    pub async fn last_read(&self) -> Option<Arc<Policy>> {
        self.loaded.lock().await.as_ref().map(|loaded| loaded.policy.clone())
    }

    /// The version in force.
    pub async fn version(&self) -> Result<Version, HubError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.settings.table)
            .key("pk", text("policy"))
            .key("sk", text("current"))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("dynamodb:GetItem", &error))?;
        output.item.map_or_else(|| Ok(Version::default()), |item| version_of(&item))
    }

    /// Every version that was ever pushed, the newest first.
    pub async fn history(&self) -> Result<Vec<Version>, HubError> {
        let query = self
            .client
            .query()
            .key_condition_expression("pk = :policy AND begins_with(sk, :version)")
            .expression_attribute_values(":policy", text("policy"))
            .expression_attribute_values(":version", text("version#"))
            .scan_index_forward(false);
        self.items(query).await?.iter().map(version_of).collect()
    }

    /// Every document of a version, as stored.
    ///
    /// # Errors
    ///
    /// `Failed` if their number is not that of the push: a guardrail may be missing.
    pub async fn documents(&self, version: &Version) -> Result<Vec<StoredDocument>, HubError> {
        let documents = self.documents_left(version).await?;
        if documents.len() == version.documents {
            return Ok(documents);
        }
        Err(HubError::failed(format!(
            "version {} has {} document(s), but {} exist\nhelp: the table was changed by hand: activate a complete version with `firebreak policy rollback`",
            version.number,
            version.documents,
            documents.len()
        )))
    }

    /// The documents of a version that exist, even if some are missing: a new version
    /// is compared with them.
    pub async fn documents_left(&self, version: &Version) -> Result<Vec<StoredDocument>, HubError> {
        if version.number == 0 {
            return Ok(Vec::new());
        }
        let query = self
            .client
            .query()
            .key_condition_expression("pk = :version")
            .expression_attribute_values(":version", text(&version.key));
        let items = self.items(query).await?;
        let documents = items
            .iter()
            .map(|item| {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
                let attach = text("sk")
                    .map(|sk| sk.trim_start_matches("document#").to_owned())
                    .unwrap_or_default();
                // Without a text it is read as an empty document, which is invalid.
                let (file, text) = (text("file").unwrap_or_default(), text("text"));
                StoredDocument { attach, file, text: text.unwrap_or_default() }
            })
            .collect();
        Ok(documents)
    }

    async fn items(&self, query: QueryFluentBuilder) -> Result<Vec<Item>, HubError> {
        let mut items = Vec::new();
        let query = query.table_name(&self.settings.table).consistent_read(true);
        let mut pages = query.into_paginator().items().send();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(|error| failed("dynamodb:Query", &error))?);
        }
        Ok(items)
    }

    /// Puts a policy in force as the version after `before`.
    ///
    /// # Errors
    ///
    /// `Refused` if another caller pushed at the same time, with their name; this push has no
    /// effect.
    pub async fn push(
        &self,
        documents: &[StoredDocument],
        before: &Version,
        author: &Author,
    ) -> Result<Version, HubError> {
        if let Some(long) = documents.iter().find(|it| it.text.len() > LONGEST_DOCUMENT) {
            return Err(HubError::refused(format!(
                "`{}` has {} bytes, and DynamoDB keeps {LONGEST_DOCUMENT} in one item\nhelp: move rules to the OUs that they are about",
                long.file,
                long.text.len()
            )));
        }
        let number = before.number + 1;
        let version = Version {
            number,
            by: author.by.clone(),
            at: Some(config::now(&self.config)),
            note: author.note.clone(),
            documents: documents.len(),
            key: format!("policy#{number}-{}", digest(documents)),
        };
        futures::stream::iter(documents)
            .map(|document| self.write(&version, document))
            .buffer_unordered(MAX_PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
        let record = self
            .version_put(&version, &format!("version#{number:012}"))
            .condition_expression("attribute_not_exists(pk)");
        let pointer = self
            .version_put(&version, "current")
            .condition_expression("attribute_not_exists(pk) OR #number = :before")
            .expression_attribute_names("#number", "number")
            .expression_attribute_values(":before", AttributeValue::N(before.number.to_string()));
        let mut transaction = self.client.transact_write_items();
        for put in [record, pointer] {
            let put = put.build().map_err(|error| HubError::failed(error.to_string()))?;
            transaction = transaction.transact_items(TransactWriteItem::builder().put(put).build());
        }
        if let Err(error) = transaction.send().await {
            let refused = error
                .as_service_error()
                .is_some_and(|error| error.is_transaction_canceled_exception());
            if !refused {
                return Err(failed("dynamodb:TransactWriteItems", &error));
            }
            self.lost(before, &version).await?;
        }
        *self.loaded.lock().await = None;
        Ok(version)
    }

    /// Why a push whose condition failed did not take effect; `Ok` if it did, and only
    /// the response was lost.
    async fn lost(&self, before: &Version, pushed: &Version) -> Result<(), HubError> {
        let now = self
            .version()
            .await
            .map_err(|error| error.context("the push was refused, and why cannot be read"))?;
        if now == *pushed {
            return Ok(());
        }
        Err(if now.number == before.number {
            HubError::transient(
                "DynamoDB canceled the push, although there was no other push; nothing of it is in force"
                    .to_owned(),
            )
        } else {
            HubError::refused(format!(
                "version {} was pushed by {} at the same time; yours is not in force\nhelp: compare them with `firebreak policy diff`, then push again",
                now.number, now.by
            ))
        })
    }

    async fn write(&self, version: &Version, document: &StoredDocument) -> Result<(), HubError> {
        self.client
            .put_item()
            .table_name(&self.settings.table)
            .item("pk", text(&version.key))
            .item("sk", text(&format!("document#{}", document.attach)))
            .item("file", text(&document.file))
            .item("text", text(&document.text))
            .send()
            .await
            .map_err(|error| failed("dynamodb:PutItem", &error))?;
        Ok(())
    }

    fn version_put(&self, version: &Version, sk: &str) -> PutBuilder {
        let at = version.at.map(|at| at.to_string()).unwrap_or_default();
        Put::builder()
            .table_name(&self.settings.table)
            .item("pk", text("policy"))
            .item("sk", text(sk))
            .item("number", AttributeValue::N(version.number.to_string()))
            .item("by", text(&version.by))
            .item("at", text(&at))
            .item("note", text(&version.note))
            .item("count", AttributeValue::N(version.documents.to_string()))
            .item("documents", text(&version.key))
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn version_of(item: &Item) -> Result<Version, HubError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok());
    let version = || {
        Some(Version {
            number: number("number")?.parse().ok()?,
            by: text("by")?,
            at: Some(text("at")?.parse().ok()?),
            note: text("note")?,
            documents: number("count")?.parse().ok()?,
            key: text("documents")?,
        })
    };
    version().ok_or_else(|| {
        HubError::failed(format!(
            "the policy's item `{}` lacks an attribute or has one of the wrong type\nhelp: the table was changed by hand: `firebreak policy history` shows what is left",
            text("sk").unwrap_or_default()
        ))
    })
}

fn digest(documents: &[StoredDocument]) -> String {
    let parts = documents.iter().flat_map(|it| [&it.attach, &it.file, &it.text]);
    let mut digits = sha256_hex_of_parts(parts);
    digits.truncate(12);
    digits
}
