//! Systems Manager's calls, as its API reference has them. Executions and
//! commands take their time: how far they are follows from the present time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, number, required, texts};
use crate::state::State;
use crate::wire::ServiceError;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ssm {
    /// Documents by name, besides AWS's own for commands.
    pub documents: BTreeMap<String, Document>,
    /// Automation executions by id.
    pub executions: BTreeMap<String, Execution>,
    /// Managed instances by id.
    pub instances: BTreeMap<String, Managed>,
    /// Commands by id.
    pub commands: BTreeMap<String, Command>,
}

/// A document, and how what it runs will end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// `Automation` or `Command`.
    pub kind: String,
    /// The parameters that it takes, all required.
    pub parameters: Vec<String>,
    /// The status of its executions before they end, such as `InProgress`.
    pub running: String,
    /// The status with which its executions end.
    pub outcome: String,
    /// The step that fails, and its message.
    pub failure: Option<(String, String)>,
}

impl Document {
    /// An automation that succeeds.
    pub fn automation(parameters: &[&str]) -> Self {
        Self {
            kind: "Automation".to_owned(),
            parameters: parameters.iter().map(|&name| name.to_owned()).collect(),
            running: "InProgress".to_owned(),
            outcome: "Success".to_owned(),
            failure: None,
        }
    }
}

/// One run of an automation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Execution {
    /// The document.
    pub document: String,
    /// Its version, where one was asked for.
    pub version: Option<String>,
    /// The values of its parameters.
    pub parameters: Value,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The token that makes starting it again find it.
    pub token: Option<String>,
    /// When it was started.
    pub started: Timestamp,
}

/// A managed instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Managed {
    /// `Linux`, `Windows` or `MacOS`.
    pub platform: String,
    /// `Online`, `ConnectionLost` or `Inactive`.
    pub ping: String,
}

/// One command that was sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Command {
    /// The document.
    pub document: String,
    /// The instances.
    pub instances: Vec<String>,
    /// The values of its parameters.
    pub parameters: Value,
    /// Its comment.
    pub comment: String,
    /// The bucket for its output.
    pub bucket: Option<String>,
    /// The prefix of its output.
    pub prefix: Option<String>,
    /// When it was sent.
    pub sent: Timestamp,
    /// The status with which it ends.
    pub outcome: String,
}

/// How long executions and commands take.
const TAKES: SignedDuration = SignedDuration::from_secs(30);

impl Execution {
    fn ended(&self, now: Timestamp) -> bool {
        now >= self.started + TAKES
    }
}

impl Command {
    fn status(&self, now: Timestamp) -> &str {
        if now < self.sent + TAKES { "InProgress" } else { &self.outcome }
    }
}

fn refuse<T>(code: &str, message: String) -> Result<T, ServiceError> {
    Err(ServiceError::new(400, code, message))
}

fn seconds(time: Timestamp) -> Value {
    json!(time.as_second())
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    let unique = state.unique();
    let ssm = &mut state.regional(&place.account, &place.region).ssm;
    Some(match operation {
        "DescribeDocument" => describe_document(ssm, input),
        "StartAutomationExecution" => start(ssm, place, unique, input),
        "GetAutomationExecution" => get(ssm, place, input),
        "DescribeAutomationExecutions" => describe_executions(ssm, place, input),
        "DescribeInstanceInformation" => Ok(describe_instances(ssm, input)),
        "SendCommand" => send_command(ssm, place, unique, input),
        "ListCommands" => Ok(list_commands(ssm, place, input)),
        _ => return None,
    })
}

/// A page of what was found: the token is the place to go on at.
fn page(found: Vec<Value>, name: &str, input: &Value) -> Value {
    let token = input.get("NextToken").and_then(Value::as_str);
    let start = token.and_then(|token| token.parse::<usize>().ok()).unwrap_or_default();
    let size = number(input, "MaxResults").and_then(|it| usize::try_from(it).ok()).unwrap_or(50);
    let next = (found.len() > start + size).then(|| (start + size).to_string());
    let page: Vec<Value> = found.into_iter().skip(start).take(size).collect();
    let mut answer = json!({ name: page });
    if let (Some(next), Some(object)) = (next, answer.as_object_mut()) {
        object.insert("NextToken".to_owned(), Value::String(next));
    }
    answer
}

fn command_documents(name: &str) -> bool {
    matches!(name, "AWS-RunShellScript" | "AWS-RunPowerShellScript")
}

