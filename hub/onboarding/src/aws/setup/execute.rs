//! Makes the changes of a plan, Region by Region, and reads them back.
//!
//! The first Region is changed alone, because it creates trusted access and
//! service-linked roles. The others follow in parallel after one has succeeded.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use aws_config::SdkConfig;
use firebreak_model::resource::{AccountId, Region};
use futures::StreamExt;

use super::guardduty::GuardDutySetup;
use super::read_state::Designated;
use super::security_hub::SecurityHubSetup;
use super::{MAX_PARALLEL_REGIONS, Progress, Setup, organizations};
use crate::aws::call_error::{CallError, to_reading};
use crate::setup::{
    self, DesiredSetup, DetectorPart, OrganizationAccount, Part, Reading, RegionState, Service,
    SetupChange, SetupPlan, SetupSnapshot, StepOutcome, Work,
};

/// Pauses in seconds while waiting for a designation to take effect for the
/// administrator's calls.
const SETTLING: [u64; 4] = [1, 2, 4, 8];

/// The inputs of one run.
#[derive(Clone, Copy)]
struct Run<'a> {
    setup: &'a Setup,
    observed: &'a SetupSnapshot,
    wanted: &'a DesiredSetup,
    progress: Progress<'a>,
}

impl Setup {
    /// Makes the changes of a plan that `crate::setup::plan` made from this snapshot;
    /// returns the plan with the outcome of each change.
    pub async fn execute(
        &self,
        observed: &SetupSnapshot,
        wanted: &DesiredSetup,
        plan: SetupPlan,
        progress: Progress<'_>,
    ) -> SetupPlan {
        let run = Run { setup: self, observed, wanted, progress };
        let mut groups = by_region(plan.works).into_iter();
        let mut works = Vec::new();
        for group in groups.by_ref() {
            let group = run.region(group).await;
            let all_regions = group.iter().any(|work| work.service == Service::Organizations);
            let changed = group.iter().any(|work| !work.steps.is_empty());
            let failed = group.iter().any(Work::failed);
            works.extend(group);
            if !all_regions && changed && !failed {
                break;
            }
        }
        let rest = futures::stream::iter(groups).map(|group| run.region(group));
        let rest: Vec<Vec<Work>> = rest.buffered(MAX_PARALLEL_REGIONS).collect().await;
        works.extend(rest.into_iter().flatten());
        SetupPlan { works, skipped: plan.skipped }
    }
}

/// Groups the works of a plan, which are ordered by Region.
fn by_region(works: Vec<Work>) -> Vec<Vec<Work>> {
    let mut groups: Vec<Vec<Work>> = Vec::new();
    for work in works {
        match groups.last_mut() {
            Some(group) if group.iter().any(|other| other.region == work.region) => {
                group.push(work);
            }
            Some(_) | None => groups.push(vec![work]),
        }
    }
    groups
}

