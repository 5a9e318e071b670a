//! Merges an update with the present finding in Security Hub. Pure.
//!
//! The rules, each of which is in the table of cases below:
//!
//! - Firebreak changes the workflow status only while it is `NEW` or the one that we
//!   wrote last. Any other status was set by an analyst and is kept; then the note
//!   is kept too, and only our fields are written.
//! - Another author's note is quoted after ours. The quote is kept from note to note.
//! - User-defined fields of others are kept. If there is no room for all of ours, the
//!   least important are left out.
//! - What is up to date is not written again.
//!
//! Security Hub has no conditional update: a change that another client makes between reading
//! and writing is overwritten. Reading right before writing makes that window small,
//! and Security Hub's history keeps what was overwritten.

use std::collections::BTreeMap;

use super::note::{cut, quote_in, quoted, with_quote};
use super::{StatusUpdate, Workflow};
use crate::record::State;

/// Our name in `Note.UpdatedBy`.
pub const AUTHOR: &str = "firebreak";
/// The field with the response's id.
pub const RESPONSE: &str = "firebreak_response";
/// The field with the workflow status that we wrote last: it distinguishes our status
/// from an analyst's.
pub const WORKFLOW: &str = "firebreak_workflow";
/// The field with the response's state.
pub const STATE: &str = "firebreak_state";
/// The field with the rule that decided.
pub const RULE: &str = "firebreak_rule";
/// What may stay open after the containment, by path; `none` where nothing does.
pub const RESIDUAL: &str = "firebreak_residual";
/// The value of [`RESIDUAL`] where nothing stays open.
pub const NO_RESIDUAL: &str = "none";

/// "UserDefinedFields: at most 50 pairs" (Security Hub API reference,
/// BatchUpdateFindings).
const FIELDS_AT_MOST: usize = 50;
/// "Map Entries: value up to 1024 characters" (same).
const FIELD_CHARACTERS: usize = 1_024;
/// The author of a note if Security Hub does not name one.
const UNNAMED_AUTHOR: &str = "another author";

/// The schema of a finding in Security Hub: it decides where our status can be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Schema {
    /// With user-defined fields, and notes that have an author.
    Asff,
    /// With one comment and nothing else: the comment begins with the status that we
    /// wrote, `Firebreak [RESOLVED]`.
    Ocsf,
}

/// The fields of a finding in Security Hub that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The workflow status; `None` counts as `NEW`.
    pub status: Option<String>,
    /// The note or comment.
    pub note: Option<Noted>,
    pub fields: BTreeMap<String, String>,
}

/// A note, and who wrote it where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// `Note.UpdatedBy`; OCSF's comment has no author.
    pub by: Option<String>,
    pub text: String,
}

impl Noted {
    fn is_ours(&self) -> bool {
        match &self.by {
            Some(by) => by == AUTHOR,
            None => self.text.starts_with("Firebreak"),
        }
    }
}

/// What has to be written; `None` leaves a part as it is. Findings with the same write
/// share a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusWrite {
    pub workflow: Option<Workflow>,
    pub note: Option<String>,
    /// All user-defined fields, including those of others: whether Security Hub merges
    /// or replaces them is not documented.
    pub fields: Option<BTreeMap<String, String>>,
}

