//! Runs an Automation document of Systems Manager on the resource, for what no other action
//! does. Firebreak does not know what the document changes. So undo restores nothing by
//! itself: it runs the document that `undo-document` names, or reports that none is named.
//!
//! Apply starts the execution and does not wait for its end. Its client token follows from
//! the response, the target and the document with its parameters, so that a second start
//! makes no second execution (Systems Manager API reference, StartAutomationExecution:
//! "can't be reused"). The key of one of its tags has the token too: apply, verify and undo
//! find the execution by that key (DescribeAutomationExecutions, filter `TagKey`). The
//! verification is `InProgress` until the execution has ended.
//!
//! Without `role` the document acts with the spoke session's own permissions, which are
//! few. The document itself must check whether the target still exists.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_ssm::types::{
    AutomationExecution, AutomationExecutionFilter, AutomationExecutionFilterKey,
    AutomationExecutionStatus as Status, DocumentType, Tag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, Phase, Reversal, Undone, Verification,
};
use crate::grant::{Grant, GrantScope};
use crate::support::iam::grants::{ROLES, passed_to};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::ResourceKind;

pub(crate) struct RunAutomation;

/// A document's parameters.
type DocumentParameters = BTreeMap<String, Vec<String>>;

/// Which document is run, and with what.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[expect(clippy::struct_field_names, reason = "the names are the policy's keys")]
pub(crate) struct Parameters {
    /// The Automation document, by name, or by ARN where another account
    /// shares it. Required.
    document: String,
    /// Its version; the default one where it is absent.
    version: Option<String>,
    /// The document's parameters: lists of texts, in which `${resource.id}`,
    /// `${resource.arn}`, `${account.id}`, `${region}`, `${finding.id}` and
    /// `${response.id}` are filled in.
    parameters: DocumentParameters,
    /// The ARN of the role that the document acts with: `AutomationAssumeRole`.
    role: Option<String>,
    /// The Automation document that undo runs, with the same role.
    undo_document: Option<String>,
    /// The parameters of `undo-document`; those of `document` where absent.
    undo_parameters: Option<DocumentParameters>,
}

/// A document and its parameters, as one execution of it is started.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    document: String,
    version: Option<String>,
    parameters: DocumentParameters,
    /// A UUID that no other run has.
    token: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    run: Run,
    /// What undo runs.
    undo: Option<Run>,
}

const DESCRIBE_DOCUMENT: &str = "ssm:DescribeDocument";
const START: &str = "ssm:StartAutomationExecution";

const RUN_AUTOMATIONS: GrantScope = GrantScope {
    sid: "RunAutomations",
    why: "The document that policies name, which may be AWS's or shared by another account.",
    resources: &[
        "arn:${AWS::Partition}:ssm:*:*:automation-definition/*",
        "arn:${AWS::Partition}:ssm:*:*:document/*",
        "arn:${AWS::Partition}:ssm:*:${AWS::AccountId}:automation-execution/*",
    ],
    conditions: &[],
    within: None,
};

const PASS_AUTOMATION_ROLES: GrantScope = GrantScope {
    sid: "PassAutomationRoles",
    why: "An automation runs as the role that policies name.",
    resources: &[ROLES],
    conditions: &[passed_to(&["ssm.amazonaws.com"])],
    within: None,
};

