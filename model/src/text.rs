//! Text from outside, made safe to show: on one line, of bounded length, without
//! characters that change how others are shown. Pure.

/// How many characters of a text from outside are shown.
const SHOWN: usize = 200;

/// A text from outside for a log line, a message or a terminal: on one line, cut to a
/// readable length, without characters that move the cursor or change the direction of
/// writing.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    for (index, char) in text.chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        if is_plain(char) { shown.push(char) } else { shown.extend(char.escape_unicode()) }
    }
    shown
}

/// Whether a character can neither end a line nor change how others are shown.
pub fn is_plain(char: char) -> bool {
    let separates = matches!(char, '\u{2028}' | '\u{2029}');
    let turns =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !char.is_control() && !separates && !turns
}

/// A text as the value of a tag: letters, digits, spaces and `_.:/=+-@`, at most 256 (STS and
/// IAM API references, Tag). Ids of findings by other products can have other characters.
pub fn tag_value(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_alphanumeric() || " _.:/=+-@".contains(char) { char } else { '_' })
        .take(256)
        .collect()
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_value_has_only_what_iam_and_sts_take() {
        assert_eq!(tag_value("arn:aws:x/y#1"), "arn:aws:x/y_1");
        assert_eq!(tag_value(&"a".repeat(300)).len(), 256);
    }

    #[test]
    fn shown_text_stays_on_one_line_and_is_cut() {
        assert_eq!(printable("i-1\nERROR forged\u{1b}[2J"), "i-1\\u{a}ERROR forged\\u{1b}[2J");
        assert_eq!(printable("gr\u{fc}n"), "gr\u{fc}n");
        assert_eq!(printable(&"a".repeat(1_000_000)).chars().count(), 201);
    }
}
