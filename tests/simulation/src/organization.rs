//! The handle on a simulated organization: made, arranged, called, looked at.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest as SdkRequest;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse as SdkResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::caller::{Caller, Session};
use crate::chaos::{Chaos, Dice};
use crate::cloudformation::{Due, stack_sets};
use crate::cloudformation_access;
use crate::dynamodb::DynamoDb;
use crate::faults::{Effect, Fault};
use crate::iam::model::{Identity, Profile, Role, User};
use crate::organizations::Member;
use crate::permissions::{self, Denied, Needed};
use crate::policy::Context;
use crate::process::{Life, Process};
use crate::regional;
use crate::router::{self, Routed};
use crate::state::State;
use crate::throttle::{self, Throttle};
use crate::wire::{self, HttpRequest, HttpResponse, ServiceError};

/// How the organization behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time at which it begins.
    pub start: Timestamp,
    /// How long each call takes.
    pub latency: Duration,
    /// Whether the documented token buckets are enforced.
    pub throttling: bool,
    /// What goes wrong by chance, from the first call on.
    pub chaos: Option<Chaos>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Any moment will do: 2026-01-01T00:00:00Z.
            start: Timestamp::constant(1_767_225_600, 0),
            latency: Duration::ZERO,
            throttling: true,
            chaos: None,
        }
    }
}

/// One call, as it was made.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// The service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// The caller's account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The caller's ARN.
    pub caller: String,
    /// The SourceIdentity of the caller's session.
    pub source_identity: Option<String>,
    /// When the request came and when its answer left, by simulated time.
    pub began: Timestamp,
    /// See `began`.
    pub ended: Timestamp,
    /// Whether the operation changes something when it succeeds.
    pub mutating: bool,
    /// AWS's error code, or why there was no answer.
    pub error: Option<String>,
    /// The permissions that it needed.
    pub needed: Vec<String>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    began: tokio::time::Instant,
    advanced: AtomicI64,
    state: Mutex<State>,
    faults: Mutex<Vec<Fault>>,
    dice: Mutex<Option<Dice>>,
    throttle: Mutex<Throttle>,
    calls: Mutex<Vec<CallRecord>>,
    dynamodb: Mutex<BTreeMap<String, Arc<DynamoDb>>>,
    crashed: Notify,
}

/// A whole AWS organization. Clones share it.
#[derive(Clone, Debug)]
pub struct Organization(Arc<Inner>);

