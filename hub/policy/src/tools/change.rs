//! Compares two policies: for each root, OU or account and each finding type, the decision
//! before and after.
//!
//! Where no document is attached, the decision is that of the nearest OU or root above that
//! has one. So only attach points of a document, before or after, are compared.

use std::collections::BTreeMap;

use firebreak_model::resource::Region;
use serde::Serialize;

use super::effect::Effect;
use super::synthetic;
use crate::eval::Policy;
use crate::model::Tags;
use firebreak_model::finding_types::{self, FindingType};
use firebreak_model::organization::{OuPath, Place};

/// Finding types whose decisions at one attach point change in the same way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EffectiveChange {
    /// The root, OU or account.
    pub point: String,
    /// The OU path of the point.
    pub ou_path: String,
    pub before: Effect,
    pub after: Effect,
    /// The finding types, each with its resource type and severity.
    pub finding_types: Vec<String>,
}

/// A root, OU or account where two policies are compared, and an account there to
/// decide for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedPoint {
    /// The id of the root, OU or account.
    pub id: String,
    /// An account there, and its OU path.
    pub place: Place,
}

impl ComparedPoint {
    /// The root, OU or account of this id, at its OU path.
    pub fn at(id: &str, ou_path: OuPath) -> Option<Self> {
        let account = id.parse().or_else(|_| synthetic::ACCOUNT.parse()).ok()?;
        Some(Self { id: id.to_owned(), place: Place { account, ou_path } })
    }
}

/// Compares two policies at each point, for every known finding type. The resource of
/// the synthetic findings is in `region`, and has no tags and a name that no policy protects.
pub fn effective_changes(
    (before, after): (&Policy, &Policy),
    points: &[ComparedPoint],
    region: &Region,
) -> Vec<EffectiveChange> {
    let finding_types = finding_types::all();
    let changes =
        points.iter().map(|point| changes_at((before, after), point, region, &finding_types));
    changes.flatten().collect()
}

fn changes_at(
    (before, after): (&Policy, &Policy),
    point: &ComparedPoint,
    region: &Region,
    finding_types: &[FindingType],
) -> Vec<EffectiveChange> {
    let place = &point.place;
    let mut changes: BTreeMap<(Effect, Effect), Vec<String>> = BTreeMap::new();
    for finding_type in finding_types {
        for resource_type in &finding_type.resource_types {
            for severity in &finding_type.severities {
                let resource = synthetic::resource(resource_type, None, &place.account, region);
                let finding = synthetic::finding(finding_type.name, *severity, resource);
                let Some(target) = finding.targets.first() else { continue };
                let tags = Tags::Known(BTreeMap::new());
                let decide =
                    |policy: &Policy| Effect::of(&policy.decide(&finding, target, place, &tags));
                let pair = (decide(before), decide(after));
                if pair.0 != pair.1 {
                    let name = format!("{} ({resource_type}, {severity})", finding_type.name);
                    changes.entry(pair).or_default().push(name);
                }
            }
        }
    }
    changes
        .into_iter()
        .map(|((before, after), finding_types)| EffectiveChange {
            point: point.id.clone(),
            ou_path: place.ou_path.to_string(),
            before,
            after,
            finding_types,
        })
        .collect()
}
