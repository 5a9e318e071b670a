//! Collects an instance's data into a bucket: its console output, EC2's descriptions
//! of it and its surroundings, and, where Systems Manager reaches it, the output of
//! read-only commands. Undo keeps what was collected.
//!
//! Everything of a response lies under `PREFIX/ACCOUNT/REGION/RESPONSE/`, with
//! `manifest.json`, which is written last, naming each object with its size and
//! SHA-256. Once the manifest exists nothing is collected again. It names each piece
//! that could not be read; the other pieces are collected all the same.
//!
//! The output of commands is written by the agent, with the instance profile's
//! permissions, and is not in the manifest (Systems Manager user guide,
//! "Configuring Run Command for S3 output"). Commands reach an instance that was
//! isolated, or that lost its profile, only if its groups and its role still allow
//! it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::ec2::grants::INSTANCES;
use crate::support::ec2::instance;
use crate::support::evidence::commands::{self, CommandRequest, Managed};
use crate::support::evidence::location::{self as bucket, EvidenceLocation, Kept, Retention};
use crate::support::evidence::metadata;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{AccountId, Region, ResourceKind};

pub(crate) struct CollectEvidence;

/// Where evidence goes, and what is run for it.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[expect(clippy::struct_field_names, reason = "the names are the policy's keys")]
pub(crate) struct Parameters {
    /// The bucket. Required.
    bucket: String,
    /// The account that must own the bucket.
    #[schemars(with = "Option<String>")]
    bucket_owner: Option<AccountId>,
    /// The bucket's Region, where it is not the target's.
    #[schemars(with = "Option<String>")]
    bucket_region: Option<Region>,
    /// The prefix of every key.
    prefix: String,
    /// For how many days Object Lock retains the objects, in governance mode.
    /// Without Object Lock on the bucket it has no effect.
    retain: Option<u32>,
    /// The commands, instead of the built-in ones; none where the list is empty.
    commands: Option<Vec<String>>,
    /// A Systems Manager document that captures memory, such as one that runs
    /// AVML on Linux.
    memory_document: Option<String>,
    /// The parameters of `memory-document`.
    memory_parameters: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    instance_id: String,
    managed: Managed,
}

/// `manifest.json`: what was collected.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    version: u32,
    account: AccountId,
    region: Region,
    instance: String,
    finding: String,
    response: String,
    collected: Timestamp,
    /// When Object Lock's retention ends.
    retained_until: Option<Timestamp>,
    objects: Vec<Kept>,
    /// The ids of the commands, by name.
    commands: BTreeMap<String, String>,
    /// What could not be collected, and why.
    missing: Vec<String>,
}

const MANIFEST: &str = "manifest.json";

const EVIDENCE: &str = "arn:${AWS::Partition}:s3:::${EvidenceBuckets}";

const KEEP_EVIDENCE: GrantScope = GrantScope {
    sid: "KeepEvidence",
    why: "The evidence buckets, and no other. Objects are added and read, never deleted.",
    resources: &[EVIDENCE, "arn:${AWS::Partition}:s3:::${EvidenceBuckets}/*"],
    conditions: &[],
    within: None,
};

const RUN_COMMANDS: GrantScope = GrantScope {
    sid: "RunCommands",
    why: "The documents are AWS's own, and the one for memory that policies name, which \
          may be shared by another account.",
    resources: &["arn:${AWS::Partition}:ssm:*:*:document/*", INSTANCES, EVIDENCE],
    conditions: &[],
    within: None,
};

