//! An EKS cluster: described through EKS, and its Kubernetes API through a
//! client of its own.
//!
//! # How the cluster knows who calls
//!
//! The bearer token is `k8s-aws-v1.` and a presigned URL of STS's
//! GetCallerIdentity with the cluster's name in a signed header; the cluster
//! calls the URL to learn who signed it (aws-iam-authenticator, "API
//! Authorization from Outside a Cluster"). The session needs no IAM permission
//! for that. What it may do is the cluster's to say: an access entry of the
//! spoke role, with a group that the cluster's RBAC binds to a role.
//!
//! # How requests get there
//!
//! Through a client that trusts only the cluster's certificate authority, under the
//! limits that the account has for it. Without limits the HTTP client of the
//! configuration is used, which a simulation provides.

use std::convert::Infallible;
use std::fmt::Debug;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_eks::types::{AuthenticationMode, Cluster};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, OrchestratorError};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::Body;
use kube::core::Selector;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::{BoxError, Service};

use crate::account::AccountSession;
use firebreak_client::rate_limit::Class;
use firebreak_client::sdk_error::from_sdk;
use firebreak_client::sdk_error::with_causes;
use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{Partition, Region};

/// The permission for DescribeCluster.
pub(crate) const DESCRIBE: &str = "eks:DescribeCluster";

/// Kubernetes lists come in pages of this many.
const PAGE: u32 = 500;

/// Describes a cluster; `Gone` when there is none of this name.
pub(crate) async fn describe(account: &AccountSession, name: &str) -> Result<Cluster, ActionError> {
    let output = account.eks().await.describe_cluster().name(name).send().await;
    let output = output.map_err(|error| from_sdk(DESCRIBE, &error))?;
    output.cluster.ok_or_else(|| {
        ActionError::new(ErrorKind::Failed, format!("{DESCRIBE} answered nothing about `{name}`"))
    })
}

/// How a cluster knows its users (EKS API reference, AccessConfigResponse).
pub(crate) enum Mode {
    /// By access entries.
    Api,
    /// By access entries and aws-auth.
    Both,
    /// By aws-auth.
    ConfigMap,
}

/// How this cluster knows its users.
pub(crate) fn mode(cluster: &Cluster) -> Mode {
    match cluster.access_config().and_then(|access| access.authentication_mode()) {
        Some(AuthenticationMode::Api) => Mode::Api,
        Some(AuthenticationMode::ApiAndConfigMap) => Mode::Both,
        // Clusters older than access entries return none.
        Some(_) | None => Mode::ConfigMap,
    }
}

/// The Kubernetes API of one cluster, called as the account's session.
pub(crate) struct Kubernetes<'a> {
    account: &'a AccountSession,
    cluster: String,
    /// Whether the endpoint is reachable from the VPC only.
    private: bool,
    client: Client,
}

/// A kind of objects in the API.
pub(crate) trait Object:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug + Send + Sync
{
}

impl<K> Object for K where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug + Send + Sync
{
}

impl<'a> Kubernetes<'a> {
    /// A client for the cluster's API. Nothing is sent yet.
    pub(crate) fn connect(
        account: &'a AccountSession,
        cluster: &Cluster,
    ) -> Result<Self, ActionError> {
        let name = cluster.name().unwrap_or_default().to_owned();
        let missing = |what: &str| {
            ActionError::new(
                ErrorKind::Transient,
                format!("the cluster `{name}` has no {what} yet"),
            )
        };
        let endpoint = cluster.endpoint().ok_or_else(|| missing("endpoint"))?;
        let authority = cluster
            .certificate_authority()
            .and_then(|authority| authority.data())
            .ok_or_else(|| missing("certificate authority"))?;
        let config = &account.config;
        // Every configuration has a clock of its own: the SDK needs one to sign.
        let now = config.time_source().map_or(SystemTime::UNIX_EPOCH, |source| source.now());
        let AccountSession { credentials, region, partition, .. } = account;
        let token = token(credentials, region, partition, &name, now)?;
        let http_client = match (&account.clusters, config.http_client()) {
            (Some(limits), _) => limits.over(trusting(&name, authority)?),
            (None, Some(client)) => client,
            (None, None) => trusting(&name, authority)?,
        };
        let operation = operation(config, http_client, endpoint, &token);
        let client = Client::new(ToCluster { operation }, "default");
        let vpc = cluster.resources_vpc_config();
        let private = vpc.is_some_and(|vpc| !vpc.endpoint_public_access());
        Ok(Self { account, cluster: name, private, client })
    }

