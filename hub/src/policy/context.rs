//! What patterns match: the finding, its target and the target's place.

use std::collections::BTreeMap;

use firebreak_spoke::resource::{Resource, ResourceKind};
use serde_json::{Map, Value, json};

use super::pattern::Event;
use crate::finding::{Finding, Target};
use crate::organization::Place;

/// A target's present tags, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// They were read.
    Known(BTreeMap<String, String>),
    /// The kind of target has none that Firebreak can read.
    None,
    /// They could not be read: whatever depends on them refuses.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// The event that a target is, built once for all rules. The finding's
/// original is borrowed: it can be large, and few rules look at it.
pub(super) struct Context<'a> {
    fields: Map<String, Value>,
    detail: &'a Value,
    tags: KnownTags,
}

enum KnownTags {
    Known(Value),
    None,
    Unknown,
}

impl<'a> Context<'a> {
    pub(super) fn new(finding: &'a Finding, target: &Target, place: &Place, tags: &Tags) -> Self {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("id", json!(finding.id));
        put("type", json!(finding.kind));
        put("severity", json!(finding.severity));
        put("title", json!(finding.title));
        put("product", json!(finding.product));
        put("account", json!(finding.account));
        put("region", json!(finding.region));
        put("partition", json!(finding.partition));
        put("sample", json!(finding.sample));
        put("ouPath", json!(place.ou_path.ids()));
        put("resource", Value::Object(resource(target)));
        if let Some(count) = finding.count {
            put("count", json!(count));
        }
        if let Some(status) = &finding.workflow_status {
            put("workflowStatus", json!(status));
        }
        let tags = match tags {
            Tags::Known(tags) => KnownTags::Known(json!(tags)),
            Tags::None => KnownTags::None,
            Tags::Unknown { .. } => KnownTags::Unknown,
        };
        Self { fields, detail: &finding.detail, tags }
    }

    pub(super) fn field(&self, name: &str) -> Event<'_> {
        match (name, &self.tags) {
            ("detail", _) => Event::Value(self.detail),
            ("tags", KnownTags::Known(tags)) => Event::Value(tags),
            ("tags", KnownTags::None) => Event::Absent,
            ("tags", KnownTags::Unknown) => Event::Unknown,
            (name, _) => self.fields.get(name).map_or(Event::Absent, Event::Value),
        }
    }
}

fn resource(target: &Target) -> Map<String, Value> {
    let Resource { account, region, kind, .. } = &target.resource;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("type", json!(target.resource.type_name()));
    put("arn", json!(target.resource.arn()));
    put("account", json!(account));
    put("region", json!(region));
    if let Some(role) = target.role {
        put("role", json!(role));
    }
    let id = match kind {
        ResourceKind::Instance { instance_id } => Some(instance_id),
        ResourceKind::AccessKey { access_key_id, .. } => access_key_id.as_ref(),
        ResourceKind::User { name }
        | ResourceKind::Role { name }
        | ResourceKind::Bucket { name } => Some(name),
        ResourceKind::Other { id, .. } => id.as_ref(),
    };
    if let Some(id) = id {
        put("id", json!(id));
    }
    if let ResourceKind::AccessKey { principal, .. } = kind {
        let parts = [("name", &principal.name), ("id", &principal.id)];
        let mut described = Map::new();
        described.insert("type".to_owned(), json!(principal.kind));
        described.extend(
            parts
                .into_iter()
                .filter_map(|(name, value)| Some((name.into(), json!(value.as_ref()?)))),
        );
        put("principal", Value::Object(described));
    }
    fields
}
