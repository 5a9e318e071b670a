//! The hub's settings, read once from the environment.

use std::time::Duration;

use firebreak_model::resource::Region;

use firebreak_response::notice::{EventBus, Topic};

/// The hub's settings. Each has an environment variable; `docs/settings.md` lists them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The DynamoDB table: `FIREBREAK_TABLE`, default `firebreak`.
    pub table: String,
    /// The spoke role's name, with its path if it has one:
    /// `FIREBREAK_SPOKE_ROLE`, default `FirebreakSpoke`.
    pub spoke_role: String,
    /// The external id in the spoke role's trust policy: `FIREBREAK_EXTERNAL_ID`.
    pub external_id: String,
    /// Security Hub's home Region, if it has an aggregator:
    /// `FIREBREAK_AGGREGATOR_REGION`. Otherwise a finding is updated in its own Region.
    pub aggregator_region: Option<Region>,
    /// The part of each documented API bucket of a member account that protecting and
    /// collecting may use, in percent: `FIREBREAK_RATE_SHARE`, default 20. Containment may
    /// use the rest of 90 percent.
    pub rate_share: u32,
    /// How long a policy is cached before its version is read again.
    pub policy_ttl: Duration,
    /// How long an account's place is cached.
    pub place_ttl: Duration,
    /// Whether an account's place may come from another process. The function shares
    /// places, because its many processes would look up the same accounts; the command
    /// line looks each one up.
    pub share_places: bool,
    /// Whether the rate limits are shared with the hub's other processes, by the table. A
    /// command that only reads keeps to them by itself.
    pub share_rates: bool,
    /// The lease: how long a worker may hold a response before another recovers it.
    pub lease: Duration,
    /// How long findings of the same type are suppressed on a target after an undo:
    /// `FIREBREAK_SUPPRESS_HOURS`, default 24.
    pub suppress_after_undo: Duration,
    /// Whether findings of contained targets are archived in GuardDuty:
    /// `FIREBREAK_ARCHIVE_RESOLVED`, `true` or `false`, default `false`.
    pub archive_resolved: bool,
    /// The URL of the intake queue: `FIREBREAK_INTAKE_QUEUE`. Without it a message that
    /// failed transiently is delivered again after its visibility timeout.
    pub intake_queue: Option<String>,
    /// The URL of the write-back queue: `FIREBREAK_WRITE_BACK_QUEUE`. Without it each
    /// worker delivers its notifications itself.
    pub write_back_queue: Option<String>,
    /// The ARN of the SNS topic that notices are published to: `FIREBREAK_TOPIC`.
    /// Without it nothing is published.
    pub topic: Option<Topic>,
    /// The name or ARN of the bus that notices are put on as events:
    /// `FIREBREAK_EVENT_BUS`. Without it no events are put.
    pub event_bus: Option<EventBus>,
}

/// A setting that is missing or that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {why}\nhelp: {help}")]
pub struct SettingsError {
    variable: &'static str,
    why: String,
    help: &'static str,
}

impl Settings {
    /// The defaults, with the external id, which has no default.
    pub fn new(external_id: impl Into<String>) -> Self {
        Self {
            table: "firebreak".to_owned(),
            spoke_role: "FirebreakSpoke".to_owned(),
            external_id: external_id.into(),
            aggregator_region: None,
            rate_share: 20,
            // A policy change takes effect everywhere within this time.
            policy_ttl: Duration::from_secs(60),
            // MoveAccount events appear in the management account only.
            place_ttl: Duration::from_secs(600),
            share_places: true,
            share_rates: true,
            // Lambda's longest invocation is 15 minutes; the function has a shorter
            // timeout.
            lease: Duration::from_secs(300),
            suppress_after_undo: Duration::from_secs(24 * 3_600),
            archive_resolved: false,
            intake_queue: None,
            write_back_queue: None,
            topic: None,
            event_bus: None,
        }
    }