    /// The objects of a kind in a namespace.
    pub(crate) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Object + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The objects of a kind that knows no namespaces.
    pub(crate) fn all<K: Object>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// One object; `None` when there is none of this name.
    pub(crate) async fn get<K: Object>(
        &self,
        api: &Api<K>,
        name: &str,
    ) -> Result<Option<K>, ActionError> {
        self.account.permit(Class::Eks).await;
        match api.get_opt(name).await {
            Ok(object) => Ok(object),
            Err(error) => Err(self.error::<K>("get", name, error)),
        }
    }

    /// Every object that a selector fits, all pages of them.
    pub(crate) async fn list<K: Object>(
        &self,
        api: &Api<K>,
        selector: &Selector,
    ) -> Result<Vec<K>, ActionError> {
        let mut objects = Vec::new();
        let mut parameters = ListParams::default().limit(PAGE);
        if !selector.selects_all() {
            parameters = parameters.labels_from(selector);
        }
        loop {
            self.account.permit(Class::Eks).await;
            let page = api.list(&parameters).await;
            let page = page.map_err(|error| self.error::<K>("list", "", error))?;
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }

    /// Merges a change into an object (RFC 7396).
    pub(crate) async fn patch<K: Object>(
        &self,
        api: &Api<K>,
        name: &str,
        change: &Value,
    ) -> Result<(), ActionError> {
        self.account.permit(Class::Eks).await;
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await;
        patched.map(|_| ()).map_err(|error| self.error::<K>("patch", name, error))
    }

    /// Creates an object; one of this name that is there already is left as it is.
    pub(crate) async fn create<K: Object>(
        &self,
        api: &Api<K>,
        name: &str,
        object: &K,
    ) -> Result<(), ActionError> {
        self.account.permit(Class::Eks).await;
        match api.create(&PostParams::default(), object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(self.error::<K>("create", name, error)),
        }
    }

    /// Deletes exactly this object, unless it was changed since it was read.
    pub(crate) async fn delete<K: Object>(
        &self,
        api: &Api<K>,
        object: &K,
    ) -> Result<(), ActionError> {
        self.account.permit(Class::Eks).await;
        let name = object.meta().name.as_deref().unwrap_or_default();
        let (uid, resource_version) =
            (object.meta().uid.clone(), object.meta().resource_version.clone());
        let only = DeleteParams::default().preconditions(Preconditions { resource_version, uid });
        match api.delete(name, &only).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(self.error::<K>("delete", name, error)),
        }
    }