impl Action for RunAutomation {
    const SPEC: ActionSpec = ActionSpec {
        name: "run-automation",
        sentence: "Runs a document of Systems Manager Automation on the resource; undo runs another, where the policy names one.",
        resource_types: &[
            "Instance",
            "AccessKey",
            "User",
            "Role",
            "S3Bucket",
            "RDSDBInstance",
            "RDSDBCluster",
            "Lambda",
            "ECSCluster",
            "EKSCluster",
        ],
        reads: &[
            "ssm:DescribeAutomationExecutions",
            DESCRIBE_DOCUMENT,
            "ssm:GetAutomationExecution",
        ],
        writes: &["iam:PassRole", "ssm:AddTagsToResource", START],
        reversal: Reversal::Impossible,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [Grant] = &[
        RUN_AUTOMATIONS.allows(&["ssm:AddTagsToResource", "ssm:StartAutomationExecution"]),
        PASS_AUTOMATION_ROLES.allows(&["iam:PassRole"]),
    ];
    type Parameters = Parameters;
    type Prior = Prior;

    fn check(parameters: &Parameters) -> Result<(), String> {
        if parameters.document.is_empty() {
            Err("it needs a `document`".to_owned())
        } else {
            Ok(())
        }
    }

    async fn capture(
        context: ActionContext<'_>,
        parameters: &Parameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        if let ResourceKind::Other { name, .. } = &context.resource.kind {
            let message = format!("no document is run on a target of the type `{name}`");
            return Err(ActionError::new(ErrorKind::NotApplicable, message));
        }
        let prior = plan(context, parameters)?;
        for run in [Some(&prior.run), prior.undo.as_ref()].into_iter().flatten() {
            assert_automation(context, run).await?;
        }
        let found = find_execution(context, &prior.run).await?;
        let Run { document, parameters, .. } = &prior.run;
        let given = parameters.iter().map(|(name, values)| format!("{name}={}", values.join(",")));
        let change = Change {
            what: format!("automation {document}"),
            before: "not run".to_owned(),
            after: format!("run with {}", given.collect::<Vec<_>>().join(" ")),
        };
        let changes = if found.is_some() { Vec::new() } else { vec![change] };
        Ok(CapturedState { prior, changes })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<(), ActionError> {
        // Searched first, because AWS does not document how long a token is remembered.
        match find_execution(context, &prior.run).await? {
            Some(_) => Ok(()),
            None => start_execution(context, &prior.run).await.map(|_| ()),
        }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Verification, ActionError> {
        let document = &prior.run.document;
        Ok(match find_execution(context, &prior.run).await? {
            None => Verification::NotInEffect(format!("no execution of `{document}` is found")),
            Some(id) => judge(document, &id, get_execution(context, &id).await?.as_ref()),
        })
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &Parameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let mut undone = Undone::default();
        let Some(id) = find_execution(context, &prior.run).await? else { return Ok(undone) };
        let document = &prior.run.document;
        let Some(undo) = &prior.undo else {
            let described = format!(
                "execution {id} of `{document}` was started, and no `undo-document` is named"
            );
            undone.drift.push(described);
            return Ok(undone);
        };
        if let Verification::InProgress(seen) =
            judge(document, &id, get_execution(context, &id).await?.as_ref())
        {
            return Err(still_in_progress(&seen));
        }
        let id = match find_execution(context, undo).await? {
            Some(id) => id,
            None => start_execution(context, undo).await?,
        };
        match judge(&undo.document, &id, get_execution(context, &id).await?.as_ref()) {
            Verification::InEffect(seen) => undone.restored.push(seen),
            Verification::NotInEffect(seen) => {
                return Err(ActionError::new(ErrorKind::Failed, seen));
            }
            Verification::InProgress(seen) => return Err(still_in_progress(&seen)),
        }
        Ok(undone)
    }
}

/// The error of an undo that has to be requested again once the execution has ended: an undo
/// has no result for work in progress.
fn still_in_progress(seen: &str) -> ActionError {
    let help = "undo it again once the execution has ended".to_owned();
    ActionError { help: Some(help), ..ActionError::new(ErrorKind::Transient, seen) }
}

/// The run of apply and the run of undo, with every placeholder filled in.
fn plan(context: ActionContext<'_>, parameters: &Parameters) -> Result<Prior, ActionError> {
    if parameters.document.is_empty() {
        let help = "name an Automation document in the step's parameters".to_owned();
        let error = ActionError::new(ErrorKind::Failed, "run-automation needs `document`");
        return Err(ActionError { help: Some(help), ..error });
    }
    let run = |purpose, document: &str, version: Option<&String>, given: &DocumentParameters| {
        let mut filled = DocumentParameters::new();
        for (name, values) in given {
            let values: Result<Vec<_>, _> = values.iter().map(|text| fill(context, text)).collect();
            filled.insert(name.clone(), values?);
        }
        if let Some(role) = &parameters.role {
            filled.insert("AutomationAssumeRole".to_owned(), vec![role.clone()]);
        }
        let (document, version) = (document.to_owned(), version.cloned());
        let token = token(context, purpose, &document, version.as_deref(), &filled);
        Ok::<_, ActionError>(Run { document, version, parameters: filled, token })
    };
    let given = &parameters.parameters;
    let undo = parameters.undo_document.as_ref().map(|document| {
        run("undo", document, None, parameters.undo_parameters.as_ref().unwrap_or(given))
    });
    let first = run("apply", &parameters.document, parameters.version.as_ref(), given)?;
    Ok(Prior { run: first, undo: undo.transpose()? })
}

/// A UUID that follows from the response, the target and what is run, so that each run of a
/// response has its own. It is of version 8, because it is made by a hash.
fn token(
    context: ActionContext<'_>,
    purpose: &str,
    document: &str,
    version: Option<&str>,
    parameters: &DocumentParameters,
) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        // Each part follows its length, so that different lists of parts have different input.
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    };
    for text in [purpose, context.response, &context.resource.arn(), document] {
        part(text);
    }
    part(version.unwrap_or_default());
    for (name, values) in parameters {
        part(name);
        part(&values.len().to_string());
        for value in values {
            part(value);
        }
    }
    let hex = hex::encode(hash.finalize());
    let of = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-8{}-8{}-{}", of(0, 8), of(8, 12), of(13, 16), of(17, 20), of(20, 32))
}

/// Fills in the placeholders of one text. An unknown placeholder is an error: the
/// document would act on its literal text.
fn fill(context: ActionContext<'_>, text: &str) -> Result<String, ActionError> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            let message = format!("`{text}` has a `${{` without its `}}`");
            return Err(ActionError::new(ErrorKind::Failed, message));
        };
        filled.push_str(before);
        filled.push_str(&placeholder_value(context, name)?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn placeholder_value(context: ActionContext<'_>, name: &str) -> Result<String, ActionError> {
    Ok(match name {
        "resource.id" => context.resource.id().map(str::to_owned).ok_or_else(|| {
            ActionError::new(ErrorKind::Refused, "the finding names no id for `${resource.id}`")
        })?,
        "resource.arn" => context.resource.arn(),
        "account.id" => context.account.id.to_string(),
        "region" => context.account.region.to_string(),
        "finding.id" => context.finding.to_owned(),
        "response.id" => context.response.to_owned(),
        unknown => {
            let message = format!("there is no `${{{unknown}}}` to fill in");
            let help = "use `${resource.id}`, `${resource.arn}`, `${account.id}`, `${region}`, `${finding.id}` or `${response.id}`".to_owned();
            let error = ActionError::new(ErrorKind::Failed, message);
            return Err(ActionError { help: Some(help), ..error });
        }
    })
}

/// Names the document in the error if it is the one that does not exist.
fn name_missing_document(document: &str, error: ActionError) -> ActionError {
    let missing = ["InvalidDocument", "InvalidDocumentVersion"];
    let codes =
        ["AutomationDefinitionNotFoundException", "AutomationDefinitionVersionNotFoundException"];
    if !missing.iter().chain(&codes).any(|code| error.has_code(code)) {
        return error;
    }
    let message = format!("there is no Automation document `{document}` here: {}", error.message);
    let help =
        "create the document in every Region of the account, or share it and name it by its ARN"
            .to_owned();
    ActionError { kind: ErrorKind::Failed, message, help: Some(help), ..error }
}

/// Fails unless the document exists and is an Automation document. Capture calls it, so that
/// the plan fails and not only its execution.
async fn assert_automation(context: ActionContext<'_>, run: &Run) -> Result<(), ActionError> {
    let ssm = context.account.ssm().await;
    let call = ssm.describe_document().name(&run.document);
    let output = call.set_document_version(run.version.clone()).send().await;
    let output = output.map_err(|error| {
        name_missing_document(&run.document, from_sdk(DESCRIBE_DOCUMENT, &error))
    })?;
    match output.document().and_then(|document| document.document_type()) {
        Some(DocumentType::Automation) => Ok(()),
        other => {
            let kind = other.map_or("unknown", DocumentType::as_str);
            let message =
                format!("the document `{}` is of the type {kind}, not Automation", run.document);
            Err(ActionError::new(ErrorKind::Failed, message))
        }
    }
}

fn cannot_build(error: impl std::fmt::Display) -> ActionError {
    ActionError::new(ErrorKind::Failed, format!("cannot build a call: {error}"))
}

fn tag_key(run: &Run) -> String {
    format!("firebreak:run/{}", run.token)
}

/// The id of the execution that a run started, if it did.
async fn find_execution(
    context: ActionContext<'_>,
    run: &Run,
) -> Result<Option<String>, ActionError> {
    let filter = AutomationExecutionFilter::builder()
        .key(AutomationExecutionFilterKey::TagKey)
        .values(tag_key(run))
        .build()
        .map_err(cannot_build)?;
    let mut next = None;
    loop {
        let page = context
            .account
            .ssm()
            .await
            .describe_automation_executions()
            .filters(filter.clone())
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| from_sdk("ssm:DescribeAutomationExecutions", &error))?;
        let executions = page.automation_execution_metadata_list().iter();
        let mut found = executions.filter(|it| it.parent_automation_execution_id().is_none());
        if let Some(id) = found.find_map(|it| it.automation_execution_id()) {
            return Ok(Some(id.to_owned()));
        }
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(None);
        }
    }
}