impl StatusWrite {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Who owns the workflow status after the update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusOwner {
    /// Firebreak's: written with this status, or unchanged.
    Ours(Option<Workflow>),
    /// An analyst's, which is kept.
    Kept {
        status: String,
        /// Who wrote the present note, if it is not ours.
        by: String,
    },
}

/// What to write for an update of a present finding, and who owns the status
/// afterwards.
pub fn merge(
    schema: Schema,
    present: &Present,
    update: &StatusUpdate,
) -> (StatusWrite, StatusOwner) {
    let update = &respect_other_responses(present, update);
    let written = written(schema, present);
    let status = present.status.as_deref().unwrap_or("NEW");
    if status != "NEW" && Some(status) != written.as_deref() {
        let fields = fields(schema, present, update, written.as_deref());
        let note = present.note.as_ref().filter(|note| !note.is_ours());
        let by = note.and_then(|note| note.by.as_deref()).unwrap_or(UNNAMED_AUTHOR).to_owned();
        let write = StatusWrite { fields, ..StatusWrite::default() };
        return (write, StatusOwner::Kept { status: status.to_owned(), by });
    }
    let marked = update.workflow.map(Workflow::name).or(written.as_deref());
    let note = note(schema, present, update, marked);
    let write = StatusWrite {
        workflow: update.workflow.filter(|workflow| workflow.name() != status),
        note: Some(note).filter(|note| present.note.as_ref().is_none_or(|it| it.text != *note)),
        fields: fields(schema, present, update, marked),
    };
    (write, StatusOwner::Ours(update.workflow))
}

/// A finding may have several responses: it is resolved only when none of them is
/// unresolved. The responses at its other targets are checked before this. If the last
/// update was of another unresolved response, such as another rule's, `RESOLVED`
/// becomes `NOTIFIED` here.
fn respect_other_responses(present: &Present, update: &StatusUpdate) -> StatusUpdate {
    let other =
        present.fields.get(RESPONSE).is_some_and(|id| update.fields.get(RESPONSE) != Some(id));
    let mut open = State::ALL.into_iter().filter(|state| state.is_unresolved());
    let is_unresolved =
        present.fields.get(STATE).is_some_and(|named| open.any(|state| state.name() == named))
            || present.fields.get(RESIDUAL).is_some_and(|paths| paths != NO_RESIDUAL);
    let update = update.clone();
    if other && is_unresolved { update.not_resolved() } else { update }
}

/// The finding after a write, so that the next update of it does not read it again.
#[must_use]
pub fn after(schema: Schema, present: &Present, write: &StatusWrite) -> Present {
    let by = match schema {
        Schema::Asff => Some(AUTHOR.to_owned()),
        Schema::Ocsf => None,
    };
    let note = write.note.clone().map(|text| Noted { by, text });
    Present {
        status: write.workflow.map(|it| it.name().to_owned()).or_else(|| present.status.clone()),
        note: note.or_else(|| present.note.clone()),
        fields: write.fields.clone().unwrap_or_else(|| present.fields.clone()),
    }
}

/// The status that we marked as ours last.
fn written(schema: Schema, present: &Present) -> Option<String> {
    match schema {
        Schema::Asff => present.fields.get(WORKFLOW).cloned(),
        Schema::Ocsf => {
            let text = &present.note.as_ref()?.text;
            let (status, _) = text.strip_prefix("Firebreak [")?.split_once(']')?;
            Some(status.to_owned())
        }
    }
}

fn note(schema: Schema, present: &Present, update: &StatusUpdate, marked: Option<&str>) -> String {
    let quote = match &present.note {
        Some(note) if note.is_ours() => quote_in(&note.text).to_owned(),
        Some(note) => quoted(note.by.as_deref().unwrap_or(UNNAMED_AUTHOR), &note.text),
        None => String::new(),
    };
    match (schema, marked) {
        (Schema::Ocsf, Some(marked)) => {
            let note = update.note.replacen("Firebreak", &format!("Firebreak [{marked}]"), 1);
            with_quote(&StatusUpdate { note, ..update.clone() }, &quote)
        }
        (Schema::Ocsf, None) | (Schema::Asff, _) => with_quote(update, &quote),
    }
}

/// All fields as they should be; `None` if they are already.
fn fields(
    schema: Schema,
    present: &Present,
    update: &StatusUpdate,
    marked: Option<&str>,
) -> Option<BTreeMap<String, String>> {
    match schema {
        Schema::Asff => {}
        Schema::Ocsf => return None,
    }
    let mut ours: Vec<(&str, &str)> =
        update.fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    ours.extend(marked.map(|status| (WORKFLOW, status)));
    // The most important first: the response's id leads to all the rest.
    let important = [RESPONSE, WORKFLOW, STATE, RULE, RESIDUAL];
    ours.sort_by_key(|(key, _)| important.iter().position(|it| it == key).unwrap_or(usize::MAX));
    let mut all = present.fields.clone();
    all.retain(|key, _| !ours.iter().any(|(own, _)| own == key));
    for (key, value) in ours {
        if all.len() < FIELDS_AT_MOST {
            all.insert(key.to_owned(), cut(value, FIELD_CHARACTERS));
        }
    }
    Some(all).filter(|all| *all != present.fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE_ID: &str = "r-0123456789abcdef";

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "what is there is optional")]
    fn noted(by: &str, text: &str) -> Option<Noted> {
        Some(Noted { by: Some(by.to_owned()), text: text.to_owned() })
    }

    #[expect(clippy::unnecessary_wraps, reason = "what is there is optional")]
    fn comment(text: &str) -> Option<Noted> {
        Some(Noted { by: None, text: text.to_owned() })
    }

    fn present(status: &str, note: Option<Noted>, fields: &[(&str, &str)]) -> Present {
        Present { status: Some(status.to_owned()), note, fields: pairs(fields) }
    }

    fn update(workflow: Option<Workflow>) -> StatusUpdate {
        StatusUpdate {
            workflow,
            note: "Firebreak said.".to_owned(),
            hint: "Undo: it".to_owned(),
            fields: pairs(&[(RESPONSE, RESPONSE_ID), (STATE, "contained"), (RULE, "root/rule")]),
        }
    }

    const ASFF: Schema = Schema::Asff;
    const OCSF: Schema = Schema::Ocsf;
    const OURS: &str = "Firebreak said. Undo: it";

