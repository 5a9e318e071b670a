//! Isolates an instance: every network interface, in every VPC, gets a security
//! group without rules. Undo gives each interface its groups back.
//!
//! Changing groups does not cut connections that are being tracked, so by
//! default each interface first gets a group that allows everything (its flows
//! become untracked) and then the empty one, which ends them (EC2 user guide,
//! "Security group connection tracking"). That opens the host for a moment, so:
//! nothing is opened before the group that closes it again is ready; the second
//! step runs whether or not the first succeeded; where it fails, the interface gets
//! its own groups back rather than stay open; and a recovered response repeats both
//! steps, which always ends closed.
//!
//! There is one pair of groups for each VPC, created when first needed, verified and
//! repaired when found. With `allow`, the group that closes lets these blocks begin
//! connections; each such list has a group of its own. Undo deletes the groups that
//! Firebreak created once no interface uses them. An interface that an AWS service
//! created cannot be changed: the plan says so, and verification reports it.

use std::collections::BTreeMap;

use futures::future::join_all;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::Grant;
use crate::support::ec2::grants::{
    CHANGE_INTERFACES, DELETE_OWN_GROUPS, MAKE_ISOLATION_GROUPS, TAG_OWN_GROUPS,
};
use crate::support::ec2::instance;
use crate::support::ec2::interfaces::{self, Interface};
use crate::support::ec2::isolation_groups::{self as groups, Purpose, VpcGroups};
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

pub(crate) struct IsolateInstance;

/// How connections are cut.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// Cut tracked connections as well, through a group that allows everything for
    /// a moment.
    cut_tracked_connections: bool,
    /// Blocks whose connections to the instance stay possible, such as those
    /// of a forensics team: `192.0.2.0/28`.
    #[schemars(with = "Vec<String>")]
    allow: Vec<IpNet>,
}

impl Parameters {
    fn isolation(&self) -> Purpose<'_> {
        Purpose::Isolation { allow: &self.allow }
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self { cut_tracked_connections: true, allow: Vec::new() }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    interfaces: Vec<Interface>,
    /// The groups of each VPC that existed and had the right rules.
    vpcs: BTreeMap<String, VpcGroups>,
    observed: Timestamp,
}

impl Prior {
    /// The interfaces that can be changed.
    fn changeable(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|interface| !interface.requester_managed)
    }

    /// Their VPCs, each once.
    fn vpcs(&self) -> Vec<String> {
        let mut vpcs: Vec<String> = self.changeable().map(|it| it.vpc.clone()).collect();
        vpcs.sort();
        vpcs.dedup();
        vpcs
    }
}

