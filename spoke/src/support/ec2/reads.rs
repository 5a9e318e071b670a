//! What several decisions of one account read at the same moment, with one call: instances,
//! their interfaces and profiles, and Firebreak's security groups. Each answer is of a call
//! that began after it was asked for.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_ec2::types::{Filter, Instance, NetworkInterfaceType, RouteTable, SecurityGroup};
use firebreak_client::batcher::LookupBatcher;
use firebreak_client::rate_limit::{Class, Urgency};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::ActionError;

use crate::account::AccountSession;
use crate::support::ec2::instance_profile::{self, Association};
use crate::support::ec2::interfaces::{self, Interface};
use crate::support::ec2::isolation_groups;
use crate::support::ec2::tracked_connections::{self, TrackedPath};

/// "The maximum number of filter values is 200" (EC2 user guide, "List and filter").
const IDS_PER_CALL: usize = 100;

/// How many calls of a kind are made at once: one that is throttled must not delay those
/// that come later.
const CALLS_AT_ONCE: usize = 4;

type Batcher<K, V> = LookupBatcher<K, V, ActionError>;

/// The reads of one session, apart by their urgency: a containment never waits for the
/// rate limit of what can wait.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    contain: OfUrgency,
    routine: OfUrgency,
}

#[derive(Debug)]
struct OfUrgency {
    instances: Batcher<String, Instance>,
    interfaces: Batcher<String, Vec<Interface>>,
    profiles: Batcher<String, Association>,
    groups: Batcher<(), Vec<SecurityGroup>>,
    route_tables: Batcher<String, Vec<RouteTable>>,
    tracking_devices: Batcher<String, BTreeSet<TrackedPath>>,
}

impl Default for OfUrgency {
    fn default() -> Self {
        Self {
            instances: Batcher::new(IDS_PER_CALL, CALLS_AT_ONCE),
            interfaces: Batcher::new(IDS_PER_CALL, CALLS_AT_ONCE),
            profiles: Batcher::new(IDS_PER_CALL, CALLS_AT_ONCE),
            groups: Batcher::new(IDS_PER_CALL, CALLS_AT_ONCE),
            route_tables: Batcher::new(IDS_PER_CALL, CALLS_AT_ONCE),
            tracking_devices: Batcher::new(IDS_PER_CALL, CALLS_AT_ONCE),
        }
    }
}

impl Reads {
    fn of(&self, urgency: Urgency) -> &OfUrgency {
        match urgency {
            Urgency::Contain => &self.contain,
            Urgency::Routine => &self.routine,
        }
    }
}

