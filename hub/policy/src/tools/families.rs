//! What policy would do in an account, for each family of finding types.

use std::collections::BTreeMap;
use std::fmt;

use firebreak_model::resource::Region;
use serde::Serialize;

use super::synthetic;
use crate::eval::Policy;
use crate::model::{Decision, Mode, PolicyOutcome, Tags};
use firebreak_model::finding_types::FindingType;
use firebreak_model::organization::Place;

/// The effect of a decision in one word, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stance {
    /// Nothing: no rule matches, the mode is off, or no action fits.
    Nothing,
    /// A guardrail, or something that is not known, forbids to act.
    Refused,
    /// What would be done is recorded.
    Observe,
    /// The plan waits for a person.
    Approve,
    /// The actions are executed at once.
    Auto,
}

impl Stance {
    fn of(decision: &Decision) -> Self {
        match (decision.outcome, decision.mode) {
            (PolicyOutcome::Follow, Mode::Auto) => Self::Auto,
            (PolicyOutcome::Follow, Mode::Approve) => Self::Approve,
            (PolicyOutcome::Follow, Mode::Observe) => Self::Observe,
            _ if decision.is_refused() => Self::Refused,
            _ => Self::Nothing,
        }
    }

    /// The word in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Refused => "refused",
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// The weakest and the strongest stance in a family: they differ by finding type, resource
/// type and severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StanceRange {
    /// The weakest stance.
    pub weakest: Stance,
    /// The strongest stance.
    pub strongest: Stance,
}

impl fmt::Display for StanceRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weakest == self.strongest {
            return formatter.write_str(self.weakest.name());
        }
        write!(formatter, "{}..{}", self.weakest.name(), self.strongest.name())
    }
}

impl Policy {
    /// Decides at a place about synthetic findings, and sums the decisions up by family.
    /// There is one finding for each type with each of its resource types and severities.
    /// The resource is in `region`, and has no tags and a name that no policy protects.
    ///
    /// # Errors
    ///
    /// The reason why nothing is decided there: no document covers the place, or one that
    /// does is broken.
    pub fn stances(
        &self,
        place: &Place,
        region: &Region,
        finding_types: &[FindingType],
    ) -> Result<BTreeMap<&'static str, StanceRange>, String> {
        let mut families: BTreeMap<&'static str, StanceRange> = BTreeMap::new();
        let tags = Tags::Known(BTreeMap::new());
        for finding_type in finding_types {
            for resource_type in &finding_type.resource_types {
                for severity in &finding_type.severities {
                    let resource = synthetic::resource(resource_type, None, &place.account, region);
                    let finding = synthetic::finding(finding_type.name, *severity, resource);
                    let Some(target) = finding.targets.first() else { continue };
                    let decision = self.decide(&finding, target, place, &tags);
                    if matches!(
                        decision.outcome,
                        PolicyOutcome::NoDocument
                            | PolicyOutcome::Broken
                            | PolicyOutcome::WrongPlace
                    ) {
                        return Err(decision.why);
                    }
                    let stance = Stance::of(&decision);
                    let single = StanceRange { weakest: stance, strongest: stance };
                    let range = families.entry(finding_type.family()).or_insert(single);
                    range.weakest = range.weakest.min(stance);
                    range.strongest = range.strongest.max(stance);
                }
            }
        }
        Ok(families)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoredDocument;
    use firebreak_model::finding_types;

    const RULES: &str = "attach: r-fb01
rules:
  - name: instances
    when:
      type: [{ wildcard: \"*:EC2/*\" }]
      severity: [{ numeric: [\">=\", 7] }]
    mode: auto
    then: [isolate-instance]
  - name: keys
    when: { resource: { type: [AccessKey] } }
    mode: approve
    then: [deactivate-access-key]
";

    fn stances(text: &str, unit: &str) -> Result<BTreeMap<&'static str, StanceRange>, String> {
        let stored =
            StoredDocument { attach: "r-fb01".into(), file: "root.yaml".into(), text: text.into() };
        let ou_path = unit.parse().unwrap();
        let place = Place { account: "111122223333".parse().unwrap(), ou_path };
        let region = "eu-central-1".parse().unwrap();
        Policy::from_stored(vec![stored], crate::tests::support::actions()).stances(
            &place,
            &region,
            &finding_types::all(),
        )
    }

    #[test]
    fn a_family_has_the_weakest_and_the_strongest_stance_of_its_findings() {
        let families = stances(RULES, "r-fb01/ou-fb01-prod1111").unwrap();
        assert_eq!(families.keys().len(), finding_types::FAMILIES.len());
        let range_of = |family: &str| families[family].to_string();
        assert_eq!(range_of("EC2"), "nothing..auto");
        assert_eq!(range_of("Runtime"), "nothing");
        // Custom detections of this family are sequences, which name access keys.
        assert_eq!(range_of("Lambda"), "nothing..approve");
        assert_eq!(families["IAM"].strongest, Stance::Approve);
    }

    #[test]
    fn a_place_without_a_document_or_with_a_broken_one_is_an_error() {
        let why = stances(RULES, "r-0000").unwrap_err();
        assert!(why.starts_with("no policy document covers 111122223333"), "{why}");
        let why = stances("attach: r-fb01\nnonsense: 1\n", "r-fb01").unwrap_err();
        assert!(why.contains("is broken"), "{why}");
    }
}
