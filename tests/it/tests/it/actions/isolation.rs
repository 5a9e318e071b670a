//! What is particular to `isolate-instance`: its groups, its order, its depth.

use std::time::Duration;

use firebreak_model::resource::ResourceKind;
use firebreak_simulation::ec2::model::{Peer, Rule, SecurityGroup};
use firebreak_simulation::{Effect, Fault};
use firebreak_spoke::contract::{CapturedState, Change};

use crate::actions::cases::{case, first_interface, instance_id};
use crate::actions::stage::{ACCOUNT, REGION, Stage, empty, holds, resource};
use crate::actions::stops::stopped;

#[tokio::test(start_paused = true)]
async fn a_warm_isolation_closes_new_connections_with_its_first_call_and_needs_five() {
    const LATENCY: Duration = Duration::from_millis(100);
    let organization = empty(LATENCY);
    // Another instance in both VPCs is isolated already.
    let first = Stage::with(&case("isolate-instance"), organization.clone()).await;
    let prior = first.capture().await.unwrap().prior;
    first.apply(&prior).await.unwrap();
    let second = organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let groups: Vec<(String, String)> = ec2
            .groups
            .iter()
            .filter(|(_, group)| group.name == "admin" || group.name == "backup")
            .map(|(id, group)| (group.vpc.clone(), id.clone()))
            .collect();
        let id = ec2.add_instance(&groups[0].0, &[&groups[0].1]);
        ec2.attach_interface(&id, &groups[1].0, &[&groups[1].1]);
        id
    });
    let resource = resource(ResourceKind::Instance { instance_id: second });
    let second = Stage { resource, ..first };
    let start = tokio::time::Instant::now();
    let captured = second.capture().await.unwrap();
    assert_eq!(start.elapsed().as_millis() / LATENCY.as_millis(), 1);
    organization.forget_calls();
    second.apply(&captured.prior).await.unwrap();
    // Both VPCs at the same time: close new connections while the transit group is made,
    // give it its rules, open, close, delete the transit group.
    assert_eq!(start.elapsed().as_millis() / LATENCY.as_millis(), 1 + 5);
    let calls = organization.take_calls();
    let swaps = calls.iter().filter(|call| call.operation == "ModifyNetworkInterfaceAttribute");
    let first = swaps.map(|call| call.ended).min().unwrap();
    let began = calls.iter().map(|call| call.began).min().unwrap();
    assert_eq!(
        first.duration_since(began).as_millis(),
        i128::try_from(LATENCY.as_millis()).unwrap()
    );
    assert!(holds(&second.verify(&captured.prior).await));
    // The first still needs the groups.
    let undone = second.undo(&captured.prior).await.unwrap();
    assert_eq!(undone.restored.len(), 2, "{undone:?}");
}

#[tokio::test(start_paused = true)]
async fn an_isolation_that_fails_never_leaves_the_instance_open() {
    for after in 0..40 {
        let stage = Stage::of(&case("isolate-instance")).await;
        let prior = stage.capture().await.unwrap().prior;
        let effect = Effect::Error { status: 403, code: "UnauthorizedOperation".to_owned() };
        let work = stage.apply(&prior);
        stopped(&stage.organization, after, &effect, work).await;
        let id = instance_id(&stage.resource);
        let open = stage
            .organization
            .edit(|state| state.ec2(ACCOUNT, REGION).reachable_from_internet(&id));
        assert!(!open, "the call after {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_rule_in_the_isolation_group_is_planned_for_removal_and_removed() {
    let stage = Stage::of(&case("isolate-instance")).await;
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpcs: Vec<String> = ec2.vpcs.keys().cloned().collect();
        for vpc in vpcs {
            let id = ec2.add_group(&vpc, "firebreak-isolation");
            let group = ec2.groups.get_mut(&id).unwrap();
            group.ingress.insert(Rule::tcp(22, "192.0.2.0/24"));
            group.egress.insert(Rule::all(Peer::PrefixList("pl-1".to_owned())));
            group.egress.insert(Rule::all(Peer::Group(id)));
        }
    });
    let CapturedState { prior, changes } = stage.capture().await.unwrap();
    let repairs = |it: &&Change| it.what.starts_with("rules of firebreak-isolation");
    assert_eq!(changes.iter().filter(repairs).count(), 2, "{changes:?}");
    stage.apply(&prior).await.unwrap();
    assert!(holds(&stage.verify(&prior).await));
    // Without Firebreak's tag they are the organization's: undo lets them be.
    stage.undo(&prior).await.unwrap();
    let left = stage.organization.edit(|state| {
        let groups = state.ec2(ACCOUNT, REGION).groups.clone();
        groups.into_values().filter(|group| group.name == "firebreak-isolation").count()
    });
    assert_eq!(left, 2);
}

