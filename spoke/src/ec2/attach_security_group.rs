//! Puts every network interface of an instance into a security group of the
//! organization's own choice, such as one for forensics: in each VPC the one of
//! this name, or the one of this id. Undo gives each interface the groups back that it had,
//! unless they were changed since.
//!
//! Firebreak does not check the group's rules: the organization decides what it allows.
//! `isolate-instance` uses a group that it verifies.

use aws_sdk_ec2::types::Filter;
use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ec2::grants::CHANGE_INTERFACES;
use crate::support::ec2::instance_state::id;
use crate::support::ec2::interfaces::{self, Interface};
use crate::support::ec2::isolation_groups::is_own;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct AttachSecurityGroup;

/// Which group, and whether the other groups stay.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// The group's name, the same in every VPC, or its id for one VPC. Required.
    group: String,
    /// Whether the other groups stay.
    others: Others,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Others {
    /// They are removed.
    #[default]
    Remove,
    /// They stay, and so does what they allow.
    Keep,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    interfaces: Vec<Goal>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Goal {
    before: Interface,
    /// The groups that it gets; `None` where it cannot be changed.
    after: Option<Vec<String>>,
}

impl Action for AttachSecurityGroup {
    const SPEC: ActionSpec = ActionSpec {
        name: "attach-security-group",
        sentence: "Moves every network interface of the instance into a named security group.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeInstances",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
        ],
        writes: &["ec2:ModifyNetworkInterfaceAttribute"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[CHANGE_INTERFACES];
    const EXCLUDES: &'static [&'static str] = &["isolate-instance"];
    type Parameters = Parameters;
    type Prior = Prior;

    fn check(parameters: &Parameters) -> Result<(), String> {
        if parameters.group.is_empty() { Err("it needs a `group`".to_owned()) } else { Ok(()) }
    }

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let instance_id = id(context.resource)?;
        let (instance, interfaces, groups) = futures::join!(
            context.cache.instance(context.account, instance_id),
            interfaces::of_instance(context, instance_id),
            groups(context, &parameters.group)
        );
        instance?;
        let groups = groups?;
        let mut goals = Vec::new();
        for before in interfaces? {
            let after = goal(parameters, &before, &groups)?;
            goals.push(Goal { before, after });
        }
        let changes = goals.iter().filter_map(change).collect();
        let prior = Prior { instance_id: instance_id.to_owned(), interfaces: goals };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let ended = join_all(prior.interfaces.iter().filter_map(|goal| {
            let after = goal.after.as_ref()?;
            Some(interfaces::set_groups(context, &goal.before.id, after))
        }))
        .await;
        let gone = |result: &Result<(), ActionError>| {
            result
                .as_ref()
                .is_err_and(|it| it.kind == ErrorKind::Gone && !interfaces::is_missing_group(it))
        };
        if !ended.is_empty() && ended.iter().all(gone) {
            let id = &prior.instance_id;
            let message = format!("the instance `{id}` has none of its interfaces any more");
            return Err(ActionError::new(ErrorKind::Gone, message));
        }
        let failed = ended.into_iter().filter(|it| !gone(it)).filter_map(Result::err);
        ActionError::all(failed.collect()).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        // Read by attachment: an interface that was attached since is a way out.
        let (present, groups) = futures::join!(
            interfaces::of_instance(context, &prior.instance_id),
            groups(context, &parameters.group)
        );
        Ok(judge(parameters, &present?, &groups?))
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let changed: Vec<&Goal> =
            prior.interfaces.iter().filter(|goal| goal.after.is_some()).collect();
        let ids: Vec<&str> = changed.iter().map(|goal| goal.before.id.as_str()).collect();
        let present = interfaces::by_id(context, &ids).await?;
        let ended = join_all(changed.into_iter().map(|goal| {
            let now = present.iter().find(|interface| interface.id == goal.before.id);
            let is_ours = |groups: &[String]| {
                goal.after.as_ref().is_some_and(|after| interfaces::same_groups(after, groups))
            };
            interfaces::restore_groups(context, &goal.before, now, is_ours)
        }))
        .await;
        Undone::all(ended)
    }
}

/// A group's id and VPC.
struct Group {
    id: String,
    vpc: String,
}