impl Action for CollectEvidence {
    const SPEC: ActionSpec = ActionSpec {
        name: "collect-evidence",
        sentence: "Collects the instance's console, description and command output into a bucket, with a manifest.",
        resource_types: &["Instance"],
        reads: &[
            "ec2:DescribeInstances",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVolumes",
            "ec2:GetConsoleOutput",
            "ec2:GetConsoleScreenshot",
            "s3:GetBucketObjectLockConfiguration",
            "s3:GetObject",
            "s3:ListBucket",
            "ssm:DescribeInstanceInformation",
            "ssm:ListCommands",
        ],
        writes: &["s3:PutObject", "s3:PutObjectRetention", "ssm:SendCommand"],
        reversal: Reversal::Kept,
        phase: Phase::Collect,
    };
    const GRANTS: &'static [Grant] = &[
        KEEP_EVIDENCE.allows(&[
            "s3:GetBucketObjectLockConfiguration",
            "s3:GetObject",
            "s3:ListBucket",
            "s3:PutObject",
            "s3:PutObjectRetention",
        ]),
        RUN_COMMANDS.allows(&["ssm:SendCommand"]),
    ];
    type Parameters = Parameters;
    type Prior = Prior;

    fn check(parameters: &Parameters) -> Result<(), String> {
        if parameters.bucket.is_empty() { Err("it needs a `bucket`".to_owned()) } else { Ok(()) }
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
        let place = place(context, parameters)?;
        instance::describe(context.account, instance_id).await?;
        let managed = commands::managed(context, instance_id).await?;
        let present = bucket::get(context, &place, &place.key(MANIFEST)).await?;
        let prior = Prior { instance_id: instance_id.clone(), managed };
        let changes =
            if present.is_some() { Vec::new() } else { changes(&place, parameters, &prior) };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        let place = place(context, parameters)?;
        let described = instance::describe(context.account, &prior.instance_id).await?;
        if bucket::get(context, &place, &place.key(MANIFEST)).await?.is_some() {
            return Ok(());
        }
        let mut manifest = Manifest {
            version: 1,
            account: context.account.id.clone(),
            region: context.account.region.clone(),
            instance: prior.instance_id.clone(),
            finding: context.finding.to_owned(),
            response: context.response.to_owned(),
            collected: context.now,
            retained_until: retention(context, parameters, &place).await?,
            objects: Vec::new(),
            commands: BTreeMap::new(),
            missing: unreached(prior.managed),
        };
        for wanted in wanted(parameters, prior) {
            match commands::send(context, &prior.instance_id, &wanted, &place).await {
                Ok(id) => {
                    manifest.commands.insert(wanted.name.to_owned(), id);
                }
                Err(error) => manifest.lacks(wanted.name, error)?,
            }
        }
        let console = console_output(context, &prior.instance_id).await;
        manifest.keep(context, &place, "console-output.txt", "text/plain", console).await?;
        let screenshot = console_screenshot(context, &prior.instance_id).await;
        manifest.keep(context, &place, "console-screenshot.jpg", "image/jpeg", screenshot).await?;
        let (read, missing) = metadata::read(context, &described).await?;
        manifest.missing.extend(missing);
        let read = json(&read);
        manifest.keep(context, &place, "metadata.json", "application/json", read).await?;
        let (body, retention) = (json(&manifest)?, manifest.retained_until);
        bucket::put(context, &place, MANIFEST, "application/json", body, retention).await?;
        Ok(())
    }

    async fn verify(
        context: ActionContext<'_>,
        parameters: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let place = place(context, parameters)?;
        let key = place.key(MANIFEST);
        let Some(body) = bucket::get(context, &place, &key).await? else {
            return Ok(Verification::NotInEffect(format!(
                "there is no s3://{}/{key}",
                place.bucket
            )));
        };
        let manifest: Manifest = serde_json::from_slice(&body).map_err(|error| {
            let message = format!("cannot read s3://{}/{key}: {error}", place.bucket);
            ActionError::new(ErrorKind::Failed, message)
        })?;
        for kept in &manifest.objects {
            if bucket::size(context, &place, &kept.key).await? != Some(kept.size) {
                let Kept { key, size, .. } = kept;
                let summary =
                    format!("s3://{}/{key} does not exist with {size} bytes", place.bucket);
                return Ok(Verification::NotInEffect(summary));
            }
        }
        let mut summary = vec![format!(
            "{} objects are named in s3://{}/{key}",
            manifest.objects.len(),
            place.bucket
        )];
        let mut under_way = Vec::new();
        for wanted in wanted(parameters, prior) {
            if !manifest.commands.contains_key(wanted.name) {
                continue;
            }
            match commands::find(context, &prior.instance_id, &wanted).await? {
                Some(sent) if sent.is_under_way() => {
                    under_way.push(format!("{} as {} is {}", wanted.name, sent.id, sent.status()));
                }
                Some(sent) => summary.push(format!("{} ended as {}", wanted.name, sent.status())),
                None => summary.push(format!("{} is no longer listed", wanted.name)),
            }
        }
        if parameters.retain.is_some() && manifest.retained_until.is_none() {
            summary.push("not retained: the bucket has no Object Lock".to_owned());
        }
        summary.extend(manifest.missing.iter().map(|what| format!("missing: {what}")));
        if under_way.is_empty() {
            return Ok(Verification::InEffect(summary.join("; ")));
        }
        Ok(Verification::InProgress(under_way.join(", ")))
    }

    /// Evidence is kept.
    async fn undo(_: ActionContext<'_>, _: &Parameters, _: &Prior) -> Result<Undone, ActionError> {
        Ok(Undone::default())
    }
}

impl Manifest {
    /// Writes a piece, or names it in the manifest as missing.
    async fn keep(
        &mut self,
        context: ActionContext<'_>,
        place: &EvidenceLocation,
        name: &str,
        content_type: &str,
        body: Result<Vec<u8>, ActionError>,
    ) -> Result<(), ActionError> {
        match body {
            Ok(body) => {
                let retention = self.retained_until;
                let kept = bucket::put(context, place, name, content_type, body, retention).await?;
                self.objects.push(kept);
                Ok(())
            }
            Err(error) => self.lacks(name, error),
        }
    }

