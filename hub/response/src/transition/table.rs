//! Every state meets every event. The table is written by hand; nothing in it is
//! computed.
//!
//! A cell is the next state and, behind it, what is emitted: `A` an audit event, `S` an
//! update of Security Hub, `N` a notice. `-` is illegal.

use jiff::{SignedDuration, Timestamp};

use super::testing::{context, events, now, record};
use super::{Event, Write, apply};
use crate::outbox::Channel;
use crate::record::State;

const TABLE: &str = "
event          | observed   | refused   | awaiting-approval   | denied   | running         | contained   | completed   | partially-contained   | failed   | undoing     | undone    | expired
lease-taken    | -          | -         | -                   | -        | running         | -           | -           | -                     | -        | undoing     | -         | -
steps-recorded | -          | -         | -                   | -        | running         | -           | -           | -                     | -        | -           | -         | -
handed-over    | -          | -         | -                   | -        | running SN      | -           | -           | -                     | -        | -           | -         | -
executed       | -          | -         | -                   | -        | contained ASN   | -           | -           | -                     | -        | -           | -         | -
retry-started  | -          | -         | -                   | -        | -               | -           | -           | running A             | running A| -           | -         | -
approved       | -          | -         | running A           | -        | -               | -           | -           | -                     | -        | -           | -         | -
denied         | -          | -         | denied ASN          | -        | -               | -           | -           | -                     | -        | -           | -         | -
plan-changed   | -          | -         | awaiting-approval A | -        | -               | -           | -           | -                     | -        | -           | -         | -
forbidden      | -          | -         | refused ASN         | -        | -               | -           | -           | -                     | -        | -           | -         | -
reminded       | -          | -         | awaiting-approval AN| -        | -               | -           | -           | -                     | -        | -           | -         | -
postponed      | -          | -         | awaiting-approval   | -        | -               | contained   | completed   | partially-contained   | failed   | -           | -         | -
undo-requested | -          | -         | -                   | -        | undoing A       | undoing A   | undoing A   | undoing A             | undoing A| undoing A   | undoing A | undoing A
undo-ended     | -          | -         | -                   | -        | -               | -           | -           | -                     | -        | undone ASN  | -         | -
finding-added  | observed AS| refused AS| awaiting-approval AS| -        | running A       | contained AS| completed AS| partially-contained AS| failed AS| undoing A   | -         | -
suppressed     | observed A | refused A | awaiting-approval A | denied A | running A       | contained A | completed A | partially-contained A | failed A | undoing A   | undone A  | expired A
released       | observed A | refused A | awaiting-approval A | denied A | running A       | contained A | completed A | partially-contained A | failed A | undoing A   | undone A  | expired A
";

/// The effect of an event on a record in a state, as the table writes it.
fn cell(state: State, event: Event) -> String {
    let Ok(transition) = apply(&record(state), event, &context(now())) else {
        return "-".to_owned();
    };
    let delivers = |channel| transition.outbox.iter().any(|item| item.channel == channel);
    let mut emitted = String::new();
    emitted.extend(transition.audit.is_some().then_some('A'));
    emitted.extend(delivers(Channel::SecurityHub).then_some('S'));
    emitted.extend(delivers(Channel::Topic).then_some('N'));
    format!("{} {emitted}", transition.record.response.state).trim().to_owned()
}

#[test]
fn every_state_meets_every_event_as_the_table_says() {
    let mut rows = TABLE
        .trim()
        .lines()
        .map(|line| line.split('|').map(|cell| cell.trim().replace("  ", " ")).collect::<Vec<_>>());
    let states = rows.next().unwrap();
    assert_eq!(states.get(1..).unwrap(), State::ALL.map(|state| state.name().to_owned()));
    let mut expected: Vec<(String, Vec<String>)> =
        rows.map(|row| (row.first().unwrap().clone(), row.get(1..).unwrap().to_vec())).collect();
    let mut wrong = Vec::new();
    for (name, event) in events() {
        let (row, cells) = expected.remove(0);
        assert_eq!(row, name, "the table has the events in their order");
        for (state, expected) in State::ALL.into_iter().zip(cells) {
            let is = cell(state, event.clone());
            if is != expected {
                wrong.push(format!("{name} in {state}: the table says `{expected}`, it is `{is}`"));
            }
        }
    }
    assert!(expected.is_empty(), "rows without an event: {expected:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What an event writes, and by when: of each kind in one state that allows it.
/// `until` is the end of the lease and `due` when the sweep comes, from now on; `=` is as
/// it was before.
const WRITES: &str = "
event          | in                | write            | until | due
lease-taken    | running           | record and entry | 300   | 300
steps-recorded | running           | record           | 300   | 300
handed-over    | running           | record and entry | 0     | 15
executed       | running           | record and entry | -     | 259200
retry-started  | failed            | record and entry | 300   | 300
approved       | awaiting-approval | record and entry | 300   | 300
denied         | awaiting-approval | record and entry | -     | -
plan-changed   | awaiting-approval | record and entry | =     | =
forbidden      | awaiting-approval | record and entry | -     | -
reminded       | awaiting-approval | record and entry | -     | 1800
postponed      | awaiting-approval | record and entry | -     | 60
undo-requested | contained         | record and entry | 300   | 300
undo-ended     | undoing           | record and entry | -     | -
finding-added  | contained         | added            | =     | =
suppressed     | contained         | suppression      | =     | =
released       | undone            | entry            | =     | =
";

#[test]
fn each_event_writes_what_the_table_says() {
    let mut rows = WRITES.trim().lines().skip(1);
    for (name, event) in events() {
        let row: Vec<&str> = rows.next().unwrap().split('|').map(str::trim).collect();
        let &[event_name, state, write, until, due] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!(event_name, name, "the table has the events in their order");
        let before = State::ALL.into_iter().find(|it| it.name() == state).map(record).unwrap();
        let transition = apply(&before, event, &context(now())).unwrap();
        let written = match transition.write {
            Write::New { .. } => "new",
            Write::RecordAndEntry => "record and entry",
            Write::Record => "record",
            Write::Added { .. } => "added",
            Write::Entry { .. } => "entry",
            Write::Suppression => "suppression",
        };
        assert_eq!(written, write, "{name}");
        let seconds = |time: Option<Timestamp>, was: Option<Timestamp>, says: &str| match says {
            "=" => assert_eq!(time, was, "{name}"),
            "-" => assert_eq!(time, None, "{name}"),
            seconds => assert_eq!(
                time,
                Some(now() + SignedDuration::from_secs(seconds.parse().unwrap())),
                "{name}"
            ),
        };
        let (was, is) = (&before.response, &transition.record.response);
        seconds(is.lease_until, was.lease_until, until);
        seconds(is.due, was.due, due);
    }
}
