//! EBS volumes and snapshots, as the EC2 API reference has them. A snapshot and
//! a copy take their time: how far they are follows from the present time.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::answers::{Answer, Place, missing, put_tags, refuse, required, returned_true};
use super::describe::{next_token, page, select, tag_set, wanted};
use super::form::Form;
use super::model::Ec2;
use super::{Refusal, xml};

/// How long a snapshot or a copy takes.
const TAKES: SignedDuration = SignedDuration::from_secs(20);

/// An EBS volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Volume {
    /// The instance that it is attached to.
    pub instance: Option<String>,
    /// The device name there.
    pub device: String,
    /// Its size in GiB.
    pub size: i64,
    /// The key it is encrypted under; none for an unencrypted one.
    pub key: Option<String>,
    /// Whether it goes with its instance.
    pub delete_on_termination: bool,
}

/// An EBS snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// The volume; AWS's `vol-ffffffff` for a copy.
    pub volume: String,
    /// The volume's size in GiB.
    pub size: i64,
    /// The key it is encrypted under; none for an unencrypted one.
    pub key: Option<String>,
    /// Its description.
    pub description: String,
    /// When it was begun.
    pub started: Timestamp,
    /// Why it fails, if it does.
    pub fails: Option<String>,
    /// The accounts that may create volumes from it.
    pub shared_with: BTreeSet<String>,
}

impl Snapshot {
    /// Its state: `pending`, `completed` or `error`.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (now < self.started + TAKES, &self.fails) {
            (true, _) => "pending",
            (false, Some(_)) => "error",
            (false, None) => "completed",
        }
    }

    fn progress(&self, now: Timestamp) -> String {
        let percent = now.duration_since(self.started).as_secs() * 100 / TAKES.as_secs();
        format!("{}%", percent.clamp(0, 100))
    }
}

/// The key that AWS manages for EBS in this place.
pub fn managed_key(region: &str, account: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:key/aws-ebs")
}

impl Ec2 {
    /// Attaches a new volume to an instance; returns the volume's id.
    pub fn add_volume(&mut self, instance: &str, device: &str, key: Option<&str>) -> String {
        let id = self.new_id("vol");
        let volume = Volume {
            instance: Some(instance.to_owned()),
            device: device.to_owned(),
            size: 8,
            key: key.map(str::to_owned),
            delete_on_termination: true,
        };
        self.volumes.insert(id.clone(), volume);
        id
    }
}

/// Answers a call; `None` for one that is not modelled.
pub(super) fn answer(ec2: &mut Ec2, place: Place<'_>, action: &str, form: &Form) -> Option<Answer> {
    Some(match action {
        "DescribeVolumes" => describe_volumes(ec2, form),
        "DescribeSnapshots" => describe_snapshots(ec2, place, form),
        "DescribeSnapshotAttribute" => describe_snapshot_attribute(ec2, form),
        "CreateSnapshots" => create_snapshots(ec2, place, form),
        "CopySnapshot" => copy_snapshot(ec2, place, form),
        "ModifySnapshotAttribute" => modify_snapshot_attribute(ec2, place, form),
        _ => return None,
    })
}

fn describe_volumes(ec2: &Ec2, form: &Form) -> Answer {
    let ids = wanted(form, "VolumeId", &ec2.volumes, "InvalidVolume.NotFound")?;
    let ids = select(
        form,
        ids,
        |id, key| ec2.tags.get(id)?.get(key).cloned(),
        |id, name| {
            let volume = ec2.volumes.get(id)?;
            match name {
                "attachment.instance-id" => Some(volume.instance.iter().cloned().collect()),
                "volume-id" => Some(vec![id.to_owned()]),
                _ => None,
            }
        },
    )?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "volumeSet", ids, |out, id| {
        let Some(volume) = ec2.volumes.get(id) else { return };
        xml::text(out, "volumeId", id);
        xml::text(out, "size", &volume.size.to_string());
        xml::text(out, "status", if volume.instance.is_some() { "in-use" } else { "available" });
        encryption(out, volume.key.as_deref());
        xml::set(out, "attachmentSet", &volume.instance, |out, instance| {
            xml::text(out, "volumeId", id);
            xml::text(out, "instanceId", instance);
            xml::text(out, "device", &volume.device);
            xml::text(out, "status", "attached");
            let deleted = if volume.delete_on_termination { "true" } else { "false" };
            xml::text(out, "deleteOnTermination", deleted);
        });
        tag_set(out, ec2, id);
    });
    next_token(&mut out, next);
    Ok(out)
}