    /// Names a piece as missing. A transient failure is returned, so that the step is
    /// tried again.
    fn lacks(&mut self, what: &str, error: ActionError) -> Result<(), ActionError> {
        if error.kind == ErrorKind::Transient {
            return Err(error);
        }
        self.missing.push(format!("{what}: {}", error.message));
        Ok(())
    }
}

/// Where a response's evidence is kept.
fn place(
    context: ActionContext<'_>,
    parameters: &Parameters,
) -> Result<EvidenceLocation, ActionError> {
    if parameters.bucket.is_empty() {
        let help = "name the bucket for evidence in the step's parameters".to_owned();
        let error = ActionError::new(ErrorKind::Failed, "collect-evidence needs `bucket`");
        return Err(ActionError { help: Some(help), ..error });
    }
    let given = parameters.prefix.trim_matches('/');
    let slash = if given.is_empty() { "" } else { "/" };
    let (account, region) = (&context.account.id, &context.account.region);
    Ok(EvidenceLocation {
        bucket: parameters.bucket.clone(),
        prefix: format!("{given}{slash}{account}/{region}/{}/", context.response),
        owner: parameters.bucket_owner.clone(),
        region: parameters.bucket_region.clone(),
    })
}

fn wanted(parameters: &Parameters, prior: &Prior) -> Vec<CommandRequest> {
    let memory = parameters.memory_document.as_deref();
    let memory = memory.map(|document| (document, &parameters.memory_parameters));
    commands::wanted(prior.managed, parameters.commands.as_deref(), memory)
}

/// Why no commands are run.
fn unreached(managed: Managed) -> Vec<String> {
    match managed {
        Managed::Shell | Managed::PowerShell => Vec::new(),
        Managed::Silent => vec!["commands: Systems Manager's agent does not answer".to_owned()],
        Managed::No => vec!["commands: Systems Manager does not manage the instance".to_owned()],
    }
}

fn changes(place: &EvidenceLocation, parameters: &Parameters, prior: &Prior) -> Vec<Change> {
    let EvidenceLocation { bucket, prefix, .. } = place;
    let change = |what: &str, after: String| Change {
        what: format!("{what} of {}", prior.instance_id),
        before: "not collected".to_owned(),
        after,
    };
    let evidence = change("console and description", format!("in s3://{bucket}/{prefix}"));
    let commands = wanted(parameters, prior);
    let commands = commands.iter().map(|wanted| {
        change(wanted.name, format!("{} run, output in s3://{bucket}/{prefix}", wanted.document))
    });
    let unreached = unreached(prior.managed);
    let unreached = unreached.into_iter().map(|why| change("command output", why));
    [evidence].into_iter().chain(commands).chain(unreached).collect()
}

/// When retention ends; `None` where policy asks for none or the bucket has no
/// Object Lock.
async fn retention(
    context: ActionContext<'_>,
    parameters: &Parameters,
    place: &EvidenceLocation,
) -> Result<Retention, ActionError> {
    let Some(days) = parameters.retain else { return Ok(None) };
    if !bucket::has_lock(context, place).await? {
        return Ok(None);
    }
    let until = context.now.checked_add(SignedDuration::from_hours(i64::from(days) * 24));
    let until = until.map_err(|error| {
        ActionError::new(ErrorKind::Failed, format!("cannot retain for {days} days: {error}"))
    });
    until.map(Some)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ActionError> {
    serde_json::to_vec_pretty(value).map_err(|error| {
        ActionError::new(ErrorKind::Failed, format!("cannot write evidence as JSON: {error}"))
    })
}

fn decoded(text: Option<&str>, what: &str) -> Result<Vec<u8>, ActionError> {
    let text = text.filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| ActionError::new(ErrorKind::Failed, format!("EC2 has no {what}")))?;
    STANDARD.decode(text).map_err(|error| {
        ActionError::new(ErrorKind::Failed, format!("EC2's {what} is unreadable: {error}"))
    })
}

async fn console_output(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Vec<u8>, ActionError> {
    let ec2 = context.account.ec2(Class::Ec2Read).await;
    let output = ec2.get_console_output().instance_id(instance_id).send().await;
    let output = output.map_err(|error| from_sdk("ec2:GetConsoleOutput", &error))?;
    decoded(output.output(), "console output")
}

async fn console_screenshot(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Vec<u8>, ActionError> {
    let ec2 = context.account.ec2(Class::Ec2Read).await;
    let output = ec2.get_console_screenshot().instance_id(instance_id).send().await;
    let output = output.map_err(|error| from_sdk("ec2:GetConsoleScreenshot", &error))?;
    decoded(output.image_data(), "console screenshot")
}