fn filter(name: &str, values: Vec<String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// An instance; `None` if there is none of this id.
pub(crate) async fn instance(
    account: &AccountSession,
    id: &str,
) -> Result<Option<Instance>, ActionError> {
    let describe = |ids: Vec<String>| async move {
        // By a filter: an id that does not exist fails a call that names it.
        let filter = filter("instance-id", ids);
        let (mut found, mut next) = (HashMap::new(), None);
        loop {
            let call = account.ec2(Class::Ec2Read).await.describe_instances();
            let page = call.filters(filter.clone()).set_next_token(next).send().await;
            let page = page.map_err(|error| from_sdk("ec2:DescribeInstances", &error))?;
            next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            let reservations = page.reservations.unwrap_or_default().into_iter();
            let instances = reservations.flat_map(|it| it.instances.unwrap_or_default());
            found.extend(instances.filter_map(|it| Some((it.instance_id()?.to_owned(), it))));
            if next.is_none() {
                return Ok(found);
            }
        }
    };
    let batcher = &account.reads.of(account.urgency()).instances;
    Box::pin(batcher.ask(id.to_owned(), describe)).await
}

/// The tag of a branch interface that names its trunk: DescribeNetworkInterfaces shows no
/// attachment for one (Amazon VPC resource controller, "Security groups for pods").
const TRUNK: &str = "vpcresources.k8s.aws/trunk-eni-id";

/// Every interface that is attached to an instance, and the branch interfaces of the pods on
/// it, which have security groups of their own.
pub(crate) async fn interfaces_of(
    account: &AccountSession,
    instance: &str,
) -> Result<Vec<Interface>, ActionError> {
    let describe = |ids: Vec<String>| async move {
        let attached = filter("attachment.instance-id", ids);
        let mut found: HashMap<String, Vec<Interface>> = HashMap::new();
        let mut trunks = HashMap::new();
        for described in interfaces::describe(account, attached).await? {
            let attached_to = described.attachment().and_then(|it| it.instance_id());
            if let Some((instance, interface)) =
                attached_to.zip(interfaces::from_sdk_interface(&described))
            {
                if described.interface_type() == Some(&NetworkInterfaceType::Trunk) {
                    trunks.insert(interface.id.clone(), instance.to_owned());
                }
                found.entry(instance.to_owned()).or_default().push(interface);
            }
        }
        if !trunks.is_empty() {
            let of_trunks = filter(&format!("tag:{TRUNK}"), trunks.keys().cloned().collect());
            for described in interfaces::describe(account, of_trunks).await? {
                // Anybody may have set the tag, on an interface of another instance too.
                if described.interface_type() != Some(&NetworkInterfaceType::Branch) {
                    continue;
                }
                let mut tags = described.tag_set().iter();
                let trunk = tags.find(|tag| tag.key() == Some(TRUNK)).and_then(|tag| tag.value());
                let instance = trunk.and_then(|trunk| trunks.get(trunk));
                if let Some((instance, branch)) =
                    instance.zip(interfaces::from_sdk_interface(&described))
                {
                    found.entry(instance.clone()).or_default().push(branch);
                }
            }
        }
        Ok(found)
    };
    let batcher = &account.reads.of(account.urgency()).interfaces;
    Ok(Box::pin(batcher.ask(instance.to_owned(), describe)).await?.unwrap_or_default())
}

/// The profile of an instance, without one that is being disassociated.
pub(crate) async fn profile_of(
    account: &AccountSession,
    instance: &str,
) -> Result<Option<Association>, ActionError> {
    let describe =
        |ids: Vec<String>| instance_profile::associations(account, filter("instance-id", ids));
    let batcher = &account.reads.of(account.urgency()).profiles;
    Box::pin(batcher.ask(instance.to_owned(), describe)).await
}

/// All groups of Firebreak's names, in every VPC.
pub(crate) async fn groups(account: &AccountSession) -> Result<Vec<SecurityGroup>, ActionError> {
    let describe = |_| async move {
        let groups = isolation_groups::describe_in(account, None).await?;
        Ok(HashMap::from([((), groups)]))
    };
    let batcher = &account.reads.of(account.urgency()).groups;
    Ok(Box::pin(batcher.ask((), describe)).await?.unwrap_or_default())
}

/// The route tables of a VPC.
pub(crate) async fn route_tables(
    account: &AccountSession,
    vpc: &str,
) -> Result<Vec<RouteTable>, ActionError> {
    let describe = |vpcs: Vec<String>| async move {
        let mut found: HashMap<String, Vec<RouteTable>> = HashMap::new();
        for table in tracked_connections::route_tables(account, &vpcs).await? {
            let vpc = table.vpc_id().unwrap_or_default().to_owned();
            found.entry(vpc).or_default().push(table);
        }
        Ok(found)
    };
    let batcher = &account.reads.of(account.urgency()).route_tables;
    Ok(Box::pin(batcher.ask(vpc.to_owned(), describe)).await?.unwrap_or_default())
}

/// What stands in a VPC behind which connections are tracked.
pub(crate) async fn tracking_devices(
    account: &AccountSession,
    vpc: &str,
) -> Result<BTreeSet<TrackedPath>, ActionError> {
    let describe = |vpcs: Vec<String>| async move {
        let mut found: HashMap<String, BTreeSet<TrackedPath>> = HashMap::new();
        for (vpc, path) in tracked_connections::devices(account, &vpcs).await? {
            found.entry(vpc).or_default().insert(path);
        }
        Ok(found)
    };
    let batcher = &account.reads.of(account.urgency()).tracking_devices;
    Ok(Box::pin(batcher.ask(vpc.to_owned(), describe)).await?.unwrap_or_default())
}
