//! Tests: every kind of tampering is detected.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use proptest::prelude::*;

use super::account::{AccountRecord, Range};
use super::chain::{AccountChains, Chain, ChainId, Chained, Head, Link, Waiting, day_of};
use super::export::{Export, ExportScope, ExportWriter, FORMAT};
use super::records::{LatestEvent, compare};
use super::verify::FaultKind;
use firebreak_model::digest::sha256_hex;
use firebreak_response::audit_event::{AuditEvent, AuditKind};
use firebreak_response::record::{ResponseId, State};

const ACCOUNT: &str = "222222222222";
const NOW: &str = "2026-01-04T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn day(day: i8) -> Date {
    Date::constant(2026, 1, day)
}

fn range() -> Range {
    Range { since: day(1), until: day(4) }
}

fn event(day: i8, says: &str) -> (String, String) {
    let at: Timestamp = format!("2026-01-0{day}T10:00:00Z").parse().unwrap();
    let event = AuditEvent::new(AuditKind::StateChanged, ACCOUNT, "somebody", says, at);
    (event.key(), serde_json::to_string(&event).unwrap())
}

/// Chains an event of a day.
fn chain(record: &mut AccountRecord, on: i8, says: &str) {
    let item = record.item.get_or_insert_with(|| AccountChains::new(ACCOUNT));
    let id = ChainId { account: ACCOUNT.to_owned(), day: day(on) };
    let chain = record.chains.entry(day(on)).or_insert_with(|| Chain::new(id));
    let (key, body) = event(on, says);
    let head = chain.head.get_or_insert_with(|| item.begin(day(on)));
    chain.events.push(head.append(&key, &body));
    item.note(head);
}

/// Three days; the fifth event of the first is chained after the second has begun.
fn record() -> AccountRecord {
    let mut record = AccountRecord::new(ACCOUNT);
    for (number, on) in [1, 1, 1, 1, 2, 2, 1, 2, 3, 3, 3].into_iter().enumerate() {
        chain(&mut record, on, &format!("event {number}"));
    }
    record
}

fn of(record: &mut AccountRecord, on: i8) -> &mut Chain {
    record.chains.get_mut(&day(on)).unwrap()
}

fn head(record: &mut AccountRecord, on: i8) -> &mut Head {
    of(record, on).head.as_mut().unwrap()
}

fn at(record: &mut AccountRecord, on: i8, seq: u64) -> &mut Chained {
    of(record, on).events.iter_mut().find(|event| event.seq == seq).unwrap()
}

fn remove(record: &mut AccountRecord, on: i8, seq: u64) {
    of(record, on).events.retain(|event| event.seq != seq);
}

/// Writes the day again up to event `to`: consistent, but with other texts.
fn rewrite(record: &mut AccountRecord, on: i8, to: usize) {
    let chain = of(record, on);
    let mut head = Head::begin(&chain.id, chain.head.as_ref().unwrap().before.clone());
    let events = (0..to).map(|number| {
        let (key, body) = event(on, &format!("another {number}"));
        head.append(&key, &body)
    });
    chain.events = events.collect();
    chain.head = Some(head);
}

type FoundFault = (FaultKind, Option<i8>, Option<u64>);

#[track_caller]
fn check(tamper: impl FnOnce(&mut AccountRecord), expected: &[FoundFault]) {
    let mut record = record();
    tamper(&mut record);
    let faults = record.verify(range(), now());
    let found: Vec<FoundFault> =
        faults.iter().map(|fault| (fault.fault, fault.day.map(Date::day), fault.seq)).collect();
    assert_eq!(found, expected, "{faults:#?}");
}

#[test]
fn an_untouched_record_has_no_fault() {
    check(|_| {}, &[]);
}

#[test]
fn a_changed_event_is_named() {
    use FaultKind::Changed;
    let expected = [(Changed, Some(2), Some(2))];
    check(|it| at(it, 2, 2).body = event(2, "else").1, &expected);
    check(|it| at(it, 2, 2).body.push(' '), &expected);
    check(|it| at(it, 2, 2).body.clear(), &expected);
    check(|it| at(it, 2, 2).previous = sha256_hex("else"), &expected);
    check(|it| at(it, 2, 2).hash = sha256_hex("else"), &expected);
    check(|it| at(it, 2, 2).key = sha256_hex("else"), &expected);
    // The event is hashed again, but those after it are not.
    let hashed_again = |it: &mut AccountRecord| {
        let id = of(it, 2).id.clone();
        let event = at(it, 2, 2);
        event.body.push(' ');
        event.hash = id.hash(&event.previous, 2, &event.key, &event.body);
    };
    check(hashed_again, &[(FaultKind::Broken, Some(2), Some(3))]);
}

