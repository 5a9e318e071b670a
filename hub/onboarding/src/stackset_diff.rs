//! What a StackSet should be, what it is, and the changes between the two. Pure:
//! no calls are made here.
//!
//! The same template with the same parameters yields no change. What AWS hides
//! (`NoEcho`) is compared by a digest that stands in the StackSet's description.
//! Nothing here deletes stacks: a target that is no longer asked for is reported,
//! and left as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The largest template that a call may bring (CloudFormation user guide,
/// "Quotas").
const TEMPLATE_BYTES: usize = 51_200;

/// The most OUs of one CreateStackInstances (same place).
const UNITS_AT_ONCE: usize = 50;

/// What a StackSet should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// The template's text.
    pub template: String,
    /// All parameters, those with their defaults too.
    pub parameters: BTreeMap<String, String>,
    /// Which of them AWS never shows.
    hidden: BTreeSet<String>,
    /// The OUs and roots that it targets.
    pub units: BTreeSet<String>,
    /// Of their accounts these only; all, with those to come, where there are none.
    pub accounts: BTreeSet<String>,
    /// The Regions of its stacks.
    pub regions: BTreeSet<String>,
}

/// What a StackSet is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of AWS's own")]
pub struct PresentStackSet {
    /// Its description.
    pub description: String,
    /// Its template's text.
    pub template: String,
    /// Its parameters, hidden ones as asterisks.
    pub parameters: BTreeMap<String, String>,
    /// Whether it may make IAM roles with names.
    pub may_name_iam: bool,
    /// Whether accounts that join get a stack.
    pub deploys_automatically: bool,
    /// Whether accounts that leave keep it.
    pub retains: bool,
    /// Whether conflicting operations wait for each other.
    pub queues: bool,
    /// The OUs and roots that it targets.
    pub units: BTreeSet<String>,
    /// Its stacks.
    pub instances: Vec<Instance>,
}

/// One stack of a StackSet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Instance {
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The target that the account is below.
    pub unit: String,
    /// How it is.
    pub health: Health,
    /// Why it is not current.
    pub reason: Option<String>,
}

/// How a stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As the StackSet says.
    Current,
    /// Left out, because its account is suspended.
    Suspended,
    /// Not as the StackSet says.
    Behind,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum StackSetChange {
    /// The StackSet is made.
    Create,
    /// It is brought up to date, with all of its stacks.
    Update {
        /// What differs.
        differs: Vec<String>,
    },
    /// Stacks are made.
    Instances {
        /// In the accounts below these.
        units: Vec<String>,
        /// Of them in these only, if any.
        accounts: Vec<String>,
        /// In these Regions.
        regions: Vec<String>,
    },
    /// Stacks that are behind are tried again.
    Retry {
        /// In the accounts below these.
        units: Vec<String>,
        /// Of them in these.
        accounts: Vec<String>,
        /// In these Regions.
        regions: Vec<String>,
    },
}

/// Why a StackSet cannot be what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RolloutError(String);

/// Whether a template has a parameter; not so where it cannot be read, which
/// [`Desired::new`] checks.
pub fn declares(template: &str, parameter: &str) -> bool {
    let read: Result<Value, _> = serde_saphyr::from_str(template);
    read.is_ok_and(|read| read.pointer(&format!("/Parameters/{parameter}")).is_some())
}

