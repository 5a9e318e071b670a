//! Lengths of time in documents, such as `30m`, `72h` or `30d`: a budget's `per`, a rule's
//! `expires`, an approval's `within`.

use std::fmt;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time from one minute to thirty days: the window of a budget, the time until
/// an expiry, or the time that a plan waits for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(SignedDuration);

impl Window {
    const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
    const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);

    /// Parses `30m`, `1h 30m`, `7d`, `1w`. The error completes a sentence that begins with
    /// the text, such as "`59s` is shorter than a minute".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let span: Span = text.parse().map_err(|_| "is not a length of time")?;
        if !text.starts_with(|char: char| char.is_ascii_digit()) {
            return Err("is not a length of time");
        }
        let duration = span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| "counts in months or years, which have no fixed length")?;
        if duration < Self::SHORTEST {
            return Err("is shorter than a minute");
        }
        if duration > Self::LONGEST {
            return Err("is longer than 30 days");
        }
        Ok(Self(duration))
    }

    pub fn duration(self) -> SignedDuration {
        self.0
    }
}

impl fmt::Display for Window {
    /// Writes it in days, hours, minutes or seconds: the largest of these units that divides
    /// it. A week is written as `7d`; a fraction of a second is not written.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
        match units.into_iter().find(|(length, _)| seconds % length == 0) {
            Some((length, unit)) => write!(formatter, "{}{unit}", seconds / length),
            None => write!(formatter, "{seconds}s"),
        }
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|why| D::Error::custom(format!("`{text}` {why}")))
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_from_a_minute_to_thirty_days_is_written_in_its_largest_unit_up_to_days() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let written = Window::parse(text).map(|window| window.to_string());
            assert_eq!(written.as_deref(), expected.as_deref(), "{text}");
        };
        check("1m", Ok("1m"));
        check("90m", Ok("90m"));
        check("1h 30m", Ok("90m"));
        check("72h", Ok("3d"));
        check("1w", Ok("7d"));
        check("30 minutes", Ok("30m"));
        check("1 day", Ok("1d"));
        check("30d", Ok("30d"));
        check("90s", Ok("90s"));
        check("59s", Err("is shorter than a minute"));
        check("0m", Err("is shorter than a minute"));
        check("-1h", Err("is not a length of time"));
        check("+1h", Err("is not a length of time"));
        check("31d", Err("is longer than 30 days"));
        check("1mo", Err("counts in months or years, which have no fixed length"));
        check("soon", Err("is not a length of time"));
        check("30", Err("is not a length of time"));
    }
}
