//! Sessions of the spoke role: one AssumeRole for each purpose, cached.
//!
//! # Guarantees
//!
//! - A session is used only if STS confirms that it is of the resource's account, and
//!   none is opened for a resource whose ids have an impossible form.
//! - A reading session is shared by all findings of an account and may only read. A
//!   changing session belongs to one response: its SourceIdentity and session tags have
//!   the response's id, and its session policy allows only the actions of its plan.
//! - Concurrent callers share one AssumeRole; a session is refreshed five minutes
//!   early. A denial is cached for a minute, so that a storm in an account without a
//!   spoke role does not cause a storm of AssumeRole.
//!
//! STS is called in the hub's own Region: tokens of a regional endpoint are
//! valid in opt-in Regions too, where the account has them enabled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_sts::types::Tag;
use firebreak_client::grant::SessionGrant;
use firebreak_client::rate_limit::{Class, RateLimits};
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{AccountId, Partition, Region, Resource};
use firebreak_model::text::tag_value;
use jiff::Timestamp;
use moka::future::Cache;
use serde_json::{Value, json};

use crate::config;
use crate::deadline::DeadlineClients;
use crate::error::{HubError, failed};
use crate::settings::Settings;
use firebreak_response::record::ResponseId;

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To read the state of any resource.
    Read,
    /// To execute or undo one response.
    Change {
        response: ResponseId,
        /// The id of the finding.
        finding: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    partition: Partition,
    account: AccountId,
    region: Region,
    policy: String,
    purpose: Purpose,
}

#[derive(Debug)]
enum Session<A> {
    Open { account: Arc<A>, renew_at: Timestamp },
    Refused { error: ActionError, until: Timestamp },
}

// A derived implementation would require `A: Clone`.
impl<A> Clone for Session<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Open { account, renew_at } => {
                Self::Open { account: account.clone(), renew_at: *renew_at }
            }
            Self::Refused { error, until } => Self::Refused { error: error.clone(), until: *until },
        }
    }
}

/// The start of every message about a session that cannot be opened. Metrics recognize
/// an account without a spoke role by it.
pub const NO_SESSION: &str = "cannot open a session of";

/// The sessions of the spoke role in one process, each with the clients that `build`
/// makes.
#[derive(Debug)]
pub struct Sessions<A: Send + Sync + 'static> {
    sts: aws_sdk_sts::Client,
    config: SdkConfig,
    calls: DeadlineClients,
    settings: Arc<Settings>,
    rate_limits: RateLimits,
    cache: Cache<Key, Session<A>>,
    build: fn(SessionGrant<'_>) -> A,
}

/// Role chaining: sessions last an hour at most (STS API reference, AssumeRole).
const DURATION_SECONDS: i32 = 3_600;
const RENEW_EARLY: Duration = Duration::from_secs(300);
const REFUSAL_REMEMBERED: Duration = Duration::from_secs(60);

