//! Lists the organization's accounts with their OU paths, within AWS's rate limit.

use super::Surveyor;
use crate::aws::setup::Progress;
use crate::coverage::SurveyedAccount;
use firebreak_aws::error::{HubError, failed};
use firebreak_client::rate_limit::Class;

impl Surveyor {
    /// Every account; `ou_path` is `None` if it cannot be read.
    pub(super) async fn list_accounts(
        &self,
        progress: Progress<'_>,
    ) -> Result<Vec<SurveyedAccount>, HubError> {
        let call = "organizations:ListAccounts";
        let client = aws_sdk_organizations::Client::new(&self.config);
        let mut accounts = Vec::new();
        let mut token = None;
        loop {
            self.rate_limits.permit_hub(&self.setup.home, Class::ListAccounts).await;
            let page = client.list_accounts().set_next_token(token).send().await;
            let page = page.map_err(|error| failed(call, &error))?;
            for listed in page.accounts() {
                let id = listed.id().unwrap_or_default().parse().map_err(|error| {
                    HubError::failed(format!("{call} returned an invalid id: {error}"))
                })?;
                // Older endpoints return `Status` only, and no `Paths`.
                let state = listed.state().map(|it| it.as_str());
                let state = state.or(listed.status().map(|it| it.as_str())).unwrap_or("unknown");
                let ou_path = match listed.paths() {
                    [path] => path.parse().ok(),
                    _ => None,
                };
                let name = listed.name().unwrap_or_default().to_owned();
                accounts.push(SurveyedAccount { id, name, state: state.to_owned(), ou_path });
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
            if accounts.len().is_multiple_of(1_000) && !accounts.is_empty() {
                progress(&format!("accounts: {} listed", accounts.len()));
            }
        }
        for account in accounts.iter_mut().filter(|it| it.ou_path.is_none()) {
            match self.organization.place(&account.id).await {
                Ok(place) => account.ou_path = Some(place.ou_path),
                Err(error) => progress(&format!("{}: OU path unknown: {error}", account.id)),
            }
        }
        progress(&format!("accounts: {} listed", accounts.len()));
        Ok(accounts)
    }
}
