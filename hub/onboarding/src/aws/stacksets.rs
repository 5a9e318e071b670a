//! StackSets, called as the management account or as a delegated administrator:
//! what is there, and one change at a time. Operations go on at AWS; whoever
//! started one may end and come back.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::{
    AccountFilterType, AutoDeployment, CallAs, Capability, ConcurrencyMode, DeploymentTargets,
    ManagedExecution, Parameter, PermissionModels, RegionConcurrencyType,
    StackInstanceDetailedStatus, StackInstanceStatus, StackInstanceSummary,
    StackSetOperationPreferences, StackSetOperationStatus,
};
use aws_sdk_organizations::types::AccountState;

use crate::stackset_diff::{Desired, Health, Instance, PresentStackSet, StackSetChange};
use firebreak_aws::error::{HubError, failed};

/// Who calls, and for which organization.
#[derive(Clone, Debug)]
pub struct StackSetCaller {
    /// The partition, such as `aws`.
    pub partition: String,
    /// The caller's account.
    pub account: String,
    /// The organization's id.
    pub organization: String,
    /// The management account.
    pub management: String,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Under way or waiting, with so many stacks failed.
    Going(i32),
    /// Over.
    Ended,
}

/// What became of a change that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Done at once.
    Done,
    /// Goes on as this operation.
    Goes(String),
    /// Not now: another operation is in progress.
    Busy,
}

/// StackSets.
#[derive(Clone, Debug)]
pub struct StackSets {
    client: aws_sdk_cloudformation::Client,
    organizations: aws_sdk_organizations::Client,
    call_as: CallAs,
}

/// Who these credentials are, by STS and AWS Organizations.
pub async fn caller(config: &SdkConfig) -> Result<StackSetCaller, HubError> {
    let identity = aws_sdk_sts::Client::new(config)
        .get_caller_identity()
        .send()
        .await
        .map_err(|error| failed("sts:GetCallerIdentity", &error))?;
    let described = aws_sdk_organizations::Client::new(config)
        .describe_organization()
        .send()
        .await
        .map_err(|error| failed("organizations:DescribeOrganization", &error))?;
    let organization = described.organization();
    // Whose management account is unknown must not pass for it, nor may a role
    // trust an organization without an id.
    let required = |text: Option<&str>, what: &str| {
        let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
        text.ok_or_else(|| HubError::Failed(format!("AWS did not return {what}")))
    };
    Ok(StackSetCaller {
        partition: required(identity.arn().and_then(|arn| arn.split(':').nth(1)), "the partition")?,
        account: required(identity.account(), "the caller's account")?,
        organization: required(organization.and_then(|it| it.id()), "the organization's id")?,
        management: required(
            organization.and_then(|it| it.master_account_id()),
            "the organization's management account",
        )?,
    })
}

impl StackSets {
    /// StackSets of the caller's organization, in the configuration's Region.
    pub fn new(config: &SdkConfig, caller: &StackSetCaller) -> Self {
        let is_management = caller.account == caller.management;
        Self {
            client: aws_sdk_cloudformation::Client::new(config),
            organizations: aws_sdk_organizations::Client::new(config),
            call_as: if is_management { CallAs::SelfValue } else { CallAs::DelegatedAdmin },
        }
    }