#[tokio::test(start_paused = true)]
async fn a_rule_added_while_the_plan_awaited_approval_is_removed() {
    let organization = empty(Duration::ZERO);
    let first = Stage::with(&case("isolate-instance"), organization.clone()).await;
    let warm = first.capture().await.unwrap().prior;
    first.apply(&warm).await.unwrap();
    let prior = first.capture().await.unwrap().prior;
    organization.edit(|state| {
        for group in state.ec2(ACCOUNT, REGION).groups.values_mut() {
            if group.name == "firebreak-isolation" {
                group.ingress.insert(Rule::tcp(22, "0.0.0.0/0"));
            }
        }
    });
    tokio::time::advance(Duration::from_mins(10)).await;
    first.apply(&prior).await.unwrap();
    assert!(holds(&first.verify(&prior).await));
}

/// The SDK tries again, and EC2 says that the rule is there.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_transit_group_s_rule_does_not_stop_the_isolation() {
    let stage = Stage::of(&case("isolate-instance")).await;
    let prior = stage.capture().await.unwrap().prior;
    let lost = Fault::once("AuthorizeSecurityGroupIngress", Effect::LostAnswer);
    stage.organization.inject(lost);
    stage.apply(&prior).await.unwrap();
    assert!(holds(&stage.verify(&prior).await));
}

/// A transit group that a crash left is used, or made again if its rules were changed, and
/// deleted when it was passed through.
#[tokio::test(start_paused = true)]
async fn a_transit_group_that_a_crash_left_does_not_stay() {
    for emptied in [false, true] {
        let stage = Stage::of(&case("isolate-instance")).await;
        let prior = stage.capture().await.unwrap().prior;
        stage.organization.edit(|state| {
            let ec2 = state.ec2(ACCOUNT, REGION);
            let vpc = ec2.vpcs.keys().next().unwrap().clone();
            let id = ec2.add_group(&vpc, "firebreak-transit-r-0001");
            let group = ec2.groups.get_mut(&id).unwrap();
            group.ingress.insert(Rule::all(Peer::Ipv4("0.0.0.0/0".to_owned())));
            group.ingress.insert(Rule::all(Peer::Ipv6("::/0".to_owned())));
            if emptied {
                group.egress.clear();
            }
            let tags = ec2.tags.entry(id).or_default();
            tags.insert("firebreak".to_owned(), "managed".to_owned());
        });
        stage.apply(&prior).await.unwrap();
        assert!(holds(&stage.verify(&prior).await));
        let left = stage.organization.edit(|state| {
            let groups = state.ec2(ACCOUNT, REGION).groups.values();
            groups.filter(|group| group.name.starts_with("firebreak-transit")).count()
        });
        assert_eq!(left, 0, "emptied: {emptied}");
    }
}

