//! The changes from a StackSet as it is to the desired one. Pure.
//!
//! The same template with the same parameters needs no change. Parameters that AWS hides
//! (`NoEcho`) are compared by a digest in the StackSet's description. No change deletes a
//! stack: a target that is no longer requested is reported and kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The largest template in a request (CloudFormation user guide, "Quotas").
const TEMPLATE_BYTES: usize = 51_200;

/// The maximum of OUs in one CreateStackInstances (same place).
const MAX_UNITS: usize = 50;

/// A StackSet as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredStackSet {
    pub name: &'static str,
    /// For the description.
    pub purpose: &'static str,
    pub template: String,
    /// All parameters, including those with default values.
    pub parameters: BTreeMap<String, String>,
    /// Parameters that AWS never shows.
    hidden: BTreeSet<String>,
    /// The target OUs and roots.
    pub units: BTreeSet<String>,
    /// Only these accounts; if empty, all present and future ones.
    pub accounts: BTreeSet<String>,
    pub regions: BTreeSet<String>,
}

/// A StackSet as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of AWS's own")]
pub struct PresentStackSet {
    pub description: String,
    pub template: String,
    /// Hidden parameters are asterisks.
    pub parameters: BTreeMap<String, String>,
    /// Whether it may create IAM roles with names.
    pub may_name_iam: bool,
    /// Whether accounts that join get a stack.
    pub deploys_automatically: bool,
    /// Whether accounts that leave keep their stack.
    pub retains: bool,
    /// Whether conflicting operations wait for each other.
    pub queues: bool,
    /// The target OUs and roots.
    pub units: BTreeSet<String>,
    pub instances: Vec<StackInstance>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StackInstance {
    pub account: String,
    pub region: String,
    /// The target above the account.
    pub unit: String,
    pub health: StackHealth,
    /// The reason if it is not current.
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackHealth {
    Current,
    /// Skipped, because its account is suspended.
    Suspended,
    /// Failed or outdated.
    Behind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum StackSetChange {
    Create,
    /// The StackSet and all its stacks are updated.
    Update {
        differs: Vec<String>,
    },
    /// Stacks are created.
    Instances {
        units: Vec<String>,
        /// Only in these accounts, if any.
        accounts: Vec<String>,
        regions: Vec<String>,
    },
    /// Failed or outdated stacks are retried.
    Retry {
        units: Vec<String>,
        accounts: Vec<String>,
        regions: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StackSetError(String);

/// Whether a template has a parameter; `false` for an invalid template, which
/// [`DesiredStackSet::new`] reports.
pub fn declares(template: &str, parameter: &str) -> bool {
    let read: Result<Value, _> = serde_saphyr::from_str(template);
    read.is_ok_and(|read| read.pointer(&format!("/Parameters/{parameter}")).is_some())
}

impl DesiredStackSet {
    pub fn new(
        name: &'static str,
        purpose: &'static str,
        template: String,
        given: &BTreeMap<String, String>,
        (units, accounts, regions): (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>),
    ) -> Result<Self, StackSetError> {
        let wrong = |why: String| StackSetError(format!("the template of {name}: {why}"));
        if template.len() > TEMPLATE_BYTES {
            return Err(wrong(format!(
                "has {} bytes; the maximum is {TEMPLATE_BYTES}\nhelp: render the spoke role for fewer actions: `firebreak stacksets render --actions`",
                template.len()
            )));
        }
        let read: Value = serde_saphyr::from_str(&template)
            .map_err(|error| wrong(format!("invalid YAML: {error}")))?;
        let declared = read.get("Parameters").and_then(Value::as_object);
        let (mut parameters, mut hidden) = (BTreeMap::new(), BTreeSet::new());
        for (key, declaration) in declared.into_iter().flatten() {
            let text = |name: &str| declaration.get(name).map(scalar);
            if text("NoEcho").as_deref() == Some("true") {
                hidden.insert(key.clone());
            }
            let value = given.get(key).cloned().or_else(|| text("Default"));
            let missing = || wrong(format!("the parameter `{key}` has no value and no default"));
            let value = value.ok_or_else(missing)?;
            if let Some(violation) = self::violation(declaration, &value) {
                let shown =
                    if hidden.contains(key) { "its value".into() } else { format!("`{value}`") };
                return Err(wrong(format!("the parameter `{key}`: {shown} {violation}")));
            }
            parameters.insert(key.clone(), value);
        }
        if let Some(unknown) = given.keys().find(|key| !parameters.contains_key(*key)) {
            let known: Vec<&str> = parameters.keys().map(String::as_str).collect();
            return Err(wrong(format!(
                "it has no parameter `{unknown}`\nhelp: it has {}",
                known.join(", ")
            )));
        }
        Ok(Self { name, purpose, template, parameters, hidden, units, accounts, regions })
    }

    /// Whether accounts that join a target get a stack. Automatic deployment does not allow
    /// an account filter (CloudFormation user guide, "Automatic deployments").
    pub fn deploys_automatically(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The purpose, and the digest of the hidden parameters.
    pub fn description(&self) -> String {
        match self.digest() {
            None => self.purpose.to_owned(),
            Some(digest) => format!("{} ({digest})", self.purpose),
        }
    }

    fn digest(&self) -> Option<String> {
        if self.hidden.is_empty() {
            return None;
        }
        let mut hasher = Sha256::new();
        hasher.update(self.name);
        for key in &self.hidden {
            let value = self.parameters.get(key).map_or("", String::as_str);
            for part in [key.as_str(), value] {
                hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hasher.update(part);
            }
        }
        let mut digits = hex::encode(hasher.finalize());
        digits.truncate(16);
        Some(format!("parameters {digits}"))
    }

    /// The differences of the StackSet itself.
    fn differences(&self, observed: &PresentStackSet) -> Vec<String> {
        let mut differs = Vec::new();
        let mut add = |what: &str| differs.push(what.to_owned());
        if self.template.trim_end() != observed.template.trim_end() {
            add("the template");
        }
        for (key, value) in &self.parameters {
            // A parameter that AWS does not return has its default value.
            let is = observed.parameters.get(key);
            if !self.hidden.contains(key) && is.is_some_and(|is| is != value) {
                add(&format!("the parameter {key}"));
            }
        }
        let known = |key: &String| self.parameters.contains_key(key);
        if !observed.parameters.keys().all(known) {
            add("parameters that the template no longer has");
        }
        if self.digest().is_some_and(|digest| !observed.description.contains(&digest)) {
            let hidden: Vec<&str> = self.hidden.iter().map(String::as_str).collect();
            add(&format!("the hidden parameter {}", hidden.join(", ")));
        }
        if self.deploys_automatically() != observed.deploys_automatically {
            add("automatic deployment to accounts that join");
        }
        if self.deploys_automatically() && !observed.retains {
            add("retention of stacks in accounts that leave");
        }
        if !observed.queues {
            add("managed execution");
        }
        if !observed.may_name_iam {
            add("the capability CAPABILITY_NAMED_IAM");
        }
        differs
    }

    /// The remaining changes, in order.
    pub fn changes(
        &self,
        observed: Option<&PresentStackSet>,
    ) -> Result<Vec<StackSetChange>, StackSetError> {
        let Some(observed) = observed else {
            let units: Vec<String> = self.units.iter().cloned().collect();
            return Ok(std::iter::once(StackSetChange::Create)
                .chain(self.instances(&units))
                .collect());
        };
        let is_in: BTreeSet<&str> =
            observed.instances.iter().map(|it| it.region.as_str()).collect();
        let elsewhere: Vec<&str> =
            is_in.iter().copied().filter(|region| !self.regions.contains(*region)).collect();
        // An account has one role of this name: a stack in a second Region would fail.
        if self.deploys_automatically() && !elsewhere.is_empty() {
            return Err(StackSetError(format!(
                "{} already has stacks in {}, and IAM roles are global\nhelp: give `--region {}`",
                self.name,
                elsewhere.join(", "),
                elsewhere.join(", ")
            )));
        }
        let mut changes = Vec::new();
        let differs = self.differences(observed);
        let updates = !differs.is_empty();
        if updates {
            changes.push(StackSetChange::Update { differs });
        }
        let has = |unit: &String, region: &String| {
            let held = |it: &StackInstance| it.unit == *unit && it.region == *region;
            observed.units.contains(unit)
                && (self.accounts.is_empty() || observed.instances.iter().any(held))
        };
        let missing: Vec<String> = self
            .units
            .iter()
            .filter(|unit| !self.regions.iter().all(|region| has(unit, region)))
            .cloned()
            .collect();
        changes.extend(self.instances(&missing));
        // An update retries these stacks anyway.
        let behind: Vec<&StackInstance> = observed
            .instances
            .iter()
            .filter(|it| it.health == StackHealth::Behind && !missing.contains(&it.unit))
            .collect();
        if !updates && !behind.is_empty() {
            let each = |of: fn(&StackInstance) -> &String| -> Vec<String> {
                let set: BTreeSet<&String> = behind.iter().copied().map(of).collect();
                set.into_iter().cloned().collect()
            };
            for units in each(|it| &it.unit).chunks(MAX_UNITS) {
                changes.push(StackSetChange::Retry {
                    units: units.to_vec(),
                    accounts: each(|it| &it.account),
                    regions: each(|it| &it.region),
                });
            }
        }
        Ok(changes)
    }

    fn instances(&self, units: &[String]) -> Vec<StackSetChange> {
        let each = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<String>>();
        units
            .chunks(MAX_UNITS)
            .map(|units| StackSetChange::Instances {
                units: units.to_vec(),
                accounts: each(&self.accounts),
                regions: each(&self.regions),
            })
            .collect()
    }

    /// Targets that the StackSet has but that were not requested.
    pub fn beyond(&self, observed: &PresentStackSet) -> Vec<String> {
        observed.units.difference(&self.units).cloned().collect()
    }
}

impl std::fmt::Display for StackSetChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let below = |accounts: &[String]| match accounts.len() {
            0 => "all accounts".to_owned(),
            1..=3 => format!("account {}", accounts.join(", ")),
            many => format!("{many} accounts"),
        };
        match self {
            Self::Create => write!(f, "create the StackSet"),
            Self::Update { differs } => {
                write!(f, "update the StackSet and its stacks: {}", differs.join(", "))
            }
            Self::Instances { units, accounts, regions } => write!(
                f,
                "create stacks in {} below {}, in {}",
                below(accounts),
                units.join(", "),
                regions.join(", ")
            ),
            Self::Retry { units, accounts, regions } => write!(
                f,
                "retry failed or outdated stacks: {} below {}, in {}",
                below(accounts),
                units.join(", "),
                regions.join(", ")
            ),
        }
    }
}

/// The OUs of `units` that are not below another one: StackSets also deploy to the OUs
/// below a target.
pub fn outermost(units: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let below = |above: &[String]| above.iter().any(|id| units.contains_key(id));
    units.iter().filter(|(_, above)| !below(above)).map(|(id, _)| id.clone()).collect()
}

/// Why a parameter's value is not allowed. A pattern has to match the whole value
/// (CloudFormation user guide, "Parameters": `AllowedPattern`). AWS reads it as Java does;
/// a pattern that cannot be read here is left to AWS.
fn violation(declaration: &Value, value: &str) -> Option<String> {
    // AWS checks each element of a list.
    if !matches!(declaration.get("Type").and_then(Value::as_str), Some("String" | "Number")) {
        return None;
    }
    if let Some(allowed) = declaration.get("AllowedValues").and_then(Value::as_array) {
        let allowed: Vec<String> = allowed.iter().map(scalar).collect();
        if !allowed.iter().any(|it| it == value) {
            return Some(format!("is not one of {}", allowed.join(", ")));
        }
    }
    let pattern = declaration.get("AllowedPattern").and_then(Value::as_str)?;
    let whole = regex_lite::Regex::new(&format!("^(?:{pattern})$")).ok()?;
    (!whole.is_match(value)).then(|| format!("does not match `{pattern}`"))
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "Parameters:\n  Size: { Type: Number, Default: 3 }\n  Secret: { Type: String, NoEcho: true }\n";

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn desired(pairs: &[(&str, &str)], units: &[&str]) -> DesiredStackSet {
        let targets = (set(units), set(&[]), set(&["eu-central-1"]));
        DesiredStackSet::new("spoke", "the role", TEMPLATE.to_owned(), &given(pairs), targets)
            .unwrap()
    }

    /// What AWS returns for a StackSet that is as desired.
    fn observed(desired: &DesiredStackSet) -> PresentStackSet {
        let mut parameters = desired.parameters.clone();
        parameters.insert("Secret".to_owned(), "****".to_owned());
        PresentStackSet {
            description: desired.description(),
            template: desired.template.clone(),
            parameters,
            may_name_iam: true,
            deploys_automatically: true,
            retains: true,
            queues: true,
            units: desired.units.clone(),
            instances: Vec::new(),
        }
    }

    fn instance(account: &str, health: StackHealth) -> StackInstance {
        StackInstance {
            account: account.to_owned(),
            region: "eu-central-1".to_owned(),
            unit: "ou-a".to_owned(),
            health,
            reason: None,
        }
    }

    #[test]
    fn an_up_to_date_stack_set_needs_no_change() {
        let desired = desired(&[("Secret", "abcd")], &["ou-a"]);
        let mut is = observed(&desired);
        is.instances =
            vec![instance("1", StackHealth::Current), instance("2", StackHealth::Suspended)];
        assert_eq!(desired.changes(Some(&is)), Ok(vec![]));
        is.parameters.remove("Size");
        assert_eq!(desired.changes(Some(&is)), Ok(vec![]), "AWS may leave defaults out");
    }

    #[test]
    fn a_value_that_the_template_does_not_allow_is_rejected_and_a_hidden_one_not_shown() {
        let template = "Parameters:\n  Kind: { Type: String, Default: a, AllowedValues: [a, b] }\n  Secret: { Type: String, NoEcho: true, AllowedPattern: \"^[a-z]{4}$\" }\n";
        let desired = |pairs: &[(&str, &str)]| {
            let targets = (set(&["ou-a"]), set(&[]), set(&["eu-central-1"]));
            let made =
                DesiredStackSet::new("spoke", "", template.to_owned(), &given(pairs), targets);
            made.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(desired(&[("Secret", "abcd"), ("Kind", "b")]), Ok(()));
        assert_eq!(
            desired(&[("Secret", "abcd"), ("Kind", "c")]),
            Err("the template of spoke: the parameter `Kind`: `c` is not one of a, b".to_owned())
        );
        assert_eq!(
            desired(&[("Secret", "abcd\n1")]),
            Err("the template of spoke: the parameter `Secret`: its value does not match `^[a-z]{4}$`".to_owned())
        );
    }

    #[test]
    fn every_pattern_of_the_templates_is_read() {
        for template in [
            include_str!("../../../stacksets/spoke.yaml"),
            include_str!("../../../stacksets/region.yaml"),
        ] {
            let read: Value = serde_saphyr::from_str(template).unwrap();
            let declared = read["Parameters"].as_object().unwrap().values();
            for pattern in declared.filter_map(|it| it.get("AllowedPattern")?.as_str()) {
                assert!(regex_lite::Regex::new(pattern).is_ok(), "{pattern}");
            }
        }
        let read: Value =
            serde_saphyr::from_str(include_str!("../../../stacksets/spoke.yaml")).unwrap();
        let id = &read["Parameters"]["ExternalId"];
        assert!(violation(id, "short").is_some() && violation(id, "long-enough").is_none());
    }

    #[test]
    fn each_difference_is_reported() {
        let before = desired(&[("Secret", "abcd")], &["ou-a"]);
        let shown = |desired: &DesiredStackSet, is: &PresentStackSet| {
            desired.changes(Some(is)).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let is = observed(&before);
        for (now, expected) in [
            (desired(&[("Secret", "abcd"), ("Size", "4")], &["ou-a"]), "the parameter Size"),
            (desired(&[("Secret", "other")], &["ou-a"]), "the hidden parameter Secret"),
        ] {
            assert_eq!(
                shown(&now, &is),
                [format!("update the StackSet and its stacks: {expected}")]
            );
        }
        for (change, expected) in [
            ((|it| it.queues = false) as fn(&mut PresentStackSet), "managed execution"),
            (|it| it.retains = false, "retention of stacks in accounts that leave"),
            (|it| it.may_name_iam = false, "the capability CAPABILITY_NAMED_IAM"),
            (|it| it.template.push('x'), "the template"),
            (|it| it.deploys_automatically = false, "automatic deployment to accounts that join"),
        ] {
            let mut is = is.clone();
            change(&mut is);
            assert_eq!(
                shown(&before, &is),
                [format!("update the StackSet and its stacks: {expected}")]
            );
        }
    }

    #[test]
    fn new_targets_get_stacks_fifty_at_a_time_and_old_targets_keep_theirs() {
        let many: Vec<String> = (0..60).map(|n| format!("ou-{n:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let desired = desired(&[("Secret", "abcd")], &many);
        let mut is = observed(&desired);
        is.units = set(&["ou-00", "ou-gone"]);
        let changes = desired.changes(Some(&is)).unwrap();
        let sizes: Vec<usize> = changes
            .iter()
            .map(|change| match change {
                StackSetChange::Instances { units, .. } => units.len(),
                StackSetChange::Create
                | StackSetChange::Update { .. }
                | StackSetChange::Retry { .. } => 0,
            })
            .collect();
        assert_eq!(sizes, [50, 9]);
        assert_eq!(desired.beyond(&is), ["ou-gone"]);
    }

    #[test]
    fn failed_stacks_are_retried_except_in_suspended_accounts() {
        let desired = desired(&[("Secret", "abcd")], &["ou-a"]);
        let mut is = observed(&desired);
        is.instances =
            vec![instance("1", StackHealth::Behind), instance("2", StackHealth::Suspended)];
        let changes = desired.changes(Some(&is)).unwrap();
        let expected = StackSetChange::Retry {
            units: vec!["ou-a".to_owned()],
            accounts: vec!["1".to_owned()],
            regions: vec!["eu-central-1".to_owned()],
        };
        assert_eq!(changes, [expected]);
    }

    #[test]
    fn an_ou_below_another_target_is_not_a_target() {
        let own = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let units = BTreeMap::from([
            ("ou-a".to_owned(), own(&["r-1"])),
            ("ou-a-b".to_owned(), own(&["r-1", "ou-a"])),
            ("ou-c".to_owned(), own(&["r-1", "ou-x"])),
        ]);
        assert_eq!(outermost(&units), set(&["ou-a", "ou-c"]));
    }

    #[test]
    fn a_role_is_created_in_one_region_only() {
        let desired = desired(&[("Secret", "abcd")], &["ou-a"]);
        let mut is = observed(&desired);
        is.instances = vec![StackInstance {
            region: "us-east-1".to_owned(),
            ..instance("1", StackHealth::Current)
        }];
        let error = desired.changes(Some(&is)).unwrap_err().to_string();
        assert!(error.contains("help: give `--region us-east-1`"), "{error}");
    }

    #[test]
    fn an_unknown_parameter_or_one_without_a_value_is_rejected() {
        let new = |pairs: &[(&str, &str)]| {
            let targets = (set(&[]), set(&[]), set(&[]));
            DesiredStackSet::new("spoke", "", TEMPLATE.to_owned(), &given(pairs), targets)
                .unwrap_err()
                .to_string()
        };
        assert!(new(&[]).contains("`Secret` has no value and no default"));
        assert!(new(&[("Secret", "x"), ("Sice", "1")]).contains("help: it has Secret, Size"));
    }
}
