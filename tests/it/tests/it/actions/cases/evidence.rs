//! The actions that keep evidence, and the hand-off to Systems Manager.

use fastrand::Rng;
use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::Organization;
use firebreak_simulation::ec2::volumes::managed_key;
use firebreak_simulation::regional::ssm::{Document, Managed};
use firebreak_simulation::s3::model::Bucket;
use firebreak_simulation::state::State;
use serde_json::{Value, json};

use super::Case;
use super::containment::instance_id;
use crate::actions::stage::{ACCOUNT, REGION};

/// A customer-managed key.
pub(crate) const KEY: &str = "arn:aws:kms:eu-central-1:111111111111:key/forensics";

/// An instance with two volumes, one of them under the key that AWS manages.
pub(crate) fn with_volumes(organization: &Organization) -> ResourceKind {
    let instance_id = organization.edit(|state| {
        let ec2 = state.ec2(ACCOUNT, REGION);
        let vpc = ec2.add_vpc(false);
        let group = ec2.add_group(&vpc, "web");
        let id = ec2.add_instance(&vpc, &[&group]);
        ec2.add_volume(&id, "/dev/xvda", None);
        ec2.add_volume(&id, "/dev/xvdb", Some(&managed_key(REGION, ACCOUNT)));
        // A neighbour's, which nobody snapshots.
        let neighbour = ec2.add_instance(&vpc, &[&group]);
        ec2.add_volume(&neighbour, "/dev/xvda", None);
        id
    });
    ResourceKind::Instance { instance_id }
}

fn forget_instance(state: &mut State, resource: &Resource) {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    ec2.terminate(&id);
    ec2.instances.remove(&id);
}

/// More volumes under other keys, or none at all; the instance stopped.
fn vary_volumes(state: &mut State, resource: &Resource, dice: &mut Rng) {
    let id = instance_id(resource);
    let ec2 = state.ec2(ACCOUNT, REGION);
    for number in 0..dice.usize(0..4) {
        let key = dice.bool().then_some(KEY);
        ec2.add_volume(&id, &format!("/dev/sd{number}"), key);
    }
    if dice.u8(0..6) == 0 {
        ec2.volumes.retain(|_, volume| volume.instance.as_deref() != Some(id.as_str()));
    }
    if dice.bool() {
        "stopped".clone_into(&mut ec2.instances.get_mut(&id).unwrap().state);
    }
}

fn nothing(_: &mut State, _: &Resource) {}

fn no_witness(_: &mut State, _: &Resource) -> Value {
    Value::Null
}

pub(super) fn cases() -> Vec<Case> {
    [snapshots(), automations(), collections()].concat()
}

/// The account's own evidence bucket, which is not what the laws compare.
fn add_evidence_bucket(state: &mut State, owner: &str) {
    let bucket =
        Bucket { account: owner.to_owned(), region: REGION.to_owned(), ..Bucket::default() };
    state.s3.buckets.insert("evidence".to_owned(), bucket);
}

fn manage(state: &mut State, instance_id: &str, platform: &str, ping: &str) {
    let managed = Managed { platform: platform.to_owned(), ping: ping.to_owned() };
    let ssm = &mut state.regional(ACCOUNT, REGION).ssm;
    ssm.instances.insert(instance_id.to_owned(), managed);
}

fn managed_instance(organization: &Organization) -> ResourceKind {
    let kind = with_volumes(organization);
    let ResourceKind::Instance { instance_id } = &kind else { panic!("no instance") };
    organization.edit(|state| {
        add_evidence_bucket(state, ACCOUNT);
        manage(state, instance_id, "Linux", "Online");
        let document = Document { kind: "Command".to_owned(), ..Document::automation(&[]) };
        let ssm = &mut state.regional(ACCOUNT, REGION).ssm;
        ssm.documents.insert("Memory".to_owned(), document);
    });
    kind
}

fn unmanaged_instance(organization: &Organization) -> ResourceKind {
    let kind = with_volumes(organization);
    organization.edit(|state| add_evidence_bucket(state, ACCOUNT));
    kind
}

fn locked_bucket(organization: &Organization) -> ResourceKind {
    let kind = managed_instance(organization);
    organization.edit(|state| state.s3.objects.locked.insert("evidence".to_owned()));
    kind
}

