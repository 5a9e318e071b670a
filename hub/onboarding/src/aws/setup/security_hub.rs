//! Security Hub's set-up in one Region, read and changed.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::types::{AccountDetails, AutoEnableStandards};
use firebreak_model::resource::{AccountId, Region};

use super::observe::Designated;
use super::regional;
use super::trouble::{Trouble, account, trouble};
use crate::setup::{
    Aggregator, Designation, OrganizationAccount, SecurityHubConfiguration, SecurityHubState,
};

/// "up to 50 accounts" (Security Hub API reference, CreateMembers).
const MEMBERS_PER_CALL: usize = 50;

/// What an account answers that has not turned Security Hub on (Security Hub
/// API reference, DescribeHub).
const OFF: [&str; 2] = ["InvalidAccessException", "ResourceNotFoundException"];

/// Security Hub in one Region, by one account's credentials.
pub(super) struct SecurityHub {
    client: Client,
    region: Region,
}

impl SecurityHub {
    pub(super) fn new(config: &SdkConfig, region: &Region) -> Self {
        Self { client: Client::new(&regional(config, region)), region: region.clone() }
    }

    /// What the management account sees.
    pub(super) async fn designation(&self) -> Result<Designation, Trouble> {
        let call = "securityhub:ListOrganizationAdminAccounts";
        let mut pages = self.client.list_organization_admin_accounts().into_paginator().send();
        let mut administrators = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble(call, &error))?;
            for listed in page.admin_accounts() {
                administrators.push(account(call, listed.account_id())?);
            }
        }
        Ok(Designation { administrators, on: self.is_on().await? })
    }

    /// What the administrator sees; the aggregator is asked for in the home Region.
    pub(super) async fn state(
        &self,
        home: &Region,
        designated: Designated,
    ) -> Result<SecurityHubState, Trouble> {
        if !self.is_on().await? {
            return Ok(SecurityHubState::default());
        }
        let aggregator = if self.region == *home { self.aggregator().await? } else { None };
        let on = SecurityHubState { on: true, aggregator, ..SecurityHubState::default() };
        match designated {
            Designated::No => Ok(on),
            Designated::Yes => Ok(SecurityHubState {
                configuration: Some(self.configuration().await?),
                members: self.members().await?,
                ..on
            }),
        }
    }

    async fn is_on(&self) -> Result<bool, Trouble> {
        let answer = self.client.describe_hub().send().await;
        match answer.map_err(|error| trouble("securityhub:DescribeHub", &error)) {
            Ok(_) => Ok(true),
            Err(trouble) if OFF.iter().any(|code| trouble.has_code(code)) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// The account's aggregator, wherever it is: there is at most one.
    async fn aggregator(&self) -> Result<Option<Aggregator>, Trouble> {
        let call = "securityhub:ListFindingAggregators";
        let mut pages = self.client.list_finding_aggregators().into_paginator().send();
        let mut arn = None;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble(call, &error))?;
            let listed = page.finding_aggregators().first();
            arn = arn.or(listed.and_then(|it| it.finding_aggregator_arn()).map(str::to_owned));
        }
        let Some(arn) = arn else { return Ok(None) };
        let home = arn.split(':').nth(3).and_then(|region| region.parse().ok());
        let home: Region =
            home.ok_or_else(|| Trouble::new(format!("{call} answered oddly: `{arn}`")))?;
        if home != self.region {
            return Ok(Some(Aggregator { home, linking: None }));
        }
        let answer = self.client.get_finding_aggregator().finding_aggregator_arn(arn).send().await;
        let answer = answer.map_err(|error| trouble("securityhub:GetFindingAggregator", &error))?;
        let linking = answer.region_linking_mode().map(str::to_owned);
        Ok(Some(Aggregator { home, linking }))
    }

    async fn configuration(&self) -> Result<SecurityHubConfiguration, Trouble> {
        let call = "securityhub:DescribeOrganizationConfiguration";
        let answer = self.client.describe_organization_configuration().send().await;
        let answer = answer.map_err(|error| {
            let trouble = trouble(call, &error);
            if trouble.has_code("InvalidAccessException") {
                return trouble.help("the account may not administer Security Hub in this Region yet: run `firebreak org enable` with credentials of the management account first");
            }
            trouble
        })?;
        let kind = answer.organization_configuration().and_then(|it| it.configuration_type());
        let standards = answer.auto_enable_standards().map_or("DEFAULT", |it| it.as_str());
        Ok(SecurityHubConfiguration {
            auto_enable: answer.auto_enable().unwrap_or_default(),
            standards: standards.to_owned(),
            kind: kind.map_or("LOCAL", |it| it.as_str()).to_owned(),
        })
    }

    async fn members(&self) -> Result<BTreeMap<AccountId, String>, Trouble> {
        let call = "securityhub:ListMembers";
        let mut pages = self.client.list_members().into_paginator().send();
        let mut members = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble(call, &error))?;
            for member in page.members() {
                let status = member.member_status().unwrap_or("unknown").to_owned();
                members.insert(account(call, member.account_id())?, status);
            }
        }
        Ok(members)
    }

    /// Makes an account the administrator.
    pub(super) async fn designate(&self, administrator: &AccountId) -> Result<(), Trouble> {
        let call = "securityhub:EnableOrganizationAdminAccount";
        let id = administrator.as_str();
        let answer = self.client.enable_organization_admin_account().admin_account_id(id).send();
        answer.await.map_err(|error| trouble(call, &error))?;
        Ok(())
    }

    /// Turns Security Hub on in the account, where it is not: without standards,
    /// which need AWS Config, cost money, and are not what findings of GuardDuty
    /// need.
    pub(super) async fn turn_on(&self) -> Result<(), Trouble> {
        if self.is_on().await? {
            return Ok(());
        }
        let answer = self.client.enable_security_hub().enable_default_standards(false).send().await;
        match answer.map_err(|error| trouble("securityhub:EnableSecurityHub", &error)) {
            Ok(_) => Ok(()),
            // Somebody was quicker.
            Err(trouble) if trouble.has_code("ResourceConflictException") => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Gathers the findings of all Regions in this one.
    pub(super) async fn aggregate(&self) -> Result<(), Trouble> {
        let create = self.client.create_finding_aggregator().region_linking_mode("ALL_REGIONS");
        let answer = create.send().await;
        answer.map_err(|error| trouble("securityhub:CreateFindingAggregator", &error))?;
        Ok(())
    }

    /// Gives new accounts Security Hub, with the standards that they were given
    /// before.
    pub(super) async fn give(&self) -> Result<(), Trouble> {
        let now = self.configuration().await?;
        if now.auto_enable || now.kind == "CENTRAL" {
            return Ok(());
        }
        let update = self
            .client
            .update_organization_configuration()
            .auto_enable(true)
            .auto_enable_standards(AutoEnableStandards::from(now.standards.as_str()));
        let call = "securityhub:UpdateOrganizationConfiguration";
        update.send().await.map_err(|error| trouble(call, &error))?;
        Ok(())
    }

    /// Adds accounts that are not members yet; what Security Hub refuses, and why.
    pub(super) async fn add_members(
        &self,
        accounts: &[&OrganizationAccount],
    ) -> Result<Vec<(AccountId, String)>, Trouble> {
        let call = "securityhub:CreateMembers";
        let members = self.members().await?;
        let missing: Vec<&&OrganizationAccount> =
            accounts.iter().filter(|it| !members.contains_key(&it.id)).collect();
        let mut refused = Vec::new();
        for chunk in missing.chunks(MEMBERS_PER_CALL) {
            let details = chunk.iter().map(|it| {
                AccountDetails::builder().account_id(it.id.as_str()).email(&it.email).build()
            });
            let details = Some(details.collect());
            let create = self.client.create_members().set_account_details(details);
            let answer = create.send().await.map_err(|error| trouble(call, &error))?;
            for unprocessed in answer.unprocessed_accounts() {
                let why = unprocessed.processing_result().unwrap_or("no reason given").to_owned();
                refused.push((account(call, unprocessed.account_id())?, why));
            }
        }
        Ok(refused)
    }
}
