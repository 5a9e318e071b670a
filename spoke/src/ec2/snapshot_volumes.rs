//! Snapshots every EBS volume of an instance in one call, so that the snapshots
//! are of one moment (EBS user guide, "Create multi-volume Amazon EBS snapshots
//! from an Amazon EC2 instance"). Undo keeps them.
//!
//! With a `kms-key` each snapshot is copied under that key, and with
//! `copy-to-account` the copy is shared: one under the key that AWS manages
//! cannot be shared (EBS user guide, "Share an Amazon EBS snapshot"). A copy
//! can begin only when its snapshot is complete, and nothing waits here: apply
//! does what is ready, the verification is in progress, and the next delivery of the
//! finding applies again.
//!
//! CreateSnapshots and CopySnapshot take no token that would make them safe to repeat.
//! So apply first looks for the response's snapshots by their tags, and the SDK does
//! not retry either call: if a response is lost, the next delivery looks first.

use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{
    CreateVolumePermission, CreateVolumePermissionModifications, Filter, InstanceSpecification,
    ResourceType, SnapshotAttributeName, SnapshotState, Tag, TagSpecification,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::ec2::grants::{
    INSTANCES, LET_EC2_USE_KEYS, SNAPSHOTS, USE_KEYS_THROUGH_EC2, VOLUMES, made_by,
};
use crate::support::ec2::instance;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{AccountId, ResourceKind};

pub(crate) struct SnapshotVolumes;

/// Whether copies are made, and for whom.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parameters {
    /// The ARN of a customer-managed key: each snapshot is copied under it.
    kms_key: Option<String>,
    /// The forensic account that may create volumes from the copies; it also
    /// needs a grant on the key. Needs `kms-key`.
    #[schemars(with = "Option<String>")]
    copy_to_account: Option<AccountId>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    volumes: Vec<Volume>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Volume {
    id: String,
    device: String,
}

/// A snapshot that this response made.
#[derive(Clone, Debug, PartialEq)]
struct Snapshot {
    id: String,
    volume: String,
    /// The snapshot that this one is a copy of.
    copy_of: Option<String>,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// With the progress, such as `40%`.
    Pending(String),
    Complete,
    Failed(String),
}

/// Everything that this response made of the instance.
#[derive(Debug, Default, PartialEq)]
struct Made {
    /// Snapshots and their copies.
    snapshots: Vec<Snapshot>,
    /// The copies that are shared as wanted.
    shared: Vec<String>,
}

impl Made {
    fn of(&self, volume: &Volume) -> Option<&Snapshot> {
        self.snapshots.iter().find(|it| it.copy_of.is_none() && it.volume == volume.id)
    }

    fn copy_of(&self, original: &Snapshot) -> Option<&Snapshot> {
        self.snapshots.iter().find(|it| it.copy_of.as_deref() == Some(original.id.as_str()))
    }
}

const FINDING: &str = "firebreak:finding";
const RESPONSE: &str = "firebreak:response";
const INSTANCE: &str = "firebreak:instance";
const VOLUME: &str = "firebreak:volume";
const COPY_OF: &str = "firebreak:copy-of";

const SNAPSHOT_VOLUMES: GrantScope = GrantScope {
    sid: "SnapshotVolumes",
    why: "And the account that policies name gets to see the copies.",
    resources: &[INSTANCES, VOLUMES, SNAPSHOTS],
    conditions: &[],
    within: None,
};

const TAG_OWN_SNAPSHOTS: GrantScope = GrantScope {
    sid: "TagOwnSnapshots",
    why: "As they are made, and never later.",
    resources: &[SNAPSHOTS],
    conditions: &[made_by(&["CopySnapshot", "CreateSnapshots"])],
    within: None,
};

impl Action for SnapshotVolumes {
    const SPEC: ActionSpec = ActionSpec {
        name: "snapshot-volumes",
        sentence: "Snapshots all EBS volumes of the instance in one moment, and by parameter copies them under a key and shares the copies.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeInstances",
            "ec2:DescribeSnapshotAttribute",
            "ec2:DescribeSnapshots",
            "ec2:DescribeVolumes",
        ],
        // A copy re-encrypts, for which the caller needs both keys (EBS user
        // guide, "Permissions to use KMS keys").
        writes: &[
            "ec2:CopySnapshot",
            "ec2:CreateSnapshots",
            "ec2:CreateTags",
            "ec2:ModifySnapshotAttribute",
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ],
        reversal: Reversal::Kept,
        phase: Phase::Collect,
    };
    const GRANTS: &'static [Grant] = &[
        SNAPSHOT_VOLUMES.allows(&[
            "ec2:CopySnapshot",
            "ec2:CreateSnapshots",
            "ec2:ModifySnapshotAttribute",
        ]),
        TAG_OWN_SNAPSHOTS.allows(&["ec2:CreateTags"]),
        USE_KEYS_THROUGH_EC2.allows(&[
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ]),
        LET_EC2_USE_KEYS.allows(&["kms:CreateGrant"]),
    ];
    type Parameters = Parameters;
    type Prior = Prior;

    fn check(parameters: &Parameters) -> Result<(), String> {
        if parameters.copy_to_account.is_some() && parameters.kms_key.is_none() {
            return Err("`copy-to-account` needs a `kms-key`".to_owned());
        }
        Ok(())
    }

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
        assert_sharable(parameters)?;
        let (present, volumes, made) = futures::join!(
            instance::describe(context.account, instance_id),
            volumes(context, instance_id),
            made(context, parameters, instance_id)
        );
        present?;
        let (volumes, made) = (volumes?, made?);
        if volumes.is_empty() {
            let message = format!("the instance `{instance_id}` has no EBS volume");
            return Err(ActionError::new(ErrorKind::NotApplicable, message));
        }
        let prior = Prior { instance_id: instance_id.clone(), volumes };
        let changes = changes(parameters, &prior, &made);
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        assert_sharable(parameters)?;
        let made = made(context, parameters, &prior.instance_id).await?;
        if made.snapshots.is_empty() {
            // Reported as gone, not as an instance in a transient state.
            instance::describe(context.account, &prior.instance_id).await?;
            return create(context, &prior.instance_id).await;
        }
        let Some(key) = &parameters.kms_key else { return Ok(()) };
        for original in made.snapshots.iter().filter(|it| it.copy_of.is_none()) {
            match made.copy_of(original) {
                None if original.state == State::Complete => {
                    copy(context, &prior.instance_id, original, key).await?;
                }
                Some(copy) if copy.state == State::Complete && !made.shared.contains(&copy.id) => {
                    share(context, parameters, &copy.id).await?;
                }
                None | Some(_) => {}
            }
        }
        Ok(())
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let made = made(context, parameters, &prior.instance_id).await?;
        Ok(judge(parameters, prior, &made))
    }

    /// Snapshots are evidence: they are kept, and stay shared.
    async fn undo(_: ActionContext<'_>, _: &Parameters, _: &Prior) -> Result<Undone, ActionError> {
        Ok(Undone::default())
    }
}

