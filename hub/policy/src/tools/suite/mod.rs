//! Tests of policies: a finding at a place, and the decision that is expected.

mod read;

use std::collections::BTreeMap;

use firebreak_model::finding::{Finding, Target};
use firebreak_model::organization::{OuPath, Place};
use firebreak_model::resource::AccountId;
use serde::Serialize;

use super::explain::Explanation;
use crate::eval::Policy;
use crate::model::{ActionCall, Decision, Mode, PolicyOutcome, Tags};

#[cfg(test)]
pub(crate) use read::TestFile;
pub use read::{read_tests, test_schema};

/// One test of a policy.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    pub file: String,
    /// The line of the test's name.
    pub line: u64,
    pub name: String,
    /// Where its finding comes from.
    pub finding: FindingSource,
    /// Which of the finding's targets, by a part of its ARN.
    target: Option<String>,
    account: Option<AccountId>,
    ou_path: Option<OuPath>,
    tags: Option<BTreeMap<String, String>>,
    expect: Expect,
}

/// Where a test's finding comes from.
#[derive(Clone, Debug)]
pub enum FindingSource {
    /// A file, relative to the test's file, in any form in which findings arrive.
    File(String),
    /// The test itself, which has the finding's fields.
    Fields(Box<Finding>),
}

/// The expected decision; what is left out may be anything.
#[derive(Clone, Debug, Default)]
struct Expect {
    outcome: Option<PolicyOutcome>,
    mode: Option<Mode>,
    /// An action without parameters may have any.
    actions: Option<Vec<ActionCall>>,
    /// Those that run only if something stays open.
    if_residual: Option<Vec<ActionCall>>,
    rule: Option<String>,
    document: Option<String>,
}

/// The result of a policy test.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyTestResult {
    pub file: String,
    /// The line of the test's name.
    pub line: u64,
    pub name: String,
    /// Whether the decision is as expected.
    pub passed: bool,
    /// The parts of the decision that are not as expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<TestDifference>,
    /// The reason why the test could not be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The walk to the decision, where it is not as expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// One part of a decision that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestDifference {
    /// The part: `outcome`, `mode`, `rule`, `document`, `actions` or `if-residual`.
    pub what: &'static str,
    /// What the test expects.
    pub expected: String,
    /// What the policy decided.
    pub decided: String,
}

impl PolicyTest {
    /// Decides about the finding, and compares the decision with the expected one. Where
    /// `self.finding` is a file, the caller has read it.
    pub fn run(&self, policy: &Policy, finding: &Finding) -> PolicyTestResult {
        let result = |differences: Vec<TestDifference>, error: Option<String>, explanation| {
            PolicyTestResult {
                file: self.file.clone(),
                line: self.line,
                name: self.name.clone(),
                passed: differences.is_empty() && error.is_none(),
                differences,
                error,
                explanation,
            }
        };
        let (target, place) = match self.target(finding).and_then(|target| {
            let place = self.place(policy, &target)?;
            Ok((target, place))
        }) {
            Ok(found) => found,
            Err(error) => return result(Vec::new(), Some(error), None),
        };
        let tags = Tags::Known(self.tags.clone().unwrap_or_else(|| target.tags.clone()));
        let explanation = policy.explain(finding, &target, &place, &tags);
        let differences = self.expect.differences(&explanation.decision);
        let explanation = (!differences.is_empty()).then_some(explanation);
        result(differences, None, explanation)
    }

    /// The result of a test that could not be run.
    pub fn failed(&self, error: String) -> PolicyTestResult {
        PolicyTestResult {
            file: self.file.clone(),
            line: self.line,
            name: self.name.clone(),
            passed: false,
            differences: Vec::new(),
            error: Some(error),
            explanation: None,
        }
    }

    fn target(&self, finding: &Finding) -> Result<Target, String> {
        let wanted = |target: &&Target| {
            self.target.as_ref().is_none_or(|part| target.resource.arn().contains(part.as_str()))
        };
        let found: Vec<&Target> = finding.targets.iter().filter(wanted).collect();
        let [target] = found.as_slice() else {
            let arns: Vec<String> = finding.targets.iter().map(|it| it.resource.arn()).collect();
            return Err(format!(
                "the finding names {} matching resource(s) of: {}\nhelp: say with `target` which is meant",
                found.len(),
                arns.join(", ")
            ));
        };
        let mut target = (*target).clone();
        if let Some(account) = &self.account {
            target.resource.account.clone_from(account);
        }
        Ok(target)
    }

    /// The place that the test names; without one, directly below the root.
    fn place(&self, policy: &Policy, target: &Target) -> Result<Place, String> {
        let account = target.resource.account.clone();
        if let Some(ou_path) = self.ou_path.clone() {
            return Ok(Place { account, ou_path });
        }
        let points = policy.documents().iter().map(|document| document.attach.as_str());
        let roots: Vec<&str> = points.filter(|point| point.starts_with("r-")).collect();
        let [root] = roots.as_slice() else {
            return Err("without `ou-path` there has to be one document at a root".to_owned());
        };
        let ou_path = root.parse().map_err(|error| format!("{error}"))?;
        Ok(Place { account, ou_path })
    }
}

impl Expect {
    fn differences(&self, decision: &Decision) -> Vec<TestDifference> {
        let mut differences = Vec::new();
        let mut compare = |what, expected: Option<String>, decided: String| {
            if let Some(expected) = expected.filter(|expected| *expected != decided) {
                differences.push(TestDifference { what, expected, decided });
            }
        };
        let rule = decision.rule.as_ref();
        compare("outcome", self.outcome.map(|it| it.name().into()), decision.outcome.name().into());
        compare("mode", self.mode.map(|it| it.name().into()), decision.mode.name().into());
        compare("rule", self.rule.clone(), rule.map_or_else(none, |it| it.rule.clone()));
        compare(
            "document",
            self.document.clone(),
            rule.map_or_else(none, |it| it.document.clone()),
        );
        let lists = [("actions", &self.actions, false), ("if-residual", &self.if_residual, true)];
        for (what, expected, if_residual) in lists {
            let Some(expected) = expected else { continue };
            let follows = decision.outcome == PolicyOutcome::Follow;
            let of = |call: &&ActionCall| follows && call.if_residual == if_residual;
            let decided: Vec<&ActionCall> = decision.actions.iter().filter(of).collect();
            let same = expected.len() == decided.len()
                && expected.iter().zip(&decided).all(|(expected, decided)| {
                    expected.name == decided.name
                        && (expected.parameters.is_null()
                            || expected.parameters == decided.parameters)
                });
            if !same {
                compare(what, Some(list(&mut expected.iter())), list(&mut decided.into_iter()));
            }
        }
        differences
    }
}

fn none() -> String {
    "none".to_owned()
}

fn list(calls: &mut dyn Iterator<Item = &ActionCall>) -> String {
    let calls: Vec<String> = calls
        .map(|call| match call.parameters.is_null() {
            true => call.name.clone(),
            false => format!("{} {}", call.name, call.parameters),
        })
        .collect();
    if calls.is_empty() { none() } else { calls.join(", ") }
}
