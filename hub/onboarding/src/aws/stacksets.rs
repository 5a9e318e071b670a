//! Calls StackSets as the management account or as a delegated administrator: reads a
//! StackSet, and makes one change at a time. An operation continues in AWS when this
//! process ends.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::operation::create_stack_instances::CreateStackInstancesError;
use aws_sdk_cloudformation::operation::update_stack_set::UpdateStackSetError;
use aws_sdk_cloudformation::types::{
    AccountFilterType, AutoDeployment, CallAs, Capability, ConcurrencyMode, DeploymentTargets,
    ManagedExecution, Parameter, PermissionModels, RegionConcurrencyType,
    StackInstanceDetailedStatus, StackInstanceStatus, StackInstanceSummary,
    StackSetOperationPreferences, StackSetOperationStatus,
};
use aws_sdk_organizations::types::AccountState;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::stackset_diff::{
    DesiredStackSet, PresentStackSet, StackHealth, StackInstance, StackSetChange,
};
use firebreak_aws::error::{HubError, failed};

/// The caller and its organization.
#[derive(Clone, Debug)]
pub struct StackSetCaller {
    /// The partition, such as `aws`.
    pub partition: String,
    pub account: String,
    pub organization: String,
    pub management: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationStatus {
    /// Running or queued; `failed` stacks failed so far.
    InProgress {
        failed: i32,
    },
    Ended,
}

/// The outcome of a requested change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    Done,
    /// In progress as this operation.
    Started(String),
    /// Rejected, because another operation is in progress.
    Busy,
}

#[derive(Clone, Debug)]
pub struct StackSets {
    client: aws_sdk_cloudformation::Client,
    organizations: aws_sdk_organizations::Client,
    call_as: CallAs,
}

/// Identifies the caller, by STS and AWS Organizations.
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
    // An unknown management account must not be taken for the caller, and a role must
    // not trust an organization without an id.
    let required = |text: Option<&str>, what: &str| {
        let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
        text.ok_or_else(|| HubError::failed(format!("AWS did not return {what}")))
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
    /// StackSets in the configured Region.
    pub fn new(config: &SdkConfig, caller: &StackSetCaller) -> Self {
        let is_management = caller.account == caller.management;
        Self {
            client: aws_sdk_cloudformation::Client::new(config),
            organizations: aws_sdk_organizations::Client::new(config),
            call_as: if is_management { CallAs::SelfValue } else { CallAs::DelegatedAdmin },
        }
    }

    /// Reads a StackSet; `None` if there is none of this name.
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

    async fn instances(&self, name: &str) -> Result<Vec<StackInstance>, HubError> {
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

    async fn instance(&self, summary: &StackInstanceSummary) -> Result<StackInstance, HubError> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let account = text(summary.account());
        let detail = summary.stack_instance_status().and_then(|it| it.detailed_status());
        let health = match (summary.status(), detail) {
            (Some(StackInstanceStatus::Current), _) => StackHealth::Current,
            (_, Some(StackInstanceDetailedStatus::SkippedSuspendedAccount)) => {
                StackHealth::Suspended
            }
            // AWS does not report every failure of a suspended account as such.
            (
                _,
                Some(StackInstanceDetailedStatus::Failed | StackInstanceDetailedStatus::Cancelled),
            ) if self.is_suspended(&account).await? => StackHealth::Suspended,
            _ => StackHealth::Behind,
        };
        Ok(StackInstance {
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

    /// The operations of a StackSet that have not ended.
    pub async fn operations_in_progress(&self, name: &str) -> Result<Vec<String>, HubError> {
        let listed = self
            .client
            .list_stack_set_operations()
            .stack_set_name(name)
            .call_as(self.call_as.clone())
            .send()
            .await;
        match listed {
            // The newest come first: the first page has all that can be in progress.
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

    pub async fn operation_status(
        &self,
        name: &str,
        operation: &str,
    ) -> Result<OperationStatus, HubError> {
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
        Ok(if over { OperationStatus::Ended } else { OperationStatus::InProgress { failed } })
    }

    /// Requests one change.
    pub async fn change(
        &self,
        desired: &DesiredStackSet,
        change: &StackSetChange,
    ) -> Result<ChangeOutcome, HubError> {
        match change {
            StackSetChange::Create => self.create(desired).await,
            StackSetChange::Update { .. } => self.update(desired).await,
            StackSetChange::Instances { units, accounts, regions }
            | StackSetChange::Retry { units, accounts, regions } => {
                self.create_instances(desired.name, units, accounts, regions).await
            }
        }
    }

    async fn create(&self, desired: &DesiredStackSet) -> Result<ChangeOutcome, HubError> {
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
        Ok(ChangeOutcome::Done)
    }

    async fn update(&self, desired: &DesiredStackSet) -> Result<ChangeOutcome, HubError> {
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
        let call = "cloudformation:UpdateStackSet";
        let is_busy = UpdateStackSetError::is_operation_in_progress_exception;
        outcome(call, updated, is_busy, |it| it.operation_id())
    }

    async fn create_instances(
        &self,
        name: &str,
        units: &[String],
        accounts: &[String],
        regions: &[String],
    ) -> Result<ChangeOutcome, HubError> {
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
        let call = "cloudformation:CreateStackInstances";
        let is_busy = CreateStackInstancesError::is_operation_in_progress_exception;
        outcome(call, made, is_busy, |it| it.operation_id())
    }
}

/// Reads the response to a change.
fn outcome<T, E>(
    call: &'static str,
    response: Result<T, SdkError<E, HttpResponse>>,
    is_busy: fn(&E) -> bool,
    operation: fn(&T) -> Option<&str>,
) -> Result<ChangeOutcome, HubError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match response {
        Ok(response) => Ok(operation(&response)
            .map_or(ChangeOutcome::Done, |id| ChangeOutcome::Started(id.to_owned()))),
        Err(error) if error.as_service_error().is_some_and(is_busy) => Ok(ChangeOutcome::Busy),
        Err(error) => Err(failed(call, &error)),
    }
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

fn parameters(desired: &DesiredStackSet) -> Vec<Parameter> {
    let pairs = desired.parameters.iter();
    pairs
        .map(|(key, value)| Parameter::builder().parameter_key(key).parameter_value(value).build())
        .collect()
}

/// An account that is moved out of the targets, for example to a quarantine OU, keeps
/// its stack: there the spoke role is needed most.
fn auto_deployment(desired: &DesiredStackSet) -> AutoDeployment {
    let enabled = desired.deploys_automatically();
    let builder = AutoDeployment::builder().enabled(enabled);
    if enabled { builder.retain_stacks_on_account_removal(true).build() } else { builder.build() }
}

/// Every account is tried, as many in parallel as AWS allows: accounts do not depend on
/// each other. With "soft" failure tolerance failures do not slow down the others
/// (CloudFormation API reference, `ConcurrencyMode`).
fn preferences() -> StackSetOperationPreferences {
    StackSetOperationPreferences::builder()
        .failure_tolerance_percentage(100)
        .max_concurrent_percentage(100)
        .concurrency_mode(ConcurrencyMode::SoftFailureTolerance)
        .region_concurrency_type(RegionConcurrencyType::Parallel)
        .build()
}