fn encryption(out: &mut String, key: Option<&str>) {
    xml::text(out, "encrypted", if key.is_some() { "true" } else { "false" });
    if let Some(key) = key {
        xml::text(out, "kmsKeyId", key);
    }
}

fn describe_snapshots(ec2: &Ec2, place: Place<'_>, form: &Form) -> Answer {
    let ids = wanted(form, "SnapshotId", &ec2.snapshots, "InvalidSnapshot.NotFound")?;
    let ids = select(
        form,
        ids,
        |id, key| ec2.tags.get(id)?.get(key).cloned(),
        |id, name| {
            let snapshot = ec2.snapshots.get(id)?;
            match name {
                "volume-id" => Some(vec![snapshot.volume.clone()]),
                "status" => Some(vec![snapshot.state(place.now).to_owned()]),
                _ => None,
            }
        },
    )?;
    let (ids, next) = page(form, &ids)?;
    let mut out = String::new();
    xml::set(&mut out, "snapshotSet", ids, |out, id| {
        if let Some(snapshot) = ec2.snapshots.get(id) {
            described(out, ec2, place, id, snapshot, "status");
        }
    });
    next_token(&mut out, next);
    Ok(out)
}

/// CreateSnapshots calls the state `state`, DescribeSnapshots `status`.
fn described(
    out: &mut String,
    ec2: &Ec2,
    place: Place<'_>,
    id: &str,
    snapshot: &Snapshot,
    state: &str,
) {
    xml::text(out, "snapshotId", id);
    xml::text(out, "volumeId", &snapshot.volume);
    xml::text(out, "volumeSize", &snapshot.size.to_string());
    xml::text(out, "ownerId", place.account);
    xml::text(out, "description", &snapshot.description);
    xml::text(out, "startTime", &snapshot.started.to_string());
    xml::text(out, "progress", &snapshot.progress(place.now));
    xml::text(out, state, snapshot.state(place.now));
    if let (Some(why), "error") = (&snapshot.fails, snapshot.state(place.now)) {
        xml::text(out, "statusMessage", why);
    }
    encryption(out, snapshot.key.as_deref());
    tag_set(out, ec2, id);
}

