//! What patterns match: the finding, its target and the target's place.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use firebreak_event_pattern::{Event, Fields};
use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::Place;
use firebreak_model::resource::{Principal, ResourceKind};

use crate::model::Tags;

/// A finding and one of its targets as an event for patterns. Nothing is copied: each
/// field is looked up where it is, because most rules look at few of them.
pub(crate) struct Context<'a> {
    finding: &'a Finding,
    place: &'a Place,
    resource: ResourceFields<'a>,
    tags: EventTags<'a>,
}

/// The tags as the event has them.
enum EventTags<'a> {
    Known(TagFields<'a>),
    None,
    Unknown,
}

/// The fields of `tags`.
struct TagFields<'a>(&'a BTreeMap<String, String>);

/// The fields of `resource.principal`.
struct PrincipalFields<'a>(&'a Principal);

/// The fields of `resource`.
struct ResourceFields<'a> {
    target: &'a Target,
    principal: Option<PrincipalFields<'a>>,
    /// Built when a pattern first asks for it.
    arn: OnceCell<String>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        finding: &'a Finding,
        target: &'a Target,
        place: &'a Place,
        tags: &'a Tags,
    ) -> Self {
        // Only credentials have one: a user or role is the resource itself.
        let principal = if let ResourceKind::AccessKey { principal, .. } = &target.resource.kind {
            Some(PrincipalFields(principal))
        } else {
            None
        };
        let resource = ResourceFields { target, principal, arn: OnceCell::new() };
        let tags = match tags {
            Tags::Known(tags) => EventTags::Known(TagFields(tags)),
            Tags::None => EventTags::None,
            Tags::Unknown { .. } => EventTags::Unknown,
        };
        Self { finding, place, resource, tags }
    }
}

impl Fields for Context<'_> {
    fn field(&self, name: &str) -> Event<'_> {
        let Self { finding, place, resource, tags } = self;
        match name {
            "id" => Event::Text(&finding.id),
            "type" => Event::Text(&finding.kind),
            "severity" => Event::Number(finding.severity),
            "title" => Event::Text(&finding.title),
            "product" => Event::Text(&finding.product),
            "account" => Event::Text(finding.account.as_str()),
            "region" => Event::Text(finding.region.as_str()),
            "partition" => Event::Text(finding.partition.as_str()),
            "count" => finding.count.map_or(Event::Absent, Event::Count),
            "sample" => Event::Bool(finding.sample),
            "workflowStatus" => text(finding.workflow_status.as_ref()),
            "ouPath" => Event::Path(place.ou_path.as_str()),
            "resource" => Event::Object(resource),
            "tags" => match tags {
                EventTags::Known(tags) => Event::Object(tags),
                EventTags::None => Event::Absent,
                EventTags::Unknown => Event::Unknown,
            },
            "detail" => Event::Value(&finding.detail),
            _ => Event::Absent,
        }
    }
}

impl Fields for ResourceFields<'_> {
    fn field(&self, name: &str) -> Event<'_> {
        let Target { resource, role, .. } = self.target;
        match name {
            "type" => Event::Text(resource.type_name()),
            "arn" => Event::Text(self.arn.get_or_init(|| resource.arn())),
            "account" => Event::Text(resource.account.as_str()),
            "region" => Event::Text(resource.region.as_str()),
            "role" => role.map_or(Event::Absent, |role| Event::Text(role.name())),
            "id" => resource.id().map_or(Event::Absent, Event::Text),
            "principal" => self.principal.as_ref().map_or(Event::Absent, |it| Event::Object(it)),
            _ => Event::Absent,
        }
    }
}

impl Fields for PrincipalFields<'_> {
    fn field(&self, name: &str) -> Event<'_> {
        let Self(principal) = self;
        match name {
            "type" => Event::Text(principal.kind.name()),
            "name" => text(principal.name.as_ref()),
            "id" => text(principal.id.as_ref()),
            _ => Event::Absent,
        }
    }
}

impl Fields for TagFields<'_> {
    fn field(&self, name: &str) -> Event<'_> {
        text(self.0.get(name))
    }
}

fn text(text: Option<&String>) -> Event<'_> {
    text.map_or(Event::Absent, |text| Event::Text(text))
}