#[tokio::test(start_paused = true)]
async fn isolation_groups_that_another_undo_deletes_during_apply_are_created_again() {
    let organization = empty(Duration::ZERO);
    let stage = Stage::with(&case("isolate-instance"), organization.clone()).await;
    let cold = stage.capture().await.unwrap().prior;
    stage.apply(&cold).await.unwrap();
    let theirs = |group: &SecurityGroup| group.name.starts_with("firebreak-");
    // Warm groups that nobody uses, deleted after they were observed.
    let saved = organization.edit(|state| state.ec2(ACCOUNT, REGION).clone());
    stage.undo(&cold).await.unwrap();
    organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        for (id, group) in saved.groups.into_iter().filter(|(_, group)| theirs(group)) {
            ec2.groups.insert(id, group);
        }
    });
    let warm = stage.capture().await.unwrap().prior;
    organization.edit(|state| {
        state.ec2(ACCOUNT, REGION).groups.retain(|_, group| !theirs(group));
    });
    stage.apply(&warm).await.unwrap();
    assert!(holds(&stage.verify(&warm).await));
    stage.undo(&warm).await.unwrap();
    assert_eq!(stage.snapshot(), stage.before);
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_cannot_be_changed_or_came_since_is_not_called_isolated() {
    let stage = Stage::of(&case("isolate-instance")).await;
    let id = first_interface_of(&stage);
    stage.organization.edit(|state| {
        let interface = state.ec2(ACCOUNT, REGION).interfaces.get_mut(&id).unwrap();
        interface.requester_managed = true;
    });
    let CapturedState { prior, changes } = stage.capture().await.unwrap();
    assert!(changes.iter().any(|change| change.after.starts_with("cannot be changed")));
    stage.apply(&prior).await.unwrap();
    assert!(!holds(&stage.verify(&prior).await));

    let stage = Stage::of(&case("isolate-instance")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpc = ec2.vpcs.keys().next().unwrap().clone();
        let group = ec2.add_group(&vpc, "way-out");
        ec2.attach_interface(&instance_id(&stage.resource), &vpc, &[&group]);
    });
    assert!(!holds(&stage.verify(&prior).await));
}

fn first_interface_of(stage: &Stage) -> String {
    stage.organization.edit(|state| first_interface(state, &stage.resource))
}

#[tokio::test(start_paused = true)]
async fn undo_leaves_an_interface_isolated_if_its_group_was_deleted_and_reports_drift() {
    let stage = Stage::of(&case("isolate-instance")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    stage.organization.edit(|state| {
        state.ec2(ACCOUNT, REGION).groups.retain(|_, group| group.name != "backup");
    });
    let undone = stage.undo(&prior).await.unwrap();
    assert_eq!(undone.drift.len(), 1, "{undone:?}");
    assert!(undone.drift[0].contains("was deleted since"), "{undone:?}");
}

/// In every VPC a group of this name that a participant of the shared VPC has made.
fn add_participants_groups(stage: &Stage, name: &str) {
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpcs: Vec<String> = ec2.vpcs.keys().cloned().collect();
        for vpc in vpcs {
            let id = ec2.add_group(&vpc, name);
            let group = ec2.groups.get_mut(&id).unwrap();
            group.owner = Some("999999999999".to_owned());
            group.egress.clear();
        }
    });
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_a_shared_vpc_uses_no_group_of_a_participant() {
    for (name, group) in [
        ("isolate-instance", "firebreak-isolation"),
        ("attach-security-group", "forensics"),
        ("quarantine-db of an instance", "firebreak-isolation"),
    ] {
        let stage = Stage::of(&case(name)).await;
        add_participants_groups(&stage, group);
        let before = stage.snapshot();
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        assert!(holds(&stage.verify(&prior).await), "{name}");
        let undone = stage.undo(&prior).await.unwrap();
        assert!(undone.drift.is_empty(), "{name}: {undone:?}");
        assert_eq!(stage.snapshot(), before, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_are_not_called_denied_where_no_network_acl_denies_them() {
    // No interface, and a subnet whose network ACL another account has.
    let stage = Stage::of(&case("block-remote-ip")).await;
    let id = instance_id(&stage.resource);
    let acls =
        stage.organization.edit(|state| std::mem::take(&mut state.ec2(ACCOUNT, REGION).acls));
    let error = stage.capture().await.unwrap_err();
    assert!(error.message.contains("no network ACL"), "{error:?}");
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        ec2.acls = acls;
        ec2.interfaces.retain(|_, it| it.instance.as_deref() != Some(&id));
    });
    let error = stage.capture().await.unwrap_err();
    assert!(error.message.contains("no network interface"), "{error:?}");

    // An interface in another subnet came after the plan.
    let stage = Stage::of(&case("block-remote-ip")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    assert!(holds(&stage.verify(&prior).await));
    let id = instance_id(&stage.resource);
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpc = ec2.add_vpc(false);
        let group = ec2.add_group(&vpc, "more");
        ec2.attach_interface(&id, &vpc, &[&group]);
    });
    assert!(!holds(&stage.verify(&prior).await));
}