#[test]
fn a_missing_event_is_named() {
    use FaultKind::{LinkDiffers, Missing, NoChain};
    check(|it| remove(it, 1, 2), &[(Missing, Some(1), Some(2))]);
    check(|it| remove(it, 1, 1), &[(Missing, Some(1), Some(1))]);
    let two = |it: &mut AccountRecord| {
        remove(it, 1, 2);
        remove(it, 1, 3);
    };
    check(two, &[(Missing, Some(1), Some(2))]);
    let last = [(Missing, Some(3), Some(3)), (LinkDiffers, Some(3), Some(3))];
    check(|it| remove(it, 3, 3), &last);
    // The second day refers to its fourth event, the third to its fifth.
    let gone = |it: &mut AccountRecord| drop(it.chains.remove(&day(1)));
    check(gone, &[(NoChain, Some(1), Some(4)), (NoChain, Some(1), Some(5))]);
    let gone = |it: &mut AccountRecord| drop(it.chains.remove(&day(3)));
    check(gone, &[(NoChain, Some(3), Some(3))]);
}

#[test]
fn a_reordered_event_is_named_with_its_former_position() {
    let swapped = |it: &mut AccountRecord| {
        at(it, 1, 2).seq = 100;
        at(it, 1, 3).seq = 2;
        at(it, 1, 100).seq = 3;
    };
    check(swapped, &[(FaultKind::Moved, Some(1), Some(2)), (FaultKind::Moved, Some(1), Some(3))]);
    let mut record = record();
    at(&mut record, 1, 2).seq = u64::MAX;
    let faults = record.verify(range(), now());
    let moved = faults.iter().find(|fault| fault.fault == FaultKind::Moved).unwrap();
    assert!(moved.message.ends_with("was chained as event 2"), "{moved}");
}

#[test]
fn an_inserted_event_is_named() {
    use FaultKind::{Duplicated, Inserted};
    let beside = |it: &mut AccountRecord| {
        let id = of(it, 1).id.clone();
        let previous = at(it, 1, 2).previous.clone();
        let (key, body) = event(1, "else");
        let hash = id.hash(&previous, 2, &key, &body);
        of(it, 1).events.insert(0, Chained { seq: 2, previous, hash, key, body });
    };
    check(beside, &[(Inserted, Some(1), Some(2))]);
    let behind = |it: &mut AccountRecord| {
        let (key, body) = event(3, "else");
        let event = head(it, 3).clone().append(&key, &body);
        of(it, 3).events.push(event);
    };
    check(behind, &[(Inserted, Some(3), Some(4))]);
    let twice = |it: &mut AccountRecord| {
        let copy = at(it, 1, 2).clone();
        of(it, 1).events.push(copy);
    };
    check(twice, &[(Duplicated, Some(1), Some(2))]);
}

#[test]
fn a_head_that_does_not_match_is_named() {
    use FaultKind::{Broken, HeadDiffers, Inserted, NoHead};
    check(|it| head(it, 3).hash = sha256_hex("else"), &[(HeadDiffers, Some(3), Some(3))]);
    let back = |it: &mut AccountRecord| {
        let before = at(it, 3, 2).hash.clone();
        let head = head(it, 3);
        (head.seq, head.hash) = (2, before);
    };
    check(back, &[(Inserted, Some(3), Some(3))]);
    check(|it| of(it, 2).head = None, &[(NoHead, Some(2), None)]);
    check(|it| head(it, 2).before.clear(), &[(Broken, Some(2), Some(1))]);
}

#[test]
fn a_rewritten_chain_is_detected_by_links_to_it() {
    use FaultKind::{LinkDiffers, NoAccount, Unlinked};
    let links = [(LinkDiffers, Some(1), Some(4)), (LinkDiffers, Some(1), Some(5))];
    check(|it| rewrite(it, 1, 5), &links);
    check(|it| rewrite(it, 1, 4), &links);
    check(|it| rewrite(it, 3, 3), &[(LinkDiffers, Some(3), Some(3))]);
    check(|it| it.item = None, &[(NoAccount, None, None)]);
    let anew = |it: &mut AccountRecord| it.item.as_mut().unwrap().tails.clear();
    check(anew, &[(Unlinked, Some(3), Some(3))]);
}

