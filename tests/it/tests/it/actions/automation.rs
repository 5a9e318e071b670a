//! What is particular to the hand-off to Systems Manager: one execution for one
//! response, its placeholders, its failures, its undo.

use firebreak_model::error::ErrorKind;
use firebreak_simulation::regional::ssm::{Execution, Ssm};
use firebreak_simulation::{Effect, Fault};
use firebreak_spoke::contract::{Undone, Verification};
use serde_json::json;

use crate::actions::cases::{case, instance_id};
use crate::actions::stage::{ACCOUNT, REGION, Stage, holds, settled};

fn edit<T>(stage: &Stage, edit: impl FnOnce(&mut Ssm) -> T) -> T {
    stage.organization.edit(|state| edit(&mut state.regional(ACCOUNT, REGION).ssm))
}

fn executions(stage: &Stage) -> Vec<Execution> {
    edit(stage, |ssm| ssm.executions.values().cloned().collect())
}

#[tokio::test(start_paused = true)]
async fn one_response_starts_one_execution_and_fills_its_parameters_in() {
    let stage = Stage::of(&case("run-automation")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.organization.inject(Fault::once("StartAutomationExecution", Effect::LostAnswer));
    stage.apply(&prior).await.unwrap();
    stage.apply(&prior).await.unwrap();
    let [one] = executions(&stage).try_into().unwrap();
    let id = instance_id(&stage.resource);
    assert_eq!(one.parameters, json!({ "Target": [id], "Why": ["finding-0001"] }));
    assert_eq!(one.tags["firebreak:response"], "r-0001");
    assert!(stage.capture().await.unwrap().changes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_with_its_step_and_message() {
    let stage = Stage::of(&case("run-automation")).await;
    edit(&stage, |ssm| {
        let document = ssm.documents.get_mut("Contain").unwrap();
        document.outcome = "Failed".to_owned();
        document.failure = Some(("stop".to_owned(), "it is locked".to_owned()));
    });
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let verified = settled(&stage, &prior).await;
    let Verification::NotInEffect(why) = verified else { panic!("{verified:?}") };
    assert!(why.contains("step `stop`: it is locked"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_missing_unnamed_or_of_another_type_fails_before_anything_runs() {
    let given = |document: &str| json!({ "document": document });
    for (parameters, says) in [
        (json!({}), "needs `document`"),
        (given("Nowhere"), "no Automation document `Nowhere`"),
        (given("AWS-RunShellScript"), "not Automation"),
        (json!({ "document": "Contain", "undo-document": "Nowhere" }), "`Nowhere`"),
        (json!({ "document": "Contain", "parameters": { "Why": ["${who}"] } }), "`${who}`"),
        (json!({ "document": "Contain", "parameters": { "Why": ["${"] } }), "without its"),
    ] {
        let mut stage = Stage::of(&case("run-automation")).await;
        stage.parameters = parameters;
        let error = stage.capture().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{error}");
        assert!(error.message.contains(says), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn undo_runs_the_other_document_once_and_reports_its_result() {
    let stage = Stage::of(&case("run-automation with a role and an undo")).await;
    let prior = stage.capture().await.unwrap().prior;
    assert_eq!(stage.undo(&prior).await.unwrap(), Undone::default());
    stage.apply(&prior).await.unwrap();
    assert_eq!(stage.undo(&prior).await.unwrap_err().kind, ErrorKind::Transient, "still running");
    assert!(holds(&settled(&stage, &prior).await));
    assert_eq!(stage.undo(&prior).await.unwrap_err().kind, ErrorKind::Transient, "just started");
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    let undone = stage.undo(&prior).await.unwrap();
    assert!(undone.restored[0].contains("Release"), "{undone:?}");
    let documents: Vec<String> = executions(&stage).into_iter().map(|it| it.document).collect();
    assert_eq!(documents, ["Contain", "Release"]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_without_an_undo_document_reports_that_nothing_was_restored() {
    let stage = Stage::of(&case("run-automation")).await;
    let prior = stage.capture().await.unwrap().prior;
    stage.apply(&prior).await.unwrap();
    let undone = stage.undo(&prior).await.unwrap();
    assert!(undone.restored.is_empty() && undone.drift[0].contains("undo-document"), "{undone:?}");
}
