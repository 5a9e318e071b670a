//! Amazon SNS: topics and what was published to them.
//!
//! Deliveries are not modelled: a test reads what was published, with the text
//! that each protocol would get. A topic's policy can deny its own account's
//! callers; nobody else calls.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::ec2::form::Form;
use crate::ec2::xml;
use crate::wire::ServiceError;

/// The largest message: 256 KiB (SNS API reference, Publish).
const MESSAGE_BYTES: usize = 262_144;
/// How long a FIFO topic drops repeats (SNS developer guide, "Message
/// deduplication for FIFO topics").
const REPEATS: SignedDuration = SignedDuration::from_mins(5);

/// All topics of the organization, by ARN.
#[derive(Clone, Debug, Default)]
pub struct Sns {
    /// Topics by ARN.
    pub topics: BTreeMap<String, Topic>,
    next: u64,
}

/// A topic.
#[derive(Clone, Debug, Default)]
pub struct Topic {
    /// Whether it is a FIFO topic.
    pub fifo: bool,
    /// `ContentBasedDeduplication`: without an id the message itself is one.
    pub by_content: bool,
    /// Its policy.
    pub policy: Option<Value>,
    /// Subscriptions by ARN: protocol and endpoint.
    pub subscriptions: BTreeMap<String, (String, String)>,
    /// What was published, in order; repeats that were dropped are not in it.
    pub published: Vec<Published>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The message's id.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// The subject.
    pub subject: Option<String>,
    /// The message as it was given.
    pub message: String,
    /// With `MessageStructure=json` the text for each protocol.
    pub by_protocol: Option<Map<String, Value>>,
    /// Message attributes: data type and value by name.
    pub attributes: BTreeMap<String, (String, String)>,
    /// `MessageGroupId`.
    pub group: Option<String>,
    /// `MessageDeduplicationId`.
    pub deduplication: Option<String>,
}

impl Published {
    /// What a subscriber of a protocol gets.
    pub fn text(&self, protocol: &str) -> &str {
        match &self.by_protocol {
            None => &self.message,
            Some(texts) => {
                let own = texts.get(protocol).or_else(|| texts.get("default"));
                own.and_then(Value::as_str).unwrap_or_default()
            }
        }
    }
}

/// A topic's ARN.
pub fn arn(account: &str, region: &str, name: &str) -> String {
    format!("arn:aws:sns:{region}:{account}:{name}")
}

fn invalid(what: &str) -> ServiceError {
    ServiceError::new(400, "InvalidParameter", format!("Invalid parameter: {what}"))
}

/// Answers a call, with the elements of its result; `None` for one that is not
/// modelled.
pub fn answer(
    sns: &mut Sns,
    (account, region): (&str, &str),
    now: Timestamp,
    operation: &str,
    form: &Form,
) -> Option<Result<String, ServiceError>> {
    Some(match operation {
        "CreateTopic" => create(sns, account, region, form),
        "DeleteTopic" => {
            // No error for one that is not there (SNS API reference).
            sns.topics.remove(form.get("TopicArn").unwrap_or_default());
            Ok(String::new())
        }
        "Publish" => publish(sns, now, form),
        _ => return None,
    })
}

fn create(sns: &mut Sns, account: &str, region: &str, form: &Form) -> Result<String, ServiceError> {
    let name = form.get("Name").unwrap_or_default();
    let mut topic = Topic::default();
    for attribute in form.structures("Attributes.entry") {
        let value = attribute.get("value").unwrap_or_default();
        match attribute.get("key").unwrap_or_default() {
            "FifoTopic" => topic.fifo = value == "true",
            "ContentBasedDeduplication" => topic.by_content = value == "true",
            other => {
                let message = format!("the simulation does not model the attribute {other}");
                return Err(ServiceError::new(501, "NotModelled", message));
            }
        }
    }
    let plain = if topic.fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let plain = plain.filter(|plain| (1..=256).contains(&plain.len()) && plain.bytes().all(legal));
    if plain.is_none() {
        return Err(invalid("Topic Name"));
    }
    let arn = arn(account, region, name);
    let known = sns.topics.entry(arn.clone()).or_insert(topic.clone());
    if (known.fifo, known.by_content) != (topic.fifo, topic.by_content) {
        return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
    }
    let mut out = String::new();
    xml::text(&mut out, "TopicArn", &arn);
    Ok(out)
}

