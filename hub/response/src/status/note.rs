//! Puts a note together within its length: ours first, then another author's with its
//! author. Never drops either of them completely.

use super::StatusUpdate;

/// "Note.Text: 1 to 512 characters" (Security Hub API reference, NoteUpdate);
/// the same goes for the comment of `BatchUpdateFindingsV2`.
pub const NOTE_CHARACTERS: usize = 512;
/// The least length that our note keeps beside a quoted one.
const OURS_AT_LEAST: usize = 256;
/// "Note.UpdatedBy" may be as long as the note; a name is not.
const AUTHOR_CHARACTERS: usize = 64;
/// The separator between our note and the quoted one.
const QUOTE: &str = " | Note of ";

/// Our note with its hint. Where there is too little room the note is cut and
/// the hint is whole.
pub(super) fn ours(update: &StatusUpdate, room: usize) -> String {
    let note = one_line(&update.note).replace(QUOTE, " / Note of ");
    let hint = one_line(&update.hint);
    if hint.is_empty() {
        return cut(&note, room);
    }
    let left = room.saturating_sub(hint.chars().count() + 1);
    format!("{} {hint}", cut(&note, left))
}

/// Another author's note as it is quoted behind ours.
pub(super) fn quoted(author: &str, text: &str) -> String {
    format!("{QUOTE}{}: {}", cut(&one_line(author), AUTHOR_CHARACTERS), one_line(text))
}

/// The quote in one of our notes, with its separator; empty if there is none.
pub(super) fn quote_in(ours: &str) -> &str {
    ours.find(QUOTE).and_then(|at| ours.get(at..)).unwrap_or_default()
}

/// Our note and the quote after it. Both are whole if they fit. Otherwise ours is cut
/// down to [`OURS_AT_LEAST`], and then the quote is cut.
pub(super) fn with_quote(update: &StatusUpdate, quote: &str) -> String {
    let for_quote = quote.chars().count().min(NOTE_CHARACTERS - OURS_AT_LEAST);
    let ours = ours(update, NOTE_CHARACTERS - for_quote);
    let left = NOTE_CHARACTERS.saturating_sub(ours.chars().count());
    format!("{ours}{}", cut(quote, left))
}

/// Cuts a text to a number of characters, with an ellipsis where it was longer.
pub(super) fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

/// Line breaks become blanks: the pattern that the API reference gives for the
/// text, `.*\S.*`, may or may not let them pass.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn update(note: &str) -> StatusUpdate {
        let (note, hint) = (note.to_owned(), "Undo: it".to_owned());
        StatusUpdate { workflow: None, note, hint, fields: BTreeMap::new() }
    }

    #[test]
    fn a_text_is_cut_at_characters_not_bytes() {
        assert_eq!(cut("ééé", 3), "ééé");
        assert_eq!(cut("éééé", 3), "éé…");
    }

    #[test]
    fn both_notes_are_whole_if_they_fit_and_neither_is_lost_if_not() {
        let short = with_quote(&update("Firebreak."), &quoted("ann", "known\nscanner"));
        assert_eq!(short, "Firebreak. Undo: it | Note of ann: known scanner");
        for (ours, theirs) in [(20, 600), (600, 20), (600, 600), (300, 300), (490, 10), (9, 480)] {
            let text = with_quote(&update(&"o".repeat(ours)), &quoted("ann", &"t".repeat(theirs)));
            assert!(text.chars().count() <= NOTE_CHARACTERS, "{ours} {theirs}");
            assert!(text.contains("Undo: it | Note of ann: ttt"), "{text}");
            let whole = ours + theirs + " Undo: it | Note of ann: ".len() <= NOTE_CHARACTERS;
            assert_eq!(text.contains('…'), !whole, "{ours} {theirs}: {text}");
        }
    }

    #[test]
    fn a_quoted_note_is_found_again_and_our_own_text_is_never_taken_for_one() {
        let quote = quoted("ann", "a | Note of b: c");
        let text = with_quote(&update("Firebreak | Note of nobody"), &quote);
        assert_eq!(quote_in(&text), quote);
        assert_eq!(quote_in("Firebreak alone"), "");
    }
}
