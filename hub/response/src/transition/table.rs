//! Every state meets every event. The table is written by hand; nothing in it is
//! computed.
//!
//! A cell is the next state and, behind it, what is emitted: `A` an audit event, `S` an
//! update of Security Hub, `N` a notice. `-` is illegal.

use super::testing::{context, events, now, record};
use super::{Event, apply};
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