/// Why a request got no answer.
enum Unanswered {
    Unreachable,
    NoSuchHost,
    LostAnswer,
    Crashed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Organization {
    /// An organization with its management account and nothing else.
    pub fn new(id: &str, root: &str, management: &str, options: Options) -> Self {
        let mut state = State::default();
        id.clone_into(&mut state.organizations.id);
        root.clone_into(&mut state.organizations.root);
        management.clone_into(&mut state.organizations.management);
        let dice = Mutex::new(options.chaos.map(Dice::new));
        let organization = Self(Arc::new(Inner {
            options,
            began: tokio::time::Instant::now(),
            advanced: AtomicI64::new(0),
            state: Mutex::new(state),
            faults: Mutex::default(),
            dice,
            throttle: Mutex::default(),
            calls: Mutex::default(),
            dynamodb: Mutex::default(),
            crashed: Notify::new(),
        }));
        organization.add_account(root, management, "management");
        organization
    }

    /// The present time: simulated, driven by tokio's clock and by [`Self::advance`].
    pub fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.0.began.elapsed()).unwrap_or_default();
        let advanced = SignedDuration::from_millis(self.0.advanced.load(Ordering::SeqCst));
        self.0.options.start + elapsed + advanced
    }

    /// Lets time pass.
    pub fn advance(&self, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.advanced.fetch_add(millis, Ordering::SeqCst);
    }

    /// The clock for SDK configurations.
    pub fn time_source(&self) -> impl TimeSource + 'static {
        Clock(self.clone())
    }

    /// Changes or reads anything.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut lock(&self.0.state))
    }

    /// Adds an OU under the root or another OU.
    pub fn add_ou(&self, parent: &str, id: &str, name: &str) {
        self.edit(|state| {
            let unit = (parent.to_owned(), name.to_owned());
            state.organizations.units.insert(id.to_owned(), unit);
        });
    }

    /// Adds an account under the root or an OU.
    pub fn add_account(&self, parent: &str, id: &str, name: &str) {
        let now = self.now();
        self.edit(|state| {
            let member = Member {
                parent: parent.to_owned(),
                name: name.to_owned(),
                state: "ACTIVE".to_owned(),
            };
            state.organizations.accounts.insert(id.to_owned(), member);
            state.accounts.entry(id.to_owned()).or_default();
            stack_sets::account_came(state, id, now);
        });
    }

    /// Moves an account under another OU.
    pub fn move_account(&self, id: &str, parent: &str) {
        let now = self.now();
        self.edit(|state| {
            if let Some(account) = state.organizations.accounts.get_mut(id) {
                parent.clone_into(&mut account.parent);
                stack_sets::account_left(state, id, now);
                stack_sets::account_came(state, id, now);
            }
        });
    }

    /// Carries out what StackSets' operations have due by now. Every call does so
    /// first; this is for who looks without a call.
    pub fn settle(&self) {
        let now = self.now();
        self.edit(|state| stack_sets::settle(state, now));
    }

    /// Makes an account the delegated administrator of everything, with
    /// Security Hub on in all Regions.
    pub fn delegate(&self, account: &str) {
        self.edit(|state| {
            state.organizations.delegated.push(account.to_owned());
            state.security_hub.administrator = Some(account.to_owned());
            state.guardduty.administrator = Some(account.to_owned());
            for principal in ["guardduty.amazonaws.com", "securityhub.amazonaws.com"] {
                state.organizations.trusted.insert(principal.to_owned());
                state.organizations.register(principal, account);
            }
            let stacksets = cloudformation_access::PRINCIPALS.map(str::to_owned);
            state.organizations.register(&stacksets[1], account);
            state.organizations.trusted.extend(stacksets);
            for region in state.regions.offered.keys() {
                state.security_hub.enable(account, region);
            }
        });
    }

    /// Adds a role; `policy` is an inline policy of the name `permissions`.
    pub fn add_role(&self, account: &str, path: &str, name: &str, trust: Value, policy: Value) {
        self.edit(|state| {
            let id = format!("AROA{:017}", state.unique());
            let inline = BTreeMap::from([("permissions".to_owned(), policy)]);
            let identity = Identity { id, path: path.to_owned(), inline, ..Identity::default() };
            state.iam(account).roles.insert(name.to_owned(), Role { identity, trust });
        });
    }

    /// Adds a user with one active access key; returns the key's id.
    pub fn add_user(&self, account: &str, name: &str, policy: Value) -> String {
        self.edit(|state| {
            let id = format!("AIDA{:017}", state.unique());
            let key = format!("AKIA{:016}", state.unique());
            let inline = BTreeMap::from([("permissions".to_owned(), policy)]);
            let identity = Identity { id, path: "/".to_owned(), inline, ..Identity::default() };
            let keys = BTreeMap::from([(key.clone(), true)]);
            state.iam(account).users.insert(name.to_owned(), User { identity, keys, login: None });
            state.keys.insert(key.clone(), (account.to_owned(), name.to_owned()));
            key
        })
    }

    /// Adds an instance profile with a role; returns its ARN and id.
    pub fn add_profile(&self, account: &str, name: &str, role: &str) -> (String, String) {
        self.edit(|state| {
            let id = format!("AIPA{:017}", state.unique());
            let profile = Profile { id: id.clone(), role: Some(role.to_owned()) };
            state.iam(account).profiles.insert(name.to_owned(), profile);
            (format!("arn:aws:iam::{account}:instance-profile/{name}"), id)
        })
    }

    /// A session of a role as a service gets it: Lambda for its function, EC2
    /// for an instance (then `name` is the instance's id).
    pub fn role_session(&self, account: &str, role: &str, name: &str) -> Credentials {
        let now = self.now();
        self.edit(|state| {
            let role_id = state
                .iam(account)
                .roles
                .get(role)
                .map(|role| role.identity.id.clone())
                .unwrap_or_default();
            let key = format!("ASIA{:016}", state.unique());
            let token = format!("token-{}", state.unique());
            let session = Session {
                account: account.to_owned(),
                role: role.to_owned(),
                role_id,
                name: name.to_owned(),
                issued: now,
                // Lambda and EC2 renew their sessions; this one lasts instead.
                expires: now + SignedDuration::from_hours(24 * 365),
                token: token.clone(),
                policy: None,
                tags: BTreeMap::new(),
                source_identity: None,
            };
            state.sessions.insert(key.clone(), session);
            Credentials::new(key, "simulated-secret", Some(token), None, "simulation")
        })
    }

    /// The credentials of a user's access key.
    pub fn user_credentials(&self, access_key_id: &str) -> Credentials {
        Credentials::new(access_key_id, "simulated-secret", None, None, "simulation")
    }

    /// Whether these credentials allow an action now, by the same
    /// authentication and authorization as a request's.
    pub fn attempt(
        &self,
        credentials: &Credentials,
        region: &str,
        action: &str,
        resource: &str,
    ) -> Result<(), Denied> {
        let now = self.now();
        self.edit(|state| {
            let id = Some(credentials.access_key_id());
            let caller = router::authenticate(state, id, credentials.session_token(), now)?;
            let needed = Needed { action: action.to_owned(), resource: resource.to_owned() };
            permissions::authorize(state, &caller, region, &needed, Context::new(), now)
        })
    }

    /// Lets calls go wrong.
    pub fn inject(&self, fault: Fault) {
        lock(&self.0.faults).push(fault);
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        lock(&self.0.faults).clear();
    }

    /// Lets calls go wrong by chance from now on, or no longer.
    pub fn set_chaos(&self, chaos: Option<Chaos>) {
        *lock(&self.0.dice) = chaos.map(Dice::new);
    }

    /// A process that calls this organization and can die alone.
    pub fn process(&self) -> Process {
        Process::new(self.clone())
    }

    /// Waits until a caller has died by an injected crash.
    pub async fn crashed(&self) {
        self.0.crashed.notified().await;
    }

    /// Every call since the last [`Self::forget_calls`], in the order of their ends.
    pub fn calls(&self) -> Vec<CallRecord> {
        lock(&self.0.calls).clone()
    }

    /// How many calls were made.
    pub fn call_count(&self) -> usize {
        lock(&self.0.calls).len()
    }

    /// Forgets the calls.
    pub fn forget_calls(&self) {
        lock(&self.0.calls).clear();
    }

    /// Hands the calls out and forgets them.
    pub fn take_calls(&self) -> Vec<CallRecord> {
        std::mem::take(&mut *lock(&self.0.calls))
    }

    /// Every item of a DynamoDB table, as its owner would scan it, but without
    /// a call: in DynamoDB's JSON, in no order.
    pub async fn items(&self, account: &str, table: &str) -> Vec<Value> {
        let tables = lock(&self.0.dynamodb).get(account).cloned();
        match tables {
            Some(tables) => tables.items(table).await,
            None => Vec::new(),
        }
    }

    /// The state of an account that an undo has to restore, comparable. Left
    /// out are ids that AWS never gives twice (profile associations), and
    /// Regions without anything.
    pub fn snapshot(&self, account: &str) -> Value {
        self.edit(|state| {
            let mut held = json!(state.accounts.get(account));
            if let Some(regions) = held.get_mut("ec2").and_then(Value::as_object_mut) {
                for ec2 in regions.values_mut() {
                    let Some(ec2) = ec2.as_object_mut() else { continue };
                    let associations = ec2.get("associations").and_then(Value::as_object);
                    let mut list: Vec<Value> =
                        associations.into_iter().flat_map(|it| it.values()).cloned().collect();
                    list.sort_by_key(Value::to_string);
                    ec2.insert("associations".to_owned(), Value::Array(list));
                }
                regions.retain(|_, ec2| {
                    ec2.as_object().is_some_and(|ec2| {
                        ec2.values().any(|it| {
                            it.as_object().is_some_and(|it| !it.is_empty())
                                || it.as_array().is_some_and(|it| !it.is_empty())
                        })
                    })
                });
            }
            let buckets: BTreeMap<_, _> =
                state.s3.buckets.iter().filter(|(_, bucket)| bucket.account == account).collect();
            let objects: BTreeMap<_, _> = state
                .s3
                .objects
                .held
                .iter()
                .filter(|(name, _)| buckets.contains_key(name))
                .collect();
            json!({
                "held": held,
                "objects": objects,
                "buckets": buckets,
                "account_block": state.s3.account_blocks.get(account),
            })
        })
    }

    /// The HTTP client for SDK configurations.
    pub fn http_client(&self) -> SharedHttpClient {
        // Of no process in particular: whoever crashed may go on with it.
        self.http_client_of(Life::endless())
    }

    /// The HTTP client of one process.
    pub(crate) fn http_client_of(&self, life: Life) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector(self.clone(), life));
        http_client_fn(move |_, _| connector.clone())
    }

    /// Answers one request. `Err` is a connection that failed or broke off; a
    /// crash never returns.
    pub async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, &'static str> {
        self.answer_to(request, &Life::default()).await
    }

    async fn answer_to(
        &self,
        request: HttpRequest,
        life: &Life,
    ) -> Result<HttpResponse, &'static str> {
        // The dead do not call.
        if life.is_over() {
            return std::future::pending().await;
        }
        match self.handle(request).await {
            Ok(response) => Ok(response),
            Err(Unanswered::Unreachable) => Err("connection refused"),
            // As the SDK's HTTP client tells it.
            Err(Unanswered::NoSuchHost) => {
                Err("dns error: failed to lookup address information: Name or service not known")
            }
            Err(Unanswered::LostAnswer) => Err("connection reset before the answer"),
            Err(Unanswered::Crashed) => {
                life.end();
                // Kept for whoever waits next: the crash may come before the wait.
                self.0.crashed.notify_one();
                std::future::pending().await
            }
        }
    }

    /// What goes wrong with a call: by script, or else by chance.
    fn effect(&self, routed: &Routed, account: &str) -> Option<Effect> {
        let Routed { service, operation, region, .. } = routed;
        let scripted = lock(&self.0.faults).iter_mut().find_map(|fault| {
            fault.hits(service, operation, account, region).then(|| fault.effect.clone())
        });
        scripted.or_else(|| lock(&self.0.dice).as_mut().and_then(|dice| dice.throw(service)))
    }

    /// Why a request finds nobody to answer it, where it does not.
    fn unreached(&self, routed: &Routed, host: &str) -> Option<Unanswered> {
        let Routed { service, region, .. } = routed;
        self.edit(|state| {
            if state.regions.is_without_endpoint(service, region) {
                return Some(Unanswered::NoSuchHost);
            }
            let closed =
                service == "kubernetes" && !regional::kubernetes::is_reachable(state, host);
            closed.then_some(Unanswered::Unreachable)
        })
    }

    async fn handle(&self, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
        let began = self.now();
        let routed = match router::route(&request) {
            Ok(routed) => routed,
            Err(why) => {
                let error = ServiceError::new(501, "NotModelled", why);
                return Ok(wire::error(wire::Protocol::RestXml, &error));
            }
        };
        let Routed { service, region, operation, protocol, access_key_id, session_token } = &routed;
        let caller = self.edit(|state| {
            router::authenticate(state, access_key_id.as_deref(), session_token.as_deref(), began)
        });
        let account = caller.as_ref().map(|it| it.account().to_owned()).unwrap_or_default();
        let effect = self.effect(&routed, &account);
        let slower = match &effect {
            Some(Effect::Slow(by)) => *by,
            _ => Duration::ZERO,
        };
        let latency = self.0.options.latency + slower;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let record = |response: Result<&HttpResponse, &str>| {
            let needed = self.edit(|state| {
                permissions::needed(state, service, operation, &account, region, &request)
            });
            let source_identity = match &caller {
                Ok(Caller::Role(session)) => session.source_identity.clone(),
                _ => None,
            };
            lock(&self.0.calls).push(CallRecord {
                service: service.clone(),
                operation: operation.clone(),
                account: account.clone(),
                region: region.clone(),
                caller: caller.as_ref().map(Caller::arn).unwrap_or_default(),
                source_identity,
                began,
                ended: self.now(),
                mutating: is_mutating(operation),
                error: match response {
                    Ok(response) => response.code.clone(),
                    Err(why) => Some(why.to_owned()),
                },
                needed: needed.into_iter().map(|needed| needed.action).collect(),
            });
        };
        match &effect {
            Some(Effect::Error { status, code }) => {
                let error = ServiceError::new(*status, code, "The simulation was told to fail");
                let response = wire::error(*protocol, &error);
                record(Ok(&response));
                return Ok(response);
            }
            Some(Effect::Unreachable) => {
                record(Err("unreachable"));
                return Err(Unanswered::Unreachable);
            }
            Some(Effect::CrashBefore) => {
                record(Err("crashed before"));
                return Err(Unanswered::Crashed);
            }
            Some(Effect::Silent) => {
                record(Err("no answer"));
                return std::future::pending().await;
            }
            Some(Effect::LostAnswer | Effect::Malformed | Effect::Slow(_) | Effect::CrashAfter)
            | None => {}
        }
        if let Some(unanswered) = self.unreached(&routed, &request.host) {
            record(Err("unreachable"));
            return Err(unanswered);
        }
        let now = self.now();
        let allowed = !self.0.options.throttling
            || lock(&self.0.throttle).take(&account, region, service, operation, now);
        let response = if allowed {
            self.serve(&caller, &routed, &request, now).await
        } else {
            let (status, code) = throttle::code(service);
            wire::error(*protocol, &ServiceError::new(status, code, "Request limit exceeded."))
        };
        record(Ok(&response));
        match effect {
            Some(Effect::LostAnswer) => Err(Unanswered::LostAnswer),
            Some(Effect::CrashAfter) => Err(Unanswered::Crashed),
            Some(Effect::Malformed) => {
                let half = response.body.len() / 2;
                let body = response.body.into_iter().take(half).collect();
                Ok(HttpResponse { body, ..response })
            }
            _ => Ok(response),
        }
    }

    async fn serve(
        &self,
        caller: &Result<Caller, Denied>,
        routed: &Routed,
        request: &HttpRequest,
        now: Timestamp,
    ) -> HttpResponse {
        let Routed { service, protocol, .. } = routed;
        self.edit(|state| stack_sets::settle(state, now));
        let refused = |denied: &Denied| wire::error(*protocol, &router::refusal(service, denied));
        let caller = match caller {
            Ok(caller) => caller,
            Err(denied) => return refused(denied),
        };
        if service == "dynamodb" {
            if let Err(denied) =
                self.edit(|state| router::authorize(state, caller, routed, request, now))
            {
                return refused(&denied);
            }
            let tables =
                lock(&self.0.dynamodb).entry(caller.account().to_owned()).or_default().clone();
            // Tables that stacks made since the account's last call.
            for due in self.edit(|state| state.cloudformation.tables.take(caller.account())) {
                let request = HttpRequest { body: due.input.to_string().into(), ..of_table(&due) };
                tables.answer(&request, &due.region, due.operation, now).await;
            }
            return tables.answer(request, &routed.region, &routed.operation, now).await;
        }
        let disabled = self.edit(|state| router::disabled(state, routed, caller));
        if let Some(error) = disabled {
            return wire::error(*protocol, &error);
        }
        self.edit(|state| match router::authorize(state, caller, routed, request, now) {
            Ok(()) => router::dispatch(state, caller, routed, request, now),
            Err(denied) => refused(&denied),
        })
    }
}

