//! Lists of addresses, ranges and domains for GuardDuty: parsed line by line, every error
//! reported with its line, written in one canonical form. Pure.
//!
//! The uploaded list is sorted, has each entry once and no comments, so that the same
//! entries always give the same file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListKind {
    /// GuardDuty raises findings for its entries.
    Threat,
    /// GuardDuty raises no findings for its entries.
    Trusted,
}

impl ListKind {
    /// The name of the set in each Region.
    pub fn set_name(self) -> &'static str {
        match self {
            Self::Threat => "firebreak-threat-list",
            Self::Trusted => "firebreak-trusted-list",
        }
    }

    /// "IP addresses and CIDR ranges per threat IP address list: 250,000; per
    /// trusted IP address list: 2,000" (GuardDuty user guide, "Quotas").
    pub fn max_entries(self) -> usize {
        match self {
            Self::Threat => 250_000,
            Self::Trusted => 2_000,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListIssue {
    /// From 1; 0 for the whole file.
    pub line: usize,
    pub why: String,
}

/// A list in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entities {
    pub count: usize,
    /// One entry on each line, sorted.
    pub text: String,
}

/// # Errors
///
/// Every error, in the order of the lines.
pub fn parse_list(text: &str, kind: ListKind) -> Result<Entities, Vec<ListIssue>> {
    if let Some(why) = other_format(text) {
        return Err(vec![ListIssue { line: 0, why }]);
    }
    let (mut entries, mut issues) = (BTreeSet::new(), Vec::new());
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let entry = line.trim();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        match self::entry(entry) {
            Ok(entry) => {
                entries.insert(entry);
            }
            Err(why) => issues.push(ListIssue { line: index + 1, why }),
        }
    }
    let most = kind.max_entries();
    if entries.is_empty() && issues.is_empty() {
        let why = "the list is empty".to_owned();
        issues.push(ListIssue { line: 0, why });
    } else if entries.len() > most {
        let why = format!("it has {} entries; GuardDuty takes at most {most}", entries.len());
        issues.push(ListIssue { line: 0, why });
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    let count = entries.len();
    let text = entries.into_iter().map(|entry| entry + "\n").collect();
    Ok(Entities { count, text })
}

/// GuardDuty also takes other formats; Firebreak does not.
fn other_format(text: &str) -> Option<String> {
    let first = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let first = first.into_iter().find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let format = match first {
        _ if first.starts_with('<') => "XML, such as STIX",
        _ if first.starts_with(['{', '[']) => "JSON",
        _ if first.contains([',', ';', '\t']) => "a table, such as CSV",
        _ => return None,
    };
    Some(format!("it looks like {format}: write one address, range or domain on each line"))
}

/// Broader ranges than these are taken for errors: a trusted one would silence GuardDuty,
/// a threat one would raise findings for all traffic.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 16;

/// An entry in its canonical form.
fn entry(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if let Some((address, length)) = text.split_once('/') {
        return range(text, address, length);
    }
    domain(text)
}

fn range(text: &str, address: &str, length: &str) -> Result<String, String> {
    let parsed = address.parse::<IpAddr>().ok().zip(length.parse::<u8>().ok());
    let Some((address, length)) = parsed else {
        return Err(format!("`{text}` is not a range such as `198.51.100.0/24`"));
    };
    let (longest, shortest) = match address {
        IpAddr::V4(_) => (32, SHORTEST_V4),
        IpAddr::V6(_) => (128, SHORTEST_V6),
    };
    if length > longest {
        return Err(format!("`{text}`: a prefix has at most {longest} bits"));
    }
    if length < shortest {
        return Err(format!("`{text}` is too broad: the broadest allowed prefix is /{shortest}"));
    }
    let first = first_of(address, length);
    if first != address {
        return Err(format!(
            "`{text}` has bits beyond its prefix; did you mean `{first}/{length}`?"
        ));
    }
    Ok(format!("{address}/{length}"))
}

/// The address with all bits beyond the prefix cleared.
fn first_of(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// A domain's name: labels of letters, digits, hyphens and underscores, at most
/// 63 characters each and 253 together (RFC 1035), the last one not a number.
fn domain(text: &str) -> Result<String, String> {
    let wrong = || Err(format!("`{text}` is not an address, a range or a domain"));
    if text.starts_with("*.") {
        return Err(format!("`{text}`: write the domain without `*.`"));
    }
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<&str> = name.split('.').collect();
    let top = labels.last().copied().unwrap_or_default();
    let is_number = top.bytes().all(|it| it.is_ascii_digit());
    if labels.len() < 2 || name.len() > 253 || is_number || !labels.iter().all(|it| is_label(it)) {
        return wrong();
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &[(usize, &str)]>) {
        match (parse_list(text, ListKind::Threat), expected) {
            (Ok(entities), Ok(expected)) => {
                assert_eq!(entities.text, expected);
                assert_eq!(entities.count, expected.lines().count());
            }
            (Err(issues), Err(expected)) => {
                let described: Vec<(usize, &str)> =
                    issues.iter().map(|it| (it.line, it.why.as_str())).collect();
                assert_eq!(described, expected);
            }
            (parsed, _) => panic!("{text}: {parsed:?}"),
        }
    }

    #[test]
    fn the_same_entries_give_the_same_file() {
        let expected = Ok("192.0.2.1\n198.51.100.0/24\n2001:db8::1\nevil.example.com\n");
        check("192.0.2.1\n198.51.100.0/24\n2001:db8::1\nevil.example.com\n", expected);
        let other = "\u{feff}# botnet\r\nEvil.Example.com.\r\n\r\n  198.51.100.0/24\r\n2001:0db8::1\r\n192.0.2.1\r\n192.0.2.1";
        check(other, expected);
    }

    #[test]
    fn every_error_is_reported_with_its_line() {
        check(
            "192.0.2.1\n192.0.2.300\n198.51.100.7/24\n0.0.0.0/0\n*.example.com\nlocalhost\n10.0.0.0/33",
            Err(&[
                (2, "`192.0.2.300` is not an address, a range or a domain"),
                (
                    3,
                    "`198.51.100.7/24` has bits beyond its prefix; did you mean `198.51.100.0/24`?",
                ),
                (4, "`0.0.0.0/0` is too broad: the broadest allowed prefix is /8"),
                (5, "`*.example.com`: write the domain without `*.`"),
                (6, "`localhost` is not an address, a range or a domain"),
                (7, "`10.0.0.0/33`: a prefix has at most 32 bits"),
            ]),
        );
    }

    #[test]
    fn another_format_is_recognized_and_an_empty_file_rejected() {
        let described =
            "it looks like a table, such as CSV: write one address, range or domain on each line";
        check("indicator,type\n192.0.2.1,IPv4", Err(&[(0, described)]));
        check("\n# nothing\n", Err(&[(0, "the list is empty")]));
    }

    #[test]
    fn a_list_has_at_most_as_many_entries_as_guardduty_takes() {
        let many = |count: u32| -> String {
            (0..count).map(|it| format!("{}\n", Ipv4Addr::from_bits(0x0a00_0000 + it))).collect()
        };
        assert!(parse_list(&many(2_000), ListKind::Trusted).is_ok());
        let issues = parse_list(&many(2_001), ListKind::Trusted).unwrap_err();
        assert_eq!(issues[0].why, "it has 2001 entries; GuardDuty takes at most 2000");
        assert!(parse_list(&many(2_001), ListKind::Threat).is_ok());
    }
}
