//! What is particular to functions, databases and containers.

use firebreak_spoke::actions::Undone;
use firebreak_spoke::error::Kind;

use crate::cases::case;
use crate::cases::compute::function;
use crate::stage::Stage;

#[tokio::test(start_paused = true)]
async fn a_function_that_was_frozen_by_its_owner_stays_so() {
    let stage = Stage::of(&case("freeze-function without one")).await;
    stage.organization.edit(|state| function(state).reserved = Some(0));
    let observation = stage.observe().await.unwrap();
    assert!(observation.changes.is_empty());
    stage.apply(&observation.prior).await.unwrap();
    assert_eq!(stage.undo(&observation.prior).await.unwrap(), Undone::default());
    let reserved = stage.organization.edit(|state| function(state).reserved);
    assert_eq!(reserved, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_function_whose_provisioned_concurrency_forbids_it_is_told_with_help() {
    let stage = Stage::of(&case("freeze-function without one")).await;
    stage.organization.edit(|state| function(state).provisioned = 10);
    let prior = stage.observe().await.unwrap().prior;
    let error = stage.apply(&prior).await.unwrap_err();
    assert_eq!(error.kind, Kind::Failed);
    assert!(error.help.is_some_and(|help| help.contains("provisioned")));
}
