//! Sends notices: to an SNS topic for people, to an EventBridge bus for tools.
//!
//! Each call sends what it is given, once; the outbox prevents repeated deliveries. A
//! FIFO topic drops a repeat within five minutes by the notice's id; on a standard
//! topic or a bus a repeat has the same id.

use aws_config::{Region as SdkRegion, SdkConfig};
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use aws_sdk_sns::types::MessageAttributeValue;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use firebreak_model::digest::sha256_hex;
use firebreak_model::resource::Region;
use serde_json::{Value, json};

use crate::error::{HubError, HubErrorKind, failed};
use crate::settings::Settings;
use firebreak_response::notice::{EVENT_SOURCE, EventBus, Notice, Topic};

/// "The maximum number of entries is 10" (EventBridge API reference, PutEvents).
/// Together they may have 1 MB, and a notice's detail is far smaller than a tenth of
/// that.
const ENTRIES_PER_CALL: usize = 10;

/// The topic and the bus, if configured.
#[derive(Debug)]
pub struct Notices {
    topic: Option<(aws_sdk_sns::Client, Topic)>,
    bus: Option<(aws_sdk_eventbridge::Client, EventBus)>,
}

impl Notices {
    /// Uses the hub's credentials; each destination is called in the Region of its ARN.
    pub fn new(config: &SdkConfig, settings: &Settings) -> Self {
        let topic = settings.topic.clone().map(|topic| {
            let config = aws_sdk_sns::config::Builder::from(config)
                .region(sdk_region(topic.region()))
                .build();
            (aws_sdk_sns::Client::from_conf(config), topic)
        });
        let bus = settings.event_bus.clone().map(|bus| {
            let mut builder = aws_sdk_eventbridge::config::Builder::from(config);
            if let Some(region) = bus.region() {
                builder = builder.region(sdk_region(region));
            }
            (aws_sdk_eventbridge::Client::from_conf(builder.build()), bus)
        });
        Self { topic, bus }
    }

    /// Whether there is a topic to publish to.
    pub fn has_topic(&self) -> bool {
        self.topic.is_some()
    }

    /// Whether there is a bus to put events on.
    pub fn has_bus(&self) -> bool {
        self.bus.is_some()
    }

    /// Publishes a notice to the topic; without a topic does nothing.
    ///
    /// # Errors
    ///
    /// `Transient` if a retry may succeed, for example if the response was lost. The
    /// retry then publishes the notice to a standard topic again, with the same id.
    pub async fn publish(&self, notice: &Notice) -> Result<(), HubError> {
        let Some((client, topic)) = &self.topic else { return Ok(()) };
        let mut call = client
            .publish()
            .topic_arn(topic.arn())
            .subject(&notice.subject)
            .message(message(notice))
            .message_structure("json");
        for (name, kind, value) in attributes(notice) {
            let value = MessageAttributeValue::builder().data_type(kind).string_value(value);
            let value = value.build().map_err(|error| HubError::failed(error.to_string()))?;
            call = call.message_attributes(name, value);
        }
        if topic.is_fifo() {
            call = call
                .message_group_id(text(notice, "/response/resource/account"))
                .message_deduplication_id(sha256_hex(&notice.id));
        }
        call.send().await.map(|_| ()).map_err(|error| {
            send_error("sns:Publish", topic.arn(), "FIREBREAK_TOPIC", &error)
                .context(format_args!("notice `{}` is not published", notice.id))
        })
    }

