//! Isolates an instance: every network interface, in every VPC, gets a security
//! group without rules. Undo gives each interface its groups back.
//!
//! New connections are closed first: each interface is put into the isolation group as soon
//! as that is ready. Changing groups does not cut connections that are being tracked, so
//! by default each interface then passes through a group that allows everything (its flows
//! become untracked) and back into the isolation group, which ends them (EC2 user guide,
//! "Security group connection tracking"). That opens the host for one call, so: one
//! interface after another does it; the rate limits allow both calls before the first, and
//! there is time for both; the second runs whether or not the first succeeded and is
//! repeated; where it fails all the same, the interface gets its own groups back rather
//! than stay open; and a recovered response repeats all of it, which always ends closed.
//!
//! There is one isolation group for each VPC, created when first needed, verified and
//! repaired when found. With `allow`, it lets these blocks begin connections; each such
//! list has a group of its own. The group that allows everything is made for one response
//! and deleted when it was passed through. Undo deletes the groups that Firebreak created
//! once no interface uses them. An interface that an AWS service created cannot be changed:
//! the plan says so, and verification reports it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Residual, Reversal, Undone,
    Verification,
};
use crate::grant::Grant;
use crate::support::ec2::grants::{
    CHANGE_INTERFACES, DELETE_OWN_GROUPS, MAKE_ISOLATION_GROUPS, TAG_OWN_GROUPS,
};
use crate::support::ec2::instance;
use crate::support::ec2::interfaces::{self, Interface};
use crate::support::ec2::isolation_groups::{self as groups, Purpose};
use crate::support::ec2::tracked_connections;
use firebreak_client::rate_limit::Class;
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
    /// The ARN of its instance profile.
    profile: Option<String>,
    /// The service that manages it, such as EKS Auto Mode.
    operator: Option<String>,
    /// The isolation group of each VPC that has one with the right rules.
    isolation_groups: BTreeMap<String, String>,
    observed: Timestamp,
}

