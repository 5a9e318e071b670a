//! What EC2 holds in one account and Region, and the rules by which it changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::volumes::{Snapshot, Volume};

/// One account's EC2 in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ec2 {
    /// VPCs by id.
    pub vpcs: BTreeMap<String, Vpc>,
    /// Security groups by id.
    pub groups: BTreeMap<String, SecurityGroup>,
    /// Network interfaces by id.
    pub interfaces: BTreeMap<String, NetworkInterface>,
    /// Instances by id.
    pub instances: BTreeMap<String, Instance>,
    /// Instance profile associations by id.
    pub associations: BTreeMap<String, ProfileAssociation>,
    /// EBS volumes by id.
    pub volumes: BTreeMap<String, Volume>,
    /// EBS snapshots by id.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// KMS keys that EBS cannot use, by ARN: snapshots under them fail.
    #[serde(skip)]
    pub unusable_keys: BTreeSet<String>,
    /// Tags by resource id.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    /// The number in the next id that this service gives out. Ids never come
    /// back, so a comparison of two states leaves it out.
    #[serde(skip)]
    pub next: u64,
}

/// A VPC.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Vpc {
    /// Whether it has an IPv6 block: a new group then allows egress to `::/0` too.
    pub ipv6: bool,
}

/// A security group. Rules are a set: AWS refuses a duplicate.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SecurityGroup {
    /// Its name, unique in its VPC.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its VPC.
    pub vpc: String,
    /// What may come in.
    pub ingress: BTreeSet<Rule>,
    /// What may go out.
    pub egress: BTreeSet<Rule>,
}

/// One permission with one peer, as DescribeSecurityGroupRules would list it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rule {
    /// `-1` for all, or `tcp`, `udp`, `icmp`, a number.
    pub protocol: String,
    /// The first port; absent for all traffic.
    pub from: Option<i64>,
    /// The last port; absent for all traffic.
    pub to: Option<i64>,
    /// The other side.
    pub peer: Peer,
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Peer {
    /// An IPv4 block.
    Ipv4(String),
    /// An IPv6 block.
    Ipv6(String),
    /// A prefix list.
    PrefixList(String),
    /// Another group.
    Group(String),
}

impl Rule {
    /// All traffic with one peer.
    pub fn all(peer: Peer) -> Self {
        Self { protocol: "-1".to_owned(), from: None, to: None, peer }
    }

    /// One TCP port with one IPv4 block.
    pub fn tcp(port: i64, block: &str) -> Self {
        Self {
            protocol: "tcp".to_owned(),
            from: Some(port),
            to: Some(port),
            peer: Peer::Ipv4(block.to_owned()),
        }
    }
}

/// A network interface. Its groups are *replaced* by
/// ModifyNetworkInterfaceAttribute (EC2 API reference: "the list overwrites").
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NetworkInterface {
    /// Its VPC.
    pub vpc: String,
    /// The instance that it is attached to.
    pub instance: Option<String>,
    /// Its place on the instance.
    pub device_index: i64,
    /// Its groups, in order.
    pub groups: Vec<String>,
    /// Whether an AWS service made it: such a one cannot be changed.
    pub requester_managed: bool,
    /// Its private address.
    pub private_ip: String,
    /// Its public address.
    pub public_ip: Option<String>,
}

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Instance {
    /// `pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`.
    pub state: String,
    /// Its type.
    pub instance_type: String,
    /// Its image.
    pub image: String,
}

/// An instance and its profile. A new association of the same profile has
/// another id, so the id is not part of the state that an undo restores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileAssociation {
    /// The instance.
    pub instance: String,
    /// The profile's ARN.
    pub profile_arn: String,
    /// The profile's id.
    pub profile_id: String,
}

