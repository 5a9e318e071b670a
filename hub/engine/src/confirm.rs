//! Confirms a finding with the service that it comes from. Anybody who may write to the
//! bus or the queue can forge an event, so a finding that its service does not confirm
//! is refused. It only reads from AWS.
//!
//! Each form is confirmed with the service that writes it: GuardDuty's own events with
//! GuardDuty, and findings that came through Security Hub with Security Hub, even
//! GuardDuty's. The same parser reads both copies, so any difference is an alteration,
//! and only GuardDuty can write under its ProductArn. OCSF's GuardDuty findings have
//! GuardDuty's id and are confirmed with GuardDuty.

use std::sync::Arc;

use firebreak_model::resource::Region;
use firebreak_spoke::registry;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use super::clock::Clock;
use firebreak_aws::error::HubError;
use firebreak_aws::guardduty::GuardDuty;
use firebreak_aws::security_hub::SecurityHub;
use firebreak_intake::{Form, GUARDDUTY};
use firebreak_model::finding::{Finding, SecurityHubId, Target};
use firebreak_policy::Decision;

/// How long after its last update a finding may be unknown to its service: services
/// send the event before all their replicas have the finding. It must be shorter than
/// the intake queue's visibility timeout: such a message is retried soon once, is
/// decided at the third delivery at the latest, and never ends in the dead-letter
/// queue.
const SETTLES_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// How far a service's clock may be ahead of the hub's. A later time is forged, and is
/// ignored.
const AHEAD_AT_MOST: SignedDuration = SignedDuration::from_mins(1);

/// Whether a finding's service confirms it.
#[derive(Debug)]
pub(super) enum Confirmation {
    /// It does: the finding and the target as the service has them now.
    Confirmed(Box<Finding>, Box<Target>),
    /// Its service has a newer update of it, which says other things than this event: that
    /// one is decided on.
    Superseded,
    /// It does not, and why.
    Refused(String),
}

/// A finding as its service has it, once it was fetched.
#[derive(Debug, Default)]
pub(super) struct FetchedFinding(OnceCell<Fetched>);

impl FetchedFinding {
    /// The finding, if it was fetched.
    pub(super) fn found(&self) -> Option<&Finding> {
        match self.0.get()? {
            Fetched::Found(finding) => Some(finding),
            Fetched::Refused(_) => None,
        }
    }
}

/// What a finding's service answered.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The finding.
    Found(Box<Finding>),
    /// It has none that can be compared, and why.
    Refused(String),
}

/// The service that a finding is confirmed with.
#[derive(Clone, Copy)]
enum Service {
    GuardDuty,
    SecurityHub,
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Self::GuardDuty => "GuardDuty",
            Self::SecurityHub => "Security Hub",
        }
    }

    fn of(finding: &Finding) -> Option<Self> {
        match firebreak_intake::form(&finding.detail)? {
            Form::GuardDuty => Some(Self::GuardDuty),
            Form::Asff => Some(Self::SecurityHub),
            Form::Ocsf => (finding.product == GUARDDUTY).then_some(Self::GuardDuty),
        }
    }
}

/// Asks the services that findings come from.
#[derive(Clone, Debug)]
pub(super) struct Confirmer {
    pub(super) guardduty: Arc<GuardDuty>,
    pub(super) security_hub: Arc<SecurityHub>,
    pub(super) clock: Clock,
}

impl Confirmer {
    /// Compares product, type, account, Region and the target with the finding as its
    /// service has it. `fetched` keeps that for the other targets of the finding.
    ///
    /// # Errors
    ///
    /// `Transient` when the service cannot be asked now or does not have the
    /// finding yet, `Failed` when the hub may not ask it: neither is ever taken
    /// for a confirmation.
    pub(super) async fn confirm(
        &self,
        finding: &Finding,
        target: &Target,
        fetched: &FetchedFinding,
    ) -> Result<Confirmation, HubError> {
        let fetched = match self.fetch(finding, fetched).await? {
            Fetched::Found(fetched) => fetched,
            Fetched::Refused(why) => return Ok(Confirmation::Refused(why.clone())),
        };
        let name = Service::of(finding).map_or("its service", Service::name);
        Ok(match compare(finding, target, fetched, name) {
            Ok(target) => Confirmation::Confirmed(fetched.clone(), Box::new(target.clone())),
            Err(_) if is_update(finding, fetched) => Confirmation::Superseded,
            Err(why) => Confirmation::Refused(why),
        })
    }

