//! What is particular to functions, databases and containers.

use std::time::Duration;

use firebreak_spoke::actions::{Undone, Verdict};
use firebreak_spoke::error::Kind;

use crate::cases::case;
use crate::cases::compute::function;
use crate::stage::{ACCOUNT, REGION, Stage, holds, pending};

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

fn takes(stage: &Stage, seconds: i64) {
    stage.organization.edit(|state| {
        state.regional(ACCOUNT, REGION).rds.takes = jiff::SignedDuration::from_secs(seconds);
    });
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_is_pending_while_rds_works_on_it() {
    for name in ["quarantine-db of an instance", "quarantine-db of an Aurora cluster"] {
        let stage = Stage::of(&case(name)).await;
        takes(&stage, 60);
        let prior = stage.observe().await.unwrap().prior;
        stage.apply(&prior).await.unwrap();
        // Again while it is under way, as after a crash: nothing is asked twice.
        stage.apply(&prior).await.unwrap_or_else(|error| assert_eq!(error.kind, Kind::Transient));
        let verdict = stage.verify(&prior).await;
        assert!(matches!(verdict, Verdict::Pending(_)), "{name}: {verdict:?}");
        assert!(holds(&pending(&stage, &prior).await), "{name}");
        stage.undo(&prior).await.unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(stage.undo(&prior).await.unwrap().drift, Vec::<String>::new(), "{name}");
        assert_eq!(stage.snapshot(), stage.before, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_in_another_change_is_tried_again_and_a_stopped_one_is_refused() {
    let stage = Stage::of(&case("quarantine-db of an instance")).await;
    let prior = stage.observe().await.unwrap().prior;
    for (status, kind) in [("upgrading", Kind::Transient), ("stopped", Kind::Refused)] {
        stage.organization.edit(|state| {
            let rds = &mut state.regional(ACCOUNT, REGION).rds;
            rds.instances.get_mut("orders").unwrap().status = status.to_owned();
        });
        assert_eq!(stage.apply(&prior).await.unwrap_err().kind, kind, "{status}");
    }
    let error = stage.observe().await.unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.help.is_some_and(|help| help.contains("seven days")));
}