#[test]
fn links_to_days_before_the_range_are_counted_and_not_a_fault() {
    let mut record = record();
    record.chains.remove(&day(1));
    let range = Range { since: day(2), until: day(4) };
    assert_eq!(record.verify(range, now()), []);
    assert_eq!(record.links_beyond(range), 2);
    // A later chain's head names the end of a chain in the range.
    let third = record.chains.remove(&day(3)).unwrap().head.unwrap();
    let range = Range { until: day(2), ..range };
    let found = |record: &AccountRecord| -> Vec<FaultKind> {
        record.verify(range, now()).into_iter().map(|fault| fault.fault).collect()
    };
    assert_eq!(found(&record), [FaultKind::NoChain]);
    record.later.insert(day(3), third);
    assert_eq!(found(&record), []);
    record.later.get_mut(&day(3)).unwrap().seq = 2;
    assert_eq!(found(&record), [FaultKind::LinkDiffers]);
}

#[test]
fn an_unchained_event_is_a_fault_after_ten_minutes_and_a_stray_item_always() {
    let wait = |record: &mut AccountRecord, at: &str, account: &str| {
        let at: Timestamp = at.parse().unwrap();
        let event = AuditEvent::new(AuditKind::Paused, account, "somebody", "why", at);
        let body = serde_json::to_string(&event).unwrap();
        let id = ChainId { account: ACCOUNT.to_owned(), day: day(3) };
        let chain = record.chains.entry(day(3)).or_insert_with(|| Chain::new(id));
        chain.waiting.push(Waiting { key: event.key(), body });
    };
    check(|it| wait(it, "2026-01-03T23:50:00Z", ACCOUNT), &[]);
    let old = [(FaultKind::Unchained, Some(3), None)];
    check(|it| wait(it, "2026-01-03T23:49:59Z", ACCOUNT), &old);
    let misplaced = [(FaultKind::Misplaced, Some(3), None)];
    check(|it| wait(it, "2026-01-03T23:59:00Z", "333333333333"), &misplaced);
    check(|it| wait(it, "2026-01-04T00:00:00Z", ACCOUNT), &misplaced);
    let unreadable = [(FaultKind::Unreadable, Some(3), None)];
    let nonsense = |it: &mut AccountRecord| {
        let waiting = Waiting { key: "a".to_owned(), body: "{}".to_owned() };
        of(it, 3).waiting.push(waiting);
    };
    check(nonsense, &unreadable);
}

#[test]
fn a_response_s_record_is_compared_with_its_audit_events() {
    let id: ResponseId = "r-0123456789abcdef".parse().unwrap();
    let record = |revision: u64, state: &str| {
        format!(r#"{{"revision":{revision},"state":"{state}","updated":"2026-01-03T10:00:00Z"}}"#)
    };
    let latest = LatestEvent {
        id: ChainId { account: ACCOUNT.to_owned(), day: day(3) },
        seq: Some(2),
        key: "k".to_owned(),
        revision: 3,
        state: Some(State::Contained),
        record: Some(sha256_hex(record(3, "contained"))),
    };
    for (text, wrong) in [
        (Some(record(3, "contained")), None),
        (Some(record(4, "contained")), None),
        (Some(record(3, "undone")), Some(FaultKind::RecordChanged)),
        (Some(String::new()), Some(FaultKind::RecordChanged)),
        (Some(record(2, "contained")), Some(FaultKind::RecordBehind)),
        (Some(record(4, "undone")), Some(FaultKind::RecordAhead)),
        (None, Some(FaultKind::RecordMissing)),
    ] {
        let fault = compare(&id, &latest, text.as_deref(), now());
        assert_eq!(fault.as_ref().map(|fault| fault.fault), wrong, "{text:?}");
        assert!(fault.is_none_or(|fault| fault.response.as_ref() == Some(&id)));
    }
    // A change made while the events were read is not compared.
    assert_eq!(compare(&id, &latest, Some(&record(4, "undone")), Timestamp::MIN), None);
}

fn export(record: &AccountRecord) -> String {
    let scope = ExportScope {
        format: FORMAT,
        at: now(),
        since: range().since,
        until: range().until,
        account: None,
    };
    let mut text = Vec::new();
    let mut writer = ExportWriter::begin(&mut text, &scope).unwrap();
    writer.write_account(record).unwrap();
    writer.finish().unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn an_export_has_all_of_a_record_and_verifies() {
    let text = export(&record());
    let read = Export::parse(&text).unwrap();
    assert_eq!(read.accounts, BTreeMap::from([(ACCOUNT.to_owned(), record())]));
    assert_eq!(read.verify(), []);
    assert_eq!(read.compare(&record(), range()), []);
    // One line each: the export, the item, 11 events, 3 heads, the end.
    assert_eq!(text.lines().count(), 17);
}

#[test]
fn a_missing_or_duplicate_line_of_an_export_is_detected() {
    let text = export(&record());
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for index in 0..lines.len() {
        let without: String =
            lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, it)| *it).collect();
        let faults = Export::parse(&without).map(|export| export.verify());
        assert!(faults.is_err() || faults.is_ok_and(|it| !it.is_empty()), "{index}");
        let mut twice = lines.clone();
        twice.insert(index, lines[index]);
        assert_ne!(Export::parse(&twice.concat()).unwrap().verify(), [], "{index}");
    }
}