/// The request that makes or deletes a table, but for its body.
fn of_table(due: &Due) -> HttpRequest {
    let Due { region, account, operation, .. } = due;
    let mut headers = http::HeaderMap::new();
    let scope =
        format!("AWS4-HMAC-SHA256 Credential={account}/20260101/{region}/dynamodb/aws4_request");
    for (name, value) in [
        ("authorization", scope),
        ("content-type", "application/x-amz-json-1.0".to_owned()),
        ("x-amz-target", format!("DynamoDB_20120810.{operation}")),
    ] {
        if let Ok(value) = http::HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    HttpRequest {
        method: "POST".to_owned(),
        host: format!("dynamodb.{region}.amazonaws.com"),
        path: "/".to_owned(),
        query: Vec::new(),
        headers,
        body: Vec::new(),
    }
}

fn is_mutating(operation: &str) -> bool {
    let reads = ["Get", "List", "Describe", "Head", "Query", "Scan", "BatchGet", "AssumeRole"];
    !reads.iter().any(|read| operation.starts_with(read))
}

#[derive(Debug)]
struct Clock(Organization);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        self.0.now().into()
    }
}

#[derive(Clone, Debug)]
struct Connector(Organization, Life);

impl HttpConnector for Connector {
    fn call(&self, request: SdkRequest) -> HttpConnectorFuture {
        let Self(organization, life) = self.clone();
        HttpConnectorFuture::new(async move {
            let request = read(&request).map_err(|error| ConnectorError::user(error.into()))?;
            match organization.answer_to(request, &life).await {
                Ok(response) => write(response),
                Err(why) => Err(ConnectorError::io(why.into())),
            }
        })
    }
}

fn read(request: &SdkRequest) -> Result<HttpRequest, String> {
    let uri: http::Uri =
        request.uri().parse().map_err(|error| format!("unreadable URI: {error}"))?;
    let mut headers = http::HeaderMap::new();
    for (name, value) in request.headers() {
        let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|it| it.to_string())?;
        headers.insert(name, http::HeaderValue::from_str(value).map_err(|it| it.to_string())?);
    }
    let body = request.body().bytes().ok_or("the simulation takes no streamed bodies")?.to_vec();
    Ok(HttpRequest {
        method: request.method().to_owned(),
        host: uri.host().unwrap_or_default().to_owned(),
        path: uri.path().to_owned(),
        query: wire::form(uri.query().unwrap_or_default()),
        headers,
        body,
    })
}

fn write(response: HttpResponse) -> Result<SdkResponse, ConnectorError> {
    let mut builder = http::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        builder = builder.header(name, value);
    }
    let built = builder
        .body(SdkBody::from(response.body))
        .map_err(|error| ConnectorError::other(error.into(), None))?;
    SdkResponse::try_from(built).map_err(|error| ConnectorError::other(error.into(), None))
}
