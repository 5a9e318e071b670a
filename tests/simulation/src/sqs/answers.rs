//! SQS's calls in its JSON protocol, as its API reference has them.

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::model::{Address, MESSAGE_BYTES, Message, Outgoing, Redrive, Sqs, error};
use crate::wire::{self, HttpResponse, Protocol, ServiceError};

type Answer = Result<Value, ServiceError>;

/// Where and when a call is made.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The caller's account.
    pub account: &'a str,
    /// The Region.
    pub region: &'a str,
    /// The present time.
    pub now: Timestamp,
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(sqs: &mut Sqs, place: Place<'_>, operation: &str, input: &Value) -> Option<Answer> {
    Some(match operation {
        "CreateQueue" => create(sqs, place, input),
        "SetQueueAttributes" => set_attributes(sqs, place, input),
        "DeleteQueue" => delete_queue(sqs, place, input),
        "GetQueueUrl" => get_url(sqs, place, input),
        "GetQueueAttributes" => get_attributes(sqs, place, input),
        "SendMessage" => send(sqs, place, input),
        "SendMessageBatch" => send_batch(sqs, place, input),
        "ReceiveMessage" => receive(sqs, place, input),
        "DeleteMessage" => delete(sqs, place, input, input),
        "DeleteMessageBatch" => batch(sqs, place, input, delete),
        "ChangeMessageVisibility" => hide(sqs, place, input, input),
        "ChangeMessageVisibilityBatch" => batch(sqs, place, input, hide),
        "StartMessageMoveTask" => move_messages(sqs, place, input),
        _ => return None,
    })
}

/// An error as SQS writes it: the JSON name in the body, and the name that it
/// had in the Query protocol in a header, which SDKs prefer.
pub fn refused(error: &ServiceError) -> HttpResponse {
    let mut answer = wire::error(Protocol::Json, error);
    let code = query_code(&error.code);
    if let Ok(value) = HeaderValue::from_str(&format!("{code};Sender")) {
        answer.headers.insert("x-amzn-query-error", value);
    }
    answer.code = Some(code);
    answer
}

fn query_code(code: &str) -> String {
    let name = match code {
        "QueueDoesNotExist" => "NonExistentQueue",
        "MessageNotInflight"
        | "UnsupportedOperation"
        | "BatchEntryIdsNotDistinct"
        | "BatchRequestTooLong"
        | "EmptyBatchRequest"
        | "InvalidBatchEntryId"
        | "TooManyEntriesInBatchRequest" => code,
        "QueueNameExists" => return "QueueAlreadyExists".to_owned(),
        other => return other.to_owned(),
    };
    format!("AWS.SimpleQueueService.{name}")
}

fn invalid(message: impl Into<String>) -> ServiceError {
    error("InvalidParameterValue", message)
}

fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, ServiceError> {
    let text = input.get(name).and_then(Value::as_str);
    text.ok_or_else(|| {
        error("MissingParameter", format!("The request must contain the parameter {name}."))
    })
}

fn named(place: Place<'_>, input: &Value) -> Result<Address, ServiceError> {
    let url = required(input, "QueueUrl")?;
    let queue = Address::of_url(url, place.region)
        .ok_or_else(|| error("InvalidAddress", format!("The address {url} is not valid.")))?;
    if queue.account != place.account {
        let message = "Access to the resource is denied: the queue is another account's.";
        return Err(ServiceError::new(403, "AccessDenied", message));
    }
    Ok(queue)
}