fn snapshot_not_found(id: &str) -> Refusal {
    refuse("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

fn describe_snapshot_attribute(ec2: &Ec2, form: &Form) -> Answer {
    let id = required(form, "SnapshotId")?;
    let snapshot = ec2.snapshots.get(id).ok_or_else(|| snapshot_not_found(id))?;
    let mut out = String::new();
    xml::text(&mut out, "snapshotId", id);
    xml::set(&mut out, "createVolumePermission", &snapshot.shared_with, |out, account| {
        xml::text(out, "userId", account);
    });
    Ok(out)
}

fn tag_all(ec2: &mut Ec2, id: &str, form: &Form) {
    for specification in form.structures("TagSpecification") {
        put_tags(ec2, id, &specification.structures("Tag"));
    }
}

fn create_snapshots(ec2: &mut Ec2, place: Place<'_>, form: &Form) -> Answer {
    let instance = required(form, "InstanceSpecification.InstanceId")?;
    match ec2.instances.get(instance).map(|instance| instance.state.as_str()) {
        None => {
            let message = format!("The instance ID '{instance}' does not exist");
            return Err(refuse("InvalidInstanceID.NotFound", message));
        }
        Some("running" | "stopped" | "stopping") => {}
        Some(state) => {
            let message = format!("The instance '{instance}' is {state}");
            return Err(refuse("IncorrectInstanceState", message));
        }
    }
    let volumes: Vec<(String, Volume)> = ec2
        .volumes
        .iter()
        .filter(|(_, volume)| volume.instance.as_deref() == Some(instance))
        .map(|(id, volume)| (id.clone(), volume.clone()))
        .collect();
    if volumes.is_empty() {
        let message = format!("The instance '{instance}' has no volume to snapshot");
        return Err(refuse("InvalidParameterValue", message));
    }
    let mut ids = Vec::new();
    for (volume, Volume { size, key, .. }) in volumes {
        let id = ec2.new_id("snap");
        let unusable = key.as_ref().is_some_and(|key| ec2.unusable_keys.contains(key));
        let snapshot = Snapshot {
            volume,
            size,
            key,
            description: form.get("Description").unwrap_or_default().to_owned(),
            started: place.now,
            fails: unusable.then(|| "Given key ID is not accessible".to_owned()),
            shared_with: BTreeSet::new(),
        };
        ec2.snapshots.insert(id.clone(), snapshot);
        tag_all(ec2, &id, form);
        ids.push(id);
    }
    let mut out = String::new();
    xml::set(&mut out, "snapshotSet", ids, |out, id| {
        if let Some(snapshot) = ec2.snapshots.get(&id) {
            described(out, ec2, place, &id, snapshot, "state");
        }
    });
    Ok(out)
}

fn copy_snapshot(ec2: &mut Ec2, place: Place<'_>, form: &Form) -> Answer {
    let source = required(form, "SourceSnapshotId")?;
    let region = required(form, "SourceRegion")?;
    if region != place.region {
        let message = "The simulation copies within one Region only".to_owned();
        return Err(refuse("InvalidParameterValue", message));
    }
    let original = ec2.snapshots.get(source).ok_or_else(|| snapshot_not_found(source))?.clone();
    if original.state(place.now) != "completed" {
        let message = format!("The snapshot '{source}' is not in the completed state");
        return Err(refuse("IncorrectState", message));
    }
    // Encryption cannot be taken off; without a key it is AWS's own (EC2 API
    // reference, CopySnapshot).
    let encrypted = form.flag("Encrypted") || original.key.is_some();
    if form.get("KmsKeyId").is_some() && !form.flag("Encrypted") {
        let message = "KmsKeyId needs the parameter Encrypted".to_owned();
        return Err(refuse("InvalidParameterDependency", message));
    }
    let managed = || managed_key(place.region, place.account);
    let key = encrypted.then(|| form.get("KmsKeyId").map_or_else(managed, str::to_owned));
    // A key that cannot be used makes the copy fail later, not the call.
    let unusable = key.as_ref().is_some_and(|key| ec2.unusable_keys.contains(key));
    let copy = Snapshot {
        volume: "vol-ffffffff".to_owned(),
        key,
        description: form.get("Description").unwrap_or_default().to_owned(),
        started: place.now,
        fails: unusable.then(|| "Given key ID is not accessible".to_owned()),
        shared_with: BTreeSet::new(),
        size: original.size,
    };
    let id = ec2.new_id("snap");
    ec2.snapshots.insert(id.clone(), copy);
    tag_all(ec2, &id, form);
    let mut out = String::new();
    xml::text(&mut out, "snapshotId", &id);
    tag_set(&mut out, ec2, &id);
    Ok(out)
}

fn modify_snapshot_attribute(ec2: &mut Ec2, place: Place<'_>, form: &Form) -> Answer {
    let id = required(form, "SnapshotId")?;
    let add = form.structures("CreateVolumePermission.Add");
    if add.is_empty() {
        return Err(missing("CreateVolumePermission.Add"));
    }
    let managed = managed_key(place.region, place.account);
    let snapshot = ec2.snapshots.get_mut(id).ok_or_else(|| snapshot_not_found(id))?;
    // "You can't share snapshots that are encrypted with the default AWS
    // managed key" (EBS user guide, "Share an Amazon EBS snapshot").
    if snapshot.key.as_deref() == Some(managed.as_str()) {
        let message = "Encrypted snapshots with EBS default key cannot be shared".to_owned();
        return Err(refuse("OperationNotPermitted", message));
    }
    for permission in &add {
        snapshot.shared_with.insert(required(permission, "UserId")?.to_owned());
    }
    Ok(returned_true())
}