    /// What a StackSet is; `None` where there is none of this name.
    pub async fn describe(&self, name: &str) -> Result<Option<PresentStackSet>, HubError> {
        let described = self
            .client
            .describe_stack_set()
            .stack_set_name(name)
            .call_as(self.call_as.clone())
            .send()
            .await;
        let described = match described {
            Ok(described) => described,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|it| it.is_stack_set_not_found_exception()) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed("cloudformation:DescribeStackSet", &error)),
        };
        let Some(set) = described.stack_set() else { return Ok(None) };
        let automatic = set.auto_deployment();
        let parameters = set.parameters().iter();
        let parameters: BTreeMap<String, String> = parameters
            .filter_map(|it| {
                Some((it.parameter_key()?.to_owned(), it.parameter_value()?.to_owned()))
            })
            .collect();
        Ok(Some(PresentStackSet {
            description: set.description().unwrap_or_default().to_owned(),
            template: set.template_body().unwrap_or_default().to_owned(),
            parameters,
            may_name_iam: set.capabilities().contains(&Capability::CapabilityNamedIam),
            deploys_automatically: automatic.and_then(AutoDeployment::enabled) == Some(true),
            retains: automatic.and_then(AutoDeployment::retain_stacks_on_account_removal)
                == Some(true),
            queues: set.managed_execution().and_then(ManagedExecution::active) == Some(true),
            units: set.organizational_unit_ids().iter().cloned().collect(),
            instances: self.instances(name).await?,
        }))
    }

    async fn instances(&self, name: &str) -> Result<Vec<Instance>, HubError> {
        let mut pages = self
            .client
            .list_stack_instances()
            .stack_set_name(name)
            .call_as(self.call_as.clone())
            .into_paginator()
            .send();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("cloudformation:ListStackInstances", &error))?;
            for summary in page.summaries() {
                instances.push(self.instance(summary).await?);
            }
        }
        instances.sort_unstable();
        Ok(instances)
    }

    async fn instance(&self, summary: &StackInstanceSummary) -> Result<Instance, HubError> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let account = text(summary.account());
        let detail = summary.stack_instance_status().and_then(|it| it.detailed_status());
        let health = match (summary.status(), detail) {
            (Some(StackInstanceStatus::Current), _) => Health::Current,
            (_, Some(StackInstanceDetailedStatus::SkippedSuspendedAccount)) => Health::Suspended,
            // Not every failure of a suspended account is reported as one.
            (
                _,
                Some(StackInstanceDetailedStatus::Failed | StackInstanceDetailedStatus::Cancelled),
            ) if self.is_suspended(&account).await? => Health::Suspended,
            _ => Health::Behind,
        };
        Ok(Instance {
            region: text(summary.region()),
            unit: text(summary.organizational_unit_id()),
            reason: summary.status_reason().map(str::to_owned),
            account,
            health,
        })
    }

    async fn is_suspended(&self, account: &str) -> Result<bool, HubError> {
        let described = self
            .organizations
            .describe_account()
            .account_id(account)
            .send()
            .await
            .map_err(|error| failed("organizations:DescribeAccount", &error))?;
        let state = described.account().and_then(|account| account.state());
        Ok(matches!(
            state,
            Some(AccountState::Suspended | AccountState::PendingClosure | AccountState::Closed)
        ))
    }

    /// The operations of a StackSet that are not over.
    pub async fn going(&self, name: &str) -> Result<Vec<String>, HubError> {
        let listed = self
            .client
            .list_stack_set_operations()
            .stack_set_name(name)
            .call_as(self.call_as.clone())
            .send()
            .await;
        match listed {
            // The newest come first: one page has all that can be under way.
            Ok(listed) => Ok(listed
                .summaries()
                .iter()
                .filter(|it| !is_over(it.status()))
                .filter_map(|it| it.operation_id().map(str::to_owned))
                .collect()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|it| it.is_stack_set_not_found_exception()) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(failed("cloudformation:ListStackSetOperations", &error)),
        }
    }

    /// Where an operation stands.
    pub async fn progress(&self, name: &str, operation: &str) -> Result<Progress, HubError> {
        let described = self
            .client
            .describe_stack_set_operation()
            .stack_set_name(name)
            .operation_id(operation)
            .call_as(self.call_as.clone())
            .send()
            .await
            .map_err(|error| failed("cloudformation:DescribeStackSetOperation", &error))?;
        let operation = described.stack_set_operation();
        let details = operation.and_then(|it| it.status_details());
        let failed = details.map_or(0, |it| it.failed_stack_instances_count().unwrap_or_default());
        let over = is_over(operation.and_then(|it| it.status()));
        Ok(if over { Progress::Ended } else { Progress::Going(failed) })
    }

    /// Asks for one change.
    pub async fn change(
        &self,
        desired: &Desired,
        change: &StackSetChange,
    ) -> Result<Asked, HubError> {
        match change {
            StackSetChange::Create => self.create(desired).await,
            StackSetChange::Update { .. } => self.update(desired).await,
            StackSetChange::Instances { units, accounts, regions }
            | StackSetChange::Retry { units, accounts, regions } => {
                self.make(desired.name, units, accounts, regions).await
            }
        }
    }

    async fn create(&self, desired: &Desired) -> Result<Asked, HubError> {
        self.client
            .create_stack_set()
            .stack_set_name(desired.name)
            .description(desired.description())
            .template_body(&desired.template)
            .set_parameters(Some(parameters(desired)))
            .capabilities(Capability::CapabilityNamedIam)
            .permission_model(PermissionModels::ServiceManaged)
            .auto_deployment(auto_deployment(desired))
            .managed_execution(ManagedExecution::builder().active(true).build())
            .call_as(self.call_as.clone())
            .send()
            .await
            .map_err(|error| failed("cloudformation:CreateStackSet", &error))?;
        Ok(Asked::Done)
    }

    async fn update(&self, desired: &Desired) -> Result<Asked, HubError> {
        let updated = self
            .client
            .update_stack_set()
            .stack_set_name(desired.name)
            .description(desired.description())
            .template_body(&desired.template)
            .set_parameters(Some(parameters(desired)))
            .capabilities(Capability::CapabilityNamedIam)
            .permission_model(PermissionModels::ServiceManaged)
            .auto_deployment(auto_deployment(desired))
            .managed_execution(ManagedExecution::builder().active(true).build())
            .operation_preferences(preferences())
            .call_as(self.call_as.clone())
            .send()
            .await;
        match updated {
            Ok(updated) => Ok(goes(updated.operation_id())),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|it| it.is_operation_in_progress_exception()) =>
            {
                Ok(Asked::Busy)
            }
            Err(error) => Err(failed("cloudformation:UpdateStackSet", &error)),
        }
    }

    async fn make(
        &self,
        name: &str,
        units: &[String],
        accounts: &[String],
        regions: &[String],
    ) -> Result<Asked, HubError> {
        let mut targets =
            DeploymentTargets::builder().set_organizational_unit_ids(Some(units.to_vec()));
        if !accounts.is_empty() {
            targets = targets
                .set_accounts(Some(accounts.to_vec()))
                .account_filter_type(AccountFilterType::Intersection);
        }
        let made = self
            .client
            .create_stack_instances()
            .stack_set_name(name)
            .deployment_targets(targets.build())
            .set_regions(Some(regions.to_vec()))
            .operation_preferences(preferences())
            .call_as(self.call_as.clone())
            .send()
            .await;
        match made {
            Ok(made) => Ok(goes(made.operation_id())),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|it| it.is_operation_in_progress_exception()) =>
            {
                Ok(Asked::Busy)
            }
            Err(error) => Err(failed("cloudformation:CreateStackInstances", &error)),
        }
    }
}

