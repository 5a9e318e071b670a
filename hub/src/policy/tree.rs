//! The documents as a tree, and the decision.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::context::{Tags, event, principal_arn};
use super::decision::{Decision, Guardrail, Outcome, RuleRef};
use super::document::{ActionFacts, Document, Mode, Rule, StoredDocument};
use crate::finding::{Finding, Target};
use crate::organization::Place;

/// All documents of an organization, by the point they are attached to.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    documents: HashMap<String, Attached>,
    /// Whether any pattern looks at the original finding.
    uses_detail: bool,
}

#[derive(Clone, Debug)]
enum Attached {
    Sound(Box<Document>),
    /// Stored, and not readable: nothing that it governs is acted on.
    Broken(String),
}

/// A document on an account's way up, and the point that it is attached to.
pub(super) type Step<'a> = (&'a str, Option<&'a Document>);

impl Policy {
    /// Builds the tree of checked documents, one for each point.
    pub fn new(documents: Vec<Document>) -> Self {
        let uses_detail = documents
            .iter()
            .flat_map(|it| &it.rules)
            .any(|rule| rule.when.as_ref().is_some_and(|when| when.depends_on("detail")));
        let documents = documents
            .into_iter()
            .map(|document| (document.attach.clone(), Attached::Sound(Box::new(document))))
            .collect();
        Self { documents, uses_detail }
    }

    /// Builds the tree of stored documents. A broken one is kept as such: what
    /// it governs is refused, and the rest is not affected.
    pub fn from_stored(stored: Vec<StoredDocument>) -> Self {
        let actions = ActionFacts::all();
        let mut sound = Vec::new();
        let mut broken = BTreeMap::new();
        for document in stored {
            match Document::from_stored(&document, &actions) {
                Ok(document) => sound.push(document),
                Err(why) => {
                    broken.insert(document.attach, why);
                }
            }
        }
        let mut policy = Self::new(sound);
        for (attach, why) in broken {
            policy.documents.insert(attach, Attached::Broken(why));
        }
        policy
    }

    /// The sound documents, in the order of their attach points.
    pub fn documents(&self) -> Vec<&Document> {
        let mut documents: Vec<&Document> = self
            .documents
            .values()
            .filter_map(|attached| match attached {
                Attached::Sound(document) => Some(document.as_ref()),
                Attached::Broken(_) => None,
            })
            .collect();
        documents.sort_by(|one, other| one.attach.cmp(&other.attach));
        documents
    }

    /// The way up from an account to the root; `Err` when it passes a broken
    /// document, with its point and what is wrong with it.
    pub(super) fn way_up<'a>(
        &'a self,
        place: &'a Place,
    ) -> Result<Vec<Step<'a>>, (&'a str, &'a str)> {
        std::iter::once(place.account.as_str())
            .chain(place.ou_path.ids().iter().rev().map(String::as_str))
            .map(|point| match self.documents.get(point) {
                None => Ok((point, None)),
                Some(Attached::Sound(document)) => Ok((point, Some(document.as_ref()))),
                Some(Attached::Broken(why)) => Err((point, why.as_str())),
            })
            .collect()
    }

    pub(super) fn event(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        tags: &Tags,
    ) -> Value {
        event(finding, target, place, tags, self.uses_detail)
    }

    /// Decides what to do about one target of a finding.
    pub fn decide(
        &self,
        finding: &Finding,
        target: &Target,
        place: &Place,
        tags: &Tags,
    ) -> Decision {
        if finding.sample {
            return Decision::nothing("a sample finding is never acted on");
        }
        if finding.archived {
            return Decision::nothing("an archived or suppressed finding is never acted on");
        }
        let way = match self.way_up(place) {
            Ok(way) => way,
            Err((point, why)) => {
                let why = format!("the policy document of {point} is broken: {why}");
                return refused(point, why);
            }
        };
        let event = self.event(finding, target, place, tags);
        let (document, rule) = match find(&way, &event, tags) {
            Ok(Some(found)) => found,
            Ok(None) if way.iter().all(|(_, document)| document.is_none()) => {
                return Decision::nothing(format!("no policy document covers {}", place.ou_path));
            }
            Ok(None) => return Decision::nothing("no rule matches this target"),
            Err(unknown) => return *unknown,
        };
        let mut decision = follow(document, rule, target);
        apply_ceilings(&mut decision, &way);
        if decision.mode == Mode::Off {
            let why = format!("rule `{}` of {} is off here", rule.name, document.attach);
            decision.outcome = Outcome::Nothing(why);
        } else if decision.actions.is_empty() && decision.mode != Mode::Observe {
            let kind = target.resource.type_name();
            let why = format!("rule `{}` has no action for a target of type {kind}", rule.name);
            decision.outcome = Outcome::Nothing(why);
        } else if decision.mode != Mode::Observe {
            apply_protections(&mut decision, &way, target, tags);
        }
        decision
    }
}

