//! What an attacker can do before an action and after it, by every path in the table "What
//! stays open" of docs/actions.md: the two must have the same rows.

mod data;
mod identity;
mod network;
mod workloads;

use std::collections::BTreeSet;

use firebreak_model::action::Phase;
use firebreak_model::resource::Resource;
use firebreak_simulation::Organization;
use firebreak_simulation::state::State;
use firebreak_spoke::registry;

use crate::actions::cases::{Case, case};
use crate::actions::stage::{Stage, holds};

/// What docs/actions.md says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// The action closes it.
    Closed,
    /// It may stay open, and then the residual names it.
    Residual,
    /// The action never closes it, and no residual names it.
    Open,
}

/// One path of an attacker past one action.
#[derive(Clone, Copy)]
struct Attempt {
    action: &'static str,
    path: &'static str,
    fate: Fate,
    /// The case of the action's laws that arranges the target.
    case: &'static str,
    /// Opens the path.
    open: fn(&mut State, &Resource),
    /// Whether the attacker gets through.
    works: fn(&mut State, &Resource) -> bool,
}

/// A path with the name of its action's case.
const fn attempt(
    (action, path, fate): (&'static str, &'static str, Fate),
    open: fn(&mut State, &Resource),
    works: fn(&mut State, &Resource) -> bool,
) -> Attempt {
    Attempt { action, path, fate, case: action, open, works }
}

fn attempts() -> Vec<Attempt> {
    let all = [data::attempts(), identity::attempts(), network::attempts(), workloads::attempts()];
    all.into_iter().flatten().collect()
}

/// A row of the table in docs/actions.md.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DocumentedPath {
    pub(crate) action: String,
    pub(crate) path: String,
    pub(crate) fate: Fate,
    /// The actions that close it.
    pub(crate) closed_by: Vec<String>,
}

/// The rows of the table in docs/actions.md.
pub(crate) fn documented() -> BTreeSet<DocumentedPath> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/actions.md");
    let text = std::fs::read_to_string(file).unwrap();
    let section = text.split("\n## What stays open\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|row| {
        let fate = match row[2].as_str() {
            "closed" => Fate::Closed,
            "residual" => Fate::Residual,
            "open" => Fate::Open,
            other => panic!("`{other}` is not closed, residual or open"),
        };
        let code = |cell: &str| cell.trim_matches('`').to_owned();
        let closed_by = row[4].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        DocumentedPath { action: code(&row[0]), path: code(&row[1]), fate, closed_by }
    })
    .collect()
}

#[test]
fn the_paths_are_those_of_the_documentation() {
    let tried: BTreeSet<(String, String, Fate)> =
        attempts().iter().map(|it| (it.action.to_owned(), it.path.to_owned(), it.fate)).collect();
    let documented: BTreeSet<(String, String, Fate)> =
        documented().into_iter().map(|it| (it.action, it.path, it.fate)).collect();
    let missing: Vec<_> = documented.difference(&tried).collect();
    let undocumented: Vec<_> = tried.difference(&documented).collect();
    assert!(missing.is_empty(), "not tried: {missing:#?}");
    assert!(undocumented.is_empty(), "not in docs/actions.md: {undocumented:#?}");
    // What a document does only its author knows.
    let untried = ["run-automation"];
    for entry in registry::all() {
        let contains = matches!(entry.spec.phase, Phase::Contain | Phase::End);
        let name = entry.spec.name;
        let is_tried = tried.iter().any(|(action, ..)| action == name);
        assert!(is_tried || !contains || untried.contains(&name), "no path of {name} is tried");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attacker_gets_no_further_than_the_documentation_and_the_residual_say() {
    for Attempt { action, path, fate, case: name, open, works } in attempts() {
        let of = Case { action, ..case(name) };
        let stage = Stage::of(&of).await;
        stage.organization.edit(|state| open(state, &stage.resource));
        let works =
            |organization: &Organization| organization.edit(|state| works(state, &stage.resource));
        assert!(works(&stage.organization), "{action}: {path} is not open before it");
        let prior = stage.capture().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        assert!(holds(&stage.verify(&prior).await), "{action}: {path}");
        let still = works(&stage.organization);
        let residual = stage.residual(&prior).await.unwrap();
        let said = residual.iter().any(|it| it.path == path);
        let expected = match fate {
            Fate::Closed => (false, false),
            Fate::Residual => (true, true),
            Fate::Open => (true, false),
        };
        assert_eq!((still, said), expected, "{action}: {path}: {residual:?}");
    }
}