/// Any platform and state of the agent, a bucket with Object Lock, a stopped
/// instance, commands that fail.
fn vary_evidence(state: &mut State, resource: &Resource, dice: &mut Rng) {
    let id = instance_id(resource);
    vary_volumes(state, resource, dice);
    let ec2 = state.ec2(ACCOUNT, REGION);
    for _ in 0..dice.usize(0..3) {
        let vpc = ec2.add_vpc(dice.bool());
        let group = ec2.add_group(&vpc, "more");
        ec2.attach_interface(&id, &vpc, &[&group]);
    }
    let platforms = ["Linux", "Windows", "MacOS"];
    let pings = ["Online", "ConnectionLost", "Inactive"];
    match dice.usize(0..4) {
        0 => {
            state.regional(ACCOUNT, REGION).ssm.instances.remove(&id);
        }
        _ => manage(state, &id, platforms[dice.usize(0..3)], pings[dice.usize(0..3)]),
    }
    if let Some(document) = state.regional(ACCOUNT, REGION).ssm.documents.get_mut("Memory") {
        ["Success", "Failed", "TimedOut"][dice.usize(0..3)].clone_into(&mut document.outcome);
    }
    if dice.bool() {
        state.s3.objects.locked.insert("evidence".to_owned());
    }
}

fn collections() -> Vec<Case> {
    let collection = Case {
        name: "collect-evidence",
        action: "collect-evidence",
        parameters: json!({ "bucket": "evidence", "bucket-owner": ACCOUNT }),
        arrange: managed_instance,
        disturb: nothing,
        witness: no_witness,
        remove: forget_instance,
        outlives: false,
        vary: vary_evidence,
        forgive: super::nothing_forgiven,
    };
    vec![
        Case {
            name: "collect-evidence of an instance that is not managed",
            arrange: unmanaged_instance,
            ..collection.clone()
        },
        Case {
            name: "collect-evidence with memory, retained",
            parameters: json!({
                "bucket": "evidence",
                "prefix": "cases/",
                "retain": 30,
                "commands": ["id"],
                "memory-document": "Memory",
            }),
            arrange: locked_bucket,
            ..collection.clone()
        },
        collection,
    ]
}

fn add_documents(organization: &Organization) {
    organization.edit(|state| {
        let documents = &mut state.regional(ACCOUNT, REGION).ssm.documents;
        for name in ["Contain", "Release"] {
            documents.insert(name.to_owned(), Document::automation(&["Target", "Why"]));
        }
    });
}

fn automated_instance(organization: &Organization) -> ResourceKind {
    add_documents(organization);
    with_volumes(organization)
}

fn automated_function(organization: &Organization) -> ResourceKind {
    add_documents(organization);
    ResourceKind::Function { name: "resize".to_owned() }
}

/// However the document ends, and whatever it is called while it runs.
fn vary_documents(state: &mut State, _: &Resource, dice: &mut Rng) {
    let statuses = ["Success", "Failed", "TimedOut", "CompletedWithFailure", "Rejected"];
    let running = ["Pending", "InProgress", "Waiting", "PendingApproval"];
    for document in state.regional(ACCOUNT, REGION).ssm.documents.values_mut() {
        statuses[dice.usize(0..statuses.len())].clone_into(&mut document.outcome);
        running[dice.usize(0..running.len())].clone_into(&mut document.running);
        if document.outcome == "Failed" {
            document.failure = Some(("stop".to_owned(), "it was told to fail".to_owned()));
        }
    }
}

fn automations() -> Vec<Case> {
    let parameters = json!({ "Target": ["${resource.id}"], "Why": ["${finding.id}"] });
    let automation = Case {
        name: "run-automation",
        action: "run-automation",
        parameters: json!({ "document": "Contain", "parameters": parameters }),
        arrange: automated_instance,
        disturb: nothing,
        witness: no_witness,
        // The document finds out whether its target is there.
        remove: nothing,
        outlives: true,
        vary: vary_documents,
        forgive: super::nothing_forgiven,
    };
    vec![
        Case {
            name: "run-automation with a role and an undo",
            parameters: json!({
                "document": "Contain",
                "parameters": parameters,
                "role": "arn:aws:iam::111111111111:role/automation",
                "undo-document": "Release",
            }),
            ..automation.clone()
        },
        Case {
            name: "run-automation on a function",
            arrange: automated_function,
            ..automation.clone()
        },
        automation,
    ]
}

fn snapshots() -> Vec<Case> {
    let snapshot = Case {
        name: "snapshot-volumes",
        action: "snapshot-volumes",
        parameters: Value::Null,
        arrange: with_volumes,
        // What it makes is kept: undo has nothing to compare.
        disturb: nothing,
        witness: no_witness,
        remove: forget_instance,
        outlives: false,
        vary: vary_volumes,
        forgive: super::nothing_forgiven,
    };
    vec![
        Case {
            name: "snapshot-volumes with copies under a key",
            parameters: json!({ "kms-key": KEY }),
            ..snapshot.clone()
        },
        Case {
            name: "snapshot-volumes with copies for another account",
            parameters: json!({ "kms-key": KEY, "copy-to-account": "222222222222" }),
            ..snapshot.clone()
        },
        snapshot,
    ]
}
