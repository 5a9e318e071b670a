//! Determines the caller, the part that the caller may set up, and the Regions. Reads
//! only.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use firebreak_model::resource::{AccountId, Partition, Region};

use super::{Setup, SetupError, SetupRequest, organizations};
use crate::aws::regional;
use crate::setup::{GUARDDUTY, SECURITY_HUB};
use firebreak_aws::error::{HubError, failed};

/// The name of the session in the administrator's account, as CloudTrail shows it.
const SESSION: &str = "firebreak-org";

struct SetupCaller {
    account: AccountId,
    partition: Partition,
    management: AccountId,
}

impl Setup {
    /// The management account sets up its own part, and with a role also the
    /// administrator's; the administrator sets up its own part.
    ///
    /// # Errors
    ///
    /// `Refused` for any other caller, and if no Region remains.
    pub async fn begin(config: &SdkConfig, request: &SetupRequest) -> Result<Self, SetupError> {
        let caller = caller(config).await?;
        let configured = config.region().and_then(|region| region.as_ref().parse().ok());
        let home = request.home.clone().or(configured).ok_or_else(|| {
            SetupError::Refused(
                "no Region is set\nhelp: give --home-region, or set AWS_REGION".to_owned(),
            )
        })?;
        let (administrator, managing, administering) = if caller.account == caller.management {
            let administrator = administrator(config, &caller, request).await?;
            let session = match &request.administrator_role {
                Some(role) => Some(assume(config, &caller, &administrator, role).await?),
                None => None,
            };
            (administrator, Some(config.clone()), session)
        } else {
            check_administers(config, &caller, request).await?;
            (caller.account.clone(), None, Some(config.clone()))
        };
        let mut accounts = Vec::new();
        if let Some(config) = &managing {
            accounts.push((caller.account.clone(), statuses(&regional(config, &home)).await?));
        }
        if let Some(config) = &administering {
            accounts.push((administrator.clone(), statuses(&regional(config, &home)).await?));
        }
        let (regions, skipped) = regions(&accounts, request, &home);
        if regions.is_empty() {
            let why: Vec<String> =
                skipped.iter().map(|(region, why)| format!("\n{region}: {why}")).collect();
            return Err(SetupError::Refused(format!("no Region can be set up:{}", why.concat())));
        }
        Ok(Self {
            caller: caller.account,
            management: caller.management,
            administrator,
            home,
            regions,
            skipped,
            managing,
            administering,
        })
    }
}

async fn caller(config: &SdkConfig) -> Result<SetupCaller, SetupError> {
    let call = "sts:GetCallerIdentity";
    let output = aws_sdk_sts::Client::new(config).get_caller_identity().send().await;
    let output = output.map_err(|error| failed(call, &error))?;
    let invalid = |error: &dyn std::fmt::Display| {
        HubError::failed(format!("{call} returned an invalid value: {error}"))
    };
    let arn = output.arn().unwrap_or_default();
    let partition = arn.split(':').nth(1).unwrap_or_default();
    let partition = partition.parse().map_err(|error| invalid(&error))?;
    let account = output.account().unwrap_or_default();
    let account = account.parse().map_err(|error| invalid(&error))?;
    let management = organizations::management(config).await?;
    Ok(SetupCaller { account, partition, management })
}

/// The requested administrator, else the present one.
async fn administrator(
    config: &SdkConfig,
    caller: &SetupCaller,
    request: &SetupRequest,
) -> Result<AccountId, SetupError> {
    let administrator = match &request.administrator {
        Some(administrator) => administrator.clone(),
        None => match organizations::delegated(config, GUARDDUTY).await {
            Ok(found) if found.len() == 1 => {
                found.into_iter().next().unwrap_or_else(|| caller.account.clone())
            }
            Ok(_) => {
                return Err(SetupError::Refused(
                    "no administrator of GuardDuty and Security Hub is given\nhelp: give --administrator ACCOUNT, the hub's account".to_owned(),
                ));
            }
            Err(error) => return Err(SetupError::Aws(HubError::failed(error.to_string()))),
        },
    };
    // "The organization management account cannot be set as the delegated
    // administrator" (Security Hub user guide).
    if administrator == caller.management {
        return Err(SetupError::Refused(format!(
            "{administrator} is the management account, which cannot be the administrator\nhelp: give the hub's account"
        )));
    }
    Ok(administrator)
}

/// Checks that the caller administers both services: the hub reads both from one
/// account.
async fn check_administers(
    config: &SdkConfig,
    caller: &SetupCaller,
    request: &SetupRequest,
) -> Result<(), SetupError> {
    let SetupCaller { account, management, .. } = caller;
    let help = format!(
        "help: run it with credentials of the management account {management} first: `firebreak org enable --administrator {account}`"
    );
    if let Some(other) = request.administrator.as_ref().filter(|it| *it != account) {
        return Err(SetupError::Refused(format!(
            "these are credentials of {account}, not of the management account {management} or the administrator {other}"
        )));
    }
    for (service, principal) in [("GuardDuty", GUARDDUTY), ("Security Hub", SECURITY_HUB)] {
        let found = match organizations::delegated(config, principal).await {
            Ok(found) => found,
            Err(error) if error.has_code("AccessDeniedException") => {
                return Err(SetupError::Refused(format!(
                    "{account} is not the management account {management}, and may not list the delegated administrators: {error}\n{help}"
                )));
            }
            Err(error) => return Err(SetupError::Aws(HubError::failed(error.to_string()))),
        };
        if !found.contains(account) {
            let is = match found.iter().next() {
                Some(other) => format!("{other} does"),
                None => "no account does".to_owned(),
            };
            return Err(SetupError::Refused(format!(
                "{account} does not administer {service} for the organization: {is}\n{help}"
            )));
        }
    }
    Ok(())
}