async fn start_execution(context: ActionContext<'_>, run: &Run) -> Result<String, ActionError> {
    let tag = |key: &str, value: &str| {
        // A tag's value has 256 characters at most.
        let value: String = value.chars().take(256).collect();
        Tag::builder().key(key).value(value).build().map_err(cannot_build)
    };
    let tags = vec![
        tag(&tag_key(run), "run")?,
        tag("firebreak:finding", context.finding)?,
        tag("firebreak:response", context.response)?,
    ];
    let parameters: HashMap<String, Vec<String>> = run.parameters.clone().into_iter().collect();
    let call = context
        .account
        .ssm()
        .await
        .start_automation_execution()
        .document_name(&run.document)
        .set_document_version(run.version.clone())
        .set_parameters((!parameters.is_empty()).then_some(parameters))
        .client_token(&run.token)
        .set_tags(Some(tags));
    let output = call
        .send()
        .await
        .map_err(|error| name_missing_document(&run.document, from_sdk(START, &error)))?;
    let id = output.automation_execution_id().map(str::to_owned);
    id.ok_or_else(|| {
        ActionError::new(ErrorKind::Failed, "Systems Manager returned no id of an execution")
    })
}

async fn get_execution(
    context: ActionContext<'_>,
    id: &str,
) -> Result<Option<AutomationExecution>, ActionError> {
    let ssm = context.account.ssm().await;
    let output = ssm.get_automation_execution().automation_execution_id(id).send().await;
    let output = output.map_err(|error| from_sdk("ssm:GetAutomationExecution", &error))?;
    Ok(output.automation_execution)
}