/// A number of an attribute or a parameter, within its bounds.
fn bounded(
    value: &Value,
    name: &str,
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<i64, ServiceError> {
    let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    number.filter(|number| bounds.contains(number)).ok_or_else(|| {
        let (least, most) = (bounds.start(), bounds.end());
        invalid(format!(
            "Value {value} for parameter {name} is invalid. Reason: Must be between {least} and {most}."
        ))
    })
}

fn seconds(
    value: &Value,
    name: &str,
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<SignedDuration, ServiceError> {
    bounded(value, name, bounds).map(SignedDuration::from_secs)
}

fn create(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let name = required(input, "QueueName")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > 80 || !name.bytes().all(legal) {
        let message = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length (FIFO queues are not modelled)";
        return Err(invalid(message));
    }
    let queue = Address::new(place.account, place.region, name);
    let known = sqs.queues.get(&queue).cloned();
    let mut made = known.clone().unwrap_or_else(|| super::model::Queue::new(place.now));
    let attributes = input.get("Attributes").and_then(Value::as_object);
    set(sqs, &mut made, attributes, place, &queue)?;
    if known.is_some_and(|known| !known.is_set_as(&made)) {
        let message =
            "A queue already exists with the same name and a different value for an attribute.";
        return Err(error("QueueNameExists", message));
    }
    let url = queue.url();
    sqs.queues.entry(queue).or_insert(made);
    Ok(json!({ "QueueUrl": url }))
}

fn set(
    sqs: &Sqs,
    queue: &mut super::model::Queue,
    attributes: Option<&Map<String, Value>>,
    place: Place<'_>,
    address: &Address,
) -> Result<(), ServiceError> {
    for (name, value) in attributes.into_iter().flatten() {
        match name.as_str() {
            "VisibilityTimeout" => queue.visibility = seconds(value, name, 0..=43_200)?,
            "DelaySeconds" => queue.delay = seconds(value, name, 0..=900)?,
            "MaximumMessageSize" => {
                let bytes = bounded(value, name, 1_024..=1_048_576)?;
                queue.max_bytes = usize::try_from(bytes).unwrap_or(MESSAGE_BYTES);
            }
            // Nothing grows old here, and receiving never waits.
            "MessageRetentionPeriod" => drop(bounded(value, name, 60..=1_209_600)?),
            "ReceiveMessageWaitTimeSeconds" => drop(bounded(value, name, 0..=20)?),
            "SqsManagedSseEnabled" => {}
            "RedrivePolicy" => queue.redrive = redrive(sqs, value, place, address)?,
            "RedriveAllowPolicy" => queue.redrive_allowed = redrive_allowed(value)?,
            "Policy" => {
                let text = value.as_str().unwrap_or_default();
                let read = serde_json::from_str(text);
                queue.policy = if text.is_empty() {
                    None
                } else {
                    Some(read.map_err(|_| invalid("Invalid value for the parameter Policy."))?)
                };
            }
            other => {
                let message = format!("the simulation does not model the attribute {other}");
                return Err(ServiceError::new(501, "NotModelled", message));
            }
        }
    }
    Ok(())
}

/// Which queues may have a queue as their dead-letter queue (SQS API reference,
/// SetQueueAttributes, `RedriveAllowPolicy`).
fn redrive_allowed(value: &Value) -> Result<Option<Vec<String>>, ServiceError> {
    let text = value.as_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || invalid(format!("Value {text} for parameter RedriveAllowPolicy is invalid."));
    let policy: Value = serde_json::from_str(text).map_err(|_| wrong())?;
    match policy.get("redrivePermission").and_then(Value::as_str) {
        Some("allowAll") => Ok(None),
        Some("denyAll") => Ok(Some(Vec::new())),
        Some("byQueue") => Ok(Some(names(&policy, "sourceQueueArns"))),
        _ => Err(wrong()),
    }
}

fn redrive(
    sqs: &Sqs,
    value: &Value,
    place: Place<'_>,
    address: &Address,
) -> Result<Option<Redrive>, ServiceError> {
    let text = value.as_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |why: &str| {
        invalid(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {why}."))
    };
    let policy: Value = serde_json::from_str(text).map_err(|_| wrong("Not valid JSON"))?;
    let arn = policy.get("deadLetterTargetArn").and_then(Value::as_str).unwrap_or_default();
    let dead_letter =
        Address::of_arn(arn).ok_or_else(|| wrong("Invalid value for deadLetterTargetArn"))?;
    if dead_letter.account != place.account || dead_letter.region != place.region {
        return Err(wrong("Dead-letter target owner and Region should be the same as the source"));
    }
    let Some(target) = sqs.queues.get(&dead_letter) else {
        return Err(wrong("Dead letter target does not exist"));
    };
    let allowed = target.redrive_allowed.as_ref();
    if allowed.is_some_and(|allowed| !allowed.contains(&address.arn())) {
        return Err(wrong("The dead-letter queue's redrive allow policy does not name this queue"));
    }
    let count = policy.get("maxReceiveCount").unwrap_or(&Value::Null);
    let count = bounded(count, "maxReceiveCount", 1..=1_000)?;
    let max_receive_count = u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Some(Redrive { dead_letter, max_receive_count }))
}

fn set_attributes(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let address = named(place, input)?;
    let mut queue = sqs.queue(&address)?.clone();
    let attributes = input.get("Attributes").and_then(Value::as_object);
    set(sqs, &mut queue, attributes, place, &address)?;
    sqs.queues.insert(address, queue);
    Ok(json!({}))
}

fn delete_queue(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let queue = named(place, input)?;
    sqs.queue(&queue)?;
    sqs.queues.remove(&queue);
    Ok(json!({}))
}

fn get_url(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let queue = Address::new(place.account, place.region, required(input, "QueueName")?);
    sqs.queue(&queue)?;
    Ok(json!({ "QueueUrl": queue.url() }))
}

fn get_attributes(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let address = named(place, input)?;
    let counts = sqs.counts(&address, place.now)?;
    let queue = sqs.queue(&address)?;
    let mut all = Map::new();
    let mut add = |name: &str, value: String| all.insert(name.to_owned(), Value::String(value));
    add("QueueArn", address.arn());
    add("VisibilityTimeout", queue.visibility.as_secs().to_string());
    add("DelaySeconds", queue.delay.as_secs().to_string());
    add("MaximumMessageSize", queue.max_bytes.to_string());
    add("CreatedTimestamp", queue.created().as_second().to_string());
    add("ApproximateNumberOfMessages", counts.visible.to_string());
    add("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string());
    add("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string());
    if let Some(Redrive { dead_letter, max_receive_count }) = &queue.redrive {
        let policy = json!({
            "deadLetterTargetArn": dead_letter.arn(), "maxReceiveCount": max_receive_count,
        });
        add("RedrivePolicy", policy.to_string());
    }
    let asked = names(input, "AttributeNames");
    if !asked.iter().any(|name| name == "All") {
        if let Some(unknown) =
            asked.iter().find(|name| !all.contains_key(*name) && *name != "RedrivePolicy")
        {
            return Err(error("InvalidAttributeName", format!("Unknown Attribute {unknown}.")));
        }
        all.retain(|name, _| asked.contains(name));
    }
    Ok(if all.is_empty() { json!({}) } else { json!({ "Attributes": all }) })
}

fn names(input: &Value, name: &str) -> Vec<String> {
    let list = input.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn outgoing(entry: &Value) -> Result<Outgoing, ServiceError> {
    let body = required(entry, "MessageBody")?.to_owned();
    if body.is_empty() {
        return Err(error(
            "MissingParameter",
            "The request must contain the parameter MessageBody.",
        ));
    }
    let group = entry.get("MessageGroupId").and_then(Value::as_str).map(str::to_owned);
    let delay = entry.get("DelaySeconds").filter(|value| !value.is_null());
    let delay = delay.map(|value| seconds(value, "DelaySeconds", 0..=900)).transpose()?;
    let attributes = entry.get("MessageAttributes").cloned().unwrap_or_default();
    Ok(Outgoing { body, group, delay, attributes })
}

fn send(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let queue = named(place, input)?;
    let id = sqs.put(&queue, outgoing(input)?, place.now)?;
    Ok(json!({ "MessageId": id }))
}

/// The entries of a batch, if it is one that SQS takes.
fn entries(input: &Value) -> Result<Vec<(String, Value)>, ServiceError> {
    let entries = input.get("Entries").and_then(Value::as_array).cloned().unwrap_or_default();
    if entries.is_empty() {
        return Err(error("EmptyBatchRequest", "There should be at least one entry."));
    }
    if entries.len() > 10 {
        let message = "Maximum number of entries per request are 10.";
        return Err(error("TooManyEntriesInBatchRequest", message));
    }
    let mut read: Vec<(String, Value)> = Vec::new();
    for entry in entries {
        let id = required(&entry, "Id")?.to_owned();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if id.is_empty() || id.len() > 80 || !id.bytes().all(legal) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
            return Err(error("InvalidBatchEntryId", message));
        }
        if read.iter().any(|(known, _)| *known == id) {
            return Err(error("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
        read.push((id, entry));
    }
    Ok(read)
}

fn send_batch(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let queue = named(place, input)?;
    sqs.queue(&queue)?;
    let entries = entries(input)?;
    let mut read = Vec::new();
    for (id, entry) in entries {
        read.push((id, outgoing(&entry)?));
    }
    let bytes: usize = read.iter().map(|(_, outgoing)| outgoing.bytes()).sum();
    if bytes > MESSAGE_BYTES {
        let message = format!(
            "Batch requests cannot be longer than {MESSAGE_BYTES} bytes. You have sent {bytes} bytes."
        );
        return Err(error("BatchRequestTooLong", message));
    }
    let (mut sent, mut failed) = (Vec::new(), Vec::new());
    for (id, outgoing) in read {
        match sqs.put(&queue, outgoing, place.now) {
            Ok(message) => sent.push(json!({ "Id": id, "MessageId": message })),
            Err(error) => failed.push(failure(&id, &error)),
        }
    }
    Ok(rendered(&sent, &failed))
}

fn rendered(done: &[Value], failed: &[Value]) -> Value {
    json!({ "Successful": done, "Failed": failed })
}

fn failure(id: &str, error: &ServiceError) -> Value {
    let ServiceError { code, message, .. } = error;
    json!({ "Id": id, "SenderFault": true, "Code": query_code(code), "Message": message })
}

type Single = fn(&mut Sqs, Place<'_>, &Value, &Value) -> Answer;

/// Does the same for each entry and tells which failed.
fn batch(sqs: &mut Sqs, place: Place<'_>, input: &Value, single: Single) -> Answer {
    let queue = named(place, input)?;
    sqs.queue(&queue)?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (id, entry) in entries(input)? {
        match single(sqs, place, input, &entry) {
            Ok(_) => done.push(json!({ "Id": id })),
            Err(error) => failed.push(failure(&id, &error)),
        }
    }
    Ok(rendered(&done, &failed))
}

fn delete(sqs: &mut Sqs, place: Place<'_>, input: &Value, entry: &Value) -> Answer {
    let queue = named(place, input)?;
    sqs.queue(&queue)?;
    sqs.delete(&queue, required(entry, "ReceiptHandle")?)?;
    Ok(json!({}))
}

fn hide(sqs: &mut Sqs, place: Place<'_>, input: &Value, entry: &Value) -> Answer {
    let queue = named(place, input)?;
    sqs.queue(&queue)?;
    let timeout = entry.get("VisibilityTimeout").unwrap_or(&Value::Null);
    let visibility = seconds(timeout, "VisibilityTimeout", 0..=43_200)?;
    sqs.hide(&queue, required(entry, "ReceiptHandle")?, visibility, place.now)?;
    Ok(json!({}))
}

fn receive(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let queue = named(place, input)?;
    let given = |name: &str| input.get(name).filter(|value| !value.is_null());
    let max = match given("MaxNumberOfMessages") {
        Some(value) => bounded(value, "MaxNumberOfMessages", 1..=10)?,
        None => 1,
    };
    if let Some(value) = given("WaitTimeSeconds") {
        bounded(value, "WaitTimeSeconds", 0..=20)?;
    }
    let visibility = match given("VisibilityTimeout") {
        Some(value) => seconds(value, "VisibilityTimeout", 0..=43_200)?,
        None => sqs.queue(&queue)?.visibility,
    };
    let max = usize::try_from(max).unwrap_or(1);
    let received = sqs.receive_hidden(&queue, max, visibility, place.now)?;
    if received.is_empty() {
        return Ok(json!({}));
    }
    let mut asked = names(input, "MessageSystemAttributeNames");
    asked.extend(names(input, "AttributeNames"));
    let with_attributes = !names(input, "MessageAttributeNames").is_empty();
    let messages: Vec<Value> =
        received.iter().map(|message| described(message, &asked, with_attributes)).collect();
    Ok(json!({ "Messages": messages }))
}

/// A message as ReceiveMessage tells it: with the attributes that were asked for.
fn described(message: &Message, asked: &[String], with_attributes: bool) -> Value {
    let Message { id, body, receipt, receive_count, group, sent, first_received, attributes } =
        message;
    let mut system = Map::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value
            && asked.iter().any(|asked| asked == "All" || asked == name)
        {
            system.insert(name.to_owned(), Value::String(value));
        }
    };
    add("ApproximateReceiveCount", Some(receive_count.to_string()));
    add("SentTimestamp", Some(sent.as_millisecond().to_string()));
    let first = first_received.map(|at| at.as_millisecond().to_string());
    add("ApproximateFirstReceiveTimestamp", first);
    add("MessageGroupId", group.clone());
    let mut rendered = json!({ "MessageId": id, "ReceiptHandle": receipt, "Body": body });
    if let Some(object) = rendered.as_object_mut() {
        if !system.is_empty() {
            object.insert("Attributes".to_owned(), Value::Object(system));
        }
        if with_attributes && attributes.is_object() {
            object.insert("MessageAttributes".to_owned(), attributes.clone());
        }
    }
    rendered
}

fn move_messages(sqs: &mut Sqs, place: Place<'_>, input: &Value) -> Answer {
    let queue_of = |name: &str| {
        let arn = input.get(name).and_then(Value::as_str)?;
        Some(Address::of_arn(arn).filter(|queue| sqs.queues.contains_key(queue)))
    };
    let missing = || {
        let message = "The resource that you specified for the SourceArn parameter doesn't exist.";
        error("ResourceNotFoundException", message)
    };
    let source = queue_of("SourceArn").flatten().ok_or_else(missing)?;
    let destination = match queue_of("DestinationArn") {
        None => None,
        Some(queue) => Some(queue.ok_or_else(missing)?),
    };
    let is_target = sqs
        .queues
        .values()
        .any(|queue| queue.redrive.as_ref().is_some_and(|redrive| redrive.dead_letter == source));
    if !is_target {
        return Err(invalid("Source queue must be configured as a Dead Letter Queue."));
    }
    let moved = sqs.redrive(&source, destination.as_ref(), place.now)?;
    Ok(json!({ "TaskHandle": format!("{}-{moved}-{}", source.name, place.now.as_millisecond()) }))
}
