//! Responds to a finding: deduplicates each of its targets, recovers an abandoned response,
//! and passes a new target on. Tries again when another worker claims the target first.

use std::sync::Arc;
use std::time::Duration;

use firebreak_aws::deadline::Deadline;
use firebreak_aws::error::HubError;
use firebreak_aws::policies::Policies;
use firebreak_model::finding::{Finding, Target};
use firebreak_response::dedup::{
    PriorResponse, prior_response, skip_reason, suppressed_until, unanswered,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::time::timeout;
use tracing::{info, instrument};

use super::confirm::{Confirmer, FetchedFinding};
use super::handle_target::{Attempt, NotHandled, TargetHandler};
use super::outcome::{Disposition, Run, TargetOutcome, outcome};
use super::recorder::Recorder;
use super::recover::Recoverer;

/// How often a target is read before the finding goes back to the queue.
const MAX_ATTEMPTS: u32 = 8;

/// How often a finding is held back, for 300 ms each, while another process assesses its
/// target.
const HELD_BACK_AT_MOST: u32 = 4;

/// How often the target is read again while another worker executes a response on it, and
/// for how long: most end within a second, and a message that goes back to the queue comes
/// again after 15 seconds only.
const WAIT_BETWEEN: Duration = Duration::from_millis(500);
const WAIT_AT_MOST: Duration = Duration::from_secs(4);

/// Responds to findings.
#[derive(Clone, Debug)]
pub(super) struct Responder {
    pub(super) recorder: Recorder,
    pub(super) recoverer: Recoverer,
    pub(super) handler: TargetHandler,
    pub(super) confirmer: Confirmer,
    pub(super) policies: Arc<Policies>,
    pub(super) deadline: Deadline,
}

impl Responder {
    /// See [`super::Engine::respond`].
    #[instrument(skip_all, fields(finding.id = %finding.id, account.id = %finding.account))]
    pub(super) async fn respond(
        &self,
        finding: &Finding,
        run: Run,
    ) -> Vec<Result<TargetOutcome, HubError>> {
        let received = tokio::time::Instant::now();
        if let Some(reason) = skip_reason(finding) {
            return vec![Ok(outcome(finding, None, Disposition::Nothing, reason))];
        }
        if finding.targets.is_empty() {
            let reason = format!("the finding of type `{}` names no resource", finding.kind);
            return vec![Ok(outcome(finding, None, Disposition::Nothing, reason))];
        }
        let fetched = FetchedFinding::default();
        let targets = finding.targets.iter().collect();
        let mut responded = self.respond_targets(finding, targets, run, (received, &fetched)).await;
        let superseded = responded.iter().any(|it| matches!(it, Ok(None)));
        if let (true, Some(newer)) = (superseded, fetched.found()) {
            info!("its service has a newer update of the finding, which is decided on instead");
            let answered = |target: &&Target| {
                let mut all = finding.targets.iter().zip(&responded);
                all.any(|(it, end)| it == *target && !matches!(end, Ok(None)))
            };
            let targets = newer.targets.iter().filter(|target| !answered(target)).collect();
            let newer = self.respond_targets(newer, targets, run, (received, &fetched)).await;
            responded.extend(newer);
        }
        responded.into_iter().filter_map(Result::transpose).collect()
    }

    /// Responds to some targets of a finding; `None` for one whose finding has a newer update
    /// at its service. Boxed here, so that the futures' room is not on the caller's stack.
    fn respond_targets<'a>(
        &'a self,
        finding: &'a Finding,
        targets: Vec<&'a Target>,
        run: Run,
        attempt: (tokio::time::Instant, &'a FetchedFinding),
    ) -> BoxFuture<'a, Vec<Result<Option<TargetOutcome>, HubError>>> {
        let targets = targets.into_iter().map(move |target| {
            let responded = self.respond_target(finding, target, run, attempt).boxed();
            async move {
                let arn = target.resource.arn();
                responded.await.map_err(|error| {
                    error.context(format_args!("finding `{}`, target `{arn}`", finding.id))
                })
            }
        });
        join_all(targets).boxed()
    }

    async fn respond_target(
        &self,
        finding: &Finding,
        target: &Target,
        run: Run,
        (received, fetched): (tokio::time::Instant, &FetchedFinding),
    ) -> Result<Option<TargetOutcome>, HubError> {
        // A resource with impossible ids is refused before any call, even to the store,
        // where its ids would become keys.
        target.resource.check_form().map_err(|error| HubError::refused(error.to_string()))?;
        // A worker that loses a claim reads the target again and finds the winner's
        // entry. Before that it sleeps for a random time whose upper limit doubles, so that
        // many workers do not collide again.
        let (mut lost, mut waited) = (0, Duration::ZERO);
        while lost < MAX_ATTEMPTS {
            let resource = &target.resource;
            let target_state = self
                .recorder
                .store
                .target_for(&resource.arn(), &resource.account, Some(finding))
                .await?;
            match prior_response(&target_state, finding, self.recorder.now()) {
                PriorResponse::New => {
                    if let Some(reason) =
                        suppressed_until(&target_state, finding, self.recorder.now())
                    {
                        let resource = Some(&target.resource);
                        return Ok(Some(outcome(
                            finding,
                            resource,
                            Disposition::Suppressed,
                            reason,
                        )));
                    }
                    if target_state.unanswered.is_some() {
                        let (version, _) = self.policies.in_force().await?;
                        if let Some(reason) = unanswered(&target_state, finding, version) {
                            let resource = Some(&target.resource);
                            return Ok(Some(outcome(
                                finding,
                                resource,
                                Disposition::Repeat,
                                reason,
                            )));
                        }
                    }
                }
                PriorResponse::Handled { key, entry } => {
                    let reason = format!(
                        "handled before: response `{}` of rule `{key}` is {}",
                        entry.response, entry.state
                    );
                    let resource = Some(&target.resource);
                    return Ok(Some(outcome(finding, resource, Disposition::Repeat, reason)));
                }
                PriorResponse::UnderWay { .. }
                    if run == Run::Act
                        && waited < WAIT_AT_MOST
                        && self.deadline.allows(WAIT_BETWEEN) =>
                {
                    // Most findings have to be confirmed afterwards. It is asked for once and no
                    // longer than the wait; an error shows when it is confirmed.
                    let ahead = async {
                        if waited.is_zero() {
                            let fetch = self.confirmer.fetch(finding, fetched);
                            let _: Result<_, _> = timeout(WAIT_BETWEEN, fetch).await;
                        }
                    };
                    let began = tokio::time::Instant::now();
                    futures::join!(self.recorder.clock.next(WAIT_BETWEEN), ahead);
                    waited += began.elapsed();
                    continue;
                }
                PriorResponse::UnderWay { response } => {
                    return Err(HubError::transient(format!(
                        "response `{response}` is being executed or undone on this target"
                    )));
                }
                PriorResponse::Abandoned { key, entry } if run == Run::Act => {
                    let covers_finding = entry.findings.contains_key(&finding.id);
                    info!(response.id = %entry.response, "the worker of `{key}` stopped");
                    let outcome = Box::pin(
                        self.recoverer.recover_for_finding(finding, target, entry, received),
                    )
                    .await?;
                    if covers_finding {
                        return Ok(Some(outcome));
                    }
                    // That response covered another finding: this one is decided now.
                    lost += 1;
                    continue;
                }
                PriorResponse::Abandoned { entry, .. } => {
                    let reason = format!("response `{}` would be recovered", entry.response);
                    let resource = Some(&target.resource);
                    return Ok(Some(outcome(finding, resource, Disposition::Planned, reason)));
                }
            }
            // A flood of findings on one target does not keep one of them waiting for long.
            let in_turn = run == Run::Act && lost < HELD_BACK_AT_MOST;
            let attempt = Attempt { received, in_turn, fetched };
            let handled = self.handler.handle_target(finding, target, &target_state, run, attempt);
            match Box::pin(handled).await? {
                Ok(outcome) => return Ok(Some(outcome)),
                Err(NotHandled::Superseded) => return Ok(None),
                Err(NotHandled::AnotherAssesses) => lost += 1,
                Err(NotHandled::Lost) => {
                    lost += 1;
                    let wait = Duration::from_millis(10 << lost);
                    tokio::time::sleep(wait.mul_f64(fastrand::f64())).await;
                }
            }
        }
        Err(HubError::transient("other workers claimed this target each time".to_owned()))
    }
}
