//! What EC2 holds in one account and Region, and the rules by which it changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::connections::Connection;
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
    /// Elastic IP addresses by allocation id.
    pub addresses: BTreeMap<String, Address>,
    /// Network ACLs by id.
    pub acls: BTreeMap<String, NetworkAcl>,
    /// Managed prefix lists by id.
    pub prefix_lists: BTreeMap<String, PrefixList>,
    /// EBS volumes by id.
    pub volumes: BTreeMap<String, Volume>,
    /// EBS snapshots by id.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// KMS keys that EBS cannot use, by ARN: snapshots under them fail.
    #[serde(skip)]
    pub unusable_keys: BTreeSet<String>,
    /// Open connections of instances by id.
    #[serde(skip)]
    pub connections: BTreeMap<String, Connection>,
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
    /// The routes of its one table besides the local one: the block, and the id of what it
    /// leads to, such as `nat-…`.
    pub routes: BTreeMap<String, String>,
    /// Its gateway endpoints: the service's name by id.
    pub endpoints: BTreeMap<String, String>,
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
    /// The account that made it, if that is another one: a participant of a shared VPC, whose
    /// groups the VPC's owner sees and cannot use (VPC user guide, "Share your VPC subnets").
    pub owner: Option<String>,
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
    /// Its subnet.
    pub subnet: String,
    /// `interface`, or `trunk` for one that carries branch interfaces.
    pub kind: InterfaceKind,
}

/// The type of a network interface. A branch interface has no attachment: a tag of its own
/// names the trunk (Amazon VPC CNI and VPC resource controller, "Security groups for pods").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceKind {
    /// One of its own.
    #[default]
    Interface,
    /// One that carries branches.
    Trunk,
    /// One of a pod.
    Branch,
    /// That of a NAT gateway.
    NatGateway,
    /// That of an interface endpoint.
    VpcEndpoint,
    /// That of a Network Load Balancer.
    NetworkLoadBalancer,
}

impl InterfaceKind {
    /// As EC2 writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Trunk => "trunk",
            Self::Branch => "branch",
            Self::NatGateway => "nat_gateway",
            Self::VpcEndpoint => "vpc_endpoint",
            Self::NetworkLoadBalancer => "network_load_balancer",
        }
    }
}

/// An Elastic IP address. An association's id changes with each association,
/// so it is not part of the state that an undo restores.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Address {
    /// The address.
    pub public_ip: String,
    /// The interface that has it, and its private address there.
    pub on: Option<(String, String)>,
    /// The present association's id.
    #[serde(skip)]
    pub association: String,
}

/// A network ACL: the deny and allow entries of its subnets, by number.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NetworkAcl {
    /// Its VPC.
    pub vpc: String,
    /// The subnets that it governs.
    pub subnets: BTreeSet<String>,
    /// Entries by direction (`true` is egress) and number.
    #[serde(serialize_with = "entries")]
    pub entries: BTreeMap<(bool, i64), AclEntry>,
}

fn entries<S: serde::Serializer>(
    entries: &BTreeMap<(bool, i64), AclEntry>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let way = |egress: bool| if egress { "egress" } else { "ingress" };
    serializer.collect_map(
        entries
            .iter()
            .map(|((egress, number), entry)| (format!("{} {number}", way(*egress)), entry)),
    )
}

/// An entry of a network ACL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AclEntry {
    /// `allow` or `deny`.
    pub action: String,
    /// The protocol's number; `-1` for all.
    pub protocol: String,
    /// The IPv4 or IPv6 block.
    pub block: String,
}

/// A managed prefix list. Its version counts its changes and never comes back.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PrefixList {
    /// Its name.
    pub name: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// How many entries it may have.
    pub max_entries: usize,
    /// The entries with their descriptions.
    pub entries: BTreeMap<String, String>,
    /// The present version.
    #[serde(skip)]
    pub version: i64,
}

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Instance {
    /// `pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`.
    pub state: String,
    /// Why it has this state (`StateReason`), where that is an error.
    pub state_reason: Option<String>,
    /// Its type.
    pub instance_type: String,
    /// Its image.
    pub image: String,
    /// `disableApiTermination`.
    pub termination_protection: bool,
    /// `disableApiStop`.
    pub stop_protection: bool,
    /// `stop` or `terminate`.
    pub shutdown_behavior: String,
    /// Whether it is a Spot Instance.
    pub spot: bool,
    /// Its EBS volumes by device.
    pub devices: BTreeMap<String, Device>,
}