    /// Puts notices on the bus, ten in each call; without a bus does nothing. Returns
    /// one result for each notice, in order: EventBridge rejects single entries.
    ///
    /// # Errors
    ///
    /// `Transient` for notices that may be put again.
    pub async fn put_events(&self, notices: &[&Notice]) -> Vec<Result<(), HubError>> {
        let Some((client, bus)) = &self.bus else {
            return notices.iter().map(|_| Ok(())).collect();
        };
        let mut results = Vec::with_capacity(notices.len());
        for batch in notices.chunks(ENTRIES_PER_CALL) {
            let entries = batch.iter().map(|notice| entry(notice, bus)).collect();
            let output = client.put_events().set_entries(Some(entries)).send().await;
            match output {
                Ok(output) => {
                    let reply = output.entries().iter().map(Some).chain(std::iter::repeat(None));
                    results
                        .extend(batch.iter().zip(reply).map(|(notice, reply)| put(notice, reply)));
                }
                Err(error) => {
                    let error =
                        send_error("events:PutEvents", bus.as_str(), "FIREBREAK_EVENT_BUS", &error);
                    results.extend(batch.iter().map(|notice| {
                        let what = format!("notice `{}` is not on the bus", notice.id);
                        Err(error.clone().context(what))
                    }));
                }
            }
        }
        results
    }
}

fn sdk_region(region: &Region) -> SdkRegion {
    SdkRegion::new(region.to_string())
}

/// The message by protocol: people get the text, programs the detail. E-mail and all
/// other protocols get `default`.
fn message(notice: &Notice) -> String {
    let detail = notice.detail.to_string();
    json!({
        "default": notice.text,
        "email": notice.text,
        "sqs": detail,
        "lambda": detail,
        "https": detail,
    })
    .to_string()
}

/// The attributes that subscriptions filter by: name, data type, value.
fn attributes(notice: &Notice) -> [(&'static str, &'static str, String); 4] {
    let severity = notice.detail.pointer("/response/finding/severity");
    [
        ("kind", "String", notice.kind.name().to_owned()),
        ("state", "String", text(notice, "/response/state").to_owned()),
        ("account", "String", text(notice, "/response/resource/account").to_owned()),
        ("severity", "Number", severity.map_or_else(|| "0".to_owned(), Value::to_string)),
    ]
}

/// A text of the detail; every detail has the texts that are read here.
fn text<'a>(notice: &'a Notice, pointer: &str) -> &'a str {
    notice.detail.pointer(pointer).and_then(Value::as_str).unwrap_or("unknown")
}

fn entry(notice: &Notice, bus: &EventBus) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .event_bus_name(bus.as_str())
        .source(EVENT_SOURCE)
        .detail_type(notice.kind.event_type())
        .detail(notice.detail.to_string())
        .resources(text(notice, "/response/resource/arn"))
        .build()
}

/// The result of one entry.
fn put(notice: &Notice, reply: Option<&PutEventsResultEntry>) -> Result<(), HubError> {
    let id = &notice.id;
    let Some(reply) = reply else {
        let why =
            format!("notice `{id}` may not be on the bus: EventBridge returned no result for it");
        return Err(HubError::transient(why));
    };
    let Some(code) = reply.error_code() else { return Ok(()) };
    let message = reply.error_message().unwrap_or("no reason given");
    let why =
        format!("notice `{id}` is not on the bus: events:PutEvents refused it: {code}: {message}");
    // EventBridge API reference, PutEventsResultEntry: which codes may be retried.
    Err(match code {
        "ThrottlingException" | "InternalFailure" | "InternalException" => HubError::transient(why),
        _ => HubError::failed(why),
    })
}

/// An error of a call, with help if a fix is known.
fn send_error<E>(call: &str, on: &str, setting: &str, error: &SdkError<E, HttpResponse>) -> HubError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let said = failed(call, error);
    // Accepted, but the response cannot be read: the result is unknown.
    if error.raw_response().is_some_and(|response| response.status().is_success()) {
        return said.with_kind(HubErrorKind::Transient);
    }
    match code {
        // SNS's error codes for throttling (SNS API reference, Publish).
        Some("Throttled" | "KMSThrottling") => said.with_kind(HubErrorKind::Transient),
        Some("NotFound" | "ResourceNotFoundException") => said
            .with_kind(HubErrorKind::Failed)
            .with_help(format!("`{on}` does not exist: create it again, or change {setting}")),
        Some("AuthorizationError" | "AccessDenied" | "AccessDeniedException") => {
            let help = format!("grant the hub's role {call} on `{on}`");
            said.with_kind(HubErrorKind::Failed).with_help(help)
        }
        _ => said,
    }
}