impl Ec2 {
    /// The next id of this kind, such as `sg-…`: unique, of AWS's length.
    pub fn new_id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}-{:017x}", 0x0f1b_0000_0000_0000_u64 + self.next)
    }

    /// Makes a VPC and returns its id; its default group is `default`.
    pub fn add_vpc(&mut self, ipv6: bool) -> String {
        let id = self.new_id("vpc");
        self.vpcs.insert(id.clone(), Vpc { ipv6 });
        self.add_group(&id, "default");
        id
    }

    /// Makes a group as AWS does: with all egress allowed, in IPv6 too where
    /// the VPC has it (EC2 user guide, "Security group rules").
    pub fn add_group(&mut self, vpc: &str, name: &str) -> String {
        let id = self.new_id("sg");
        let mut egress = BTreeSet::from([Rule::all(Peer::Ipv4("0.0.0.0/0".to_owned()))]);
        if self.vpcs.get(vpc).is_some_and(|vpc| vpc.ipv6) {
            egress.insert(Rule::all(Peer::Ipv6("::/0".to_owned())));
        }
        let group = SecurityGroup {
            name: name.to_owned(),
            description: name.to_owned(),
            vpc: vpc.to_owned(),
            ingress: BTreeSet::new(),
            egress,
        };
        self.groups.insert(id.clone(), group);
        id
    }

    /// Runs an instance with one interface in the groups given; returns its id.
    pub fn add_instance(&mut self, vpc: &str, groups: &[&str]) -> String {
        let id = self.new_id("i");
        let instance = Instance {
            state: "running".to_owned(),
            instance_type: "t3.micro".to_owned(),
            image: "ami-0f1b0000000000001".to_owned(),
        };
        self.instances.insert(id.clone(), instance);
        self.attach_interface(&id, vpc, groups);
        id
    }

    /// Attaches one more interface to an instance; returns the interface's id.
    pub fn attach_interface(&mut self, instance: &str, vpc: &str, groups: &[&str]) -> String {
        let id = self.new_id("eni");
        let attached =
            |interface: &&NetworkInterface| interface.instance.as_deref() == Some(instance);
        let device_index = self.interfaces.values().filter(attached).count();
        let host = self.next % 250 + 4;
        let interface = NetworkInterface {
            vpc: vpc.to_owned(),
            instance: Some(instance.to_owned()),
            device_index: i64::try_from(device_index).unwrap_or_default(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            requester_managed: false,
            private_ip: format!("10.0.{device_index}.{host}"),
            public_ip: (device_index == 0).then(|| format!("203.0.113.{host}")),
        };
        self.interfaces.insert(id.clone(), interface);
        id
    }

    /// Gives an instance a profile; returns the association's id.
    pub fn associate(&mut self, instance: &str, profile_arn: &str, profile_id: &str) -> String {
        let id = self.new_id("iip-assoc");
        let association = ProfileAssociation {
            instance: instance.to_owned(),
            profile_arn: profile_arn.to_owned(),
            profile_id: profile_id.to_owned(),
        };
        self.associations.insert(id.clone(), association);
        id
    }

    /// Terminates an instance: it stays visible for a while, without interfaces.
    pub fn terminate(&mut self, instance: &str) {
        if let Some(instance) = self.instances.get_mut(instance) {
            "terminated".clone_into(&mut instance.state);
        }
        self.interfaces.retain(|_, interface| interface.instance.as_deref() != Some(instance));
        self.associations.retain(|_, association| association.instance != instance);
    }

    /// The interfaces of an instance, by id.
    pub fn interfaces_of<'a>(
        &'a self,
        instance: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a NetworkInterface)> {
        self.interfaces
            .iter()
            .filter(move |(_, interface)| interface.instance.as_deref() == Some(instance))
    }

    /// Whether an attacker on a running instance can send packets to any
    /// address of the internet: some interface has a group whose egress allows
    /// all of IPv4 or IPv6.
    pub fn reaches_internet(&self, instance: &str) -> bool {
        let running =
            self.instances.get(instance).is_some_and(|instance| instance.state == "running");
        running
            && self.interfaces_of(instance).any(|(_, interface)| {
                interface
                    .groups
                    .iter()
                    .filter_map(|id| self.groups.get(id))
                    .any(|group| group.egress.iter().any(|rule| opens_to_everyone(&rule.peer)))
            })
    }

    /// Whether anyone on the internet can send packets to a running instance.
    pub fn reachable_from_internet(&self, instance: &str) -> bool {
        let running =
            self.instances.get(instance).is_some_and(|instance| instance.state == "running");
        running
            && self.interfaces_of(instance).any(|(_, interface)| {
                interface.public_ip.is_some()
                    && interface
                        .groups
                        .iter()
                        .filter_map(|id| self.groups.get(id))
                        .any(|group| group.ingress.iter().any(|rule| opens_to_everyone(&rule.peer)))
            })
    }
}

fn opens_to_everyone(peer: &Peer) -> bool {
    match peer {
        Peer::Ipv4(block) => block == "0.0.0.0/0",
        Peer::Ipv6(block) => block == "::/0",
        Peer::PrefixList(_) | Peer::Group(_) => false,
    }
}
