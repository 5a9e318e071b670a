//! Asks the service that a finding comes from whether it says the same. Events
//! can be forged by whoever can put them on the bus or into the queue: nothing
//! is done for one that its service does not bear out. Only reads at AWS; what
//! is refused is recorded under a key of its own, so that a forged event never
//! stands in the way of the real finding.
//!
//! Each form is confirmed with the service that writes it: GuardDuty's own
//! events with GuardDuty, what came through Security Hub with Security Hub, a
//! GuardDuty finding too. The copies are then read by the same parser, so that
//! what differs was altered, and nobody but GuardDuty can write under its
//! ProductArn. OCSF's GuardDuty findings carry GuardDuty's id and are confirmed
//! there.

use std::collections::BTreeMap;

use firebreak_model::digest::sha256_hex;
use firebreak_model::resource::Region;
use firebreak_spoke::actions;
use jiff::{SignedDuration, Timestamp};
use tracing::error;

use super::Responder;
use super::decide::{About, Opening};
use super::judge::Judged;
use super::outcome::{Disposition, Outcome, Run};
use firebreak_aws::error::HubError;
use firebreak_aws::ledger::Written;
use firebreak_intake::{Form, GUARDDUTY};
use firebreak_model::finding::{Finding, SecurityHubId, Target};
use firebreak_policy::Decision;
use firebreak_response::audit_event::{Event, What};
use firebreak_response::outbox::Outgoing;
use firebreak_response::record::State;
use firebreak_response::target::Entry;

/// For how long after its last update a finding may be unknown to its service:
/// services tell of it before every one of their copies has it. It has to be
/// shorter than the intake queue's visibility timeout: a message that waits comes
/// again soon once, is decided when it comes the third time at the latest, and never
/// ends as a dead letter.
const SETTLES_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// How far a service's clock may be ahead of the hub's. A time beyond it is
/// forged, and gains nothing.
const AHEAD_AT_MOST: SignedDuration = SignedDuration::from_mins(1);