    fn error<K: Object>(&self, verb: &str, name: &str, error: kube::Error) -> ActionError {
        let kinds = K::plural(&());
        let what = if name.is_empty() { kinds.into_owned() } else { format!("{kinds}/{name}") };
        let cluster = &self.cluster;
        let text =
            |why: String| format!("cannot {verb} `{what}` in the cluster `{cluster}`: {why}");
        let failed = |kind, why: String| ActionError::new(kind, text(why));
        let group = K::group(&());
        let group = if group.is_empty() { String::new() } else { format!(" of {group}") };
        match error {
            kube::Error::Api(status) => {
                let kind = kind_of_status(status.code);
                let help = match status.code {
                    401 => Some("give the spoke role an access entry of the cluster, with a Kubernetes group, or a mapping in aws-auth".to_owned()),
                    403 => Some(format!("bind a group of the spoke role's access entry to a ClusterRole that may {verb} {}{group}", K::plural(&()))),
                    _ => None,
                };
                let code = Some(status.reason.clone()).filter(|reason| !reason.is_empty());
                let why = format!("{}: {}", status.reason, status.message);
                ActionError { code, help, ..failed(kind, why) }
            }
            kube::Error::Service(error) if self.private => {
                let help = "the cluster's endpoint is private: run Firebreak's function in a network that reaches it, or make the endpoint public to that network's addresses".to_owned();
                ActionError { help: Some(help), ..failed(ErrorKind::Failed, error.to_string()) }
            }
            kube::Error::Service(error) => failed(ErrorKind::Transient, error.to_string()),
            // A truncated response.
            kube::Error::SerdeError(error) => failed(ErrorKind::Transient, error.to_string()),
            error => failed(ErrorKind::Failed, error.to_string()),
        }
    }
}

/// Kubernetes' status codes by what the caller does about them (Kubernetes API
/// conventions, "HTTP Status codes").
fn kind_of_status(code: u16) -> ErrorKind {
    match code {
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::Gone,
        409 | 429 | 500.. => ErrorKind::Transient,
        _ => ErrorKind::Failed,
    }
}

/// Names become parts of paths, and the attacker chooses a finding's names.
pub(crate) fn checked_name(name: &str) -> Result<&str, ActionError> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let fits = (1..=253).contains(&name.len())
        && name.bytes().all(allowed)
        && ends(name.bytes().next())
        && ends(name.bytes().last());
    if fits {
        return Ok(name);
    }
    Err(ActionError::new(
        ErrorKind::Refused,
        format!("`{name}` is not a name of a Kubernetes object"),
    ))
}

/// The bearer token: valid for the cluster of this name alone.
fn token(
    credentials: &Credentials,
    region: &Region,
    partition: &Partition,
    cluster: &str,
    now: SystemTime,
) -> Result<String, ActionError> {
    let failed = |why: &dyn std::fmt::Display| {
        ActionError::new(
            ErrorKind::Failed,
            format!("cannot sign for the cluster `{cluster}`: {why}"),
        )
    };
    let suffix = dns_suffix(partition);
    let mut url =
        format!("https://sts.{region}.{suffix}/?Action=GetCallerIdentity&Version=2011-06-15");
    let identity: Identity = credentials.clone().into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(60));
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region.as_str())
        .name("sts")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let headers = [("x-k8s-aws-id", cluster)].into_iter();
    let request = SignableRequest::new("GET", url.clone(), headers, SignableBody::empty())
        .map_err(|error| failed(&error))?;
    let signed = sign(request, &parameters).map_err(|error| failed(&error))?;
    for (name, value) in signed.into_parts().0.params() {
        url.extend(["&", name, "=", &encoded(value)]);
    }
    Ok(format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(url)))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The domain of a partition's endpoints (the SDKs' partition metadata).
fn dns_suffix(partition: &Partition) -> &'static str {
    match partition.as_str() {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    }
}

/// A client that trusts one certificate authority, given as base64 of its PEM.
fn trusting(cluster: &str, authority: &str) -> Result<SharedHttpClient, ActionError> {
    let failed = |why: String| {
        let text = format!("the cluster `{cluster}` has an unusable certificate authority: {why}");
        ActionError::new(ErrorKind::Failed, text)
    };
    let pem = STANDARD.decode(authority).map_err(|error| failed(error.to_string()))?;
    let store = TrustStore::empty().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(store).build();
    let context = context.map_err(|error| failed(error.to_string()))?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}

/// A cluster's response, with any status.
#[derive(Debug)]
struct ClusterResponse {
    status: u16,
    body: Vec<u8>,
}

type Call = Operation<http::Request<Vec<u8>>, ClusterResponse, Infallible>;

