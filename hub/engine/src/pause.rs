//! Pauses and their end: the kill switches.

use jiff::Timestamp;

use super::Engine;
use firebreak_aws::error::HubError;
use firebreak_aws::store::Written;
use firebreak_response::audit_event::{AuditEvent, AuditKind, ORGANIZATION};
use firebreak_response::pauses::{Pause, PauseScope, describe};

impl Engine {
    /// Pauses a scope for every process of the hub: each reads the pauses together with
    /// the target, before it claims it. Responses in progress are finished.
    pub async fn pause(
        &self,
        scope: &PauseScope,
        until: Option<Timestamp>,
        reason: Option<String>,
    ) -> Result<Pause, HubError> {
        let now = self.now();
        let pause = Pause { by: self.caller().await?, at: now, until, reason };
        let why = describe(scope, &pause);
        let event = AuditEvent::new(AuditKind::Paused, &chain_of(scope), &pause.by, &why, now);
        match self.store.commit(now).pause(scope, &pause, &event)?.write().await? {
            Written::Yes => Ok(pause),
            Written::Lost | Written::Spent => {
                Err(HubError::failed(format!("the pause of {scope} was not stored")))
            }
        }
    }

    /// Whether a scope exists: a pause of a mistyped scope would have no effect. A rule
    /// is searched in the policy in force.
    ///
    /// # Errors
    ///
    /// Organizations or the table cannot be read.
    pub async fn knows(&self, scope: &PauseScope) -> Result<bool, HubError> {
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

    /// Ends the pause of a scope. Returns the pause; `None` if there was none.
    pub async fn end_pause(&self, scope: &PauseScope) -> Result<Option<Pause>, HubError> {
        let by = self.caller().await?;
        let Some(pause) = self.store.pauses().await?.0.remove(scope) else { return Ok(None) };
        let (why, now) = (format!("ended {}", describe(scope, &pause)), self.now());
        let event = AuditEvent::new(AuditKind::Unpaused, &chain_of(scope), &by, &why, now);
        match self.store.commit(now).unpause(scope, &event)?.write().await? {
            Written::Yes => Ok(Some(pause)),
            // Somebody else ended it meanwhile.
            Written::Lost | Written::Spent => Ok(None),
        }
    }
}

fn chain_of(scope: &PauseScope) -> String {
    match scope {
        PauseScope::Account(account) => account.to_string(),
        PauseScope::Organization | PauseScope::Unit(_) | PauseScope::Rule(_) => {
            ORGANIZATION.to_owned()
        }
    }
}
