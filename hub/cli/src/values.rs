//! Parsers of values that several commands take.

use firebreak_policy::is_attach_point;
use firebreak_spoke::registry::{self, RegisteredAction};
use jiff::SignedDuration;

use super::Failure;

/// Parses `90m`, `12h`, `7d` or `4w`.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("`{text}` is not a duration such as `90m`, `12h` or `7d`");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: i64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(minutes)
        .filter(|_| number > 0)
        .map(SignedDuration::from_mins)
        .ok_or_else(wrong)
}

/// Parses the id of a root or an OU.
pub(crate) fn unit_id(text: &str) -> Result<String, String> {
    if text.contains('-') && is_attach_point(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not the id of an OU or of the root: `ou-ab12-11111111` or `r-ab12`"))
}

/// Parses `KEY=VALUE`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The named actions; all of them if none is named.
pub(crate) fn actions_named(names: &[String]) -> Result<Vec<&'static RegisteredAction>, Failure> {
    if names.is_empty() {
        return Ok(registry::all().iter().collect());
    }
    let find = |name: &String| {
        registry::find(name).ok_or_else(|| {
            Failure::Usage(format!(
                "unknown action `{name}`\nhelp: `firebreak actions list` lists all"
            ))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(duration("90m"), Ok(SignedDuration::from_mins(90)));
        assert_eq!(duration("7d"), Ok(SignedDuration::from_hours(168)));
        for text in ["", "7", "d", "-1d", "0h", "7y", "9999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
