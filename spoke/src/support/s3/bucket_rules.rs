//! The base of the actions that disable the rules of a bucket's configuration. Only
//! the rules' statuses are recorded and changed. The configuration is read right
//! before each write, so that what others changed in it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Undone, Verification,
};
use crate::grant::Grant;
use crate::support::s3::bucket;
use firebreak_model::error::ActionError;

/// A configuration of a bucket whose rules an action disables.
pub(crate) trait RuleConfiguration: Clone + PartialEq + Send + Sync {
    /// See [`Action::SPEC`].
    const SPEC: ActionSpec;
    /// See [`Action::GRANTS`].
    const GRANTS: &'static [Grant];
    /// The kind of its rules in messages, such as `lifecycle`.
    const KIND: &'static str;

    /// Reads it; `None` where the bucket has none.
    fn get(
        account: &AccountSession,
        bucket: &str,
    ) -> impl Future<Output = Result<Option<Self>, ActionError>> + Send;

    /// The rules that the action disables.
    fn rules(&self) -> Rules;

    /// Gives the rules of these ids a status.
    fn set(&mut self, ids: &BTreeSet<String>, status: Status);

    /// Writes the whole configuration: S3 cannot change a single rule.
    fn put(
        self,
        account: &AccountSession,
        bucket: &str,
    ) -> impl Future<Output = Result<(), ActionError>> + Send;
}

/// The action that disables the rules of a configuration.
pub(crate) struct SuspendRules<C>(PhantomData<C>);

impl<C: RuleConfiguration> Action for SuspendRules<C> {
    const SPEC: ActionSpec = C::SPEC;
    const GRANTS: &'static [Grant] = C::GRANTS;
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let prior = enabled(&present::<C>(context, name).await?);
        let changes = changes(C::KIND, name, &prior);
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        set::<C>(context, name, &prior.enabled, Status::Disabled).await
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        Ok(judge(C::KIND, name, &present::<C>(context, name).await?, prior))
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = match present::<C>(context, name).await {
            Ok(present) => present,
            Err(error) => return bucket::undo_if_gone(error, name),
        };
        let (on, undone) = reverse(C::KIND, name, &present, prior);
        if !on.is_empty() {
            set::<C>(context, name, &on, Status::Enabled).await?;
        }
        Ok(undone)
    }
}

async fn present<C: RuleConfiguration>(
    context: ActionContext<'_>,
    name: &str,
) -> Result<Rules, ActionError> {
    let configuration = C::get(context.account, name).await?;
    Ok(configuration.as_ref().map(C::rules).unwrap_or_default())
}

/// Gives the rules of these ids a status, where they have another.
async fn set<C: RuleConfiguration>(
    context: ActionContext<'_>,
    name: &str,
    ids: &BTreeSet<String>,
    status: Status,
) -> Result<(), ActionError> {
    let Some(present) = C::get(context.account, name).await? else { return Ok(()) };
    let mut wanted = present.clone();
    wanted.set(ids, status);
    if wanted == present { Ok(()) } else { wanted.put(context.account, name).await }
}

/// Whether a rule is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Enabled,
    Disabled,
}

/// The rules that an action disables, by id.
pub(crate) type Rules = BTreeMap<String, Status>;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    /// The ids of the rules that were enabled.
    pub(crate) enabled: BTreeSet<String>,
}

/// The rules that are enabled.
fn enabled(rules: &Rules) -> Prior {
    let on = rules.iter().filter(|(_, status)| **status == Status::Enabled);
    Prior { enabled: on.map(|(id, _)| id.clone()).collect() }
}

/// A change for each rule that is enabled.
fn changes(kind: &str, bucket: &str, prior: &Prior) -> Vec<Change> {
    let one = |id: &String| Change {
        what: format!("{kind} rule {id} of bucket {bucket}"),
        before: "Enabled".to_owned(),
        after: "Disabled".to_owned(),
    };
    prior.enabled.iter().map(one).collect()
}

/// Whether all rules that were enabled when the plan was made are disabled.
fn judge(kind: &str, bucket: &str, present: &Rules, prior: &Prior) -> Verification {
    let on: Vec<&str> = prior
        .enabled
        .iter()
        .filter(|id| present.get(*id) == Some(&Status::Enabled))
        .map(String::as_str)
        .collect();
    if on.is_empty() {
        Verification::InEffect(format!("the {kind} rules of `{bucket}` are off"))
    } else {
        Verification::NotInEffect(format!("{kind} rules of `{bucket}` are on: {}", on.join(", ")))
    }
}

/// The ids of the rules that undo enables again, and undo's result: a rule that somebody
/// deleted since is drift.
fn reverse(kind: &str, bucket: &str, present: &Rules, prior: &Prior) -> (BTreeSet<String>, Undone) {
    let (mut on, mut undone) = (BTreeSet::new(), Undone::default());
    for id in &prior.enabled {
        match present.get(id) {
            Some(Status::Disabled) => {
                on.insert(id.clone());
                undone.restored.push(format!("the {kind} rule {id} of {bucket} is on again"));
            }
            Some(Status::Enabled) => {}
            None => {
                undone
                    .drift
                    .push(format!("the {kind} rule `{id}` of `{bucket}` was deleted since"));
            }
        }
    }
    (on, undone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_enables_only_the_rules_that_were_enabled() {
        let rules = |rules: &[(&str, Status)]| -> Rules {
            rules.iter().map(|&(id, status)| (id.to_owned(), status)).collect()
        };
        let (on, off) = (Status::Enabled, Status::Disabled);
        let prior = enabled(&rules(&[("a", on), ("b", off), ("c", on)]));
        assert_eq!(changes("lifecycle", "data", &prior).len(), 2);
        let (again, undone) =
            reverse("lifecycle", "data", &rules(&[("a", off), ("b", off), ("new", off)]), &prior);
        assert_eq!(again.into_iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!((undone.restored.len(), undone.drift.len()), (1, 1));
    }
}