    /// Reads `FIREBREAK_*` through `variable`: the process's environment in programs, a
    /// table in tests.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let external_id = variable("FIREBREAK_EXTERNAL_ID").ok_or(SettingsError {
            variable: "FIREBREAK_EXTERNAL_ID",
            why: "is not set".to_owned(),
            help: "set it to the ExternalId parameter that stacksets/spoke.yaml was deployed with",
        })?;
        let mut settings = Self::new(external_id);
        if let Some(table) = variable("FIREBREAK_TABLE") {
            settings.table = table;
        }
        if let Some(role) = variable("FIREBREAK_SPOKE_ROLE") {
            settings.spoke_role = role;
        }
        if let Some(region) = variable("FIREBREAK_AGGREGATOR_REGION") {
            settings.aggregator_region = Some(region.parse().map_err(|error| SettingsError {
                variable: "FIREBREAK_AGGREGATOR_REGION",
                why: format!("{error}"),
                help: "set it to Security Hub's home Region, or leave it out",
            })?);
        }
        if let Some(share) = variable("FIREBREAK_RATE_SHARE") {
            settings.rate_share =
                share.parse().ok().filter(|share| (1..=50).contains(share)).ok_or_else(|| {
                    SettingsError {
                        variable: "FIREBREAK_RATE_SHARE",
                        why: format!("`{share}` is not a whole number from 1 to 50"),
                        help: "10 to 20 percent leaves the members' own workloads alone",
                    }
                })?;
        }
        if let Some(hours) = variable("FIREBREAK_SUPPRESS_HOURS") {
            let hours: u64 =
                hours.parse().ok().filter(|hours| *hours <= 8_760).ok_or_else(|| {
                    SettingsError {
                        variable: "FIREBREAK_SUPPRESS_HOURS",
                        why: format!("`{hours}` is not a whole number from 0 to 8760"),
                        help: "24 hours is the default, 0 is no suppression",
                    }
                })?;
            settings.suppress_after_undo = Duration::from_secs(hours * 3_600);
        }
        if let Some(archive) = variable("FIREBREAK_ARCHIVE_RESOLVED") {
            settings.archive_resolved = archive.parse().map_err(|_| SettingsError {
                variable: "FIREBREAK_ARCHIVE_RESOLVED",
                why: format!("`{archive}` is neither `true` nor `false`"),
                help: "with `true`, GuardDuty archives findings of contained targets; Firebreak ignores their later updates",
            })?;
        }
        settings.intake_queue = queue("FIREBREAK_INTAKE_QUEUE", &variable)?;
        settings.write_back_queue = queue("FIREBREAK_WRITE_BACK_QUEUE", &variable)?;
        settings.read_channels(variable)?;
        Ok(settings)
    }

    /// Reads the topic and the bus of notices.
    fn read_channels(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(), SettingsError> {
        if let Some(topic) = variable("FIREBREAK_TOPIC") {
            self.topic = Some(topic.parse().map_err(|error| SettingsError {
                variable: "FIREBREAK_TOPIC",
                why: format!("{error}"),
                help: "set it to the topic's ARN, or leave it out to publish no notices",
            })?);
        }
        if let Some(bus) = variable("FIREBREAK_EVENT_BUS") {
            self.event_bus = Some(bus.parse().map_err(|error| SettingsError {
                variable: "FIREBREAK_EVENT_BUS",
                why: format!("{error}"),
                help: "set it to the bus's name or ARN, or leave it out to put no events",
            })?);
        }
        Ok(())
    }
}

/// Reads the URL of a queue.
fn queue(
    name: &'static str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, SettingsError> {
    let Some(url) = variable(name) else { return Ok(None) };
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Some(url));
    }
    Err(SettingsError {
        variable: name,
        why: format!("`{url}` is not the URL of a queue"),
        help: "set it to the queue's URL, as `aws sqs get-queue-url` prints it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_missing_external_id_is_an_error_that_says_what_to_do() {
        let error = read(&[]).unwrap_err().to_string();
        assert!(error.starts_with("FIREBREAK_EXTERNAL_ID: is not set\nhelp: "), "{error}");
    }

    #[test]
    fn a_value_that_cannot_be_read_is_an_error_not_a_default() {
        for (name, value) in [
            ("FIREBREAK_AGGREGATOR_REGION", "Frankfurt"),
            ("FIREBREAK_RATE_SHARE", "0"),
            ("FIREBREAK_RATE_SHARE", "lots"),
            ("FIREBREAK_RATE_SHARE", "51"),
            ("FIREBREAK_SUPPRESS_HOURS", "a day"),
            ("FIREBREAK_INTAKE_QUEUE", "firebreak-intake"),
            ("FIREBREAK_WRITE_BACK_QUEUE", "arn:aws:sqs:eu-west-1:111122223333:write-back"),
            ("FIREBREAK_TOPIC", "notices"),
            ("FIREBREAK_TOPIC", ""),
            ("FIREBREAK_EVENT_BUS", "arn:aws:sns:eu-west-1:111122223333:notices"),
        ] {
            let error = read(&[("FIREBREAK_EXTERNAL_ID", "x1"), (name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