fn assert_sharable(parameters: &Parameters) -> Result<(), ActionError> {
    if parameters.copy_to_account.is_none() || parameters.kms_key.is_some() {
        return Ok(());
    }
    let message = "`copy-to-account` needs `kms-key`: a snapshot under the key that AWS manages cannot be shared";
    let help =
        "set `kms-key` to a customer-managed key that the forensic account may use".to_owned();
    Err(ActionError { help: Some(help), ..ActionError::new(ErrorKind::Refused, message) })
}

/// The planned changes, for each volume. Once there are snapshots no more are taken: a
/// volume attached since has none, and verification reports that.
fn changes(parameters: &Parameters, prior: &Prior, made: &Made) -> Vec<Change> {
    let mut after = "one of this moment".to_owned();
    if let Some(key) = &parameters.kms_key {
        after = format!("{after}, copied under {key}");
    }
    if let Some(account) = &parameters.copy_to_account {
        after = format!("{after}, the copy shared with {account}");
    }
    let change = |volume: &Volume| {
        let before = match made.of(volume) {
            None if made.snapshots.is_empty() => "none",
            None => return None,
            Some(original) => match made.copy_of(original) {
                None if parameters.kms_key.is_some() => "not copied yet",
                Some(copy)
                    if parameters.copy_to_account.is_some() && !made.shared.contains(&copy.id) =>
                {
                    "copied, the copy not shared yet"
                }
                None | Some(_) => return None,
            },
        };
        Some(Change {
            what: format!("snapshot of {} ({})", volume.id, volume.device),
            before: before.to_owned(),
            after: after.clone(),
        })
    };
    prior.volumes.iter().filter_map(change).collect()
}