/// One call of the cluster's API, with the configuration's timeouts. A failure is
/// reported, not retried: the caller retries from its record.
fn operation(
    config: &SdkConfig,
    http_client: SharedHttpClient,
    endpoint: &str,
    token: &str,
) -> Call {
    let authorization = format!("Bearer {token}");
    let mut builder = Operation::builder()
        .service_name("kubernetes")
        .operation_name("call")
        .http_client(http_client)
        .endpoint_url(endpoint)
        .no_auth()
        .no_retry();
    if let Some(version) = config.behavior_version() {
        builder = builder.behavior_version(version);
    }
    if let Some(timeouts) = config.timeout_config() {
        builder = builder.timeout_config(timeouts.clone());
    }
    if let Some(sleep) = config.sleep_impl() {
        builder = builder.sleep_impl(sleep);
    }
    if let Some(time) = config.time_source() {
        builder = builder.time_source(time);
    }
    builder
        .serializer(move |request: http::Request<Vec<u8>>| {
            let mut request = HttpRequest::try_from(request.map(SdkBody::from))?;
            request.headers_mut().insert(AUTHORIZATION.as_str(), authorization.clone());
            Ok(request)
        })
        .deserializer(|response| {
            let status = response.status().as_u16();
            let body = response.body().bytes().unwrap_or_default().to_vec();
            Ok::<ClusterResponse, OrchestratorError<Infallible>>(ClusterResponse { status, body })
        })
        .build()
}

/// The adapter between kube's client and the SDKs' HTTP clients.
struct ToCluster {
    operation: Call,
}

impl Service<http::Request<Body>> for ToCluster {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let operation = self.operation.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let mut plain = http::Request::new(body.collect_bytes().await?.to_vec());
            *plain.method_mut() = parts.method;
            *plain.uri_mut() = parts.uri;
            for name in [ACCEPT, CONTENT_TYPE] {
                if let Some(value) = parts.headers.get(&name) {
                    plain.headers_mut().insert(name, value.clone());
                }
            }
            let output = operation.invoke(plain).await;
            let output = output.map_err(|error| with_causes(&error))?;
            let response = http::Response::builder().status(output.status);
            Ok(response.body(Body::from(output.body))?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_url_that_only_the_named_cluster_takes() {
        let credentials =
            Credentials::new("ASIAEXAMPLE", "secret", Some("to+ken/=".to_owned()), None, "test");
        let (region, partition) = ("cn-north-1".parse().unwrap(), "aws-cn".parse().unwrap());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let token = token(&credentials, &region, &partition, "prod", now).unwrap();
        let encoded = token.strip_prefix("k8s-aws-v1.").unwrap();
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap();
        let (head, rest) = url.split_once("&X-Amz-Signature=").unwrap();
        let (signature, session) = rest.split_once('&').unwrap();
        assert_eq!(
            head,
            "https://sts.cn-north-1.amazonaws.com.cn/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAEXAMPLE%2F20260101%2Fcn-north-1%2Fsts%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id"
        );
        assert_eq!(session, "X-Amz-Security-Token=to%2Bken%2F%3D");
        // Computed independently, by the steps of "Signature Version 4".
        assert_eq!(signature, "a20b4a40e18690ab2f3159d3e6ae03f76840d3553925762f6ab8e511b7d192b9");
    }

    #[test]
    fn only_kubernetes_own_names_go_into_paths() {
        for name in ["web", "web-1.internal", "a", "0"] {
            assert!(checked_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "-a", "a-", "a/b", "../a", "A", "a b", "a%2fb", "a?b", "ä"] {
            assert_eq!(checked_name(name).unwrap_err().kind, ErrorKind::Refused, "{name}");
        }
    }

    #[test]
    fn an_authority_that_is_not_a_certificate_is_reported() {
        let error = trusting("prod", "%").unwrap_err();
        assert!(error.message.contains("certificate authority"), "{error}");
    }
}