impl Action for IsolateInstance {
    const SPEC: ActionSpec = ActionSpec {
        name: "isolate-instance",
        sentence: "Isolates the instance's network interfaces; established connections through NAT or endpoints may survive.",
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
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[
        CHANGE_INTERFACES,
        MAKE_ISOLATION_GROUPS.allows(&[
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ]),
        DELETE_OWN_GROUPS,
        TAG_OWN_GROUPS,
    ];
    type Parameters = Parameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let ResourceKind::Instance { instance_id } = &context.resource.kind else {
            return Err(ActionError::new(
                ErrorKind::NotApplicable,
                "the target is not an instance",
            ));
        };
        let (present, interfaces, groups) = futures::join!(
            context.cache.instance(context.account, instance_id),
            interfaces::of_instance(context, instance_id),
            groups::describe(context, None)
        );
        present?;
        let (interfaces, groups) = (interfaces?, groups?);
        if interfaces.is_empty() {
            return Err(ActionError::new(
                ErrorKind::Failed,
                format!("the instance `{instance_id}` has no network interface"),
            ));
        }
        let mut vpcs = groups::clean(&groups, parameters.isolation());
        vpcs.retain(|vpc, _| interfaces.iter().any(|interface| interface.vpc == *vpc));
        let prior =
            Prior { instance_id: instance_id.clone(), interfaces, vpcs, observed: context.now };
        let name = parameters.isolation().group_name();
        let mut changes: Vec<Change> =
            prior.interfaces.iter().filter_map(|it| change(it, &prior.vpcs, &name)).collect();
        if !changes.is_empty() {
            for vpc in prior.vpcs() {
                changes.extend(groups::repairs(&groups, &vpc, parameters.isolation()));
                if parameters.cut_tracked_connections {
                    changes.extend(groups::repairs(&groups, &vpc, Purpose::Transit));
                }
            }
        }
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let known = known_groups(context, prior, parameters.isolation()).await?;
        let vpcs = prior.vpcs();
        let mut purposes = vec![parameters.isolation()];
        if parameters.cut_tracked_connections {
            purposes.push(Purpose::Transit);
        }
        let lacks = |vpc: &String| {
            let found = known.get(vpc);
            purposes.iter().any(|purpose| found.is_none_or(|found| found.of(*purpose).is_none()))
        };
        if vpcs.iter().any(lacks) {
            // No group is made for an instance that is gone.
            instance::describe(context.account, &prior.instance_id).await?;
        }
        let groups = join_all(purposes.iter().map(|it| ready(context, &vpcs, &known, *it))).await;
        let mut groups = groups.into_iter();
        let (isolation, transit) = (groups.next().unwrap_or_default(), groups.next());
        let ended = join_all(prior.changeable().map(|interface| {
            let isolation = of_vpc(&isolation, interface);
            let transit = transit.as_ref().map(|ready| of_vpc(ready, interface));
            isolate_interface(context, interface, (parameters.isolation(), isolation), transit)
        }))
        .await;
        let all_gone = !ended.is_empty() && ended.iter().all(|end| matches!(end, Ok(Cut::Gone)));
        if all_gone {
            let message =
                format!("the instance `{}` has none of its interfaces any more", prior.instance_id);
            return Err(ActionError::new(ErrorKind::Gone, message));
        }
        ActionError::all(ended.into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        // Read by attachment, not by the ids in the record: an interface that
        // was attached since is a way out.
        let (present, groups) = futures::join!(
            interfaces::of_instance(context, &prior.instance_id),
            groups::describe(context, None)
        );
        let isolation = parameters.isolation();
        let clean = groups::clean(&groups?, isolation);
        Ok(judge(&prior.instance_id, &present?, &clean, &isolation.group_name()))
    }

    async fn undo(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        // Read by id, not by attachment: an interface that was detached since
        // still carries our group.
        let ids: Vec<&str> = prior.changeable().map(|interface| interface.id.as_str()).collect();
        let (present, groups) =
            futures::join!(interfaces::by_id(context, &ids), groups::describe(context, None));
        let (present, groups) = (present?, groups?);
        let ours: Vec<&str> = groups.iter().filter_map(|group| group.group_id()).collect();
        let ended = join_all(prior.changeable().map(|before| {
            let now = present.iter().find(|interface| interface.id == before.id);
            // The groups that apply sets, or that a crash during it left.
            let by_us =
                |groups: &[String]| matches!(groups, [group] if ours.contains(&group.as_str()));
            interfaces::restore_groups(context, before, now, by_us)
        }))
        .await;
        let mut undone = Undone::all(ended)?;
        let (isolation, vpcs) = (parameters.isolation(), prior.vpcs());
        undone.restored.extend(groups::delete_unused(context, &groups, isolation, &vpcs).await?);
        Ok(undone)
    }
}

/// The planned change of one interface; `None` if it is isolated already.
fn change(interface: &Interface, vpcs: &BTreeMap<String, VpcGroups>, name: &str) -> Option<Change> {
    let group = vpcs.get(&interface.vpc).and_then(|found| found.isolation.as_ref());
    if group.is_some_and(|group| interface.groups == [group.clone()]) {
        return None;
    }
    let after = match group {
        _ if interface.requester_managed => {
            "cannot be changed: an AWS service made this interface".to_owned()
        }
        Some(group) => format!("{name} ({group})"),
        None => format!("{name} (made or repaired in {})", interface.vpc),
    };
    let what = format!("{} security groups", interface.id);
    Some(Change { what, before: interface.groups.join(", "), after })
}

/// The verification: every interface that is attached now has exactly the clean
/// isolation group of its VPC.
fn judge(
    instance_id: &str,
    present: &[Interface],
    clean: &BTreeMap<String, VpcGroups>,
    name: &str,
) -> Verification {
    let mut broken = Vec::new();
    for interface in present {
        let Interface { id, vpc, groups, requester_managed } = interface;
        let Some(isolation) = clean.get(vpc).and_then(|found| found.isolation.as_ref()) else {
            broken.push(format!("{id}: {vpc} has no group {name} without rules"));
            continue;
        };
        if *groups == [isolation.clone()] {
            continue;
        }
        let why = if *requester_managed { ": an AWS service made it" } else { "" };
        let groups = groups.join(", ");
        broken.push(format!("{id} is in {groups}, not in {name} ({isolation}) alone{why}"));
    }
    if !broken.is_empty() {
        Verification::NotInEffect(broken.join("; "))
    } else if present.is_empty() {
        Verification::InEffect(format!(
            "the instance `{instance_id}` has no network interface any more"
        ))
    } else {
        Verification::InEffect(format!("{} interface(s), each only in {name}", present.len()))
    }
}

/// A plan may have waited for approval, and a recovered response is old: then the
/// groups are read again, because somebody may have added a rule.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

async fn known_groups(
    context: ActionContext<'_>,
    prior: &Prior,
    isolation: Purpose<'_>,
) -> Result<BTreeMap<String, VpcGroups>, ActionError> {
    if context.now.duration_since(prior.observed) <= FRESH {
        return Ok(prior.vpcs.clone());
    }
    Ok(groups::clean(&groups::describe(context, None).await?, isolation))
}

type Ready = BTreeMap<String, Result<String, ActionError>>;

/// The group of this purpose in each VPC: the known one, or one made now.
async fn ready(
    context: ActionContext<'_>,
    vpcs: &[String],
    known: &BTreeMap<String, VpcGroups>,
    purpose: Purpose<'_>,
) -> Ready {
    let ready = join_all(vpcs.iter().map(|vpc| async move {
        let group = match known.get(vpc).and_then(|found| found.of(purpose)) {
            Some(group) => Ok(group.clone()),
            None => groups::ensure(context, vpc, purpose).await,
        };
        (vpc.clone(), group)
    }))
    .await;
    ready.into_iter().collect()
}

fn of_vpc(ready: &Ready, interface: &Interface) -> Result<String, ActionError> {
    let vpc = &interface.vpc;
    ready.get(vpc).cloned().unwrap_or_else(|| {
        Err(ActionError::new(ErrorKind::Failed, format!("no group was prepared in {vpc}")))
    })
}

/// The result for one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Done,
    /// Detached and deleted since: there is nothing to isolate.
    Gone,
}

