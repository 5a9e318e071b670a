//! One policy document: its written form, and the checked one.
//!
//! A key that this version does not implement is refused, never skipped: a
//! budget that is silently ignored would be a guardrail that is not there.

use std::collections::BTreeMap;

use firebreak_spoke::resource::AccountId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pattern::{Glob, Pattern};

/// How far a rule goes. Each mode is stronger than the one before.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing, and no record.
    Off,
    /// Record what would have been decided.
    Observe,
    /// Record the plan and wait for a person.
    Approve,
    /// Act at once.
    Auto,
}

impl Mode {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// One action with the parameters that policy gives it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActionCall {
    /// Its name.
    pub name: String,
    /// Its parameters; `null` for none.
    pub parameters: Value,
}

/// What policy has to know of an action.
#[derive(Clone, Debug)]
pub struct ActionFacts {
    /// Its name.
    pub name: String,
    /// The target types that it acts on.
    pub resource_types: Vec<String>,
    /// Whether it can be undone.
    pub reversible: bool,
    /// Whether parameters are what it takes.
    pub check: fn(&str, &Value) -> Result<(), String>,
}

impl ActionFacts {
    /// The actions that this version has.
    pub fn all() -> Vec<Self> {
        firebreak_spoke::actions::all()
            .iter()
            .map(|entry| Self {
                name: entry.about.name.to_owned(),
                resource_types: entry.about.resource_types.iter().map(|it| (*it).into()).collect(),
                reversible: entry.about.reversible,
                check: |name, parameters| {
                    firebreak_spoke::actions::find(name)
                        .map_or(Ok(()), |entry| entry.check_parameters(parameters))
                },
            })
            .collect()
    }
}

/// A document as DynamoDB keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// Where it is attached.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    /// The document as JSON.
    pub json: String,
}

/// A policy document, attached to one point of the organization's tree.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// The version of this form: 1.
    #[serde(default = "version_one")]
    pub(super) version: u32,
    /// The id of the root (`r-…`), of an OU (`ou-…`), or of an account.
    pub(super) attach: String,
    /// The strongest mode allowed here and below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ceiling: Option<Mode>,
    /// What is never touched here and below.
    #[serde(default)]
    pub(super) protect: WrittenProtect,
    /// In order: the first that matches decides.
    #[serde(default)]
    pub(super) rules: Vec<WrittenRule>,
}

fn version_one() -> u32 {
    1
}

/// What is never touched. `*` stands for any run of characters in patterns.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WrittenProtect {
    /// Resources with all tags of one of these sets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<BTreeMap<String, String>>,
    /// Users and roles, by ARN pattern.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) principals: Vec<String>,
    /// Resources, by ARN pattern.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resources: Vec<String>,
    /// Accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) accounts: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRule {
    /// Unique in its document.
    pub(super) name: String,
    /// An EventBridge event pattern over the finding and its target; without
    /// one the rule matches every target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) when: Option<Value>,
    /// How far the rule goes.
    pub(super) mode: Mode,
    /// Action names, or one action name with its parameters.
    #[serde(default)]
    pub(super) then: Vec<Value>,
    /// Lets actions run that cannot be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) irreversible: Option<Allow>,
}

/// The one word that lets something happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Allow {
    /// It may.
    Allow,
}

/// The JSON Schema of a document, for editors.
pub fn schema() -> Value {
    schemars::schema_for!(Written).to_value()
}

/// A checked document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it is attached.
    pub attach: String,
    /// The file that it came from.
    pub file: String,
    pub(super) ceiling: Option<Mode>,
    pub(super) protect: Protect,
    pub(super) rules: Vec<Rule>,
    written: Written,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Protect {
    pub(super) tags: Vec<Vec<(String, Glob)>>,
    pub(super) principals: Vec<(String, Glob)>,
    pub(super) resources: Vec<(String, Glob)>,
    pub(super) accounts: Vec<AccountId>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) when: Option<Pattern>,
    pub(super) mode: Mode,
    pub(super) then: Vec<(ActionCall, Vec<String>)>,
}