    /// Fetches the finding from its service, once.
    pub(super) async fn fetch<'a>(
        &self,
        finding: &Finding,
        fetched: &'a FetchedFinding,
    ) -> Result<&'a Fetched, HubError> {
        fetched.0.get_or_try_init(|| self.ask(finding)).await
    }

    async fn ask(&self, finding: &Finding) -> Result<Fetched, HubError> {
        let refused = |why: String| Ok(Fetched::Refused(why));
        let Some(service) = Service::of(finding) else {
            let why = "findings of Security Hub's form OCSF can be fetched where they are GuardDuty's only";
            return refused(why.to_owned());
        };
        let region = region(service, finding);
        if region.as_str().parse::<Region>().is_err() {
            return refused(format!("Region `{region}` is none that can be asked"));
        }
        let name = service.name();
        let raw = match service {
            Service::GuardDuty => self.guardduty.finding(&region, &finding.id).await,
            Service::SecurityHub => match &finding.security_hub {
                Some(id) => self.security_hub.finding(&region, id).await,
                None => Ok(None),
            },
        };
        let raw = raw.map_err(|error| {
            error.context(format_args!("finding `{}` cannot be confirmed", finding.id))
        })?;
        let Some(raw) = raw else {
            let why = format!("{name} in Region {region} has no finding `{}`", finding.id);
            if may_still_come(finding.updated_at, self.clock.now()) {
                let why = format!("{why} yet: it is asked again when the message comes again");
                return Err(HubError::transient(why));
            }
            return refused(why);
        };
        let mut read = firebreak_intake::read(&raw.to_string());
        let mut fetched = match (read.pop(), read.is_empty()) {
            (Some(Ok(fetched)), true) => fetched,
            (Some(Err(rejection)), true) => {
                return refused(format!("what {name} has cannot be read: {rejection}"));
            }
            (_, _) => return refused(format!("what {name} has is more than one finding")),
        };
        // Our own updates change the status, also those for other targets.
        fetched.workflow_status.clone_from(&finding.workflow_status);
        // GuardDuty does not have Security Hub's OCSF id.
        if let Some(id @ SecurityHubId::Ocsf { .. }) = &finding.security_hub {
            fetched.security_hub = Some(id.clone());
        }
        Ok(Fetched::Found(Box::new(fetched)))
    }
}

/// Whether a finding that its service does not have was updated so recently that it may
/// still appear.
fn may_still_come(updated_at: Option<Timestamp>, now: Timestamp) -> bool {
    updated_at.is_some_and(|updated_at| {
        let age = now.duration_since(updated_at);
        -AHEAD_AT_MOST <= age && age < SETTLES_WITHIN
    })
}

/// The Region to call. For events of global services a finding's Region can differ from
/// that of its detector, which is in its ARN (GuardDuty API reference, Finding).
fn region(service: Service, finding: &Finding) -> Region {
    let arn = finding.security_hub.as_ref().map(SecurityHubId::id).unwrap_or_default();
    let of_arn = arn.split(':').nth(3).and_then(|region| region.parse().ok());
    match service {
        Service::GuardDuty => of_arn.unwrap_or_else(|| finding.region.clone()),
        Service::SecurityHub => finding.region.clone(),
    }
}