impl<A: Send + Sync + 'static> Sessions<A> {
    /// Opens sessions with the hub's own credentials in `config`; their calls go
    /// through `calls`, and keep to `rate_limits`. `build` makes the clients of each session.
    pub fn new(
        config: &SdkConfig,
        settings: Arc<Settings>,
        calls: DeadlineClients,
        rate_limits: RateLimits,
        build: fn(SessionGrant<'_>) -> A,
    ) -> Self {
        Self {
            build,
            sts: aws_sdk_sts::Client::new(&calls.of_hub(config)),
            config: calls.into_members(config),
            calls,
            rate_limits,
            settings,
            cache: Cache::builder()
                .max_capacity(20_000)
                .time_to_idle(Duration::from_secs(3_600))
                .build(),
        }
    }

    /// The ARN of the hub's own credentials. Needs no permission.
    pub async fn caller(&self) -> Result<String, HubError> {
        let output = self.sts.get_caller_identity().send().await;
        let output = output.map_err(|error| failed("sts:GetCallerIdentity", &error))?;
        output
            .arn()
            .map(str::to_owned)
            .ok_or_else(|| HubError::failed("sts:GetCallerIdentity gave no ARN"))
    }

    /// The clients for a resource, in a session that allows only `actions`.
    ///
    /// # Errors
    ///
    /// `Denied` if the spoke role is missing or does not trust the hub, `Refused` if
    /// the session is of another account than the resource's or the resource cannot
    /// exist, `Transient` if STS cannot be reached.
    pub async fn open(
        &self,
        resource: &Resource,
        actions: &[&str],
        purpose: Purpose,
    ) -> Result<Arc<A>, ActionError> {
        resource.check_form().map_err(|error| {
            ActionError::new(ErrorKind::Refused, format!("refused to open a session: {error}"))
        })?;
        let key = Key {
            partition: resource.partition.clone(),
            account: resource.account.clone(),
            region: resource.region.clone(),
            policy: session_policy(actions),
            purpose,
        };
        let now = config::now(&self.config);
        if let Some(session) = self.cache.get(&key).await {
            match session {
                Session::Open { account, renew_at } if now < renew_at => return Ok(account),
                Session::Refused { error, until } if now < until => return Err(error),
                // The first caller that finds it stale removes it; the next line opens
                // one new session.
                Session::Open { .. } | Session::Refused { .. } => {
                    self.cache.invalidate(&key).await;
                }
            }
        }
        let opened = self.cache.try_get_with(key.clone(), async {
            match self.assume(&key).await {
                Ok(session) => Ok(session),
                Err(error) if error.kind == ErrorKind::Transient => Err(error),
                Err(error) => Ok(Session::Refused { error, until: now + REFUSAL_REMEMBERED }),
            }
        });
        match opened.await {
            Ok(Session::Open { account, .. }) => Ok(account),
            Ok(Session::Refused { error, .. }) => Err(error),
            Err(error) => Err(error.as_ref().clone()),
        }
    }

    /// Takes a token for the next session that is going to be opened.
    pub async fn reserve(&self) {
        self.rate_limits.reserve_hub(&self.region(), Class::AssumeRole).await;
    }

    fn region(&self) -> Region {
        let region = self.config.region().and_then(|region| region.as_ref().parse().ok());
        region.unwrap_or_else(Region::global)
    }

    /// Assumes the spoke role; with a shorter session policy where STS cannot pack the
    /// first one: its packed size depends on how STS compresses it (STS API reference,
    /// AssumeRole, PackedPolicyTooLarge).
    async fn assume(&self, key: &Key) -> Result<Session<A>, ActionError> {
        match self.assume_with(key, &key.policy).await {
            Err(error) if error.has_code("PackedPolicyTooLarge") => {
                self.assume_with(key, &by_service(&key.policy)).await
            }
            assumed => assumed,
        }
    }

    async fn assume_with(&self, key: &Key, policy: &str) -> Result<Session<A>, ActionError> {
        let Key { partition, account, region, purpose, .. } = key;
        let role = &self.settings.spoke_role;
        let role_arn = format!("arn:{partition}:iam::{account}:role/{role}");
        let (source_identity, finding) = match purpose {
            Purpose::Read => ("firebreak-read", None),
            Purpose::Change { response, finding } => (response.as_str(), Some(finding)),
        };
        let mut request = self
            .sts
            .assume_role()
            .role_arn(&role_arn)
            .role_session_name(format!("firebreak-{source_identity}"))
            .source_identity(source_identity)
            .external_id(&self.settings.external_id)
            .duration_seconds(DURATION_SECONDS)
            .policy(policy);
        if let Some(finding) = finding {
            request = request
                .tags(tag("firebreak:response", source_identity)?)
                .tags(tag("firebreak:finding", &tag_value(finding))?);
        }
        self.rate_limits.permit_hub(&self.region(), Class::AssumeRole).await;
        let output = request.send().await.map_err(|error| {
            let error = from_sdk("sts:AssumeRole", &error);
            let help = match error.kind {
                ErrorKind::Denied => Some(format!(
                    "deploy stacksets/spoke.yaml into {account}, and compare its external id and hub role with the hub's"
                )),
                ErrorKind::NotApplicable
                | ErrorKind::Refused
                | ErrorKind::Gone
                | ErrorKind::Transient
                | ErrorKind::Failed => None,
            };
            let message = format!("{NO_SESSION} `{role_arn}`: {}", error.message);
            ActionError { message, help, ..error }
        })?;

        // The session's ARN shows its account: a target of one account must never be
        // changed through a session of another.
        let session = output.assumed_role_user().map_or("", |user| user.arn());
        let expected = format!("arn:{partition}:sts::{account}:assumed-role/");
        if !session.starts_with(&expected) {
            return Err(ActionError::new(
                ErrorKind::Refused,
                format!("refused to use the session `{session}`: it is not of account {account}"),
            ));
        }
        let Some(granted) = output.credentials() else {
            return Err(ActionError::new(
                ErrorKind::Failed,
                "sts:AssumeRole returned no credentials",
            ));
        };
        let credentials = Credentials::new(
            granted.access_key_id(),
            granted.secret_access_key(),
            Some(granted.session_token().to_owned()),
            None,
            "firebreak-spoke",
        );
        let expires = Timestamp::from_second(granted.expiration().secs()).map_err(|error| {
            ActionError::new(ErrorKind::Failed, format!("unreadable expiry: {error}"))
        })?;
        let account = (self.build)(SessionGrant {
            config: &self.config,
            credentials: &credentials,
            account: account.clone(),
            region: region.clone(),
            partition: partition.clone(),
            rate_limits: self.rate_limits.clone(),
            deadline: self.calls.deadline.clone(),
            clusters: self.calls.to_clusters(),
        });
        Ok(Session::Open { account: Arc::new(account), renew_at: expires - RENEW_EARLY })
    }
}