/// Runs both steps for one interface.
async fn isolate_interface(
    context: ActionContext<'_>,
    interface: &Interface,
    (purpose, isolation): (Purpose<'_>, Result<String, ActionError>),
    transit: Option<Result<String, ActionError>>,
) -> Result<Cut, ActionError> {
    let isolation = isolation?;
    let through_transit = transit.is_some();
    let opened = match transit {
        Some(Ok(group)) => put(context, interface, Purpose::Transit, group).await,
        Some(Err(error)) => Err(error),
        None => Ok(Cut::Done),
    };
    let closed = put(context, interface, purpose, isolation).await;
    let id = &interface.id;
    match (opened, closed) {
        (_, Ok(Cut::Gone)) => Ok(Cut::Gone),
        (Ok(_), Ok(Cut::Done)) => Ok(Cut::Done),
        (Err(error), Ok(Cut::Done)) => {
            let message = format!(
                "`{id}` is isolated, but connections that were being tracked may live on: {}",
                error.message
            );
            let help = error.help.clone().unwrap_or_else(|| {
                "where such a group may not be made, set cut-tracked-connections: false".to_owned()
            });
            Err(ActionError { message, help: Some(help), ..error })
        }
        (_, Err(error)) if through_transit => {
            // The first step may or may not have taken effect.
            let message = match interfaces::set_groups(context, id, &interface.groups).await {
                Ok(()) => format!("{}; it has its own groups again", error.message),
                Err(back) => format!(
                    "{}; it may be open to everyone, because restoring its own groups failed: {}",
                    error.message, back.message
                ),
            };
            Err(ActionError { message, ..error })
        }
        (_, Err(error)) => Err(error),
    }
}

/// Puts an interface into one group alone.
async fn put(
    context: ActionContext<'_>,
    interface: &Interface,
    purpose: Purpose<'_>,
    group: String,
) -> Result<Cut, ActionError> {
    let mut result = interfaces::set_groups(context, &interface.id, &[group]).await;
    if result.as_ref().is_err_and(interfaces::lacks_group) {
        // Another response's undo deleted it after it was read.
        let group = groups::ensure(context, &interface.vpc, purpose).await?;
        result = interfaces::set_groups(context, &interface.id, &[group]).await;
    }
    match result {
        Err(error) if interfaces::lacks_group(&error) => {
            Err(ActionError { kind: ErrorKind::Transient, ..error })
        }
        Err(error) if error.kind == ErrorKind::Gone => Ok(Cut::Gone),
        result => result.map(|()| Cut::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(id: &str, groups: &[&str], requester_managed: bool) -> Interface {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Interface { id: id.to_owned(), vpc: "vpc-1".to_owned(), groups, requester_managed }
    }

    fn vpcs(isolation: Option<&str>) -> BTreeMap<String, VpcGroups> {
        let found = VpcGroups { isolation: isolation.map(str::to_owned), transit: None };
        BTreeMap::from([("vpc-1".to_owned(), found)])
    }

    #[test]
    fn a_plan_says_what_becomes_of_each_interface() {
        let check = |interface: &Interface, isolation: Option<&str>, expected: Option<&str>| {
            let after = change(interface, &vpcs(isolation), "firebreak-isolation")
                .map(|change| change.after);
            assert_eq!(after.as_deref(), expected, "{interface:?}");
        };
        let own = interface("eni-1", &["sg-web"], false);
        check(&own, Some("sg-iso"), Some("firebreak-isolation (sg-iso)"));
        check(&own, None, Some("firebreak-isolation (made or repaired in vpc-1)"));
        check(&interface("eni-1", &["sg-iso"], false), Some("sg-iso"), None);
        // Its group has a rule, or the interface has another group as well.
        check(
            &interface("eni-1", &["sg-iso"], false),
            None,
            Some("firebreak-isolation (made or repaired in vpc-1)"),
        );
        check(
            &interface("eni-1", &["sg-iso", "sg-web"], false),
            Some("sg-iso"),
            Some("firebreak-isolation (sg-iso)"),
        );
        check(
            &interface("eni-1", &["sg-web"], true),
            Some("sg-iso"),
            Some("cannot be changed: an AWS service made this interface"),
        );
    }

    #[test]
    fn isolation_holds_for_every_interface_or_not_at_all() {
        let check = |present: &[Interface], isolation: Option<&str>, holds: bool| {
            let verdict = judge("i-1", present, &vpcs(isolation), "firebreak-isolation");
            assert_eq!(matches!(verdict, Verification::InEffect(_)), holds, "{verdict:?}");
        };
        let cut = interface("eni-1", &["sg-iso"], false);
        check(std::slice::from_ref(&cut), Some("sg-iso"), true);
        check(std::slice::from_ref(&cut), None, false);
        check(&[cut.clone(), interface("eni-2", &["sg-web"], false)], Some("sg-iso"), false);
        check(&[cut, interface("eni-2", &["sg-web"], true)], Some("sg-iso"), false);
        check(&[interface("eni-1", &["sg-iso", "sg-web"], false)], Some("sg-iso"), false);
        check(&[], None, true);
    }

    #[test]
    fn the_prior_state_survives_its_record() {
        let prior = Prior {
            instance_id: "i-1".to_owned(),
            interfaces: vec![interface("eni-1", &["sg-2", "sg-1"], false)],
            vpcs: vpcs(Some("sg-iso")),
            observed: Timestamp::UNIX_EPOCH,
        };
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }
}
