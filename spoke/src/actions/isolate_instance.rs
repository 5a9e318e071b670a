//! Cuts an instance off: every network interface, in every VPC, gets a security
//! group without a single rule. Undo gives each interface its groups back.
//!
//! Changing groups does not cut connections that are being tracked, so by
//! default each interface first gets a group that allows everything (its flows
//! become untracked) and then the empty one, which ends them (EC2 user guide,
//! "Security group connection tracking"). That opens the host for a moment:
//! the second step runs for every interface whatever became of the first, and
//! a resumed response always ends in it.
//!
//! The groups are one pair for each VPC, made when first needed, verified and
//! repaired when found. Undo deletes those that Firebreak made once no
//! interface uses them.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, InstanceStateName, NetworkInterface};
use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::isolation_groups::{self as groups, Found, ISOLATION, Purpose, TRANSIT};
use super::{About, Action, Change, Observation, Phase, Scope, Undone, Verdict};
use crate::error::{ActionError, Kind};
use crate::pace::Class;
use crate::resource::ResourceKind;

pub(super) struct IsolateInstance;

/// How connections are cut.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Parameters {
    /// Cut connections that are being tracked as well, by way of a group that
    /// allows everything for a moment.
    cut_tracked_connections: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { cut_tracked_connections: true }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prior {
    instance_id: String,
    interfaces: Vec<Interface>,
    /// The pair of groups of each VPC, as far as it was there and clean.
    vpcs: BTreeMap<String, Found>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Interface {
    id: String,
    vpc: String,
    /// In AWS's order.
    groups: Vec<String>,
    /// An AWS service made it: nobody else may change it.
    requester_managed: bool,
}

impl Action for IsolateInstance {
    const ABOUT: About = About {
        name: "isolate-instance",
        sentence: "Cuts every network interface of the instance off, tracked connections included.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeInstances",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
        ],
        writes: &[
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateSecurityGroup",
            "ec2:CreateTags",
            "ec2:DeleteSecurityGroup",
            "ec2:ModifyNetworkInterfaceAttribute",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ],
        reversible: true,
        phase: Phase::Contain,
    };
    type Parameters = Parameters;
    type Prior = Prior;

    async fn observe(scope: Scope<'_>, _: &Parameters) -> Result<Observation<Prior>, ActionError> {
        let ResourceKind::Instance { instance_id } = &scope.resource.kind else {
            return Err(ActionError::new(Kind::NotApplicable, "the target is no instance"));
        };
        let (state, interfaces, found) = futures::join!(
            assert_present(scope, instance_id),
            interfaces(scope, instance_id),
            groups::find(scope, None)
        );
        state?;
        let interfaces = interfaces?;
        let mut vpcs = found?;
        if interfaces.is_empty() {
            return Err(ActionError::new(
                Kind::Failed,
                format!("instance `{instance_id}` has no network interface"),
            ));
        }
        vpcs.retain(|vpc, _| interfaces.iter().any(|interface| interface.vpc == *vpc));
        let isolated = |interface: &&Interface| {
            vpcs.get(&interface.vpc)
                .and_then(|found| found.isolation.as_ref())
                .is_some_and(|group| interface.groups == [group.clone()])
        };
        let changes = interfaces
            .iter()
            .filter(|interface| !isolated(interface))
            .map(|interface| Change {
                what: format!("{} security groups", interface.id),
                before: interface.groups.join(", "),
                after: if interface.requester_managed {
                    "cannot be changed: an AWS service made this interface".to_owned()
                } else {
                    let group = vpcs.get(&interface.vpc).and_then(|it| it.isolation.clone());
                    group.map_or_else(
                        || format!("{ISOLATION} (made or repaired in {})", interface.vpc),
                        |id| format!("{ISOLATION} ({id})"),
                    )
                },
            })
            .collect();
        let prior = Prior { instance_id: instance_id.clone(), interfaces, vpcs };
        Ok(Observation { prior, changes })
    }

    async fn apply(
        scope: Scope<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        // A crash of an earlier run can only have left an interface open or
        // isolated; taking both steps again is right in either case.
        let each: Vec<&Interface> =
            prior.interfaces.iter().filter(|interface| !interface.requester_managed).collect();
        // The empty group is at hand before anything is opened.
        let isolation = prepare(scope, prior, Purpose::Isolation).await;
        let mut opened = Vec::new();
        if parameters.cut_tracked_connections {
            let closable = |it: &&Interface| isolation.get(&it.vpc).is_some_and(Result::is_ok);
            let closable: Vec<&Interface> = each.iter().copied().filter(closable).collect();
            let transit = prepare(scope, prior, Purpose::Transit).await;
            let results = swap(scope, &closable, &transit, Purpose::Transit).await;
            for (interface, result) in closable.into_iter().zip(results) {
                match result {
                    Ok(()) => opened.push(interface.id.as_str()),
                    // One that could not be opened still has to be cut off.
                    Err(error) => {
                        tracing::warn!("tracked connections may outlive the isolation: {error}");
                    }
                }
            }
        }
        let results = swap(scope, &each, &isolation, Purpose::Isolation).await;
        let mut failed = Vec::new();
        for (interface, result) in each.into_iter().zip(results) {
            let Err(error) = result else { continue };
            if opened.contains(&interface.id.as_str()) {
                // Never left open: its own groups are better than that.
                if let Err(worse) = set_groups(scope, &interface.id, &interface.groups).await {
                    tracing::error!("`{}` is left in {TRANSIT}: {worse}", interface.id);
                }
            }
            failed.push(error);
        }
        // A passing failure is worth another try, whatever else failed.
        let first = failed.iter().find(|error| error.kind == Kind::Transient).or(failed.first());
        match first {
            None => Ok(()),
            Some(first) => {
                let all: Vec<&str> = failed.iter().map(|error| error.message.as_str()).collect();
                Err(ActionError { message: all.join("; "), ..first.clone() })
            }
        }
    }

    async fn verify(
        scope: Scope<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verdict, ActionError> {
        let (present, found) =
            futures::join!(interfaces(scope, &prior.instance_id), groups::find(scope, None));
        let (present, found) = (present?, found?);
        if present.is_empty() {
            let gone = format!("instance `{}` has no network interface any more", prior.instance_id);
            return Ok(Verdict::Holds(gone));
        }
        for interface in &present {
            let isolation = found.get(&interface.vpc).and_then(|found| found.isolation.as_ref());
            let Some(isolation) = isolation else {
                let broken = format!("{} has no empty group {ISOLATION}", interface.vpc);
                return Ok(Verdict::Broken(broken));
            };
            if interface.groups != [isolation.clone()] {
                return Ok(Verdict::Broken(format!(
                    "{} is in {}, not in {ISOLATION} ({isolation}) alone",
                    interface.id,
                    interface.groups.join(", ")
                )));
            }
        }
        Ok(Verdict::Holds(format!("{} interface(s) in {ISOLATION} alone", present.len())))
    }

    async fn undo(scope: Scope<'_>, _: &Parameters, prior: &Prior) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let (present, ours) =
            futures::join!(interfaces(scope, &prior.instance_id), groups::ids(scope, None));
        let (present, ours) = (present?, ours?);
        for before in prior.interfaces.iter().filter(|it| !it.requester_managed) {
            let id = &before.id;
            let Some(now) = present.iter().find(|interface| interface.id == *id) else {
                undone.drift.push(format!("`{id}` is not attached to the instance any more"));
                continue;
            };
            if now.groups == before.groups {
                continue;
            }
            // What apply leaves, or a crash in its middle left.
            let by_us = matches!(now.groups.as_slice(), [group] if ours.contains(group));
            if !by_us {
                let groups = now.groups.join(", ");
                undone.drift.push(format!("`{id}` was put into {groups} since"));
                continue;
            }
            match set_groups(scope, id, &before.groups).await {
                Ok(()) => {
                    let groups = before.groups.join(", ");
                    undone.restored.push(format!("{id} is in {groups} again"));
                }
                Err(error) if error.has_code("InvalidGroup.NotFound") => undone.drift.push(
                    format!("a group of `{id}` was deleted since: {}", error.message),
                ),
                Err(error) => return Err(error),
            }
        }
        for vpc in vpcs_of(prior) {
            undone.restored.extend(groups::delete_unused(scope, &vpc).await?);
        }
        Ok(undone)
    }
}

fn vpcs_of(prior: &Prior) -> Vec<String> {
    let mut vpcs: Vec<String> = prior.interfaces.iter().map(|it| it.vpc.clone()).collect();
    vpcs.sort();
    vpcs.dedup();
    vpcs
}

/// The group of this purpose in each VPC, by VPC, or why there is none.
type Groups = BTreeMap<String, Result<String, ActionError>>;

/// Makes the groups of this purpose ready: nothing to do for those that were
/// found clean when the prior state was read.
async fn prepare(scope: Scope<'_>, prior: &Prior, purpose: Purpose) -> Groups {
    let groups = join_all(vpcs_of(prior).into_iter().map(|vpc| async move {
        let known = prior.vpcs.get(&vpc).and_then(|found| found.of(purpose)).cloned();
        let group = match known {
            Some(group) => Ok(group),
            None => groups::ensure(scope, &vpc, purpose).await,
        };
        (vpc, group)
    }));
    groups.await.into_iter().collect()
}

/// Puts every interface into its VPC's group, side by side.
async fn swap(
    scope: Scope<'_>,
    interfaces: &[&Interface],
    groups: &Groups,
    purpose: Purpose,
) -> Vec<Result<(), ActionError>> {
    join_all(interfaces.iter().map(|interface| {
        let group = groups.get(&interface.vpc).cloned();
        async move {
            let group = group.unwrap_or_else(|| {
                let name = &interface.vpc;
                Err(ActionError::new(Kind::Failed, format!("no group was prepared in {name}")))
            })?;
            match set_groups(scope, &interface.id, &[group]).await {
                // Another response's undo deleted it after we had looked.
                Err(error) if error.has_code("InvalidGroup.NotFound") => {
                    let group = groups::ensure(scope, &interface.vpc, purpose).await?;
                    set_groups(scope, &interface.id, &[group]).await
                }
                // Detached and deleted since: there is nothing to cut off.
                Err(error) if error.kind == Kind::Gone => Ok(()),
                result => result,
            }
        }
    }))
    .await
}

async fn assert_present(scope: Scope<'_>, instance_id: &str) -> Result<(), ActionError> {
    let answer = scope
        .account
        .ec2(Class::Ec2Read)
        .await
        .describe_instances()
        .instance_ids(instance_id)
        .send()
        .await
        .map_err(|error| ActionError::from_sdk("ec2:DescribeInstances", &error))?;
    let instance = answer.reservations().iter().flat_map(|it| it.instances()).next();
    let state = instance.and_then(|it| it.state()).and_then(|state| state.name());
    let gone = |why: &str| {
        Err(ActionError::new(Kind::Gone, format!("instance `{instance_id}` {why}")))
    };
    match state {
        None => gone("does not exist"),
        Some(InstanceStateName::Terminated) => gone("is terminated"),
        Some(InstanceStateName::ShuttingDown) => gone("is shutting down"),
        Some(_) => Ok(()),
    }
}

async fn interfaces(scope: Scope<'_>, instance_id: &str) -> Result<Vec<Interface>, ActionError> {
    let mut interfaces = Vec::new();
    let mut next = None;
    loop {
        let page = scope
            .account
            .ec2(Class::Ec2Read)
            .await
            .describe_network_interfaces()
            .filters(Filter::builder().name("attachment.instance-id").values(instance_id).build())
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| ActionError::from_sdk("ec2:DescribeNetworkInterfaces", &error))?;
        interfaces.extend(page.network_interfaces().iter().filter_map(interface));
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(interfaces);
        }
    }
}

fn interface(described: &NetworkInterface) -> Option<Interface> {
    Some(Interface {
        id: described.network_interface_id()?.to_owned(),
        vpc: described.vpc_id()?.to_owned(),
        groups: described
            .groups()
            .iter()
            .filter_map(|group| group.group_id().map(str::to_owned))
            .collect(),
        requester_managed: described.requester_managed().unwrap_or(false),
    })
}

/// Replaces an interface's groups: the list overwrites what was there.
async fn set_groups(
    scope: Scope<'_>,
    interface: &str,
    groups: &[String],
) -> Result<(), ActionError> {
    scope
        .account
        .ec2(Class::NetworkInterface)
        .await
        .modify_network_interface_attribute()
        .network_interface_id(interface)
        .set_groups(Some(groups.to_vec()))
        .send()
        .await
        .map(|_| ())
        .map_err(|error| {
            let error = ActionError::from_sdk("ec2:ModifyNetworkInterfaceAttribute", &error);
            let message = format!("cannot change `{interface}`: {}", error.message);
            ActionError { message, ..error }
        })
}