/// The verification of the snapshots and their copies.
fn judge(parameters: &Parameters, prior: &Prior, made: &Made) -> Verification {
    let mut pending = Vec::new();
    for volume in &prior.volumes {
        let Some(original) = made.of(volume) else {
            return Verification::NotInEffect(format!("there is no snapshot of `{}`", volume.id));
        };
        let copy = made.copy_of(original);
        for snapshot in [Some(original), copy].into_iter().flatten() {
            match &snapshot.state {
                State::Complete => {}
                State::Pending(progress) => pending.push(format!("`{}` {progress}", snapshot.id)),
                State::Failed(why) => {
                    let Snapshot { id, volume, .. } = snapshot;
                    let message = format!("the snapshot `{id}` of `{volume}` failed: {why}");
                    return Verification::NotInEffect(message);
                }
            }
        }
        match (copy, &parameters.copy_to_account) {
            (None, _) if parameters.kms_key.is_some() => {
                pending.push(format!("`{}` is yet to be copied", original.id));
            }
            (Some(copy), Some(account)) if !made.shared.contains(&copy.id) => {
                pending.push(format!("`{}` is yet to be shared with {account}", copy.id));
            }
            (None | Some(_), _) => {}
        }
    }
    if !pending.is_empty() {
        return Verification::InProgress(pending.join(", "));
    }
    let ids: Vec<&str> = made.snapshots.iter().map(|it| it.id.as_str()).collect();
    let shared = parameters.copy_to_account.as_ref();
    let shared = shared.map_or_else(String::new, |to| format!("; the copies are shared with {to}"));
    Verification::InEffect(format!("complete: {}{shared}", ids.join(", ")))
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

async fn volumes(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Vec<Volume>, ActionError> {
    let mut volumes = Vec::new();
    let mut next = None;
    loop {
        let page = context
            .account
            .ec2(Class::Ec2Read)
            .await
            .describe_volumes()
            .filters(filter("attachment.instance-id", instance_id))
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| from_sdk("ec2:DescribeVolumes", &error))?;
        volumes.extend(page.volumes().iter().filter_map(|volume| {
            let mut attachments = volume.attachments().iter();
            let attached = attachments.find(|it| it.instance_id() == Some(instance_id));
            let device = attached.and_then(|it| it.device()).unwrap_or("no device").to_owned();
            Some(Volume { id: volume.volume_id()?.to_owned(), device })
        }));
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(volumes);
        }
    }
}

/// What this response made of this instance, by its tags.
async fn made(
    context: ActionContext<'_>,
    parameters: &Parameters,
    instance_id: &str,
) -> Result<Made, ActionError> {
    let mut made = Made::default();
    let mut next = None;
    loop {
        let page = context
            .account
            .ec2(Class::Ec2Read)
            .await
            .describe_snapshots()
            .owner_ids("self")
            .filters(filter(&format!("tag:{RESPONSE}"), context.response))
            .filters(filter(&format!("tag:{INSTANCE}"), instance_id))
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| from_sdk("ec2:DescribeSnapshots", &error))?;
        made.snapshots.extend(page.snapshots().iter().filter_map(from_sdk_snapshot));
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    let Some(account) = &parameters.copy_to_account else { return Ok(made) };
    for copy in made.snapshots.iter().filter(|it| it.copy_of.is_some()) {
        if is_shared(context, &copy.id, account).await? {
            made.shared.push(copy.id.clone());
        }
    }
    Ok(made)
}