fn goes(operation: Option<&str>) -> Asked {
    operation.map_or(Asked::Done, |operation| Asked::Goes(operation.to_owned()))
}

fn is_over(status: Option<&StackSetOperationStatus>) -> bool {
    !matches!(
        status,
        Some(
            StackSetOperationStatus::Running
                | StackSetOperationStatus::Queued
                | StackSetOperationStatus::Stopping
        )
    )
}

fn parameters(desired: &Desired) -> Vec<Parameter> {
    let pairs = desired.parameters.iter();
    pairs
        .map(|(key, value)| Parameter::builder().parameter_key(key).parameter_value(value).build())
        .collect()
}

/// An account that is moved out of the targets, to a quarantine OU say, keeps its
/// stack: it is the one that is needed most there.
fn auto_deployment(desired: &Desired) -> AutoDeployment {
    let enabled = desired.deploys_automatically();
    let builder = AutoDeployment::builder().enabled(enabled);
    if enabled { builder.retain_stacks_on_account_removal(true).build() } else { builder.build() }
}

/// Every account is tried, as many at once as AWS allows, whatever fails:
/// accounts have nothing to do with each other. With "soft" failure tolerance
/// failures do not slow the others down (CloudFormation API reference,
/// `ConcurrencyMode`).
fn preferences() -> StackSetOperationPreferences {
    StackSetOperationPreferences::builder()
        .failure_tolerance_percentage(100)
        .max_concurrent_percentage(100)
        .concurrency_mode(ConcurrencyMode::SoftFailureTolerance)
        .region_concurrency_type(RegionConcurrencyType::Parallel)
        .build()
}