fn describe_document(ssm: &Ssm, input: &Value) -> Answer {
    let name = required(input, "Name")?;
    let kind = match ssm.documents.get(name) {
        Some(document) => document.kind.as_str(),
        None if command_documents(name) => "Command",
        None => {
            let message = format!("Document with name {name} does not exist.");
            return refuse("InvalidDocument", message);
        }
    };
    Ok(json!({ "Document": { "Name": name, "DocumentType": kind, "Status": "Active" } }))
}

fn start(ssm: &mut Ssm, place: &Place, unique: u64, input: &Value) -> Answer {
    let name = required(input, "DocumentName")?;
    let Some(document) = ssm.documents.get(name).filter(|it| it.kind == "Automation") else {
        let message = format!("Automation definition {name} is not found");
        return refuse("AutomationDefinitionNotFoundException", message);
    };
    let parameters = input.get("Parameters").cloned().unwrap_or_else(|| json!({}));
    let given = parameters.as_object().cloned().unwrap_or_default();
    let known =
        |name: &String| document.parameters.contains(name) || name == "AutomationAssumeRole";
    let missing = document.parameters.iter().find(|name| !given.contains_key(*name));
    let unknown = given.keys().find(|name| !known(name));
    if let Some(wrong) = missing.or(unknown) {
        let message = format!("Parameter {wrong} does not fit the document {name}");
        return refuse("InvalidAutomationExecutionParametersException", message);
    }
    let tags: BTreeMap<String, String> = input
        .get("Tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|tag| {
            let text = |name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
            Some((text("Key")?, text("Value")?))
        })
        .collect();
    if tags.len() > 5 {
        return refuse("ValidationException", "An automation takes five tags at most".to_owned());
    }
    let token = input.get("ClientToken").and_then(Value::as_str).map(str::to_ascii_lowercase);
    let is_uuid = |token: &String| {
        let parts: Vec<usize> = token.split('-').map(str::len).collect();
        parts == [8, 4, 4, 4, 12] && token.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit())
    };
    if token.as_ref().is_some_and(|token| !is_uuid(token)) {
        return refuse("ValidationException", "ClientToken must be a UUID".to_owned());
    }
    let execution = Execution {
        document: name.to_owned(),
        version: input.get("DocumentVersion").and_then(Value::as_str).map(str::to_owned),
        parameters,
        tags,
        token: token.clone(),
        started: place.now,
    };
    let same = ssm.executions.iter().find(|(_, it)| token.is_some() && it.token == token);
    if let Some((id, earlier)) = same {
        if (Execution { started: earlier.started, ..execution }) != *earlier {
            let message = "The parameters do not match the original call".to_owned();
            return refuse("IdempotentParameterMismatch", message);
        }
        return Ok(json!({ "AutomationExecutionId": id }));
    }
    let id = format!("00000000-0000-4000-8000-{unique:012x}");
    ssm.executions.insert(id.clone(), execution);
    Ok(json!({ "AutomationExecutionId": id }))
}

fn rendered(ssm: &Ssm, place: &Place, id: &str, execution: &Execution) -> Value {
    let Execution { document: name, started, .. } = execution;
    let document = ssm.documents.get(name);
    let running = document.map_or("InProgress", |it| it.running.as_str());
    let outcome = document.map_or("Success", |it| it.outcome.as_str());
    let ended = execution.ended(place.now);
    let status = if ended { outcome } else { running };
    let mut value = json!({
        "AutomationExecutionId": id,
        "DocumentName": name,
        "AutomationExecutionStatus": status,
        "ExecutionStartTime": seconds(*started),
    });
    let failure = document.and_then(|it| it.failure.as_ref()).filter(|_| ended);
    if let (Some((step, message)), Some(object)) = (failure, value.as_object_mut()) {
        let rendered = format!("Step fails when it is Execute/Cancelling action. {message}");
        object.insert("FailureMessage".to_owned(), json!(rendered));
        let failed = json!({ "StepName": step, "StepStatus": status, "FailureMessage": message });
        object.insert("StepExecutions".to_owned(), json!([failed]));
    }
    value
}

fn get(ssm: &Ssm, place: &Place, input: &Value) -> Answer {
    let id = required(input, "AutomationExecutionId")?;
    match ssm.executions.get(id) {
        Some(execution) => {
            Ok(json!({ "AutomationExecution": rendered(ssm, place, id, execution) }))
        }
        None => refuse(
            "AutomationExecutionNotFoundException",
            format!("Automation execution {id} is not found"),
        ),
    }
}