fn from_sdk_snapshot(described: &aws_sdk_ec2::types::Snapshot) -> Option<Snapshot> {
    let tag = |key: &str| {
        let found = described.tags().iter().find(|tag| tag.key() == Some(key))?;
        found.value().map(str::to_owned)
    };
    let message = || described.state_message().unwrap_or("EC2 says no more").to_owned();
    let state = match described.state() {
        Some(SnapshotState::Completed) => State::Complete,
        Some(SnapshotState::Error) => State::Failed(message()),
        _ => State::Pending(described.progress().unwrap_or("0%").to_owned()),
    };
    Some(Snapshot {
        id: described.snapshot_id()?.to_owned(),
        // A copy's own volume id is a placeholder of AWS's.
        volume: tag(VOLUME).or_else(|| described.volume_id().map(str::to_owned))?,
        copy_of: tag(COPY_OF),
        state,
    })
}

/// The tags of what the response makes, with more of its own.
fn tags(context: ActionContext<'_>, instance_id: &str, more: &[(&str, &str)]) -> TagSpecification {
    let own = [(FINDING, context.finding), (RESPONSE, context.response), (INSTANCE, instance_id)];
    // A tag's value has 256 characters at most, and a finding's ARN may be longer.
    let cut = |value: &str| value.chars().take(256).collect::<String>();
    let tags = own.iter().chain(more);
    let tags = tags.map(|(key, value)| Tag::builder().key(*key).value(cut(value)).build());
    TagSpecification::builder()
        .resource_type(ResourceType::Snapshot)
        .set_tags(Some(tags.collect()))
        .build()
}

/// A blind retry would take the snapshots twice.
fn without_retries() -> Builder {
    Builder::default().retry_config(RetryConfig::disabled())
}

async fn create(context: ActionContext<'_>, instance_id: &str) -> Result<(), ActionError> {
    let instance = InstanceSpecification::builder().instance_id(instance_id).build();
    let call = context
        .account
        .ec2(Class::Ec2Write)
        .await
        .create_snapshots()
        .description(format!("{} before {}", instance_id, context.response))
        .instance_specification(instance)
        .tag_specifications(tags(context, instance_id, &[]))
        .customize()
        .config_override(without_retries());
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("ec2:CreateSnapshots", &error))
}

async fn copy(
    context: ActionContext<'_>,
    instance_id: &str,
    original: &Snapshot,
    key: &str,
) -> Result<(), ActionError> {
    let Snapshot { id, volume, .. } = original;
    let call = context
        .account
        .ec2(Class::Ec2Write)
        .await
        .copy_snapshot()
        .description(format!("copy of {id} of {volume} for {}", context.response))
        .source_region(context.account.region.as_str())
        .source_snapshot_id(id)
        .encrypted(true)
        .kms_key_id(key)
        .tag_specifications(tags(context, instance_id, &[(VOLUME, volume), (COPY_OF, id)]))
        .customize()
        .config_override(without_retries());
    let result = call.send().await.map(|_| ());
    result.map_err(|error| {
        let error = from_sdk("ec2:CopySnapshot", &error);
        // Copies in progress count against the quota (EBS quotas, "Concurrent
        // snapshot copies"): the next delivery continues.
        if error.has_code("ResourceLimitExceeded") {
            return ActionError { kind: ErrorKind::Transient, ..error };
        }
        error
    })
}

/// Sharing with an account that has it already changes nothing.
async fn share(
    context: ActionContext<'_>,
    parameters: &Parameters,
    snapshot_id: &str,
) -> Result<(), ActionError> {
    let Some(account) = &parameters.copy_to_account else { return Ok(()) };
    let permission = CreateVolumePermission::builder().user_id(account.as_str()).build();
    let call = context
        .account
        .ec2(Class::Ec2Write)
        .await
        .modify_snapshot_attribute()
        .snapshot_id(snapshot_id)
        .attribute(SnapshotAttributeName::CreateVolumePermission)
        .create_volume_permission(
            CreateVolumePermissionModifications::builder().add(permission).build(),
        );
    let result = call.send().await.map(|_| ());
    result.map_err(|error| from_sdk("ec2:ModifySnapshotAttribute", &error))
}

