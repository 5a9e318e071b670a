//! Amazon EventBridge: buses and the events that were put on them.
//!
//! A test reads what was put, and can have entries refused one by one. Rules take
//! events on to their targets: see [`deliver`].

pub mod deliver;
pub mod pattern;
pub mod rules;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::deliver::Lost;
use self::rules::Rule;
use crate::wire::ServiceError;

/// The most entries of one call (EventBridge API reference, PutEvents).
const ENTRIES: usize = 10;
/// All entries together have to be less than 1 MB (EventBridge user guide,
/// "Calculating PutEvents event entry size").
const BYTES: usize = 1_048_576;

/// All buses of the organization.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// What was put on each bus, by its ARN; the default buses are always there.
    pub buses: BTreeMap<String, Vec<Event>>,
    /// Rules by ARN.
    pub rules: BTreeMap<String, Rule>,
    /// The statements of each bus's policy, by the bus's ARN and their ids.
    pub policies: BTreeMap<String, BTreeMap<String, Value>>,
    /// What was put by the call that is being answered, with its bus: its rules
    /// are followed when the call is over.
    pub(crate) fresh: Vec<(String, Value)>,
    /// What reached no target, and no dead-letter queue either.
    pub lost: Vec<Lost>,
    /// Entries that are refused.
    pub refused: Vec<Refused>,
    next: u64,
}

/// An event that was put.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// When it was put.
    pub at: Timestamp,
    /// `source`.
    pub source: String,
    /// `detail-type`.
    pub detail_type: String,
    /// `detail`.
    pub detail: Value,
    /// `resources`.
    pub resources: Vec<String>,
}

impl Event {
    /// The event as rules and targets get it.
    fn rendered(&self, account: &str, region: &str) -> Value {
        let Self { id, at, source, detail_type, detail, resources } = self;
        json!({
            "version": "0", "id": id, "detail-type": detail_type, "source": source,
            "account": account, "time": at.to_string(), "region": region,
            "resources": resources, "detail": detail,
        })
    }
}

/// Which entries are refused, and with what code.
#[derive(Clone, Debug)]
pub struct Refused {
    /// A text in the entry's detail.
    pub containing: String,
    /// AWS's code, such as `ThrottlingException` or `InternalFailure`.
    pub code: String,
    /// How many such entries are refused.
    pub times: u32,
}

/// A bus's ARN.
pub fn arn(account: &str, region: &str, name: &str) -> String {
    format!("arn:aws:events:{region}:{account}:event-bus/{name}")
}