impl Prior {
    /// The interfaces that can be changed.
    fn changeable(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|interface| !interface.requester_managed)
    }

    /// Whether every interface was in the isolation group alone already, so that none was
    /// passed through the transit group. Anybody may have put it there.
    fn was_isolated(&self) -> bool {
        self.changeable().all(|it| {
            let isolation = self.isolation_groups.get(&it.vpc);
            isolation.is_some_and(|group| it.groups == [group.clone()])
        })
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
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeVpcEndpoints",
        ],
        writes: &[
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
        let present = present?;
        let profile = present.iam_instance_profile().and_then(|it| it.arn()).map(str::to_owned);
        let operator = present.operator().filter(|it| it.managed() == Some(true));
        let operator = operator.map(|it| it.principal().unwrap_or("an AWS service").to_owned());
        let (interfaces, groups) = (interfaces?, groups?);
        if interfaces.is_empty() {
            return Err(ActionError::new(
                ErrorKind::Failed,
                format!("the instance `{instance_id}` has no network interface"),
            ));
        }
        let mut isolation_groups = groups::clean(&groups, parameters.isolation());
        isolation_groups.retain(|vpc, _| interfaces.iter().any(|it| it.vpc == *vpc));
        let prior = Prior {
            instance_id: instance_id.clone(),
            interfaces,
            profile,
            operator,
            isolation_groups,
            observed: context.now,
        };
        let name = parameters.isolation().group_name();
        let mut changes: Vec<Change> = prior
            .interfaces
            .iter()
            .filter_map(|it| change(it, &prior.isolation_groups, &name))
            .collect();
        if !changes.is_empty() {
            for vpc in prior.vpcs() {
                changes.extend(groups::repairs(&groups, &vpc, parameters.isolation()));
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
        if vpcs.iter().any(|vpc| !known.contains_key(vpc)) {
            // No group is made for an instance that is gone.
            instance::describe(context.account, &prior.instance_id).await?;
        }
        let ended = join_all(vpcs.iter().map(|vpc| {
            let interfaces: Vec<&Interface> =
                prior.changeable().filter(|interface| interface.vpc == *vpc).collect();
            isolate_in_vpc(context, parameters, vpc, interfaces, known.get(vpc))
        }))
        .await
        .concat();
        let all_gone = !ended.is_empty() && ended.iter().all(|end| matches!(end, Ok(End::Gone)));
        if all_gone {
            let message =
                format!("the instance `{}` has none of its interfaces any more", prior.instance_id);
            return Err(ActionError::new(ErrorKind::Gone, message));
        }
        match ActionError::all(ended.into_iter().filter_map(Result::err).collect()) {
            None => Ok(()),
            Some(error) => Err(of_managed(error, prior.operator.as_deref())),
        }
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

    async fn residual(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let mut residual = tracked_connections::that_live_on(context, &prior.interfaces).await?;
        if !parameters.cut_tracked_connections {
            let what = "connections that were open live on: cut-tracked-connections is false";
            residual.push(Residual::new("open-connections", what, tracked_connections::ENDS_ALL));
        }
        if parameters.cut_tracked_connections && prior.was_isolated() {
            let what = "connections that were open when the instance was put into the isolation group, which was before this response";
            residual.push(Residual::new("open-connections", what, tracked_connections::ENDS_ALL));
        }
        if let Some(profile) = &prior.profile {
            let what = format!(
                "credentials of the instance profile {profile} that left the instance stay valid"
            );
            let closed_by = &["revoke-instance-credentials"];
            residual.push(Residual::new("instance-credentials", what, closed_by));
        }
        Ok(residual)
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

/// The error of a managed instance says what works instead: AWS may refuse others to change
/// it, whatever the spoke role is granted (EC2 user guide, "Amazon EC2 managed instances").
fn of_managed(error: ActionError, operator: Option<&str>) -> ActionError {
    let refused = matches!(error.kind, ErrorKind::Denied | ErrorKind::Failed | ErrorKind::Refused);
    match operator.filter(|_| refused) {
        None => error,
        Some(operator) => {
            let help = format!(
                "{operator} manages this instance, so AWS may refuse to change it: deny its role (`deny-all`), isolate its pods or stop its tasks, or delete the node in the cluster"
            );
            ActionError { help: Some(help), ..error }
        }
    }
}

/// The planned change of one interface; `None` if it is isolated already.
fn change(
    interface: &Interface,
    isolation_groups: &BTreeMap<String, String>,
    name: &str,
) -> Option<Change> {
    let group = isolation_groups.get(&interface.vpc);
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
    clean: &BTreeMap<String, String>,
    name: &str,
) -> Verification {
    let mut broken = Vec::new();
    for interface in present {
        let Interface { id, vpc, groups, requester_managed, .. } = interface;
        let Some(isolation) = clean.get(vpc) else {
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
/// groups are read again, because others may have added a rule.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

async fn known_groups(
    context: ActionContext<'_>,
    prior: &Prior,
    isolation: Purpose<'_>,
) -> Result<BTreeMap<String, String>, ActionError> {
    if context.now.duration_since(prior.observed) <= FRESH {
        return Ok(prior.isolation_groups.clone());
    }
    Ok(groups::clean(&groups::describe(context, None).await?, isolation))
}

/// How one interface ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Isolated,
    /// Detached and deleted since: there is nothing to isolate.
    Gone,
}

/// Isolates the interfaces in one VPC. The transit group is made while new connections are
/// closed.
async fn isolate_in_vpc(
    context: ActionContext<'_>,
    parameters: &Parameters,
    vpc: &str,
    interfaces: Vec<&Interface>,
    known: Option<&String>,
) -> Vec<Result<End, ActionError>> {
    let purpose = parameters.isolation();
    let close_new_connections = async {
        let isolation = match known {
            Some(group) => Ok(group.clone()),
            None => groups::ensure(context, vpc, purpose).await,
        };
        join_all(interfaces.iter().map(|interface| {
            let isolation = isolation.clone();
            async move { isolate(context, interface, purpose, isolation?).await }
        }))
        .await
    };
    if !parameters.cut_tracked_connections {
        let closed = close_new_connections.await;
        return closed
            .into_iter()
            .map(|closed| Ok(closed?.map_or(End::Gone, |_| End::Isolated)))
            .collect();
    }
    let transit = groups::make_transit(context, vpc);
    let (closed, transit) = futures::join!(close_new_connections, transit);
    let mut ended = Vec::new();
    for (interface, closed) in interfaces.into_iter().zip(closed) {
        ended.push(match (closed, &transit) {
            (Ok(None), _) => Ok(End::Gone),
            (Ok(Some(isolation)), Ok(transit)) => {
                pass_through(context, interface, transit, &isolation).await
            }
            (Ok(Some(_)), Err(error)) => Err(connections_may_live_on(interface, error)),
            // Nothing is opened that could not be closed.
            (Err(error), _) => Err(error),
        });
    }
    if let Ok(transit) = &transit
        && let Err(error) = groups::delete_transit(context, transit).await
    {
        ended.push(Err(error));
    }
    ended
}

/// Puts an interface into the isolation group alone. Returns that group, which is another
/// one where the known one was deleted; `None` if the interface does not exist any more.
async fn isolate(
    context: ActionContext<'_>,
    interface: &Interface,
    purpose: Purpose<'_>,
    mut group: String,
) -> Result<Option<String>, ActionError> {
    let mut result =
        interfaces::set_groups(context, &interface.id, std::slice::from_ref(&group)).await;
    if result.as_ref().is_err_and(interfaces::is_missing_group) {
        // Another response's undo deleted it after it was read.
        group = groups::ensure(context, &interface.vpc, purpose).await?;
        result = interfaces::set_groups(context, &interface.id, std::slice::from_ref(&group)).await;
    }
    match result {
        Ok(()) => Ok(Some(group)),
        Err(error) if interfaces::is_missing_group(&error) => {
            Err(ActionError { kind: ErrorKind::Transient, ..error })
        }
        Err(error) if error.kind == ErrorKind::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

/// The time that opening and closing an interface may take.
const PASS: Duration = Duration::from_secs(5);

/// The waits before each further try to close an interface again.
const CLOSE_AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// Puts an isolated interface into the transit group and back, which ends the connections
/// that are being tracked.
async fn pass_through(
    context: ActionContext<'_>,
    interface: &Interface,
    transit: &str,
    isolation: &str,
) -> Result<End, ActionError> {
    let id = &interface.id;
    context.account.permits(Class::NetworkInterface, 2).await;
    if !context.account.has_time(PASS) {
        let error = ActionError::new(ErrorKind::Transient, "no time is left to end them");
        return Err(connections_may_live_on(interface, &error));
    }
    let set = |group: &str| {
        let groups = [group.to_owned()];
        async move { interfaces::set_groups_permitted(context, id, &groups).await }
    };
    let opened = set(transit).await;
    let mut closed = set(isolation).await;
    for wait in CLOSE_AGAIN {
        match &closed {
            Ok(()) => break,
            Err(error) if error.kind == ErrorKind::Gone && !interfaces::is_missing_group(error) => {
                return Ok(End::Gone);
            }
            Err(_) => {
                tokio::time::sleep(wait).await;
                closed = set(isolation).await;
            }
        }
    }
    match (opened, closed) {
        (Ok(()), Ok(())) => Ok(End::Isolated),
        (Err(error), Ok(())) => Err(connections_may_live_on(interface, &error)),
        (opened, Err(error)) => {
            // A call that was refused changed nothing; any other may have taken effect.
            let refused = opened.is_err_and(|opened| opened.kind != ErrorKind::Transient);
            let message = match interfaces::set_groups(context, id, &interface.groups).await {
                Ok(()) => format!("{}; it has its own groups again", error.message),
                Err(_) if refused => {
                    format!("{}; it was in the isolation group before", error.message)
                }
                Err(back) => format!(
                    "{}; it may be open to everyone, because restoring its own groups failed: {}",
                    error.message, back.message
                ),
            };
            Err(ActionError { message, ..error })
        }
    }
}

fn connections_may_live_on(interface: &Interface, error: &ActionError) -> ActionError {
    let message = format!(
        "`{}` is isolated, but connections that were being tracked may live on: {}",
        interface.id, error.message
    );
    let help = error.help.clone().unwrap_or_else(|| {
        "where such a group may not be made, set cut-tracked-connections: false".to_owned()
    });
    ActionError { message, help: Some(help), ..error.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(id: &str, groups: &[&str], requester_managed: bool) -> Interface {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let (vpc, subnet) = ("vpc-1".to_owned(), "subnet-1".to_owned());
        Interface { id: id.to_owned(), vpc, subnet, groups, requester_managed }
    }

    fn isolation_groups(id: Option<&str>) -> BTreeMap<String, String> {
        id.map(|id| ("vpc-1".to_owned(), id.to_owned())).into_iter().collect()
    }

    #[test]
    fn a_plan_says_what_becomes_of_each_interface() {
        let check = |interface: &Interface, isolation: Option<&str>, expected: Option<&str>| {
            let after = change(interface, &isolation_groups(isolation), "firebreak-isolation")
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
            let verdict =
                judge("i-1", present, &isolation_groups(isolation), "firebreak-isolation");
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
    fn a_managed_instance_is_named_where_aws_refuses_to_change_it() {
        let denied = ActionError::new(ErrorKind::Denied, "no");
        assert_eq!(of_managed(denied.clone(), None), denied);
        let help = of_managed(denied, Some("eks.amazonaws.com")).help.unwrap();
        assert!(help.starts_with("eks.amazonaws.com manages this instance"), "{help}");
        let busy = ActionError::new(ErrorKind::Transient, "later");
        assert_eq!(of_managed(busy.clone(), Some("eks.amazonaws.com")), busy);
    }

    #[test]
    fn the_prior_state_survives_its_record() {
        let prior = Prior {
            instance_id: "i-1".to_owned(),
            interfaces: vec![interface("eni-1", &["sg-2", "sg-1"], false)],
            profile: None,
            operator: None,
            isolation_groups: isolation_groups(Some("sg-iso")),
            observed: Timestamp::UNIX_EPOCH,
        };
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }
}