/// Where in a document a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Version,
    Attach,
    Tag(usize),
    Principal(usize),
    Resource(usize),
    Account(usize),
    RuleName(usize),
    When(usize),
    Then(usize),
    Call(usize, usize),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) at: At,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Document {
    /// Checks a written document against the actions that there are.
    pub(super) fn check(
        written: Written,
        file: &str,
        actions: &[ActionFacts],
    ) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut mistake = |at, message: String, help: Option<String>| {
            mistakes.push(Mistake { at, message, help });
        };
        if written.version != 1 {
            let message = format!("version {} is not known", written.version);
            mistake(At::Version, message, Some("this program reads version 1".to_owned()));
        }
        if !is_attach_point(&written.attach) {
            let message = format!("`{}` is no root id, OU id or account id", written.attach);
            let help = "write r-…, ou-…-… or twelve digits; names can change, ids cannot";
            mistake(At::Attach, message, Some(help.to_owned()));
        }
        let protect = protect(&written.protect, &mut mistake);
        let mut rules: Vec<Rule> = Vec::new();
        for (index, rule) in written.rules.iter().enumerate() {
            if rule.name.is_empty() || rule.name.contains(['#', '/']) {
                let message = format!("`{}` is no rule name", rule.name);
                let help = "use letters, digits and dashes".to_owned();
                mistake(At::RuleName(index), message, Some(help));
            }
            if rules.iter().any(|other| other.name == rule.name) {
                let message = format!("a rule named `{}` stands above already", rule.name);
                let help = "responses are kept by rule name: give it another".to_owned();
                mistake(At::RuleName(index), message, Some(help));
            }
            let when = rule.when.as_ref().and_then(|when| {
                Pattern::parse(when)
                    .map_err(|error| mistake(At::When(index), error.to_string(), None))
                    .ok()
            });
            if rule.then.is_empty() && matches!(rule.mode, Mode::Approve | Mode::Auto) {
                let message = format!("rule `{}` acts but has no action", rule.name);
                let help = "name actions under `then`, or use mode observe".to_owned();
                mistake(At::Then(index), message, Some(help));
            }
            let mut then = Vec::new();
            for (nth, call) in rule.then.iter().enumerate() {
                match action_call(call, actions, rule.irreversible) {
                    Ok(call) => then.push(call),
                    Err((message, help)) => mistake(At::Call(index, nth), message, help),
                }
            }
            rules.push(Rule { name: rule.name.clone(), when, mode: rule.mode, then });
        }
        if mistakes.is_empty() {
            let (attach, ceiling) = (written.attach.clone(), written.ceiling);
            Ok(Self { attach, file: file.to_owned(), ceiling, protect, rules, written })
        } else {
            Err(mistakes)
        }
    }

    /// As DynamoDB keeps it.
    pub fn to_stored(&self) -> Result<StoredDocument, serde_json::Error> {
        let json = serde_json::to_string(&self.written)?;
        Ok(StoredDocument { attach: self.attach.clone(), file: self.file.clone(), json })
    }

    /// Reads what DynamoDB keeps; the reason for one that is broken.
    pub fn from_stored(stored: &StoredDocument, actions: &[ActionFacts]) -> Result<Self, String> {
        let written: Written = serde_json::from_str(&stored.json).map_err(|it| it.to_string())?;
        if written.attach != stored.attach {
            return Err(format!("it is stored under another point than `{}`", written.attach));
        }
        Self::check(written, &stored.file, actions).map_err(|mistakes| {
            let messages: Vec<String> = mistakes.into_iter().map(|it| it.message).collect();
            messages.join("; ")
        })
    }
}

/// Ids as AWS Organizations documents them (API reference: `^r-[0-9a-z]{4,32}$`,
/// `^ou-[0-9a-z]{4,32}-[a-z0-9]{8,32}$`).
fn is_attach_point(text: &str) -> bool {
    let word = |part: &str, shortest: usize| {
        (shortest..=32).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["r", root] => word(root, 4),
        ["ou", root, unit] => word(root, 4) && word(unit, 8),
        [account] => account.parse::<AccountId>().is_ok(),
        _ => false,
    }
}