async fn is_shared(
    context: ActionContext<'_>,
    snapshot_id: &str,
    account: &AccountId,
) -> Result<bool, ActionError> {
    let output = context
        .account
        .ec2(Class::Ec2Read)
        .await
        .describe_snapshot_attribute()
        .snapshot_id(snapshot_id)
        .attribute(SnapshotAttributeName::CreateVolumePermission)
        .send()
        .await
        .map_err(|error| from_sdk("ec2:DescribeSnapshotAttribute", &error))?;
    let mut permissions = output.create_volume_permissions().iter();
    Ok(permissions.any(|it| it.user_id() == Some(account.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior() -> Prior {
        let volume = |id: &str| Volume { id: id.to_owned(), device: "/dev/xvda".to_owned() };
        Prior { instance_id: "i-1".to_owned(), volumes: vec![volume("vol-1"), volume("vol-2")] }
    }

    fn snapshot(id: &str, volume: &str, copy_of: Option<&str>, state: State) -> Snapshot {
        let copy_of = copy_of.map(str::to_owned);
        Snapshot { id: id.to_owned(), volume: volume.to_owned(), copy_of, state }
    }

    fn parameters(yaml: serde_json::Value) -> Parameters {
        serde_json::from_value(yaml).unwrap()
    }

    fn all(snapshots: &[Snapshot]) -> Made {
        Made { snapshots: snapshots.to_vec(), shared: Vec::new() }
    }

    #[test]
    fn it_is_in_effect_once_the_snapshot_of_every_volume_is_complete() {
        let whole = snapshot("snap-1", "vol-1", None, State::Complete);
        let second = |state| snapshot("snap-2", "vol-2", None, state);
        let message = |made: &[Snapshot]| judge(&Parameters::default(), &prior(), &all(made));
        assert!(matches!(message(std::slice::from_ref(&whole)), Verification::NotInEffect(_)));
        let halfway = message(&[whole.clone(), second(State::Pending("40%".to_owned()))]);
        assert_eq!(halfway, Verification::InProgress("`snap-2` 40%".to_owned()));
        let failed = message(&[whole.clone(), second(State::Failed("no key".to_owned()))]);
        assert!(matches!(failed, Verification::NotInEffect(why) if why.contains("no key")));
        assert!(matches!(message(&[whole, second(State::Complete)]), Verification::InEffect(_)));
    }

    #[test]
    fn a_copy_that_is_wanted_is_waited_for() {
        let wanted = parameters(serde_json::json!({ "kms-key": "arn:key" }));
        let mut made = vec![
            snapshot("snap-1", "vol-1", None, State::Complete),
            snapshot("snap-2", "vol-2", None, State::Complete),
            snapshot("snap-3", "vol-1", Some("snap-1"), State::Complete),
        ];
        assert!(matches!(judge(&wanted, &prior(), &all(&made)), Verification::InProgress(_)));
        made.push(snapshot("snap-4", "vol-2", Some("snap-2"), State::Complete));
        assert!(matches!(judge(&wanted, &prior(), &all(&made)), Verification::InEffect(_)));
    }

    #[test]
    fn a_repeat_plans_nothing_more_unless_copies_are_wanted() {
        let made = [
            snapshot("snap-1", "vol-1", None, State::Pending("0%".to_owned())),
            snapshot("snap-2", "vol-2", None, State::Complete),
        ];
        assert_eq!(changes(&Parameters::default(), &prior(), &all(&[])).len(), 2);
        assert!(changes(&Parameters::default(), &prior(), &all(&made)).is_empty());
        let copied = parameters(serde_json::json!({ "kms-key": "arn:key" }));
        assert_eq!(changes(&copied, &prior(), &all(&made)).len(), 2);
    }

    #[test]
    fn sharing_without_a_key_is_refused_with_the_reason() {
        let shared = parameters(serde_json::json!({ "copy-to-account": "222222222222" }));
        let error = assert_sharable(&shared).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.to_string().contains("cannot be shared"), "{error}");
    }
}