/// The verification, from an execution's status. `id` is the execution's.
fn judge(document: &str, id: &str, execution: Option<&AutomationExecution>) -> Verification {
    let status = execution.and_then(|it| it.automation_execution_status());
    let described = status.map_or("of unknown status", Status::as_str);
    let seen = format!("execution {id} of `{document}` is {described}");
    match status {
        Some(Status::Success | Status::CompletedWithSuccess) => Verification::InEffect(seen),
        Some(
            Status::Pending
            | Status::Inprogress
            | Status::Waiting
            | Status::Cancelling
            | Status::PendingApproval
            | Status::Approved
            | Status::Scheduled
            | Status::RunbookInprogress
            | Status::PendingChangeCalendarOverride
            | Status::ChangeCalendarOverrideApproved,
        ) => Verification::InProgress(seen),
        // Every other status is a failure, as is one that AWS adds later.
        Some(_) | None => Verification::NotInEffect(match execution.and_then(failure) {
            Some(failure) => format!("{seen}: {failure}"),
            None => seen,
        }),
    }
}

/// The step that failed and its message, or the execution's own message.
fn failure(execution: &AutomationExecution) -> Option<String> {
    let steps = execution.step_executions().iter();
    let step = steps.filter(|step| step.failure_message().is_some()).find_map(|step| {
        let (name, message) = (step.step_name().unwrap_or("unnamed"), step.failure_message()?);
        Some(format!("step `{name}`: {message}"))
    });
    step.or_else(|| execution.failure_message().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ssm::types::StepExecution;

    use super::*;

    #[test]
    fn every_status_is_a_success_in_progress_or_a_failure() {
        let described = |status: &str| {
            let execution = AutomationExecution::builder()
                .automation_execution_status(Status::from(status))
                .build();
            judge("doc", "1", Some(&execution))
        };
        for status in ["Success", "CompletedWithSuccess"] {
            assert!(matches!(described(status), Verification::InEffect(_)), "{status}");
        }
        for status in ["Pending", "InProgress", "Waiting", "Cancelling", "PendingApproval"] {
            assert!(matches!(described(status), Verification::InProgress(_)), "{status}");
        }
        for status in ["Failed", "TimedOut", "Cancelled", "Rejected", "CompletedWithFailure", "New"]
        {
            assert!(matches!(described(status), Verification::NotInEffect(_)), "{status}");
        }
        assert!(matches!(judge("doc", "1", None), Verification::NotInEffect(_)));
    }

    #[test]
    fn a_failure_names_its_step() {
        let step = StepExecution::builder().step_name("stop").failure_message("no").build();
        let execution = AutomationExecution::builder()
            .automation_execution_status(Status::Failed)
            .failure_message("the whole")
            .step_executions(step)
            .build();
        let Verification::NotInEffect(why) = judge("doc", "1", Some(&execution)) else {
            panic!("a failed execution is not in effect")
        };
        assert_eq!(why, "execution 1 of `doc` is Failed: step `stop`: no");
    }
}