fn attributes(form: &Form) -> Result<BTreeMap<String, (String, String)>, ServiceError> {
    let mut read = BTreeMap::new();
    for entry in form.structures("MessageAttributes.entry") {
        let name = entry.get("Name").unwrap_or_default().to_owned();
        let kind = entry.get("Value.DataType").unwrap_or_default().to_owned();
        let value = entry.get("Value.StringValue").unwrap_or_default().to_owned();
        if kind.is_empty() || value.is_empty() {
            let message = format!(
                "The message attribute '{name}' must contain non-empty message attribute type and value."
            );
            return Err(ServiceError::new(400, "ParameterValueInvalid", message));
        }
        read.insert(name, (kind, value));
    }
    Ok(read)
}

fn publish(sns: &mut Sns, now: Timestamp, form: &Form) -> Result<String, ServiceError> {
    let text = |name: &str| form.get(name).map(str::to_owned);
    let message = text("Message").unwrap_or_default();
    if message.is_empty() {
        return Err(invalid("Empty message"));
    }
    let subject = text("Subject");
    if subject.as_deref().is_some_and(|subject| !legal_subject(subject)) {
        return Err(invalid("Subject"));
    }
    let attributes = attributes(form)?;
    let extra: usize =
        attributes.iter().map(|(name, (kind, value))| name.len() + kind.len() + value.len()).sum();
    if message.len() + extra > MESSAGE_BYTES {
        return Err(invalid("Message too long"));
    }
    let by_protocol = match form.get("MessageStructure") {
        None => None,
        Some("json") => Some(texts(&message)?),
        Some(_) => return Err(invalid("MessageStructure")),
    };
    let arn = form.get("TopicArn").unwrap_or_default();
    let topic = sns
        .topics
        .get_mut(arn)
        .ok_or_else(|| ServiceError::new(404, "NotFound", "Topic does not exist"))?;
    let (group, mut deduplication) = (text("MessageGroupId"), text("MessageDeduplicationId"));
    if topic.fifo {
        if group.is_none() {
            return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
        }
        if deduplication.is_none() && topic.by_content {
            deduplication = Some(message.clone());
        } else if !deduplication.as_deref().is_some_and(legal_deduplication) {
            return Err(invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
    } else if deduplication.is_some() {
        return Err(invalid(
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type",
        ));
    }
    let repeat = topic.published.iter().rev().take_while(|it| now.duration_since(it.at) < REPEATS);
    let repeat = repeat.filter(|it| topic.fifo && it.deduplication == deduplication);
    let id = if let Some(before) = repeat.last() {
        before.id.clone()
    } else {
        sns.next += 1;
        let id = format!("f1b00000-0000-4000-9000-{:012x}", sns.next);
        topic.published.push(Published {
            id: id.clone(),
            at: now,
            subject,
            message,
            by_protocol,
            attributes,
            group,
            deduplication,
        });
        id
    };
    let mut out = String::new();
    xml::text(&mut out, "MessageId", &id);
    Ok(out)
}

/// "ASCII text that begins with a letter, number, or punctuation mark; must not
/// include line breaks or control characters; and must be less than 100
/// characters long" (SNS API reference, Publish). A hundred are taken as well.
fn legal_subject(subject: &str) -> bool {
    (1..=100).contains(&subject.len())
        && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !subject.starts_with(' ')
}

/// "Up to 128 alphanumeric characters and punctuation" (same place).
fn legal_deduplication(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The texts by protocol of `MessageStructure=json`.
fn texts(message: &str) -> Result<Map<String, Value>, ServiceError> {
    let texts: Map<String, Value> = serde_json::from_str(message)
        .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
    match texts.get("default") {
        Some(Value::String(_)) => Ok(texts),
        _ => Err(invalid("Message Structure - No default entry in JSON message body")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);
    const HERE: (&str, &str) = ("111122223333", "eu-central-1");

    fn form(pairs: &[(&str, &str)]) -> Form {
        Form::new(
            pairs.iter().map(|(key, value)| (str::to_owned(key), str::to_owned(value))).collect(),
        )
    }

    fn with_topic(pairs: &[(&str, &str)]) -> (Sns, String) {
        let mut sns = Sns::default();
        let made = answer(&mut sns, HERE, NOW, "CreateTopic", &form(pairs)).unwrap();
        made.unwrap();
        let arn = sns.topics.keys().next().unwrap().clone();
        (sns, arn)
    }

    fn fifo() -> (Sns, String) {
        let fifo = [("Attributes.entry.1.key", "FifoTopic"), ("Attributes.entry.1.value", "true")];
        with_topic(&[&[("Name", "notices.fifo")], &fifo[..]].concat())
    }

    fn publish_result(sns: &mut Sns, arn: &str, now: Timestamp, pairs: &[(&str, &str)]) -> String {
        let pairs = [&[("TopicArn", arn)], pairs].concat();
        match answer(sns, HERE, now, "Publish", &form(&pairs)).unwrap() {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{}: {}", error.code, error.message),
        }
    }

    #[test]
    fn a_subject_is_short_printable_and_one_line() {
        let (mut sns, arn) = with_topic(&[("Name", "notices")]);
        let long = "x".repeat(101);
        for (subject, expected) in [
            ("Contained i-0abc", "ok"),
            (&long[..100], "ok"),
            (&long, "InvalidParameter: Invalid parameter: Subject"),
            ("two\nlines", "InvalidParameter: Invalid parameter: Subject"),
            ("größer", "InvalidParameter: Invalid parameter: Subject"),
            ("", "InvalidParameter: Invalid parameter: Subject"),
        ] {
            let pairs = [("Subject", subject), ("Message", "m")];
            assert_eq!(publish_result(&mut sns, &arn, NOW, &pairs), expected, "{subject}");
        }
        assert_eq!(sns.topics[&arn].published.len(), 2);
    }

    #[test]
    fn a_fifo_topic_drops_repeats_for_five_minutes() {
        let (mut sns, arn) = fifo();
        let pairs = [("Message", "m"), ("MessageGroupId", "a"), ("MessageDeduplicationId", "one")];
        for (minutes, published) in [(0, 1), (4, 1), (5, 2), (9, 2)] {
            let now = NOW + SignedDuration::from_mins(minutes);
            assert_eq!(publish_result(&mut sns, &arn, now, &pairs), "ok");
            assert_eq!(sns.topics[&arn].published.len(), published, "{minutes} minutes");
        }
        assert!(publish_result(&mut sns, &arn, NOW, &pairs[..1]).contains("MessageGroupId"));
        assert!(
            publish_result(&mut sns, &arn, NOW, &pairs[..2]).contains("MessageDeduplicationId")
        );
    }

    #[test]
    fn each_protocol_gets_its_own_text() {
        let (mut sns, arn) = with_topic(&[("Name", "notices")]);
        let structure = ("MessageStructure", "json");
        let good = r#"{"default":"d","sqs":"{}"}"#;
        assert_eq!(publish_result(&mut sns, &arn, NOW, &[structure, ("Message", good)]), "ok");
        let published = &sns.topics[&arn].published[0];
        assert_eq!((published.text("sqs"), published.text("email")), ("{}", "d"));
        for (message, why) in [("{", "failed to parse"), (r#"{"sqs":"d"}"#, "No default entry")] {
            let rendered = publish_result(&mut sns, &arn, NOW, &[structure, ("Message", message)]);
            assert!(rendered.contains(why), "{rendered}");
        }
    }

    #[test]
    fn a_topic_that_is_not_there_and_a_message_too_long_are_refused() {
        let (mut sns, arn) = with_topic(&[("Name", "notices")]);
        let long = "x".repeat(MESSAGE_BYTES + 1);
        assert!(
            publish_result(&mut sns, &arn, NOW, &[("Message", &long)]).contains("Message too long")
        );
        assert!(
            publish_result(&mut sns, "arn:aws:sns:x:1:y", NOW, &[("Message", "m")])
                .starts_with("NotFound")
        );
    }
}