#[test]
fn a_consistent_rewrite_is_detected_by_an_earlier_export() {
    let before = Export::parse(&export(&record())).unwrap();
    let against = |tamper: &dyn Fn(&mut AccountRecord)| -> Vec<(FaultKind, i8, u64)> {
        let mut present = record();
        tamper(&mut present);
        // Every link to the day is changed to match.
        let tails = present.chains.values().filter_map(|chain| chain.head.as_ref());
        let tails: Vec<Link> = tails.map(Head::link).collect();
        for chain in present.chains.values_mut() {
            let head = chain.head.as_mut().unwrap();
            let mut again = Head::begin(&chain.id, Vec::new());
            chain.events =
                chain.events.iter().map(|event| again.append(&event.key, &event.body)).collect();
            *head = again;
        }
        let revision = 99;
        let tails = tails
            .iter()
            .filter_map(|link| Some(present.chains.get(&link.day)?.head.as_ref()?.link()))
            .collect();
        present.item = Some(AccountChains { account: ACCOUNT.to_owned(), revision, tails });
        assert_eq!(present.verify(range(), now()), []);
        let faults = before.compare(&present, range());
        faults
            .iter()
            .map(|it| (it.fault, it.day.unwrap().day(), it.seq.unwrap_or_default()))
            .collect()
    };
    let found = against(&|it| at(it, 1, 3).body = event(1, "else").1);
    assert!(found.contains(&(FaultKind::Rewritten, 1, 3)), "{found:?}");
    let found = against(&|it| remove(it, 1, 5));
    assert!(found.contains(&(FaultKind::Cut, 1, 5)), "{found:?}");
    let found = against(&|it| drop(it.chains.remove(&day(3))));
    assert!(found.contains(&(FaultKind::Cut, 3, 0)), "{found:?}");
}

#[test]
fn an_unchained_event_of_an_export_must_exist_later() {
    let (key, body) = event(3, "late");
    let mut past = record();
    of(&mut past, 3).waiting.push(Waiting { key, body });
    let before = Export::parse(&export(&past)).unwrap();
    let mut present = record();
    let found = |present: &AccountRecord| -> Vec<FaultKind> {
        before.compare(present, range()).into_iter().map(|fault| fault.fault).collect()
    };
    assert_eq!(found(&present), [FaultKind::Cut]);
    chain(&mut present, 3, "late");
    assert_eq!(found(&present), []);
    at(&mut present, 3, 4).body.push(' ');
    assert_eq!(found(&present), [FaultKind::Rewritten]);
}

#[test]
fn a_day_is_in_utc() {
    let late: Timestamp = "2026-01-01T23:59:59.999Z".parse().unwrap();
    assert_eq!(day_of(late), day(1));
}

proptest! {
    #[test]
    fn any_changed_byte_of_an_event_is_detected(
        on in 1_i8..=3,
        seq in 1_u64..=3,
        field in 0_usize..4,
        place in any::<prop::sample::Index>(),
        to in b' '..=b'~',
    ) {
        let mut record = record();
        let event = at(&mut record, on, seq);
        let text =
            [&mut event.body, &mut event.hash, &mut event.previous, &mut event.key].into_iter().nth(field).unwrap();
        let mut bytes = text.clone().into_bytes();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != to);
        bytes[place] = to;
        *text = String::from_utf8(bytes).unwrap();
        let faults = record.verify(range(), now());
        prop_assert!(
            faults.iter().any(|it| it.day == Some(day(on)) && it.seq == Some(seq)),
            "{faults:?}"
        );
    }

    #[test]
    fn any_moved_event_is_detected(on in 1_i8..=3, seq in 1_u64..=3, to in any::<u64>()) {
        for to in [to, to % 7] {
            let mut record = record();
            at(&mut record, on, seq).seq = to;
            prop_assert!((to == seq) == record.verify(range(), now()).is_empty());
        }
    }

    #[test]
    fn any_changed_byte_of_an_export_is_detected(
        place in any::<prop::sample::Index>(),
        to in b' '..=b'~',
    ) {
        let mut bytes = export(&record()).into_bytes();
        // Except for the end of the last line.
        let place = place.index(bytes.len() - 1);
        prop_assume!(bytes[place] != to);
        bytes[place] = to;
        let text = String::from_utf8(bytes).unwrap();
        let faults = Export::parse(&text).map(|export| export.verify());
        prop_assert!(faults.is_err() || faults.is_ok_and(|it| !it.is_empty()));
    }
}