async fn groups(context: ActionContext<'_>, named: &str) -> Result<Vec<Group>, ActionError> {
    let by = if named.starts_with("sg-") { "group-id" } else { "group-name" };
    let filter = Filter::builder().name(by).values(named).build();
    let mut groups = Vec::new();
    let mut next = None;
    loop {
        let ec2 = context.account.ec2(Class::Ec2Read).await;
        let call = ec2.describe_security_groups().filters(filter.clone()).set_next_token(next);
        let page =
            call.send().await.map_err(|error| from_sdk("ec2:DescribeSecurityGroups", &error))?;
        let own = page.security_groups().iter().filter(|it| is_own(it, context.account));
        groups.extend(own.filter_map(|group| {
            let (id, vpc) = (group.group_id()?.to_owned(), group.vpc_id()?.to_owned());
            Some(Group { id, vpc })
        }));
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(groups);
        }
    }
}

/// The groups that an interface gets; `None` where only its AWS service may change it.
fn goal(
    parameters: &Parameters,
    interface: &Interface,
    groups: &[Group],
) -> Result<Option<Vec<String>>, ActionError> {
    if interface.requester_managed {
        return Ok(None);
    }
    let Interface { id, vpc, groups: before, .. } = interface;
    let Some(group) = groups.iter().find(|group| group.vpc == *vpc) else {
        let named = &parameters.group;
        let message = format!("{vpc}, where `{id}` is, has no security group `{named}`");
        let error = ActionError::new(ErrorKind::Failed, message);
        let help =
            "make a group of this name in every VPC, or use isolate-instance, which makes its own";
        return Err(ActionError { help: Some(help.to_owned()), ..error });
    };
    Ok(Some(match parameters.others {
        Others::Remove => vec![group.id.clone()],
        Others::Keep if before.contains(&group.id) => before.clone(),
        Others::Keep => before.iter().chain([&group.id]).cloned().collect(),
    }))
}

fn change(goal: &Goal) -> Option<Change> {
    let Interface { id, groups, .. } = &goal.before;
    let after = match &goal.after {
        Some(after) if after == groups => return None,
        Some(after) => after.join(", "),
        None => "cannot be changed: an AWS service made this interface".to_owned(),
    };
    Some(Change { what: format!("{id} security groups"), before: groups.join(", "), after })
}

fn judge(parameters: &Parameters, present: &[Interface], groups: &[Group]) -> Verification {
    let named = &parameters.group;
    let outside: Vec<&str> = present
        .iter()
        .filter(|interface| {
            let group = groups.iter().find(|group| group.vpc == interface.vpc);
            !group.is_some_and(|group| match parameters.others {
                Others::Remove => interface.groups == [group.id.clone()],
                Others::Keep => interface.groups.contains(&group.id),
            })
        })
        .map(|interface| interface.id.as_str())
        .collect();
    if outside.is_empty() {
        Verification::InEffect(format!("{} interface(s) in {named}", present.len()))
    } else {
        Verification::NotInEffect(format!("{} not in {named} as planned", outside.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(groups: &[&str]) -> Interface {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let (id, vpc) = ("eni-1".to_owned(), "vpc-1".to_owned());
        Interface { id, vpc, subnet: "subnet-1".to_owned(), groups, requester_managed: false }
    }

    #[test]
    fn the_other_groups_are_removed_unless_policy_keeps_them() {
        let groups = [Group { id: "sg-f".to_owned(), vpc: "vpc-1".to_owned() }];
        let check = |others: Others, before: &[&str], expected: &[&str]| {
            let parameters = Parameters { group: "forensics".to_owned(), others };
            let goal = goal(&parameters, &interface(before), &groups).unwrap().unwrap();
            assert_eq!(goal, expected);
        };
        check(Others::Remove, &["sg-1", "sg-2"], &["sg-f"]);
        check(Others::Keep, &["sg-1"], &["sg-1", "sg-f"]);
        check(Others::Keep, &["sg-f", "sg-1"], &["sg-f", "sg-1"]);
    }

    #[test]
    fn a_vpc_without_the_group_is_reported() {
        let parameters = Parameters { group: "forensics".to_owned(), others: Others::Remove };
        let error = goal(&parameters, &interface(&["sg-1"]), &[]).unwrap_err();
        assert!(error.message.contains("vpc-1") && error.help.is_some(), "{error}");
    }
}
