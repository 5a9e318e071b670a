//! Operators on text: prefix, suffix, equality without case, and `*`.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    EqualsIgnoreCase(String),
    Wildcard(Glob),
}

impl TextTest {
    pub(super) fn holds(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::PrefixIgnoreCase(prefix) => {
                starts_ignoring_case(text.chars(), prefix.chars()).is_some()
            }
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::SuffixIgnoreCase(suffix) => {
                starts_ignoring_case(text.chars().rev(), suffix.chars().rev()).is_some()
            }
            Self::EqualsIgnoreCase(other) => {
                starts_ignoring_case(text.chars(), other.chars()).is_some_and(|rest| rest == 0)
            }
            Self::Wildcard(glob) => glob.matches(text),
        }
    }
}

/// How many characters follow the start, if the text begins with it in any case.
fn starts_ignoring_case(
    mut text: impl Iterator<Item = char>,
    start: impl Iterator<Item = char>,
) -> Option<usize> {
    for wanted in start {
        let char = text.next()?;
        let same = char == wanted || char.to_lowercase().eq(wanted.to_lowercase());
        if !same {
            return None;
        }
    }
    Some(text.count())
}

/// How many wildcards may precede the same character. EventBridge rejects patterns with
/// many "repeating character sequences after a wildcard character" as too complex. It
/// does not say how many are too many; the rejected example in its user guide has five.
/// A pattern that EventBridge rejects is rejected here too, so that a pattern means the
/// same in both.
const MOST_ALIKE: usize = 4;

/// A pattern in which `*` matches any run of characters, even an empty one, as in
/// EventBridge's `wildcard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The text before the first `*`; the whole text where there is none.
    start: String,
    /// The text after each `*`.
    rest: Vec<String>,
}

impl Glob {
    /// A pattern in which every `*` is a wildcard.
    pub fn new(text: &str) -> Self {
        let mut parts = text.split('*').map(str::to_owned);
        Self { start: parts.next().unwrap_or_default(), rest: parts.collect() }
    }

    /// Reads EventBridge's form, in which `\*` is an asterisk and `\\` a backslash.
    pub(super) fn wildcard(text: &str) -> Result<Self, &'static str> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        let mut after_star = false;
        while let Some(char) = chars.next() {
            if char == '*' {
                if after_star {
                    return Err("two `*` in a row are not allowed");
                }
                parts.push(String::new());
                after_star = true;
                continue;
            }
            after_star = false;
            let literal = match char {
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => escaped,
                    _ => return Err("`\\` is allowed before `*` or `\\` only"),
                },
                other => other,
            };
            if let Some(part) = parts.last_mut() {
                part.push(literal);
            }
        }
        let mut parts = parts.into_iter();
        let glob = Self { start: parts.next().unwrap_or_default(), rest: parts.collect() };
        if glob.most_alike() > MOST_ALIKE {
            return Err(
                "EventBridge rejects this as too complex: put fewer `*` before the same character",
            );
        }
        Ok(glob)
    }

    /// How many `*` precede the same character, at most.
    fn most_alike(&self) -> usize {
        let first = |part: &String| part.chars().next();
        let counts = self
            .rest
            .iter()
            .filter_map(first)
            .map(|char| self.rest.iter().filter(|part| part.starts_with(char)).count());
        counts.max().unwrap_or_default()
    }

    /// Whether the whole text matches. Each part is taken where it first occurs, without
    /// going back, so a hostile pattern costs at most the product of the two lengths.
    pub fn matches(&self, text: &str) -> bool {
        let Some((end, middle)) = self.rest.split_last() else { return text == self.start };
        let Some(left) = text.strip_prefix(&self.start) else { return false };
        let mut left = left.as_bytes();
        for part in middle {
            let Some(after) = after(left, part.as_bytes()) else { return false };
            left = after;
        }
        left.ends_with(end.as_bytes())
    }
}

/// The text after the first occurrence of a part. Texts are short: trying every position
/// is faster than preparing a search.
fn after<'t>(text: &'t [u8], part: &[u8]) -> Option<&'t [u8]> {
    let Some(first) = part.first() else { return Some(text) };
    let mut left = text;
    while left.len() >= part.len() {
        let skipped = left.iter().position(|byte| byte == first)?;
        left = left.get(skipped..)?;
        if let Some(rest) = left.strip_prefix(part) {
            return Some(rest);
        }
        left = left.get(1..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_run_of_characters() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        };
        check("abc", "abc", true);
        check("abc", "abcd", false);
        check("*", "", true);
        check("a*", "a", true);
        check("*a", "ba", true);
        check("*a", "ab", false);
        check("a*b*c", "aXXbYYc", true);
        check("a*b*c", "acb", false);
        // The end may not use what the middle has used already.
        check("*ab*b", "ab", false);
        check("a*a", "a", false);
        check("arn:*:iam::*:role/BreakGlass*", "arn:aws:iam::111111111111:role/BreakGlassA", true);
        check("arn:*:iam::*:role/BreakGlass*", "arn:aws:iam::111111111111:user/BreakGlass", false);
    }
}
