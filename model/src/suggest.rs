//! Suggestions for mistyped words.

/// The help for a word that is not one of the candidates.
pub fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    nearest(word, candidates).map_or_else(otherwise, |near| format!("did you mean `{near}`?"))
}

/// The candidate with the fewest edits, if they are few enough.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, ignoring case.
pub fn edits(one: &str, other: &str) -> usize {
    strsim::levenshtein(&one.to_lowercase(), &other.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_word_is_suggested() {
        let check = |word, expected| {
            assert_eq!(nearest(word, ["ceiling", "protect", "rules"]), expected, "{word}");
        };
        check("cieling", Some("ceiling"));
        check("Protect", Some("protect"));
        check("rule", Some("rules"));
        check("budgets", None);
    }

    #[test]
    fn edits_are_counted() {
        let check = |one, other, expected| assert_eq!(edits(one, other), expected, "{one} {other}");
        check("", "abc", 3);
        check("abc", "", 3);
        check("kitten", "sitting", 3);
        check("same", "same", 0);
    }
}