    type Expected<'a> = (Option<Workflow>, Option<&'a str>, StatusOwner);

    /// Status, note and owner of one case; the fields have cases of their own.
    fn check(schema: Schema, present: &Present, workflow: Option<Workflow>, expected: Expected) {
        let (status, note, owner) = expected;
        let (write, said) = merge(schema, present, &update(workflow));
        let described = format!("{schema:?} {present:?} {workflow:?}");
        assert_eq!(write.workflow, status, "{described}");
        assert_eq!(write.note.as_deref(), note, "{described}");
        assert_eq!(said, owner, "{described}");
        assert!(schema == ASFF || write.fields.is_none(), "{described}");
    }

    fn ours(workflow: Option<Workflow>, note: Option<&str>) -> Expected<'_> {
        (workflow, note, StatusOwner::Ours(workflow))
    }

    fn kept(status: &str, by: &str) -> Expected<'static> {
        let (status, by) = (status.to_owned(), by.to_owned());
        (None, None, StatusOwner::Kept { status, by })
    }

    #[test]
    fn firebreak_owns_the_status_while_it_is_new_or_as_firebreak_wrote_it() {
        use Workflow::{New, Notified, Resolved};
        let began = || noted(AUTHOR, "Firebreak began.");
        let said = || noted(AUTHOR, OURS);
        let (resolved, notified) = ([(WORKFLOW, "RESOLVED")], [(WORKFLOW, "NOTIFIED")]);
        let check =
            |present: Present, workflow, expected| check(ASFF, &present, workflow, expected);
        // Nobody has updated the finding yet.
        check(Present::default(), Some(Resolved), ours(Some(Resolved), Some(OURS)));
        check(present("NEW", None, &[]), Some(Notified), ours(Some(Notified), Some(OURS)));
        // Our own last update.
        let ours_before = present("NOTIFIED", began(), &notified);
        check(ours_before, Some(Resolved), ours(Some(Resolved), Some(OURS)));
        check(present("RESOLVED", said(), &resolved), Some(New), ours(Some(New), None));
        // A finding that was archived and is active again is NEW.
        check(present("NEW", said(), &resolved), Some(Resolved), ours(Some(Resolved), None));
        // An analyst's status is kept, and so is the note, no matter who wrote it.
        let suppressed = present("SUPPRESSED", noted("ann", "mine"), &[]);
        check(suppressed, Some(Resolved), kept("SUPPRESSED", "ann"));
        let theirs = present("RESOLVED", began(), &notified);
        check(theirs, Some(Resolved), kept("RESOLVED", UNNAMED_AUTHOR));
        check(present("NOTIFIED", None, &[]), Some(New), kept("NOTIFIED", UNNAMED_AUTHOR));
        check(present("NOTIFIED", None, &resolved), None, kept("NOTIFIED", UNNAMED_AUTHOR));
        // An update without a status leaves it and notes.
        check(present("NEW", None, &[]), None, ours(None, Some(OURS)));
        check(present("RESOLVED", began(), &resolved), None, ours(None, Some(OURS)));
    }

    #[test]
    fn nothing_is_resolved_while_another_response_is_open() {
        use Workflow::{New, Notified, Resolved};
        let check = |id: &str, state: &str, workflow: Workflow, expected: Workflow| {
            let fields = [(RESPONSE, id), (STATE, state), (WORKFLOW, "NOTIFIED")];
            let present = present("NOTIFIED", None, &fields);
            let (write, owner) = merge(ASFF, &present, &update(Some(workflow)));
            assert_eq!(owner, StatusOwner::Ours(Some(expected)), "{id} {state}");
            let marked = write.fields.unwrap().remove(WORKFLOW);
            assert_eq!(marked.as_deref(), Some(expected.name()), "{id} {state}");
        };
        let other = "r-fedcba9876543210";
        for state in State::ALL {
            let expected = if state.is_unresolved() { Notified } else { Resolved };
            check(other, state.name(), Resolved, expected);
            check(other, state.name(), New, New);
            check(RESPONSE_ID, state.name(), Resolved, Resolved);
        }
        check(other, "a state to come", Resolved, Resolved);
        let residual = (RESIDUAL, "nat-gateway");
        let fields = [(RESPONSE, other), (STATE, "contained"), (WORKFLOW, "NOTIFIED"), residual];
        let present = present("NOTIFIED", None, &fields);
        let (_, owner) = merge(ASFF, &present, &update(Some(Resolved)));
        assert_eq!(owner, StatusOwner::Ours(Some(Notified)), "something stays open");
    }

    #[test]
    fn a_note_of_others_is_quoted_and_the_quote_carried_on() {
        let quote = "Firebreak said. Undo: it | Note of ann: mine";
        let began = "Firebreak began. | Note of ann: mine";
        for (note, expected) in [
            (noted("ann", "mine"), Some(quote)),
            (noted(AUTHOR, began), Some(quote)),
            (noted(AUTHOR, quote), None),
            // An author whose name begins like ours is another author.
            (
                noted("ann", "Firebreak?"),
                Some("Firebreak said. Undo: it | Note of ann: Firebreak?"),
            ),
        ] {
            check(ASFF, &present("NEW", note, &[]), None, ours(None, expected));
        }
    }

    #[test]
    fn an_ocsf_comment_says_which_status_firebreak_wrote() {
        use Workflow::{New, Resolved};
        let began = || comment("Firebreak [NOTIFIED] began.");
        let check =
            |present: Present, workflow, expected| check(OCSF, &present, workflow, expected);
        let resolved = Some("Firebreak [RESOLVED] said. Undo: it");
        check(Present::default(), Some(Resolved), ours(Some(Resolved), resolved));
        let notified = present("NOTIFIED", began(), &[]);
        check(notified.clone(), Some(Resolved), ours(Some(Resolved), resolved));
        check(notified, None, ours(None, Some("Firebreak [NOTIFIED] said. Undo: it")));
        check(present("RESOLVED", began(), &[]), Some(New), kept("RESOLVED", UNNAMED_AUTHOR));
        let suppressed = present("SUPPRESSED", comment("mine"), &[]);
        check(suppressed, Some(Resolved), kept("SUPPRESSED", UNNAMED_AUTHOR));
        let quoted = "Firebreak said. Undo: it | Note of another author: mine";
        check(present("NEW", comment("mine"), &[]), None, ours(None, Some(quoted)));
    }

    #[test]
    fn fields_of_others_are_kept_and_the_least_important_of_ours_are_dropped_first() {
        for (others, ours) in [
            (0, &[RESPONSE, WORKFLOW, STATE, RULE][..]),
            (46, &[RESPONSE, WORKFLOW, STATE, RULE]),
            (47, &[RESPONSE, WORKFLOW, STATE]),
            (48, &[RESPONSE, WORKFLOW]),
            (49, &[RESPONSE]),
        ] {
            let theirs: BTreeMap<String, String> =
                (0..others).map(|index| (format!("z{index}"), "theirs".to_owned())).collect();
            let present = Present { fields: theirs.clone(), ..Present::default() };
            let (write, _) = merge(ASFF, &present, &update(Some(Workflow::Resolved)));
            let fields = write.fields.unwrap();
            let mut expected: Vec<&str> =
                theirs.keys().map(String::as_str).chain(ours.iter().copied()).collect();
            expected.sort_unstable();
            assert_eq!(fields.keys().collect::<Vec<_>>(), expected, "{others}");
        }
        let theirs = (0..50).map(|index| (format!("z{index}"), "theirs".to_owned())).collect();
        let full = Present { fields: theirs, ..Present::default() };
        assert_eq!(merge(ASFF, &full, &update(None)).0.fields, None);
    }

    #[test]
    fn under_an_analyst_s_status_all_fields_but_that_of_the_status_are_written() {
        let present = present("SUPPRESSED", None, &[("team", "red"), (WORKFLOW, "NOTIFIED")]);
        let (write, _) = merge(ASFF, &present, &update(Some(Workflow::Resolved)));
        let fields = write.fields.unwrap();
        assert_eq!(fields.get(WORKFLOW).unwrap(), "NOTIFIED");
        assert_eq!(fields.get("team").unwrap(), "red");
        assert_eq!(fields.get(RESPONSE).unwrap(), RESPONSE_ID);
    }

    #[test]
    fn a_long_value_is_cut() {
        let mut update = update(None);
        update.fields.insert(RULE.to_owned(), "x".repeat(2_000));
        let fields = merge(ASFF, &Present::default(), &update).0.fields.unwrap();
        assert_eq!(fields.get(RULE).unwrap().chars().count(), FIELD_CHARACTERS);
    }

    /// Writing the same update again never changes anything.
    #[test]
    fn the_same_update_is_not_written_twice() {
        let notes = [None, noted("ann", &"mine ".repeat(100)), noted(AUTHOR, "Firebreak began.")];
        for schema in [ASFF, OCSF] {
            for status in ["NEW", "NOTIFIED", "RESOLVED", "SUPPRESSED"] {
                for note in &notes {
                    for workflow in [None, Some(Workflow::Resolved), Some(Workflow::New)] {
                        let before = present(
                            status,
                            note.clone(),
                            &[("team", "red"), (WORKFLOW, "NOTIFIED")],
                        );
                        let update = update(workflow);
                        let (write, owner) = merge(schema, &before, &update);
                        let then = after(schema, &before, &write);
                        let (again, same) = merge(schema, &then, &update);
                        assert!(again.is_empty(), "{before:?} {workflow:?} {again:?}");
                        assert_eq!(same, owner);
                    }
                }
            }
        }
    }
}