/// Whether a finding's service bears it out.
#[derive(Debug)]
pub(super) enum Confirmation {
    /// It does: the finding and the target as the service has them now.
    Confirmed(Box<Finding>, Box<Target>),
    /// It does not, and why.
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

impl Responder {
    /// Fetches the finding from its service and compares product, type, account,
    /// Region and the target.
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
    ) -> Result<Confirmation, HubError> {
        let refused = |why: String| Ok(Confirmation::Refused(why));
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
            if may_still_come(finding.updated_at, self.now()) {
                let why = format!("{why} yet: it is asked again when the message comes again");
                return Err(HubError::Transient(why));
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
        // It changes with every update of ours, also for another target.
        fetched.workflow_status.clone_from(&finding.workflow_status);
        // GuardDuty does not know what the new Security Hub calls it.
        if let Some(id @ SecurityHubId::Ocsf { .. }) = &finding.security_hub {
            fetched.security_hub = Some(id.clone());
        }
        Ok(match compare(finding, target, &fetched, name) {
            Ok(target) => {
                let target = Box::new(target.clone());
                Confirmation::Confirmed(Box::new(fetched), target)
            }
            Err(why) => Confirmation::Refused(why),
        })
    }

    /// Records that a finding was not confirmed. Security Hub is not told: what
    /// it may know under this id is another finding. `None` when somebody else
    /// changed the target's entry meanwhile.
    pub(super) async fn refuse_unconfirmed(
        &self,
        about: About<'_>,
        judged: &Judged,
        (rule, why): (&str, &str),
        run: Run,
    ) -> Result<Option<Outcome>, HubError> {
        let About { finding, target, seen, .. } = about;
        let reason = format!("not confirmed: {why}");
        // Under the finding's own id, the real finding would count as handled.
        let rule = format!("{rule}#unconfirmed");
        let seen_as = format!("{}#{}", finding.id, digest(finding));
        let known = seen.entries.get(&rule);
        if known.is_some_and(|entry| entry.findings.contains_key(&seen_as)) {
            let reason = format!("nothing new: {reason}");
            return Ok(Some(about.finished(judged, Disposition::Repeat, reason)));
        }
        let opening = Opening { state: State::Refused, reason, rule, steps: Vec::new() };
        let mut response = self.opened(about, judged, opening);
        response.finding.security_hub = None;
        let reason = response.reason.clone();
        if run == Run::Plan {
            let mut outcome = about.finished(judged, Disposition::Planned, reason);
            outcome.response = Some(response);
            return Ok(Some(outcome));
        }
        let entry = Entry {
            response: response.id.clone(),
            epoch: response.epoch,
            state: response.state,
            lease_until: None,
            waiting: false,
            findings: BTreeMap::from([(seen_as, finding.updated_at)]),
        };
        let now = self.now();
        let event = Event {
            finding_updated: finding.updated_at,
            ..Event::of(What::Decided, &response, about.by, &reason)
        };
        let outgoing = Outgoing::of(&response, &self.channels, now);
        let commit = self.ledger.commit(now).claim(seen, &response, &entry)?.event(&event)?;
        match commit.send(&outgoing)?.write().await? {
            Written::Yes => {}
            Written::Lost | Written::Spent => return Ok(None),
        }
        error!(
            response.id = %response.id, finding.id = %finding.id,
            account.id = %target.resource.account,
            "finding `{}` is forged, altered or gone: {reason}", finding.id
        );
        let mut outcome = about.finished(judged, Disposition::NotConfirmed, reason);
        (outcome.written_back, outcome.untold) = Box::pin(self.tell(&response, outgoing)).await;
        outcome.response = Some(response);
        Ok(Some(outcome))
    }
}

/// Whether a finding that its service does not have was updated so lately that
/// it may still come.
fn may_still_come(updated_at: Option<Timestamp>, now: Timestamp) -> bool {
    updated_at.is_some_and(|updated_at| {
        let age = now.duration_since(updated_at);
        -AHEAD_AT_MOST <= age && age < SETTLES_WITHIN
    })
}

/// Where the service is asked. For events of global services a finding's Region
/// can be another than its detector's, which stands in its ARN (GuardDuty API
/// reference, Finding).
fn region(service: Service, finding: &Finding) -> Region {
    let arn = finding.security_hub.as_ref().map(SecurityHubId::id).unwrap_or_default();
    let of_arn = arn.split(':').nth(3).and_then(|region| region.parse().ok());
    match service {
        Service::GuardDuty => of_arn.unwrap_or_else(|| finding.region.clone()),
        Service::SecurityHub => finding.region.clone(),
    }
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
    for (name, told, known) in fields {
        if told != known {
            return Err(format!("{name} is `{told}` in the event, `{known}` at {service}"));
        }
    }
    let arn = target.resource.arn();
    let Some(found) = fetched.targets.iter().find(|other| other.resource.arn() == arn) else {
        let named: Vec<String> =
            fetched.targets.iter().map(|it| format!("`{}`", it.resource.arn())).collect();
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        return Err(format!("target is `{arn}` in the event, {named} at {service}"));
    };
    // Beyond its ARN a target says whose credentials they are, or which pod it is.
    if found.resource != target.resource {
        let (told, known) = (&target.resource.kind, &found.resource.kind);
        return Err(format!("target `{arn}` is {told:?} in the event, {known:?} at {service}"));
    }
    if fetched.sample {
        return Err(format!("it is a sample at {service}"));
    }
    if fetched.archived {
        return Err(format!("it is archived or suppressed at {service}"));
    }
    Ok(found)
}

/// Why a decision does not stand though the finding was confirmed: what the rule
/// looks at, or what its actions act on, is not as the service has it.
pub(super) fn differs(
    (finding, decision): (&Finding, &Decision),
    (fetched, confirmed): (&Finding, &Decision),
) -> Option<String> {
    if decision.outcome != confirmed.outcome
        || decision.mode != confirmed.mode
        || decision.rule != confirmed.rule
        || decision.actions != confirmed.actions
    {
        return Some(format!(
            "policy says something else of the finding as its service has it: {}",
            confirmed.reason()
        ));
    }
    let about_addresses = |name: &str| actions::find(name).is_some_and(|it| it.facts.per_finding);
    let mut calls = decision.actions.iter();
    let (told, known) = (finding.remote_addresses(), fetched.remote_addresses());
    if calls.any(|call| about_addresses(&call.name)) && told != known {
        let list = |addresses: &[String]| match addresses {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        let (told, known) = (list(&told), list(&known));
        return Some(format!("remote addresses are {told} in the event, {known} at its service"));
    }
    None
}

/// Tells an unconfirmed finding from another under the same id.
fn digest(finding: &Finding) -> String {
    let mut digits = sha256_hex(finding.detail.to_string());
    digits.truncate(16);
    digits
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
