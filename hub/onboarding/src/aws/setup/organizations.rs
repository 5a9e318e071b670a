//! AWS Organizations, and the access of StackSets to it.

use std::collections::BTreeSet;

use aws_config::SdkConfig;
use firebreak_model::resource::AccountId;

use crate::aws::call_error::{CallError, account_id, for_each_page};
use crate::setup::{OrganizationAccount, STACKSETS, Trust};
use firebreak_aws::error::{HubError, failed};

/// The organization's management account. Every account may read it.
pub(super) async fn management(config: &SdkConfig) -> Result<AccountId, HubError> {
    let call = "organizations:DescribeOrganization";
    let output = aws_sdk_organizations::Client::new(config).describe_organization().send().await;
    let output = output.map_err(|error| failed(call, &error))?;
    let id = output.organization().and_then(|it| it.master_account_id()).unwrap_or_default();
    id.parse().map_err(|error| HubError::failed(format!("{call} returned an invalid id: {error}")))
}

/// The delegated administrators of a service.
pub(super) async fn delegated(
    config: &SdkConfig,
    principal: &str,
) -> Result<BTreeSet<AccountId>, CallError> {
    let call = "organizations:ListDelegatedAdministrators";
    let client = aws_sdk_organizations::Client::new(config);
    let listing = client.list_delegated_administrators().service_principal(principal);
    let mut found = BTreeSet::new();
    for_each_page(call, listing.into_paginator().send(), |page| {
        for administrator in page.delegated_administrators() {
            found.insert(account_id(call, administrator.id())?);
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Every account of the organization.
pub(super) async fn accounts(config: &SdkConfig) -> Result<Vec<OrganizationAccount>, HubError> {
    let call = "organizations:ListAccounts";
    let client = aws_sdk_organizations::Client::new(config);
    let mut pages = client.list_accounts().into_paginator().send();
    let mut accounts = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failed(call, &error))?;
        for listed in page.accounts() {
            let id = account_id(call, listed.id())
                .map_err(|error| HubError::failed(error.to_string()))?;
            // Older endpoints return `Status` only.
            let state = listed.state().map(|it| it.as_str());
            let state = state.or(listed.status().map(|it| it.as_str())).unwrap_or("unknown");
            let email = listed.email().unwrap_or_default().to_owned();
            accounts.push(OrganizationAccount { id, email, state: state.to_owned() });
        }
    }
    Ok(accounts)
}

/// The services with trusted access, and the administrators of StackSets.
pub(super) async fn trust(config: &SdkConfig) -> Result<Trust, CallError> {
    let call = "cloudformation:DescribeOrganizationsAccess";
    let client = aws_sdk_cloudformation::Client::new(config);
    let output = client.describe_organizations_access().send().await;
    let output = output.map_err(|error| CallError::from_sdk(call, &error))?;
    let stacksets = output.status().map_or("unknown", |it| it.as_str()).to_owned();
    let call = "organizations:ListAWSServiceAccessForOrganization";
    let client = aws_sdk_organizations::Client::new(config);
    let pages = client.list_aws_service_access_for_organization().into_paginator().send();
    let mut trusted = BTreeSet::new();
    for_each_page(call, pages, |page| {
        let principals = page.enabled_service_principals().iter();
        trusted.extend(principals.filter_map(|it| it.service_principal().map(str::to_owned)));
        Ok(())
    })
    .await?;
    let stacksets_administrators = delegated(config, STACKSETS).await?;
    Ok(Trust { stacksets, trusted, stacksets_administrators })
}

/// Lets StackSets deploy to the organization's accounts.
pub(super) async fn trust_stacksets(config: &SdkConfig) -> Result<(), CallError> {
    let client = aws_sdk_cloudformation::Client::new(config);
    let output = client.activate_organizations_access().send().await;
    output.map_err(|error| {
        CallError::from_sdk("cloudformation:ActivateOrganizationsAccess", &error)
    })?;
    Ok(())
}

/// Gives a service trusted access.
pub(super) async fn trust_service(config: &SdkConfig, principal: &str) -> Result<(), CallError> {
    let client = aws_sdk_organizations::Client::new(config);
    let output = client.enable_aws_service_access().service_principal(principal).send().await;
    output.map_err(|error| CallError::from_sdk("organizations:EnableAWSServiceAccess", &error))?;
    Ok(())
}

/// Lets an account deploy StackSets for the organization.
pub(super) async fn delegate_stacksets(
    config: &SdkConfig,
    administrator: &AccountId,
) -> Result<(), CallError> {
    let output = aws_sdk_organizations::Client::new(config)
        .register_delegated_administrator()
        .account_id(administrator.as_str())
        .service_principal(STACKSETS)
        .send()
        .await;
    match output.map_err(|error| {
        CallError::from_sdk("organizations:RegisterDelegatedAdministrator", &error)
    }) {
        Ok(_) => Ok(()),
        // Another caller was faster.
        Err(error) if error.has_code("AccountAlreadyRegisteredException") => Ok(()),
        Err(error) => Err(error),
    }
}