impl Desired {
    /// Puts a template, the parameters given for it and its targets together.
    pub fn new(
        name: &'static str,
        purpose: &'static str,
        template: String,
        given: &BTreeMap<String, String>,
        (units, accounts, regions): (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>),
    ) -> Result<Self, RolloutError> {
        let wrong = |why: String| RolloutError(format!("the template of {name}: {why}"));
        if template.len() > TEMPLATE_BYTES {
            return Err(wrong(format!(
                "has {} bytes, and StackSets take {TEMPLATE_BYTES}\nhelp: render the spoke role for fewer actions: `firebreak stacksets render --actions`",
                template.len()
            )));
        }
        let read: Value = serde_saphyr::from_str(&template)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
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
            if let Some(wanted) = unmet(declaration, &value) {
                let shown =
                    if hidden.contains(key) { "its value".into() } else { format!("`{value}`") };
                return Err(wrong(format!("the parameter `{key}`: {shown} is not {wanted}")));
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

    /// Whether accounts that join a target get a stack. Automatic deployment takes
    /// no account filter ("Automatic deployments", CloudFormation user guide): what
    /// is for some accounts only must do without.
    pub fn deploys_automatically(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The description: what it is for, and the digest of what AWS hides.
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

    /// What differs in the StackSet itself.
    fn differences(&self, observed: &PresentStackSet) -> Vec<String> {
        let mut differs = Vec::new();
        let mut add = |what: &str| differs.push(what.to_owned());
        if self.template.trim_end() != observed.template.trim_end() {
            add("the template");
        }
        for (key, value) in &self.parameters {
            // A parameter that AWS does not return was never given: it has its default.
            let is = observed.parameters.get(key);
            if !self.hidden.contains(key) && is.is_some_and(|is| is != value) {
                add(&format!("the parameter {key}"));
            }
        }
        let known = |key: &String| self.parameters.contains_key(key);
        if !observed.parameters.keys().all(known) {
            add("parameters that the template has no longer");
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

    /// The changes that are left, in their order.
    pub fn changes(
        &self,
        observed: Option<&PresentStackSet>,
    ) -> Result<Vec<StackSetChange>, RolloutError> {
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
        // One role for an account: in a second Region it would be there already.
        if self.deploys_automatically() && !elsewhere.is_empty() {
            return Err(RolloutError(format!(
                "{} has its stacks in {}, and IAM roles are global\nhelp: say `--region {}`",
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
            let held = |it: &Instance| it.unit == *unit && it.region == *region;
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
        // An update tries what is behind again anyway.
        let behind: Vec<&Instance> = observed
            .instances
            .iter()
            .filter(|it| it.health == Health::Behind && !missing.contains(&it.unit))
            .collect();
        if !updates && !behind.is_empty() {
            let each = |of: fn(&Instance) -> &String| -> Vec<String> {
                let set: BTreeSet<&String> = behind.iter().copied().map(of).collect();
                set.into_iter().cloned().collect()
            };
            for units in each(|it| &it.unit).chunks(UNITS_AT_ONCE) {
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
            .chunks(UNITS_AT_ONCE)
            .map(|units| StackSetChange::Instances {
                units: units.to_vec(),
                accounts: each(&self.accounts),
                regions: each(&self.regions),
            })
            .collect()
    }

    /// Targets that the StackSet has and that are not asked for.
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
                "make stacks in {} below {}, in {}",
                below(accounts),
                units.join(", "),
                regions.join(", ")
            ),
            Self::Retry { units, accounts, regions } => write!(
                f,
                "try again what is behind: {} below {}, in {}",
                below(accounts),
                units.join(", "),
                regions.join(", ")
            ),
        }
    }
}

/// The OUs of `units` that are not below another one of them: StackSets deploy to
/// OUs below a target as well.
pub fn outermost(units: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let below = |above: &[String]| above.iter().any(|id| units.contains_key(id));
    units.iter().filter(|(_, above)| !below(above)).map(|(id, _)| id.clone()).collect()
}

/// What a parameter has to be, where this value is not so. A pattern has to match
/// the whole value; AWS reads it as Java does, and alone checks one that is not
/// read here (CloudFormation user guide, "Parameters": `AllowedPattern`).
fn unmet(declaration: &Value, value: &str) -> Option<String> {
    // Of a list AWS looks at each part.
    if !matches!(declaration.get("Type").and_then(Value::as_str), Some("String" | "Number")) {
        return None;
    }
    if let Some(allowed) = declaration.get("AllowedValues").and_then(Value::as_array) {
        let allowed: Vec<String> = allowed.iter().map(scalar).collect();
        if !allowed.iter().any(|it| it == value) {
            return Some(format!("one of {}", allowed.join(", ")));
        }
    }
    let pattern = declaration.get("AllowedPattern").and_then(Value::as_str)?;
    let whole = regex_lite::Regex::new(&format!("^(?:{pattern})$")).ok()?;
    (!whole.is_match(value)).then(|| format!("as `{pattern}` asks for"))
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

    fn desired(pairs: &[(&str, &str)], units: &[&str]) -> Desired {
        let targets = (set(units), set(&[]), set(&["eu-central-1"]));
        Desired::new("spoke", "the role", TEMPLATE.to_owned(), &given(pairs), targets).unwrap()
    }

    /// What AWS returns for a StackSet that is as desired.
    fn observed(desired: &Desired) -> PresentStackSet {
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

    fn instance(account: &str, health: Health) -> Instance {
        Instance {
            account: account.to_owned(),
            region: "eu-central-1".to_owned(),
            unit: "ou-a".to_owned(),
            health,
            reason: None,
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let desired = desired(&[("Secret", "abcd")], &["ou-a"]);
        let mut is = observed(&desired);
        is.instances = vec![instance("1", Health::Current), instance("2", Health::Suspended)];
        assert_eq!(desired.changes(Some(&is)), Ok(vec![]));
        is.parameters.remove("Size");
        assert_eq!(desired.changes(Some(&is)), Ok(vec![]), "AWS may leave defaults out");
    }

    #[test]
    fn a_value_that_the_template_does_not_allow_is_refused_and_a_hidden_one_not_shown() {
        let template = "Parameters:\n  Kind: { Type: String, Default: a, AllowedValues: [a, b] }\n  Secret: { Type: String, NoEcho: true, AllowedPattern: \"^[a-z]{4}$\" }\n";
        let desired = |pairs: &[(&str, &str)]| {
            let targets = (set(&["ou-a"]), set(&[]), set(&["eu-central-1"]));
            let made = Desired::new("spoke", "", template.to_owned(), &given(pairs), targets);
            made.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(desired(&[("Secret", "abcd"), ("Kind", "b")]), Ok(()));
        assert_eq!(
            desired(&[("Secret", "abcd"), ("Kind", "c")]),
            Err("the template of spoke: the parameter `Kind`: `c` is not one of a, b".to_owned())
        );
        assert_eq!(
            desired(&[("Secret", "abcd\n1")]),
            Err("the template of spoke: the parameter `Secret`: its value is not as `^[a-z]{4}$` asks for".to_owned())
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
        assert!(unmet(id, "short").is_some() && unmet(id, "long-enough").is_none());
    }

    #[test]
    fn each_difference_is_told() {
        let before = desired(&[("Secret", "abcd")], &["ou-a"]);
        let shown = |desired: &Desired, is: &PresentStackSet| {
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
    fn new_targets_get_stacks_fifty_at_a_time_and_old_ones_keep_theirs() {
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
    fn what_is_behind_is_tried_again_and_who_is_suspended_is_not() {
        let desired = desired(&[("Secret", "abcd")], &["ou-a"]);
        let mut is = observed(&desired);
        is.instances = vec![instance("1", Health::Behind), instance("2", Health::Suspended)];
        let changes = desired.changes(Some(&is)).unwrap();
        let expected = StackSetChange::Retry {
            units: vec!["ou-a".to_owned()],
            accounts: vec!["1".to_owned()],
            regions: vec!["eu-central-1".to_owned()],
        };
        assert_eq!(changes, [expected]);
    }

    #[test]
    fn an_ou_below_another_target_is_no_target_of_its_own() {
        let own = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let units = BTreeMap::from([
            ("ou-a".to_owned(), own(&["r-1"])),
            ("ou-a-b".to_owned(), own(&["r-1", "ou-a"])),
            ("ou-c".to_owned(), own(&["r-1", "ou-x"])),
        ]);
        assert_eq!(outermost(&units), set(&["ou-a", "ou-c"]));
    }

    #[test]
    fn a_role_is_made_in_one_region_only() {
        let desired = desired(&[("Secret", "abcd")], &["ou-a"]);
        let mut is = observed(&desired);
        is.instances =
            vec![Instance { region: "us-east-1".to_owned(), ..instance("1", Health::Current) }];
        let error = desired.changes(Some(&is)).unwrap_err().to_string();
        assert!(error.contains("help: say `--region us-east-1`"), "{error}");
    }

    #[test]
    fn a_parameter_that_is_not_there_or_has_no_value_is_refused() {
        let new = |pairs: &[(&str, &str)]| {
            let targets = (set(&[]), set(&[]), set(&[]));
            Desired::new("spoke", "", TEMPLATE.to_owned(), &given(pairs), targets)
                .unwrap_err()
                .to_string()
        };
        assert!(new(&[]).contains("`Secret` has no value and no default"));
        assert!(new(&[("Secret", "x"), ("Sice", "1")]).contains("help: it has Secret, Size"));
    }
}
