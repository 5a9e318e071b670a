//! Open connections, and which changes end them (EC2 user guide, "Security group connection
//! tracking").
//!
//! A change of groups ends only connections that are not tracked. A connection is untracked
//! where the rules allow all traffic both ways, unless it goes through a service behind which
//! it is tracked automatically, or is ICMP, which is always tracked.

use super::model::{Ec2, Peer, Rule};

/// An open connection of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The interface.
    pub interface: String,
    /// Whether the rules do not decide on it: it goes through a NAT gateway, an interface
    /// endpoint or a Network Load Balancer, among others, or is ICMP.
    pub automatically_tracked: bool,
    tracked: bool,
}

impl Ec2 {
    /// Opens a connection from an interface, and returns its id.
    pub fn connect(&mut self, interface: &str, automatically_tracked: bool) -> String {
        let id = self.new_id("connection");
        let interface = interface.to_owned();
        let connection = Connection { interface, automatically_tracked, tracked: true };
        self.connections.insert(id.clone(), connection);
        id
    }

    /// Whether a new connection can begin on an interface: one of its groups has a rule.
    pub fn lets_connect(&self, interface: &str) -> bool {
        let Some(interface) = self.interfaces.get(interface) else { return false };
        let mut groups = interface.groups.iter().filter_map(|group| self.groups.get(group));
        groups.any(|group| !group.ingress.is_empty() || !group.egress.is_empty())
    }

    /// What a change of an interface's groups does to its connections.
    pub(super) fn groups_changed(&mut self, interface: &str) {
        let allows_all = self.interfaces.get(interface).is_some_and(|it| {
            let everything = |rule: &Rule| {
                rule.protocol == "-1"
                    && matches!(&rule.peer, Peer::Ipv4(block) if block == "0.0.0.0/0")
            };
            it.groups.iter().filter_map(|group| self.groups.get(group)).any(|group| {
                group.ingress.iter().any(everything) && group.egress.iter().any(everything)
            })
        });
        let open = self.lets_connect(interface);
        self.connections.retain(|_, it| {
            if it.interface != interface || it.automatically_tracked {
                return true;
            }
            if allows_all {
                it.tracked = false;
            } else if open {
                it.tracked = true;
            }
            it.tracked || open
        });
    }

    /// Stopping or terminating an instance ends all its connections.
    pub(super) fn instance_ended(&mut self, instance: &str) {
        let of = |interface: &str| {
            self.interfaces.get(interface).and_then(|it| it.instance.as_deref()) == Some(instance)
        };
        let ended: Vec<String> = self
            .connections
            .iter()
            .filter(|(_, it)| of(&it.interface))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ended {
            self.connections.remove(&id);
        }
    }
}