/// Opens a session of a role in the administrator's account.
async fn assume(
    config: &SdkConfig,
    caller: &SetupCaller,
    administrator: &AccountId,
    role: &str,
) -> Result<SdkConfig, SetupError> {
    let arn = format!("arn:{}:iam::{administrator}:role/{role}", caller.partition);
    let output = aws_sdk_sts::Client::new(config)
        .assume_role()
        .role_arn(&arn)
        .role_session_name(SESSION)
        .send()
        .await
        .map_err(|error| {
            failed("sts:AssumeRole", &error)
                .context(format_args!("cannot open a session of `{arn}`"))
        })?;
    // The session's ARN has its account.
    let session = output.assumed_role_user().map_or("", |user| user.arn());
    let expected = format!("arn:{}:sts::{administrator}:assumed-role/", caller.partition);
    if !session.starts_with(&expected) {
        return Err(SetupError::Refused(format!(
            "rejected the session `{session}`: it is not in account {administrator}"
        )));
    }
    let Some(granted) = output.credentials() else {
        let message = "sts:AssumeRole returned no credentials".to_owned();
        return Err(SetupError::Aws(HubError::failed(message)));
    };
    let credentials = Credentials::new(
        granted.access_key_id(),
        granted.secret_access_key(),
        Some(granted.session_token().to_owned()),
        None,
        "firebreak-org",
    );
    let provider = SharedCredentialsProvider::new(credentials);
    Ok(config.to_builder().credentials_provider(provider).build())
}

/// The Regions of the partition with their status in the caller's account.
async fn statuses(config: &SdkConfig) -> Result<BTreeMap<String, String>, HubError> {
    let mut statuses = BTreeMap::new();
    let mut pages = aws_sdk_account::Client::new(config).list_regions().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failed("account:ListRegions", &error))?;
        for region in page.regions() {
            let status = region.region_opt_status().map_or("unknown", |it| it.as_str());
            let name = region.region_name().unwrap_or_default();
            statuses.insert(name.to_owned(), status.to_owned());
        }
    }
    Ok(statuses)
}

/// The Regions that are enabled in every account, the home Region first; the others
/// with the reason.
fn regions(
    accounts: &[(AccountId, BTreeMap<String, String>)],
    request: &SetupRequest,
    home: &Region,
) -> (Vec<Region>, BTreeMap<Region, String>) {
    let known = accounts.iter().flat_map(|(_, statuses)| statuses.keys());
    let known: BTreeSet<Region> = known.filter_map(|name| name.parse().ok()).collect();
    let asked: BTreeSet<Region> = match request.regions.as_slice() {
        [] => known,
        regions => regions.iter().cloned().collect(),
    };
    let (mut regions, mut skipped) = (Vec::new(), BTreeMap::new());
    for region in asked {
        let reason = accounts.iter().find_map(|(account, statuses)| {
            match statuses.get(region.as_str()).map(String::as_str) {
                Some("ENABLED" | "ENABLED_BY_DEFAULT") => None,
                Some(status) => Some(format!("its status in account {account} is {status}")),
                None => Some("this partition has no such Region".to_owned()),
            }
        });
        match reason {
            Some(why) => {
                skipped.insert(region, why);
            }
            None => regions.push(region),
        }
    }
    regions.sort_by_key(|region| (region != home, region.clone()));
    (regions, skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u64, statuses: &[(&str, &str)]) -> (AccountId, BTreeMap<String, String>) {
        let statuses = statuses.iter().map(|(it, status)| ((*it).to_owned(), (*status).to_owned()));
        (format!("{number:012}").parse().unwrap(), statuses.collect())
    }

    #[test]
    fn a_region_is_used_if_every_account_has_it_enabled() {
        let accounts = [
            account(
                1,
                &[
                    ("eu-west-1", "ENABLED"),
                    ("us-east-1", "ENABLED_BY_DEFAULT"),
                    ("af-south-1", "DISABLED"),
                ],
            ),
            account(
                2,
                &[
                    ("eu-west-1", "ENABLING"),
                    ("us-east-1", "ENABLED_BY_DEFAULT"),
                    ("af-south-1", "ENABLED"),
                ],
            ),
        ];
        let home: Region = "us-east-1".parse().unwrap();
        let (found, skipped) = regions(&accounts, &SetupRequest::default(), &home);
        assert_eq!(found, std::slice::from_ref(&home));
        let message: Vec<String> = skipped.iter().map(|(it, why)| format!("{it}: {why}")).collect();
        assert_eq!(
            message,
            [
                "af-south-1: its status in account 000000000001 is DISABLED",
                "eu-west-1: its status in account 000000000002 is ENABLING",
            ]
        );
        let request = SetupRequest {
            regions: vec!["mars-north-1".parse().unwrap(), home.clone()],
            ..SetupRequest::default()
        };
        let (found, skipped) = regions(&accounts, &request, &home);
        assert_eq!((found.len(), skipped.len()), (1, 1));
    }
}
