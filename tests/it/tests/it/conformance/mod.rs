//! The honesty of the simulation: one table of calls and expected answers, run
//! against it and against moto, an independent implementation. Where they
//! differ the table says what AWS does and which document says so.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

mod actions;
mod backend;
mod cases;
mod messages;
mod pairs;
mod proxy;
mod templates;
mod time_to_cut;

use backend::{Backend, Moto};
use cases::{CASES, Case};

/// Runs every case and prints what was seen; the cases that disagree.
async fn run(backend: &Backend) -> Vec<String> {
    let mut wrong = Vec::new();
    for Case { name, run, aws, moto } in CASES.iter().chain(messages::CASES) {
        let seen = run(backend).await;
        let expected = match (backend, moto) {
            (Backend::Moto(_), Some((answer, _))) => answer,
            (Backend::Moto(_) | Backend::Simulation(_), _) => aws,
        };
        println!("{:<10} {name}: {seen}", backend.name());
        if let (Backend::Moto(_), Some((_, why))) = (backend, moto) {
            println!("           differs: {why}");
        }
        if seen != *expected {
            wrong.push(format!("{name}: {seen} instead of {expected}"));
        }
    }
    wrong
}

#[tokio::test]
async fn the_simulation_answers_as_aws_does() {
    let wrong = run(&Backend::simulation().await).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    let backend = Backend::simulation().await;
    let wrong = actions::run(&backend).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_agrees_but_where_the_table_says_otherwise() {
    let Some(moto) = Moto::start().await else { return };
    let backend = Backend::Moto(Box::new(moto));
    let mut wrong = run(&backend).await;
    wrong.extend(actions::run(&backend).await);
    let all = CASES.len() + messages::CASES.len();
    let differ = CASES.iter().chain(messages::CASES).filter(|case| case.moto.is_some()).count();
    println!("conformance: {all} cases, {differ} where moto differs from AWS");
    println!(
        "skipped on moto: securityhub:BatchUpdateFindings and guardduty:GetFindings, ArchiveFindings (moto lacks them: the proxy of time_to_cut answers), session and trust policies (moto does not check them)"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}