/// The nearest rule that matches. `Err` when a rule before it looks at tags
/// that are not known: it may not be skipped for a later, weaker one.
fn find<'a>(
    way: &[Step<'a>],
    event: &Value,
    tags: &Tags,
) -> Result<Option<(&'a Document, &'a Rule)>, Box<Decision>> {
    for (_, document) in way {
        let Some(document) = document else { continue };
        for rule in &document.rules {
            let Some(when) = &rule.when else { return Ok(Some((document, rule))) };
            if let Tags::Unknown { reason } = tags
                && when.depends_on("tags")
            {
                let name = &rule.name;
                let why = format!("rule `{name}` looks at the tags, which are unknown: {reason}");
                return Err(Box::new(Decision {
                    outcome: Outcome::TagsUnknown(why),
                    rule: Some(reference(document, rule)),
                    ..Decision::nothing("")
                }));
            }
            if when.matches(event) {
                return Ok(Some((document, rule)));
            }
        }
    }
    Ok(None)
}

fn reference(document: &Document, rule: &Rule) -> RuleRef {
    RuleRef {
        document: document.attach.clone(),
        file: document.file.clone(),
        rule: rule.name.clone(),
    }
}

fn follow(document: &Document, rule: &Rule, target: &Target) -> Decision {
    let kind = target.resource.type_name();
    let (fitting, other): (Vec<_>, Vec<_>) =
        rule.then.iter().partition(|(_, types)| types.iter().any(|it| it == kind));
    Decision {
        outcome: Outcome::Follow,
        mode: rule.mode,
        actions: fitting.into_iter().map(|(call, _)| call.clone()).collect(),
        not_applicable: other.into_iter().map(|(call, _)| call.name.clone()).collect(),
        rule: Some(reference(document, rule)),
        guardrails: Vec::new(),
    }
}

fn apply_ceilings(decision: &mut Decision, way: &[Step<'_>]) {
    for (point, document) in way {
        let ceiling = document.and_then(|document| document.ceiling);
        if let Some(ceiling) = ceiling.filter(|ceiling| *ceiling < decision.mode) {
            let (from, to) = (decision.mode.name(), ceiling.name());
            let effect = format!("the ceiling of {point} lowers {from} to {to}");
            decision.guardrails.push(Guardrail { document: (*point).to_owned(), effect });
            decision.mode = ceiling;
        }
    }
}

fn apply_protections(decision: &mut Decision, way: &[Step<'_>], target: &Target, tags: &Tags) {
    // A protection that is certain is the better reason than a lack of tags.
    let mut unknown = None;
    for (point, document) in way {
        let Some(document) = document else { continue };
        let protect = &document.protect;
        let arn = target.resource.arn();
        let by_account = protect.accounts.contains(&target.resource.account);
        let by_resource = protect.resources.iter().find(|(_, glob)| glob.matches(&arn));
        let why = if by_account {
            Some(format!("account {} is protected by {point}", target.resource.account))
        } else if let Some((pattern, _)) = by_resource {
            Some(format!("`{arn}` is protected by {point} as `{pattern}`"))
        } else {
            protected_principal(&protect.principals, point, target)
        };
        if let Some(why) = why {
            return refuse(decision, point, why);
        }
        match tags {
            _ if protect.tags.is_empty() => {}
            Tags::Known(tags) => {
                let held = protect.tags.iter().find(|set| {
                    set.iter().all(|(key, value)| {
                        tags.get(key).is_some_and(|present| value.matches(present))
                    })
                });
                if let Some(set) = held {
                    let keys: Vec<&str> = set.iter().map(|(key, _)| key.as_str()).collect();
                    let keys = keys.join(", ");
                    return refuse(
                        decision,
                        point,
                        format!("the tag {keys} is protected by {point}"),
                    );
                }
            }
            Tags::None => {}
            Tags::Unknown { reason } => {
                let why = format!("{point} protects by tag, and the tags are unknown: {reason}");
                unknown.get_or_insert((*point, why));
            }
        }
    }
    if let Some((point, why)) = unknown {
        refuse(decision, point, why.clone());
        decision.outcome = Outcome::TagsUnknown(why);
    }
}

fn protected_principal(
    patterns: &[(String, super::pattern::Glob)],
    point: &str,
    target: &Target,
) -> Option<String> {
    if patterns.is_empty() {
        return None;
    }
    match principal_arn(target) {
        Ok(None) => None,
        Ok(Some(arn)) => patterns
            .iter()
            .find(|(_, glob)| glob.matches(&arn))
            .map(|(pattern, _)| format!("`{arn}` is protected by {point} as `{pattern}`")),
        Err(why) => Some(format!("{point} protects principals, and {why}")),
    }
}

fn refuse(decision: &mut Decision, point: &str, why: String) {
    decision.guardrails.push(Guardrail { document: point.to_owned(), effect: why.clone() });
    decision.outcome = Outcome::Refused(why);
}

fn refused(point: &str, why: String) -> Decision {
    let mut decision = Decision::nothing("");
    refuse(&mut decision, point, why);
    decision
}
