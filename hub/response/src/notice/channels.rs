//! Where notices go to: a topic and an event bus, read from settings.

use std::fmt;
use std::str::FromStr;

use firebreak_model::resource::{AccountId, Partition, Region};

/// A text that names no topic or bus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ChannelError {
    text: String,
    expected: &'static str,
}

/// An SNS topic's ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    arn: String,
    region: Region,
}

impl Topic {
    /// The ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The Region that it is published to in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Whether it is a FIFO topic: their names end so (SNS developer guide,
    /// "Message ordering and deduplication").
    pub fn is_fifo(&self) -> bool {
        self.arn.rsplit('.').next() == Some("fifo")
    }
}

impl FromStr for Topic {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, ChannelError> {
        let expected = "the ARN of an SNS topic, `arn:aws:sns:<region>:<account>:<name>`";
        match arn(text, "sns") {
            Some((region, name)) if is_name(name) => Ok(Self { arn: text.to_owned(), region }),
            _ => Err(ChannelError { text: text.to_owned(), expected }),
        }
    }
}

/// An EventBridge bus: its name in the hub's own Region, or its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBus {
    named: String,
    region: Option<Region>,
}

impl EventBus {
    /// Its name or ARN, as `EventBusName` takes both.
    pub fn as_str(&self) -> &str {
        &self.named
    }

    /// The Region of an ARN; a name is looked for in the hub's own.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }
}

impl FromStr for EventBus {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, ChannelError> {
        let expected = "the name of an event bus, or its ARN, `arn:aws:events:<region>:<account>:event-bus/<name>`";
        let wrong = || ChannelError { text: text.to_owned(), expected };
        let named = text.to_owned();
        if !text.contains(':') {
            return if is_name(text) { Ok(Self { named, region: None }) } else { Err(wrong()) };
        }
        let (region, name) = arn(text, "events").ok_or_else(wrong)?;
        let name = name.strip_prefix("event-bus/").filter(|name| is_name(name));
        name.map(|_| Self { named, region: Some(region) }).ok_or_else(wrong)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.arn)
    }
}

impl fmt::Display for EventBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.named)
    }
}

/// The Region and the last part of a service's ARN.
fn arn<'a>(text: &'a str, service: &str) -> Option<(Region, &'a str)> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, of, region, account, name] = parts.as_slice() else { return None };
    let is_read = partition.parse::<Partition>().is_ok() && account.parse::<AccountId>().is_ok();
    let region = region.parse().ok()?;
    (is_read && *of == service).then_some((region, *name))
}

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    (1..=256).contains(&text.len()) && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_an_arn_and_a_bus_a_name_or_an_arn() {
        let topic: Topic = "arn:aws-cn:sns:cn-north-1:111122223333:notices.fifo".parse().unwrap();
        assert_eq!((topic.region().as_str(), topic.is_fifo()), ("cn-north-1", true));
        let bus: EventBus = "firebreak".parse().unwrap();
        assert_eq!(bus.region(), None);
        let bus: EventBus =
            "arn:aws:events:eu-west-1:111122223333:event-bus/security".parse().unwrap();
        assert_eq!(bus.region().map(Region::as_str), Some("eu-west-1"));
    }

    #[test]
    fn an_arn_of_neither_a_topic_nor_a_bus_is_rejected() {
        for text in [
            "",
            "notices",
            "arn:aws:sqs:eu-west-1:111122223333:notices",
            "arn:aws:sns:eu-west-1:1111:notices",
            "arn:aws:sns:frankfurt:111122223333:notices",
            "arn:aws:sns:eu-west-1:111122223333:notices:subscription",
        ] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
        for text in [
            "",
            "two words",
            "arn:aws:events:eu-west-1:111122223333:rule/x",
            "arn:aws:sns:eu-west-1:111122223333:notices",
        ] {
            assert!(text.parse::<EventBus>().is_err(), "{text}");
        }
    }
}
