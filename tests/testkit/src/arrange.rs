//! What many tests arrange alike: a policy, a finding, an undo.

use firebreak_demo::world::{Attack, Member, World};
use firebreak_policy::{Policy, read_files};
use firebreak_response::record::{Drift, Undo, UndoCause};
use firebreak_spoke::registry;
use serde_json::Value;

/// A policy of documents written in a test.
pub fn policy(documents: &[&str]) -> Policy {
    let files: Vec<(String, String)> = documents
        .iter()
        .enumerate()
        .map(|(index, text)| (format!("{index}.yaml"), (*text).to_owned()))
        .collect();
    read_files(&files, registry::catalog()).unwrap_or_else(|diagnostics| {
        panic!("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// A GuardDuty finding of this type on a resource of a member's, as `resource`
/// describes it.
pub fn finding_on(member: &Member, number: usize, kind: &str, resource: Value) -> Value {
    let mut finding = Attack::Instance.finding(member, number);
    finding["type"] = kind.into();
    finding["resource"] = resource;
    finding
}

/// Puts all interfaces of a member account into a new group, as somebody else would; its id.
pub fn put_into_another_group(world: &World, member: &Member) -> String {
    world.organization.edit(|state| {
        let ec2 = state.ec2(&member.account, &member.region);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let group = ec2.add_group(&vpc, "theirs");
        for interface in ec2.interfaces.values_mut() {
            interface.groups = vec![group.clone()];
        }
        group
    })
}

/// Types of findings about an instance.
pub const FIVE_TYPES: [&str; 5] = [
    "Backdoor:EC2/C&CActivity.B!DNS",
    "CryptoCurrency:EC2/BitcoinTool.B!DNS",
    "UnauthorizedAccess:EC2/TorClient",
    "Trojan:EC2/BlackholeTraffic",
    "Impact:EC2/PortSweep",
];

/// The whole of a response; drift is left alone, and nothing is suppressed.
pub fn whole_undo() -> Undo {
    let cause = UndoCause::Person("a test".to_owned());
    Undo { cause, step: None, drift: Drift::Leave, suppress_until: None }
}