/// The ARN of the bus that an entry names, by name or ARN.
pub fn bus(entry: &Value, account: &str, region: &str) -> String {
    match entry.get("EventBusName").and_then(Value::as_str) {
        Some(name) if name.starts_with("arn:") => name.to_owned(),
        Some(name) => arn(account, region, name),
        None => arn(account, region, "default"),
    }
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(
    events: &mut Events,
    (account, region): (&str, &str),
    now: Timestamp,
    operation: &str,
    input: &Value,
) -> Option<Result<Value, ServiceError>> {
    Some(match operation {
        "CreateEventBus" => create(events, account, region, input),
        "PutEvents" => put(events, (account, region), now, input),
        _ => return rules::answer(events, (account, region), operation, input),
    })
}

fn create(
    events: &mut Events,
    account: &str,
    region: &str,
    input: &Value,
) -> Result<Value, ServiceError> {
    let name = input.get("Name").and_then(Value::as_str).unwrap_or_default();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !(1..=256).contains(&name.len()) || !name.bytes().all(legal) {
        return Err(validation(&format!("Value '{name}' at 'name' failed to satisfy constraint")));
    }
    let arn = arn(account, region, name);
    if name == "default" || events.buses.contains_key(&arn) {
        let message = format!("Event bus {name} already exists.");
        return Err(ServiceError::new(400, "ResourceAlreadyExistsException", message));
    }
    events.buses.insert(arn.clone(), Vec::new());
    Ok(json!({ "EventBusArn": arn }))
}

fn validation(message: &str) -> ServiceError {
    let message = format!("1 validation error detected: {message}");
    ServiceError::new(400, "ValidationException", message)
}

fn put(
    events: &mut Events,
    (account, region): (&str, &str),
    now: Timestamp,
    input: &Value,
) -> Result<Value, ServiceError> {
    let entries = input.get("Entries").and_then(Value::as_array).cloned().unwrap_or_default();
    if !(1..=ENTRIES).contains(&entries.len()) {
        return Err(validation(
            "Value at 'entries' failed to satisfy constraint: Member must have length between 1 and 10",
        ));
    }
    if entries.iter().map(bytes).sum::<usize>() >= BYTES {
        return Err(validation("Total size of the entries in the request is over the limit."));
    }
    for entry in &entries {
        let bus = bus(entry, account, region);
        if !bus.ends_with(":event-bus/default") && !events.buses.contains_key(&bus) {
            let message = format!("Event bus {bus} does not exist.");
            return Err(ServiceError::new(400, "ResourceNotFoundException", message));
        }
    }
    let mut rendered = Vec::new();
    for entry in &entries {
        rendered.push(match events.put_one(entry, (account, region), now) {
            Ok(id) => json!({ "EventId": id }),
            Err((code, message)) => json!({ "ErrorCode": code, "ErrorMessage": message }),
        });
    }
    let failed = rendered.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
    Ok(json!({ "FailedEntryCount": failed, "Entries": rendered }))
}

/// An entry's size: 14 bytes for a time, and the texts (EventBridge user guide,
/// same place).
fn bytes(entry: &Value) -> usize {
    let texts = ["Source", "DetailType", "Detail"];
    let texts: usize =
        texts.iter().filter_map(|name| entry.get(*name)?.as_str()).map(str::len).sum();
    let resources = entry.get("Resources").and_then(Value::as_array).into_iter().flatten();
    let resources: usize = resources.filter_map(Value::as_str).map(str::len).sum();
    let time = if entry.get("Time").is_some_and(|time| !time.is_null()) { 14 } else { 0 };
    texts + resources + time
}

impl Events {
    fn put_one(
        &mut self,
        entry: &Value,
        (account, region): (&str, &str),
        now: Timestamp,
    ) -> Result<String, (String, String)> {
        let text = |name: &str| {
            let text = entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| {
                let why = format!(
                    "Parameter {name} is not valid. Reason: {name} is a required argument."
                );
                ("InvalidArgument".to_owned(), why)
            })
        };
        let (source, detail_type, detail) = (text("Source")?, text("DetailType")?, text("Detail")?);
        if source.starts_with("aws.") {
            let message = "Not authorized for the source.".to_owned();
            return Err(("NotAuthorizedForSourceException".to_owned(), message));
        }
        let script = self
            .refused
            .iter_mut()
            .find(|refused| refused.times > 0 && detail.contains(&refused.containing));
        if let Some(refused) = script {
            refused.times -= 1;
            return Err((refused.code.clone(), "The simulation was told to refuse it".to_owned()));
        }
        let malformed = || ("MalformedDetail".to_owned(), "Detail is malformed.".to_owned());
        let detail: Value = serde_json::from_str(&detail).map_err(|_| malformed())?;
        if !detail.is_object() {
            return Err(malformed());
        }
        let resources = entry.get("Resources").and_then(Value::as_array).into_iter().flatten();
        let resources = resources.filter_map(Value::as_str).map(str::to_owned).collect();
        self.next += 1;
        let id = format!("f1b00000-0000-4000-a000-{:012x}", self.next);
        let event = Event { id: id.clone(), at: now, source, detail_type, detail, resources };
        let bus = bus(entry, account, region);
        self.fresh.push((bus.clone(), event.rendered(account, region)));
        self.buses.entry(bus).or_default().push(event);
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);
    const HERE: (&str, &str) = ("111122223333", "eu-central-1");

    fn ask(events: &mut Events, operation: &str, input: &Value) -> Result<Value, String> {
        answer(events, HERE, NOW, operation, input).unwrap().map_err(|error| error.code)
    }

    fn entry(detail: &str) -> Value {
        json!({ "Source": "s", "DetailType": "t", "Detail": detail })
    }

    #[test]
    fn each_entry_has_a_result_of_its_own() {
        let mut events = Events::default();
        let refused =
            Refused { containing: "two".to_owned(), code: "InternalFailure".to_owned(), times: 1 };
        events.refused.push(refused);
        let put = json!({ "Entries": [entry("{\"a\":1}"), entry("{\"b\":\"two\"}"), entry("no")] });
        let rendered = ask(&mut events, "PutEvents", &put).unwrap();
        assert_eq!(rendered["FailedEntryCount"], 2);
        assert_eq!(rendered["Entries"][1]["ErrorCode"], "InternalFailure");
        assert_eq!(rendered["Entries"][2]["ErrorCode"], "MalformedDetail");
        let bus = arn(HERE.0, HERE.1, "default");
        assert_eq!(events.buses[&bus].len(), 1);
        let again = ask(&mut events, "PutEvents", &put).unwrap();
        assert_eq!(again["FailedEntryCount"], 1, "refused once only");
    }

    #[test]
    fn a_call_over_the_limits_or_to_no_bus_is_refused_whole() {
        let mut events = Events::default();
        let many: Vec<Value> = (0..11).map(|_| entry("{}")).collect();
        let large = entry(&format!("{{\"a\":\"{}\"}}", "x".repeat(BYTES)));
        let mut nowhere = entry("{}");
        nowhere["EventBusName"] = json!("nowhere");
        for (entries, code) in [
            (many, "ValidationException"),
            (vec![], "ValidationException"),
            (vec![large], "ValidationException"),
            (vec![entry("{}"), nowhere], "ResourceNotFoundException"),
        ] {
            let rendered = ask(&mut events, "PutEvents", &json!({ "Entries": entries }));
            assert_eq!(rendered, Err(code.to_owned()));
        }
        assert!(events.buses.is_empty(), "{events:?}");
    }

    #[test]
    fn a_bus_is_named_by_name_or_arn() {
        let mut events = Events::default();
        let made = ask(&mut events, "CreateEventBus", &json!({ "Name": "notices" })).unwrap();
        for name in ["notices", made["EventBusArn"].as_str().unwrap()] {
            let mut entry = entry("{}");
            entry["EventBusName"] = json!(name);
            ask(&mut events, "PutEvents", &json!({ "Entries": [entry] })).unwrap();
        }
        assert_eq!(events.buses[&arn(HERE.0, HERE.1, "notices")].len(), 2);
        let again = ask(&mut events, "CreateEventBus", &json!({ "Name": "notices" }));
        assert_eq!(again, Err("ResourceAlreadyExistsException".to_owned()));
    }
}