/// The filters of an input: key and values.
fn filters(input: &Value) -> Vec<(String, Vec<String>)> {
    let list = input.get("Filters").and_then(Value::as_array);
    let one = |filter: &Value| {
        let key = filter.get("Key").or(filter.get("key")).and_then(Value::as_str)?;
        Some((key.to_owned(), texts(filter, "Values")))
    };
    list.into_iter().flatten().filter_map(one).collect()
}

fn describe_executions(ssm: &Ssm, place: &Place, input: &Value) -> Answer {
    let filters = filters(input);
    if let Some((key, _)) =
        filters.iter().find(|(key, _)| key != "TagKey" && key != "DocumentNamePrefix")
    {
        return refuse("InvalidFilterKey", format!("The simulation does not model {key}"));
    }
    let admits = |execution: &Execution| {
        filters.iter().all(|(key, values)| match key.as_str() {
            "TagKey" => values.iter().any(|key| execution.tags.contains_key(key)),
            _ => values.iter().any(|prefix| execution.document.starts_with(prefix)),
        })
    };
    let found = ssm.executions.iter().filter(|(_, execution)| admits(execution));
    let found = found.map(|(id, execution)| rendered(ssm, place, id, execution)).collect();
    Ok(page(found, "AutomationExecutionMetadataList", input))
}

fn describe_instances(ssm: &Ssm, input: &Value) -> Value {
    let filters = filters(input);
    let wanted = |id: &String| {
        filters.iter().all(|(key, values)| key == "InstanceIds" && values.contains(id))
    };
    let found = ssm.instances.iter().filter(|(id, _)| wanted(id));
    let found = found
        .map(|(id, managed)| {
            let Managed { platform, ping } = managed;
            json!({ "InstanceId": id, "PlatformType": platform, "PingStatus": ping })
        })
        .collect();
    page(found, "InstanceInformationList", input)
}

fn rendered_command(id: &str, place: &Place, command: &Command) -> Value {
    json!({
        "CommandId": id,
        "DocumentName": command.document,
        "Comment": command.comment,
        "InstanceIds": command.instances,
        "Status": command.status(place.now),
        "StatusDetails": command.status(place.now),
        "RequestedDateTime": seconds(command.sent),
    })
}

fn send_command(ssm: &mut Ssm, place: &Place, unique: u64, input: &Value) -> Answer {
    let document = required(input, "DocumentName")?;
    let held = ssm.documents.get(document).filter(|it| it.kind == "Command");
    if held.is_none() && !command_documents(document) {
        return refuse("InvalidDocument", format!("Document {document} does not exist."));
    }
    let instances = texts(input, "InstanceIds");
    let online = |id: &String| ssm.instances.get(id).is_some_and(|it| it.ping == "Online");
    if instances.is_empty() || !instances.iter().all(online) {
        let message = "Instances are not in a valid state for account".to_owned();
        return refuse("InvalidInstanceId", message);
    }
    let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
    let comment = text("Comment").unwrap_or_default();
    if comment.chars().count() > 100 {
        return refuse("ValidationException", "Comment has 100 characters at most".to_owned());
    }
    let command = Command {
        document: document.to_owned(),
        instances,
        parameters: input.get("Parameters").cloned().unwrap_or(Value::Null),
        comment,
        bucket: text("OutputS3BucketName"),
        prefix: text("OutputS3KeyPrefix"),
        sent: place.now,
        outcome: held.map_or_else(|| "Success".to_owned(), |it| it.outcome.clone()),
    };
    let id = format!("10000000-0000-4000-8000-{unique:012x}");
    let rendered = rendered_command(&id, place, &command);
    ssm.commands.insert(id, command);
    Ok(json!({ "Command": rendered }))
}

fn list_commands(ssm: &Ssm, place: &Place, input: &Value) -> Value {
    let instance = input.get("InstanceId").and_then(Value::as_str);
    let of = |command: &Command| {
        instance.is_none_or(|id| command.instances.iter().any(|instance| instance == id))
    };
    let found = ssm.commands.iter().filter(|(_, command)| of(command));
    let found = found.map(|(id, command)| rendered_command(id, place, command)).collect();
    page(found, "Commands", input)
}