impl<'a> Run<'a> {
    /// Executes one Region's works in order.
    async fn region(self, works: Vec<Work>) -> Vec<Work> {
        let (mut designated, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let mut done = Vec::new();
        for mut work in works {
            let Work { region, service, part, .. } = &work;
            let (region, service, part) = (region.clone(), *service, *part);
            if part == Part::Administrator && refused.contains(&service) {
                for step in &mut work.steps {
                    let why = format!("the administrator of {service} could not be designated");
                    step.outcome = StepOutcome::NotTried(why);
                }
            } else {
                if part == Part::Administrator && designated.contains(&service) {
                    self.settle(&region, service).await;
                }
                work = self.work(work).await;
            }
            for step in &work.steps {
                let SetupChange::Designate { service, .. } = &step.change else { continue };
                if step.outcome == StepOutcome::Done {
                    designated.insert(*service);
                } else {
                    refused.insert(*service);
                }
            }
            if !work.steps.is_empty() {
                let word = if work.failed() { "failed, at least in part" } else { "done" };
                let count = work.steps.len();
                (self.progress)(&format!("{region}: {service}, {part}: {count} change(s), {word}"));
            }
            done.push(work);
        }
        done
    }

    /// Waits until AWS accepts the administrator's calls. After a timeout the changes
    /// themselves fail with the reason.
    async fn settle(self, region: &Region, service: Service) {
        let Some(config) = &self.setup.administering else { return };
        for pause in SETTLING {
            let admitted = match service {
                Service::SecurityHub => {
                    let seen = self.setup.security_hub(config, region, Designated::Yes).await;
                    matches!(seen, Reading::Read(_))
                }
                Service::GuardDuty | Service::Organizations => {
                    let seen = self.setup.guardduty(config, region, Designated::Yes).await;
                    matches!(seen, Reading::Read(_))
                }
            };
            if admitted {
                return;
            }
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
    }

    /// Makes a work's changes and reads them back.
    async fn work(self, mut work: Work) -> Work {
        for step in &mut work.steps {
            step.outcome = match self.change(&step.change, &work.region).await {
                Ok(()) => StepOutcome::Done,
                Err(error) => StepOutcome::Failed(error.to_string()),
            };
        }
        if work.steps.iter().any(|step| step.outcome == StepOutcome::Done) {
            self.read_back(&mut work).await;
        }
        work
    }

    /// A change that a new plan still contains has failed.
    async fn read_back(self, work: &mut Work) {
        let again = match work.service {
            Service::Organizations => self.plan_organization_again().await,
            Service::GuardDuty | Service::SecurityHub => self.plan_again(work).await,
        };
        let Some(again) = again else { return };
        let unread = match &again.status {
            setup::PlanStatus::Known => None,
            setup::PlanStatus::Absent(why) | setup::PlanStatus::Unread(why) => Some(why),
        };
        for step in work.steps.iter_mut().filter(|step| step.outcome == StepOutcome::Done) {
            let left = again
                .steps
                .iter()
                .find(|it| mem::discriminant(&it.change) == mem::discriminant(&step.change));
            if let Some(left) = left {
                step.outcome = StepOutcome::Failed(format!(
                    "the call was accepted, but this still differs: {}\nhelp: run it again in a few minutes",
                    left.change
                ));
            } else if let Some(why) = unread {
                step.outcome = StepOutcome::Failed(format!(
                    "the call was accepted, but cannot be read back: {why}"
                ));
            }
        }
        work.notes = again.notes;
    }

    async fn plan_organization_again(self) -> Option<Work> {
        let trust = self.setup.trust().await;
        let observed = SetupSnapshot { trust, regions: Vec::new(), ..self.observed.clone() };
        setup::plan(&observed, self.wanted).ok()?.works.into_iter().next()
    }

    async fn plan_again(self, work: &Work) -> Option<Work> {
        let setup = self.setup;
        let Work { region, part, service, .. } = work;
        let mut state = RegionState {
            region: region.clone(),
            designations: BTreeMap::new(),
            guardduty: None,
            security_hub: None,
        };
        match (part, service, &setup.managing, &setup.administering) {
            (Part::Management, Service::GuardDuty, Some(config), _) => {
                let read = GuardDutySetup::new(config, region).designation().await;
                state.designations.insert(*service, to_reading(read));
            }
            (Part::Management, Service::SecurityHub, Some(config), _) => {
                let read = SecurityHubSetup::new(config, region).designation().await;
                state.designations.insert(*service, to_reading(read));
            }
            (Part::Administrator, Service::GuardDuty, _, Some(config)) => {
                state.guardduty = Some(setup.guardduty(config, region, Designated::Yes).await);
            }
            (Part::Administrator, Service::SecurityHub, _, Some(config)) => {
                let seen = setup.security_hub(config, region, Designated::Yes).await;
                state.security_hub = Some(seen);
            }
            (Part::Management | Part::Administrator, _, _, _) => return None,
        }
        let observed = SetupSnapshot { trust: None, regions: vec![state], ..self.observed.clone() };
        setup::plan(&observed, self.wanted).ok()?.works.into_iter().next()
    }

    /// Makes one change. Each may be made again.
    async fn change(self, change: &SetupChange, region: &Region) -> Result<(), CallError> {
        let managing = || credentials(self.setup.managing.as_ref());
        let administering = || credentials(self.setup.administering.as_ref());
        match change {
            SetupChange::TrustStackSets => organizations::trust_stacksets(managing()?).await,
            SetupChange::Trust { principal } => {
                organizations::trust_service(managing()?, principal).await
            }
            SetupChange::DelegateStackSets { administrator } => {
                organizations::delegate_stacksets(managing()?, administrator).await
            }
            SetupChange::TurnOnInManagement(Service::SecurityHub) => {
                SecurityHubSetup::new(managing()?, region).turn_on().await
            }
            SetupChange::TurnOnInManagement(Service::GuardDuty | Service::Organizations) => {
                GuardDutySetup::new(managing()?, region).ensure_detector(&[DetectorPart::On]).await
            }
            SetupChange::Designate { service: Service::SecurityHub, administrator } => {
                SecurityHubSetup::new(managing()?, region).designate(administrator).await
            }
            SetupChange::Designate {
                service: Service::GuardDuty | Service::Organizations,
                administrator,
            } => GuardDutySetup::new(managing()?, region).designate(administrator).await,
            SetupChange::Detector(parts) => {
                GuardDutySetup::new(administering()?, region).ensure_detector(parts).await
            }
            SetupChange::EnableGuardDuty(protections) => {
                GuardDutySetup::new(administering()?, region).enable_for_accounts(protections).await
            }
            SetupChange::TurnOnSecurityHub => {
                SecurityHubSetup::new(administering()?, region).turn_on().await
            }
            SetupChange::Aggregate => {
                SecurityHubSetup::new(administering()?, region).aggregate().await
            }
            SetupChange::EnableSecurityHub => {
                SecurityHubSetup::new(administering()?, region).enable_for_new_accounts().await
            }
            SetupChange::AddMembers { service, accounts } => {
                let accounts = self.accounts(accounts);
                let refused = match service {
                    Service::SecurityHub => {
                        SecurityHubSetup::new(administering()?, region)
                            .add_members(&accounts)
                            .await?
                    }
                    Service::GuardDuty | Service::Organizations => {
                        GuardDutySetup::new(administering()?, region).add_members(&accounts).await?
                    }
                };
                match refused.as_slice() {
                    [] => Ok(()),
                    refused => Err(not_added(refused)),
                }
            }
        }
    }

    fn accounts(self, ids: &[AccountId]) -> Vec<&'a OrganizationAccount> {
        self.observed.accounts.iter().filter(|it| ids.contains(&it.id)).collect()
    }
}

fn credentials(config: Option<&SdkConfig>) -> Result<&SdkConfig, CallError> {
    config.ok_or_else(|| CallError::new("these credentials do not do this part"))
}

fn not_added(refused: &[(AccountId, String)]) -> CallError {
    let reasons: Vec<String> = refused.iter().map(|(id, why)| format!("{id}: {why}")).collect();
    let error = CallError::new(format!("{} not added: {}", refused.len(), reasons.join("; ")));
    if reasons.iter().any(|it| it.contains("master") || it.contains("management")) {
        return error.help("run `firebreak org enable` with credentials of the management account: it turns the service on there");
    }
    error
}
