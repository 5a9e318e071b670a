//! What a change of policy comes to: for each point of the tree and each
//! finding type, what was decided before and what is decided after.
//!
//! Points without a document of their own decide as the nearest one above
//! that has one, so only points with a document, before or after, are compared.

use std::collections::BTreeMap;

use firebreak_model::resource::Region;
use serde::Serialize;

use super::context::Tags;
use super::effect::Effect;
use super::synthetic;
use super::tree::Policy;
use firebreak_model::finding_types::{self, FindingType};
use firebreak_model::organization::{OuPath, Place};

/// Finding types for which a point's decisions change alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EffectiveChange {
    /// The root, OU or account.
    pub point: String,
    /// The OUs above and at it.
    pub ou_path: String,
    /// What was decided before.
    pub before: Effect,
    /// What is decided after.
    pub after: Effect,
    /// For which finding types, each with its resource type and severity.
    pub finding_types: Vec<String>,
}

/// A point of the tree, and an account there to decide for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its id.
    pub id: String,
    /// Where findings of it are decided.
    pub place: Place,
}

impl Point {
    /// A root, an OU or an account at its path. `None` for an id that has no
    /// such form.
    pub fn at(id: &str, ou_path: OuPath) -> Option<Self> {
        let account = id.parse().or_else(|_| synthetic::ACCOUNT.parse()).ok()?;
        Some(Self { id: id.to_owned(), place: Place { account, ou_path } })
    }
}

/// Compares two policies at each point, for every finding type that is known,
/// of a resource in `region` without tags whose name nobody protects.
pub fn effective_changes(
    (before, after): (&Policy, &Policy),
    points: &[Point],
    region: &Region,
) -> Vec<EffectiveChange> {
    let finding_types = finding_types::all();
    let changes =
        points.iter().map(|point| changes_at((before, after), point, region, &finding_types));
    changes.flatten().collect()
}

fn changes_at(
    (before, after): (&Policy, &Policy),
    point: &Point,
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
