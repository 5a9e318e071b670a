//! Pausing and resuming: the kill switches.

use jiff::Timestamp;

use super::Responder;
use firebreak_aws::error::HubError;
use firebreak_response::audit_event::{Event, ORGANIZATION, What};
use firebreak_response::switches::{Pause, Scope, told};

impl Responder {
    /// Pauses a scope for every process of the hub: each reads what is paused
    /// together with the target, before it claims it. What has begun is finished.
    pub async fn pause(
        &self,
        scope: &Scope,
        until: Option<Timestamp>,
        reason: Option<String>,
    ) -> Result<Pause, HubError> {
        let now = self.now();
        let pause = Pause { by: self.caller().await?, at: now, until, reason };
        self.ledger.pause(scope, &pause).await?;
        let account = chain_of(scope);
        let why = told(scope, &pause);
        self.ledger.write_event(&Event::new(What::Paused, &account, &pause.by, &why, now)).await?;
        Ok(pause)
    }

    /// Whether there is what a scope names: a pause of a typing error would stop
    /// nothing. A rule is looked for in the policy in force.
    ///
    /// # Errors
    ///
    /// Organizations or the table did not say.
    pub async fn knows(&self, scope: &Scope) -> Result<bool, HubError> {
        let point = match scope {
            Scope::Organization => return Ok(true),
            Scope::Unit(id) => id.clone(),
            Scope::Account(account) => account.to_string(),
            Scope::Rule(named) => {
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

    /// Ends the pause of a scope. Returns what was paused; `None` when nothing was.
    pub async fn resume_scope(&self, scope: &Scope) -> Result<Option<Pause>, HubError> {
        let by = self.caller().await?;
        let before = self.ledger.switches().await?.0.remove(scope);
        self.ledger.resume(scope).await?;
        if let Some(pause) = &before {
            let why = format!("ended {}", told(scope, pause));
            let account = chain_of(scope);
            let event = Event::new(What::Resumed, &account, &by, &why, self.now());
            self.ledger.write_event(&event).await?;
        }
        Ok(before)
    }
}

fn chain_of(scope: &Scope) -> String {
    match scope {
        Scope::Account(account) => account.to_string(),
        Scope::Organization | Scope::Unit(_) | Scope::Rule(_) => ORGANIZATION.to_owned(),
    }
}
