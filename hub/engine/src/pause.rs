//! Pauses and their end: the kill switches.

use std::sync::Arc;

use jiff::Timestamp;

use super::recorder::Recorder;
use firebreak_aws::error::HubError;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;
use firebreak_aws::store::Written;
use firebreak_response::audit_event::{AuditEvent, AuditKind, ORGANIZATION};
use firebreak_response::pauses::{Pause, PauseScope, describe};

/// Begins and ends pauses.
#[derive(Clone, Debug)]
pub(super) struct Pauser {
    pub(super) recorder: Recorder,
    pub(super) policies: Arc<Policies>,
    pub(super) organization: Arc<Organization>,
}

impl Pauser {
    /// See [`super::Engine::pause`].
    pub(super) async fn pause(
        &self,
        scope: &PauseScope,
        until: Option<Timestamp>,
        reason: Option<String>,
    ) -> Result<Pause, HubError> {
        let now = self.recorder.now();
        let pause = Pause { by: self.recorder.caller.arn().await?, at: now, until, reason };
        let why = describe(scope, &pause);
        let event = AuditEvent::new(AuditKind::Paused, &audit_account(scope), &pause.by, &why, now);
        match self.recorder.store.commit(now).pause(scope, &pause, &event)?.write().await? {
            Written::Yes => Ok(pause),
            Written::Lost | Written::Spent => {
                Err(HubError::failed(format!("the pause of {scope} was not stored")))
            }
        }
    }

    /// See [`super::Engine::scope_exists`].
    pub(super) async fn scope_exists(&self, scope: &PauseScope) -> Result<bool, HubError> {
        let point = match scope {
            PauseScope::Organization => return Ok(true),
            PauseScope::Unit(id) => id.clone(),
            PauseScope::Account(account) => account.to_string(),
            PauseScope::Rule(named) => {
                let (_, policy) = self.policies.in_force().await?;
                return Ok(policy.documents().iter().any(|document| {
                    document.rule_names().any(|name| {
                        name == named || format!("{}/{name}", document.attach) == *named
                    })
                }));
            }
        };
        Ok(self.organization.path_of(&point).await?.is_some())
    }

    /// See [`super::Engine::end_pause`].
    pub(super) async fn end_pause(&self, scope: &PauseScope) -> Result<Option<Pause>, HubError> {
        let by = self.recorder.caller.arn().await?;
        let Some(pause) = self.recorder.store.pauses().await?.0.remove(scope) else {
            return Ok(None);
        };
        let (why, now) = (format!("ended {}", describe(scope, &pause)), self.recorder.now());
        let event = AuditEvent::new(AuditKind::Unpaused, &audit_account(scope), &by, &why, now);
        match self.recorder.store.commit(now).unpause(scope, &event)?.write().await? {
            Written::Yes => Ok(Some(pause)),
            // Another caller has ended it.
            Written::Lost | Written::Spent => Ok(None),
        }
    }
}

fn audit_account(scope: &PauseScope) -> String {
    match scope {
        PauseScope::Account(account) => account.to_string(),
        PauseScope::Organization | PauseScope::Unit(_) | PauseScope::Rule(_) => {
            ORGANIZATION.to_owned()
        }
    }
}