/// "Session policy <= 2048 characters" (STS API reference, AssumeRole).
pub const POLICY_CHARACTERS: usize = 2_048;

/// A session policy can only narrow the role's permissions. The actions are sorted, so
/// that the same set shares one session. If the policy would be too long, reads become
/// `service:Verb*`, and after that whole services are allowed: this grants nothing that
/// the spoke role itself lacks.
pub fn session_policy(actions: &[&str]) -> String {
    let exact: BTreeSet<String> = actions.iter().map(|&action| action.to_owned()).collect();
    let reads: BTreeSet<String> = exact.iter().map(|action| folded_read(action)).collect();
    let services = || -> BTreeSet<String> {
        exact.iter().filter_map(|it| Some(format!("{}:*", it.split_once(':')?.0))).collect()
    };
    let exact = written(&exact);
    if exact.len() <= POLICY_CHARACTERS {
        return exact;
    }
    let reads = written(&reads);
    if reads.len() <= POLICY_CHARACTERS { reads } else { written(&services()) }
}

/// A session policy that allows the same services whole; of a service that is only read, only
/// reads.
fn by_service(policy: &str) -> String {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let actions = policy.pointer("/Statement/0/Action").and_then(Value::as_array);
    let actions: Vec<&str> = actions.into_iter().flatten().filter_map(Value::as_str).collect();
    let service = |action: &str| action.split_once(':').map_or("", |it| it.0).to_owned();
    let is_read = |action: &str| folded_read(action) != action || action.ends_with('*');
    let changed: BTreeSet<String> =
        actions.iter().filter(|it| !is_read(it)).map(|it| service(it)).collect();
    let shorter = |action: &&str| match service(action) {
        service if changed.contains(&service) => format!("{service}:*"),
        _ => folded_read(action),
    };
    written(&actions.iter().map(shorter).collect())
}

fn written(actions: &BTreeSet<String>) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    })
    .to_string()
}

fn folded_read(action: &str) -> String {
    let Some((service, name)) = action.split_once(':') else { return action.to_owned() };
    let verb = ["Describe", "Get", "List"].into_iter().find(|verb| name.starts_with(verb));
    verb.map_or_else(|| action.to_owned(), |verb| format!("{service}:{verb}*"))
}

fn tag(key: &str, value: &str) -> Result<Tag, ActionError> {
    Tag::builder().key(key).value(value).build().map_err(|error| {
        ActionError::new(
            ErrorKind::Failed,
            format!("cannot build the session tag `{key}`: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_actions_in_another_order_give_the_same_session_policy() {
        let policy = session_policy(&["ec2:DescribeTags", "ec2:CreateTags", "ec2:DescribeTags"]);
        assert_eq!(policy, session_policy(&["ec2:CreateTags", "ec2:DescribeTags"]));
        assert!(policy.contains(r#"["ec2:CreateTags","ec2:DescribeTags"]"#), "{policy}");
    }

    #[test]
    fn a_policy_that_cannot_be_packed_names_services() {
        let policy = session_policy(&["ec2:CreateTags", "ec2:DescribeTags", "iam:GetUser"]);
        let expected = written(&BTreeSet::from(["ec2:*".to_owned(), "iam:Get*".to_owned()]));
        assert_eq!(by_service(&policy), expected);
    }

    #[test]
    fn a_policy_that_is_too_long_names_reads_by_their_verb() {
        assert_eq!(folded_read("ec2:DescribeInstances"), "ec2:Describe*");
        assert_eq!(folded_read("ec2:StopInstances"), "ec2:StopInstances");
    }
}