/// A volume on an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Device {
    /// The volume's id.
    pub volume: String,
    /// Whether the volume goes with the instance.
    pub delete_on_termination: bool,
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
        self.vpcs.insert(id.clone(), Vpc { ipv6, ..Vpc::default() });
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
            owner: None,
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
            shutdown_behavior: "stop".to_owned(),
            devices: BTreeMap::from([(
                "/dev/xvda".to_owned(),
                Device { volume: self.new_id("vol"), delete_on_termination: true },
            )]),
            ..Instance::default()
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
        let subnet = self.subnet_of(vpc);
        let interface = NetworkInterface {
            subnet,
            vpc: vpc.to_owned(),
            instance: Some(instance.to_owned()),
            device_index: i64::try_from(device_index).unwrap_or_default(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            requester_managed: false,
            kind: InterfaceKind::Interface,
            private_ip: format!("10.0.{device_index}.{host}"),
            public_ip: (device_index == 0).then(|| format!("203.0.113.{host}")),
        };
        self.interfaces.insert(id.clone(), interface);
        id
    }

    /// Adds an interface that an AWS service made in a VPC, such as a NAT gateway's.
    pub fn add_service_interface(&mut self, vpc: &str, kind: InterfaceKind) -> String {
        let id = self.new_id("eni");
        let subnet = self.subnet_of(vpc);
        let interface = NetworkInterface {
            vpc: vpc.to_owned(),
            subnet,
            kind,
            requester_managed: true,
            ..NetworkInterface::default()
        };
        self.interfaces.insert(id.clone(), interface);
        id
    }

    /// Adds a branch interface of a pod to an interface, which becomes a trunk.
    pub fn add_branch(&mut self, trunk: &str, groups: &[&str]) -> String {
        let id = self.new_id("eni");
        let Some(carrier) = self.interfaces.get_mut(trunk) else { return id };
        carrier.kind = InterfaceKind::Trunk;
        let branch = NetworkInterface {
            instance: None,
            kind: InterfaceKind::Branch,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            public_ip: None,
            ..carrier.clone()
        };
        self.interfaces.insert(id.clone(), branch);
        let tag = ("vpcresources.k8s.aws/trunk-eni-id".to_owned(), trunk.to_owned());
        self.tags.entry(id.clone()).or_default().extend([tag]);
        id
    }

    /// The one subnet of a VPC; its network ACL is made with it, allowing all as
    /// a default one does (VPC user guide, "Default network ACL").
    pub fn subnet_of(&mut self, vpc: &str) -> String {
        let subnet = vpc.replacen("vpc-", "subnet-", 1);
        if self.acls.values().all(|acl| !acl.subnets.contains(&subnet)) {
            let entry = |action: &str| AclEntry {
                action: action.to_owned(),
                protocol: "-1".to_owned(),
                block: "0.0.0.0/0".to_owned(),
            };
            let mut entries = BTreeMap::new();
            for egress in [false, true] {
                entries.insert((egress, 100), entry("allow"));
                entries.insert((egress, 32_767), entry("deny"));
            }
            let (vpc, subnets) = (vpc.to_owned(), BTreeSet::from([subnet.clone()]));
            let id = self.new_id("acl");
            self.acls.insert(id, NetworkAcl { vpc, subnets, entries });
        }
        subnet
    }

    /// Allocates an Elastic IP address and puts it on an interface; returns the
    /// allocation's id.
    pub fn add_address(&mut self, interface: &str) -> String {
        let (id, association) = (self.new_id("eipalloc"), self.new_id("eipassoc"));
        let public_ip = format!("203.0.113.{}", self.next % 250);
        let private = self.interfaces.get(interface).map(|it| it.private_ip.clone());
        if let Some(interface) = self.interfaces.get_mut(interface) {
            interface.public_ip = Some(public_ip.clone());
        }
        let on = Some((interface.to_owned(), private.unwrap_or_default()));
        self.addresses.insert(id.clone(), Address { public_ip, on, association });
        id
    }

    /// Makes a managed prefix list; returns its id.
    pub fn add_prefix_list(&mut self, name: &str, max_entries: usize) -> String {
        let id = self.new_id("pl");
        let list = PrefixList {
            name: name.to_owned(),
            family: "IPv4".to_owned(),
            max_entries,
            version: 1,
            ..PrefixList::default()
        };
        self.prefix_lists.insert(id.clone(), list);
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
        self.instance_ended(instance);
        let gone: Vec<String> = self.interfaces_of(instance).map(|(id, _)| id.clone()).collect();
        for address in self.addresses.values_mut() {
            address.on = address.on.take().filter(|(interface, _)| !gone.contains(interface));
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