fn protect(
    written: &WrittenProtect,
    mistake: &mut impl FnMut(At, String, Option<String>),
) -> Protect {
    let mut protect = Protect::default();
    for (index, tags) in written.tags.iter().enumerate() {
        if tags.is_empty() {
            let help = "write a key and a value, such as `firebreak: exempt`".to_owned();
            mistake(At::Tag(index), "an empty set of tags protects nothing".into(), Some(help));
        }
        let set = tags.iter().map(|(key, value)| (key.clone(), Glob::new(value)));
        protect.tags.push(set.collect());
    }
    for (index, pattern) in written.principals.iter().enumerate() {
        let iam = pattern == "*" || (is_arn_pattern(pattern) && pattern.contains(":iam:"));
        if !iam {
            let message = format!("`{pattern}` is no ARN pattern of a user or role");
            let help = "write it as in arn:*:iam::*:role/BreakGlass*".to_owned();
            mistake(At::Principal(index), message, Some(help));
        }
        protect.principals.push((pattern.clone(), Glob::new(pattern)));
    }
    for (index, pattern) in written.resources.iter().enumerate() {
        if pattern != "*" && !is_arn_pattern(pattern) {
            let message = format!("`{pattern}` is no ARN pattern");
            let help = "write it as in arn:*:s3:::backup-*".to_owned();
            mistake(At::Resource(index), message, Some(help));
        }
        protect.resources.push((pattern.clone(), Glob::new(pattern)));
    }
    for (index, account) in written.accounts.iter().enumerate() {
        match account.parse() {
            Ok(account) => protect.accounts.push(account),
            Err(error) => {
                let help = "write twelve digits in quotes".to_owned();
                mistake(At::Account(index), format!("{error}"), Some(help));
            }
        }
    }
    protect
}

fn is_arn_pattern(text: &str) -> bool {
    text.starts_with("arn:") && text.split(':').count() >= 6
}

type Call = (ActionCall, Vec<String>);

fn action_call(
    call: &Value,
    actions: &[ActionFacts],
    irreversible: Option<Allow>,
) -> Result<Call, (String, Option<String>)> {
    let (name, parameters) = match call {
        Value::String(name) => (name.as_str(), Value::Null),
        Value::Object(object) if object.len() == 1 => match object.iter().next() {
            Some((name, parameters)) => (name.as_str(), parameters.clone()),
            None => return Err(("an action has a name".to_owned(), None)),
        },
        other => {
            let help = "write `- isolate-instance`, or the name with its parameters below it";
            return Err((format!("`{other}` is no action"), Some(help.to_owned())));
        }
    };
    let Some(facts) = actions.iter().find(|facts| facts.name == name) else {
        let names = actions.iter().map(|facts| facts.name.as_str());
        let help = nearest(name, names).map_or_else(
            || "`firebreak actions list` shows what there is".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        return Err((format!("there is no action `{name}`"), Some(help)));
    };
    (facts.check)(name, &parameters)
        .map_err(|why| (format!("`{name}` does not take these parameters: {why}"), None))?;
    if !facts.reversible && irreversible.is_none() {
        let help = "add `irreversible: allow` to the rule if that is meant".to_owned();
        return Err((format!("`{name}` cannot be undone"), Some(help)));
    }
    let call = ActionCall { name: name.to_owned(), parameters };
    Ok((call, facts.resource_types.clone()))
}

/// The candidate that is nearest by edits, if it is near at all.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (edits(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}

fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, char) in one.chars().enumerate() {
        let mut next = vec![index + 1];
        for (column, candidate) in other.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&row, column).saturating_add(usize::from(char != *candidate));
            let best = replaced
                .min(at(&row, column + 1).saturating_add(1))
                .min(at(&next, column).saturating_add(1));
            next.push(best);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