/// Whether the fetched finding is a newer update of this very finding. GuardDuty writes what
/// happens again into the finding that it has, with other resources where they changed
/// (GuardDuty user guide, "GuardDuty finding aggregation").
pub(super) fn is_update(finding: &Finding, fetched: &Finding) -> bool {
    let same = finding.id == fetched.id
        && finding.product == fetched.product
        && finding.kind == fetched.kind
        && finding.account == fetched.account
        && finding.region == fetched.region
        && finding.partition == fetched.partition;
    let newer = match (finding.updated_at, fetched.updated_at) {
        (Some(received), Some(fetched)) => received < fetched,
        (_, _) => false,
    };
    same && newer && !fetched.sample && !fetched.archived
}

/// The fetched finding's own target, or the first field that differs with both
/// its values.
fn compare<'a>(
    finding: &Finding,
    target: &Target,
    fetched: &'a Finding,
    service: &str,
) -> Result<&'a Target, String> {
    let fields = [
        ("product", &finding.product, &fetched.product),
        ("type", &finding.kind, &fetched.kind),
        ("account", &finding.account.to_string(), &fetched.account.to_string()),
        ("Region", &finding.region.to_string(), &fetched.region.to_string()),
        ("partition", &finding.partition.to_string(), &fetched.partition.to_string()),
    ];
    for (name, claimed, actual) in fields {
        if claimed != actual {
            return Err(format!("{name} is `{claimed}` in the event, `{actual}` at {service}"));
        }
    }
    let arn = target.resource.arn();
    let Some(found) = fetched.targets.iter().find(|other| other.resource.arn() == arn) else {
        let named: Vec<String> =
            fetched.targets.iter().map(|it| format!("`{}`", it.resource.arn())).collect();
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        return Err(format!("target is `{arn}` in the event, {named} at {service}"));
    };
    // Targets with the same ARN may differ in the owner of credentials or in the pod.
    if found.resource != target.resource {
        let (claimed, actual) = (&target.resource.kind, &found.resource.kind);
        return Err(format!("target `{arn}` is {claimed:?} in the event, {actual:?} at {service}"));
    }
    if fetched.sample {
        return Err(format!("it is a sample at {service}"));
    }
    if fetched.archived {
        return Err(format!("it is archived or suppressed at {service}"));
    }
    Ok(found)
}

/// Why a confirmed finding must not be acted on: policy decides differently for the
/// service's copy, or the addresses that its actions use differ.
pub(super) fn why_different(
    (finding, decision): (&Finding, &Decision),
    (fetched, confirmed): (&Finding, &Decision),
) -> Option<String> {
    if decision.outcome != confirmed.outcome
        || decision.mode != confirmed.mode
        || decision.rule != confirmed.rule
        || decision.actions != confirmed.actions
    {
        return Some(format!(
            "policy decides differently for the service's copy of the finding: {}",
            confirmed.reason()
        ));
    }
    let about_addresses = |name: &str| registry::find(name).is_some_and(|it| it.facts.per_finding);
    let mut calls = decision.actions.iter();
    let (claimed, actual) = (finding.remote_addresses(), fetched.remote_addresses());
    if calls.any(|call| about_addresses(&call.name)) && claimed != actual {
        let list = |addresses: &[String]| match addresses {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        let (claimed, actual) = (list(&claimed), list(&actual));
        return Some(format!(
            "remote addresses are {claimed} in the event, {actual} at its service"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_may_come_for_five_minutes_and_a_time_to_come_gains_nothing() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let check = |updated_at: &str, expected: bool| {
            assert_eq!(may_still_come(updated_at.parse().ok(), now), expected, "{updated_at}");
        };
        check("2026-01-01T12:00:00Z", true);
        check("2026-01-01T11:55:01Z", true);
        check("2026-01-01T11:55:00Z", false);
        check("2025-01-01T00:00:00Z", false);
        check("2026-01-01T12:01:00Z", true);
        check("2026-01-01T12:01:01Z", false);
        check("2999-01-01T00:00:00Z", false);
        check("never", false);
    }
}