#[tokio::test(start_paused = true)]
async fn the_branch_interfaces_of_pods_are_isolated_with_their_instance() {
    let stage = Stage::of(&case("isolate-instance")).await;
    let trunk = first_interface_of(&stage);
    let group = stage
        .organization
        .edit(|state| state.ec2(ACCOUNT, REGION).interfaces[&trunk].groups[0].clone());
    let branch = |stage: &Stage| {
        stage.organization.edit(|state| state.ec2(ACCOUNT, REGION).add_branch(&trunk, &[&group]))
    };
    let of_pod = branch(&stage);
    // The tag alone makes no branch: an attacker could have others isolated by it.
    let other = stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpc = ec2.interfaces[&trunk].vpc.clone();
        let neighbour = ec2.add_instance(&vpc, &[&group]);
        let (other, _) = ec2.interfaces_of(&neighbour).next().unwrap();
        let other = other.clone();
        let tag = ("vpcresources.k8s.aws/trunk-eni-id".to_owned(), trunk.clone());
        ec2.tags.entry(other.clone()).or_default().extend([tag]);
        other
    });
    let before = stage.snapshot();
    let captured = stage.capture().await.unwrap();
    assert!(captured.changes.iter().any(|it| it.what.contains(&of_pod)), "{captured:?}");
    assert!(!captured.changes.iter().any(|it| it.what.contains(&other)), "{captured:?}");
    stage.apply(&captured.prior).await.unwrap();
    assert!(holds(&stage.verify(&captured.prior).await));
    let name = stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let groups = &ec2.interfaces[&of_pod].groups;
        (groups.len(), ec2.groups[&groups[0]].name.clone())
    });
    assert_eq!(name, (1, "firebreak-isolation".to_owned()));
    // A pod that started since is a way out.
    let later = branch(&stage);
    assert!(!holds(&stage.verify(&captured.prior).await));
    stage.organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        ec2.interfaces.remove(&later);
        ec2.tags.remove(&later);
    });
    let undone = stage.undo(&captured.prior).await.unwrap();
    assert!(undone.drift.is_empty(), "{undone:?}");
    assert_eq!(stage.snapshot(), before);
}

/// Who puts an instance into a group of that name keeps the connections that it has.
#[tokio::test(start_paused = true)]
async fn connections_of_an_instance_that_was_isolated_before_are_not_called_ended() {
    let stage = Stage::of(&case("isolate-instance")).await;
    let first = stage.organization.edit(|state| {
        let id = instance_id(&stage.resource);
        let ec2 = state.ec2(ACCOUNT, REGION);
        let interfaces: Vec<(String, String)> =
            ec2.interfaces_of(&id).map(|(id, it)| (id.clone(), it.vpc.clone())).collect();
        for (interface, vpc) in &interfaces {
            let named =
                |group: &SecurityGroup| group.name == "firebreak-isolation" && group.vpc == *vpc;
            let found = ec2.groups.iter().find(|(_, it)| named(it)).map(|(id, _)| id.clone());
            let group = found.unwrap_or_else(|| ec2.add_group(vpc, "firebreak-isolation"));
            let rules = ec2.groups.get_mut(&group).unwrap();
            (rules.ingress, rules.egress) = Default::default();
            ec2.interfaces.get_mut(interface).unwrap().groups = vec![group];
        }
        let first = interfaces[0].0.clone();
        ec2.connect(&first, false);
        first
    });
    let captured = stage.capture().await.unwrap();
    assert_eq!(captured.changes, [], "{first}");
    assert!(holds(&stage.verify(&captured.prior).await));
    let residual = stage.residual(&captured.prior).await.unwrap();
    assert!(residual.iter().any(|it| it.path == "open-connections"), "{residual:?}");
}
