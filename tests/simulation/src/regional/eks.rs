//! EKS's calls, as its API reference has them: clusters, access entries and
//! their access policies, tags. What is in a cluster is `kubernetes`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::kubernetes::Kubernetes;
use super::{Answer, Place, required, texts};
use crate::state::State;
use crate::wire::{self, ServiceError};

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Eks {
    /// Clusters by name.
    pub clusters: BTreeMap<String, Cluster>,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cluster {
    /// The first label of its endpoint's host.
    pub id: String,
    /// `API`, `API_AND_CONFIG_MAP` or `CONFIG_MAP`.
    pub authentication_mode: String,
    /// Whether the endpoint is reachable from outside the VPC.
    pub public_endpoint: bool,
    /// Whether the creator got an access entry as cluster administrator.
    pub bootstrap_creator: bool,
    /// When it was created, in seconds.
    pub created: i64,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Access entries by principal ARN.
    pub entries: BTreeMap<String, AccessEntry>,
    /// What its Kubernetes API holds.
    pub kubernetes: Kubernetes,
}

/// An access entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccessEntry {
    /// Kubernetes groups.
    pub groups: Vec<String>,
    /// The Kubernetes user name, with placeholders such as `{{SessionName}}`.
    pub username: String,
    /// `STANDARD`, `EC2_LINUX`, `FARGATE_LINUX`…
    pub kind: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Scopes by access policy ARN.
    pub policies: BTreeMap<String, AccessScope>,
    /// When it was created, in seconds; never the same again.
    #[serde(skip)]
    pub created: i64,
    /// The last part of its ARN; never the same again.
    #[serde(skip)]
    pub id: String,
}

/// Where an access policy holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccessScope {
    /// `cluster` or `namespace`.
    pub kind: String,
    /// The namespaces.
    pub namespaces: Vec<String>,
}

/// The base64 of a text that stands for the certificate authority's PEM.
const AUTHORITY: &str = "c2ltdWxhdGVk";

/// The operation of a request, and what its path names.
pub fn route(method: &str, path: &str) -> Option<(&'static str, super::Params)> {
    let parts: Vec<String> = path.trim_matches('/').split('/').map(wire::decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let cluster = |name: &str| ("clusterName", name.to_owned());
    let principal = |arn: &str| ("principalArn", arn.to_owned());
    Some(match (method, parts.as_slice()) {
        ("GET", ["clusters"]) => ("ListClusters", Vec::new()),
        ("GET", ["clusters", name]) => ("DescribeCluster", vec![cluster(name)]),
        ("GET", ["clusters", name, "access-entries"]) => ("ListAccessEntries", vec![cluster(name)]),
        ("POST", ["clusters", name, "access-entries"]) => {
            ("CreateAccessEntry", vec![cluster(name)])
        }
        ("GET", ["clusters", name, "access-entries", arn]) => {
            ("DescribeAccessEntry", vec![cluster(name), principal(arn)])
        }
        ("DELETE", ["clusters", name, "access-entries", arn]) => {
            ("DeleteAccessEntry", vec![cluster(name), principal(arn)])
        }
        ("GET", ["clusters", name, "access-entries", arn, "access-policies"]) => {
            ("ListAssociatedAccessPolicies", vec![cluster(name), principal(arn)])
        }
        ("POST", ["clusters", name, "access-entries", arn, "access-policies"]) => {
            ("AssociateAccessPolicy", vec![cluster(name), principal(arn)])
        }
        ("POST", ["tags", arn]) => ("TagResource", vec![("resourceArn", (*arn).to_owned())]),
        ("DELETE", ["tags", arn]) => ("UntagResource", vec![("resourceArn", (*arn).to_owned())]),
        _ => return None,
    })
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    let unique = state.unique();
    let answer = match operation {
        "ListClusters" => {
            let eks = &state.regional(&place.account, &place.region).eks;
            Ok(json!({ "clusters": eks.clusters.keys().collect::<Vec<_>>() }))
        }
        "DescribeCluster" => describe_cluster(state, place, input),
        "ListAccessEntries" => list_entries(state, place, input),
        "CreateAccessEntry" => create_entry(state, place, input, unique),
        "DescribeAccessEntry" => entry(state, place, input).map(
            |(cluster, arn, entry)| json!({ "accessEntry": rendered(place, &cluster, &arn, entry) }),
        ),
        "DeleteAccessEntry" => delete_entry(state, place, input),
        "ListAssociatedAccessPolicies" => list_policies(state, place, input),
        "AssociateAccessPolicy" => associate(state, place, input),
        "TagResource" | "UntagResource" => tag(state, place, operation, input),
        _ => return None,
    };
    Some(answer)
}

fn error(status: u16, code: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(status, code, message)
}

fn cluster<'a>(
    state: &'a mut State,
    place: &Place,
    input: &Value,
) -> Result<(String, &'a mut Cluster), ServiceError> {
    let name = required(input, "clusterName")?.to_owned();
    let eks = &mut state.regional(&place.account, &place.region).eks;
    if let Some(cluster) = eks.clusters.get_mut(&name) {
        return Ok((name, cluster));
    }
    let message = format!("No cluster found for name: {name}.");
    Err(error(404, "ResourceNotFoundException", message))
}

/// A cluster whose access entries are in use.
fn with_entries<'a>(
    state: &'a mut State,
    place: &Place,
    input: &Value,
) -> Result<(String, &'a mut Cluster), ServiceError> {
    let (name, cluster) = cluster(state, place, input)?;
    if cluster.authentication_mode == "CONFIG_MAP" {
        let message = "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.";
        return Err(error(400, "InvalidRequestException", message));
    }
    Ok((name, cluster))
}

fn entry<'a>(
    state: &'a mut State,
    place: &Place,
    input: &Value,
) -> Result<(String, String, &'a mut AccessEntry), ServiceError> {
    let arn = required(input, "principalArn")?.to_owned();
    let (name, cluster) = with_entries(state, place, input)?;
    if let Some(entry) = cluster.entries.get_mut(&arn) {
        return Ok((name, arn, entry));
    }
    let message = "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.";
    Err(error(404, "ResourceNotFoundException", message))
}

fn describe_cluster(state: &mut State, place: &Place, input: &Value) -> Answer {
    let Place { account, region, .. } = place;
    let (name, cluster) = cluster(state, place, input)?;
    Ok(json!({ "cluster": {
        "name": name,
        "arn": format!("arn:aws:eks:{region}:{account}:cluster/{name}"),
        "createdAt": cluster.created,
        "endpoint": format!("https://{}.gr7.{region}.eks.amazonaws.com", cluster.id),
        "certificateAuthority": { "data": AUTHORITY },
        "status": "ACTIVE",
        "resourcesVpcConfig": {
            "endpointPublicAccess": cluster.public_endpoint,
            "endpointPrivateAccess": !cluster.public_endpoint,
        },
        "accessConfig": {
            "authenticationMode": cluster.authentication_mode,
            "bootstrapClusterCreatorAdminPermissions": cluster.bootstrap_creator,
        },
        "tags": cluster.tags,
    } }))
}

fn entry_arn(place: &Place, cluster: &str, principal: &str, entry: &AccessEntry) -> String {
    let Place { account, region, .. } = place;
    let kind = if principal.contains(":user/") { "user" } else { "role" };
    let name = principal.rsplit('/').next().unwrap_or_default();
    let id = &entry.id;
    format!("arn:aws:eks:{region}:{account}:access-entry/{cluster}/{kind}/{account}/{name}/{id}")
}

fn rendered(place: &Place, cluster: &str, principal: &str, entry: &AccessEntry) -> Value {
    json!({
        "clusterName": cluster,
        "principalArn": principal,
        "kubernetesGroups": entry.groups,
        "accessEntryArn": entry_arn(place, cluster, principal, entry),
        "createdAt": entry.created,
        "modifiedAt": entry.created,
        "tags": entry.tags,
        "username": entry.username,
        "type": entry.kind,
    })
}

/// One page of names: at most `maxResults`, 100 when absent.
fn page(names: Vec<String>, input: &Value) -> (Vec<String>, Option<String>) {
    let size = super::number(input, "maxResults").and_then(|size| usize::try_from(size).ok());
    let after = input.get("nextToken").and_then(Value::as_str).unwrap_or_default();
    let mut rest = names.into_iter().filter(|name| name.as_str() > after);
    let page: Vec<String> = rest.by_ref().take(size.unwrap_or(100)).collect();
    let token = rest.next().and_then(|_| page.last().cloned());
    (page, token)
}

fn list_entries(state: &mut State, place: &Place, input: &Value) -> Answer {
    let (_, cluster) = with_entries(state, place, input)?;
    let (page, token) = page(cluster.entries.keys().cloned().collect(), input);
    Ok(json!({ "accessEntries": page, "nextToken": token }))
}

fn list_policies(state: &mut State, place: &Place, input: &Value) -> Answer {
    let now = place.now.as_second();
    let (cluster, arn, entry) = entry(state, place, input)?;
    let (page, token) = page(entry.policies.keys().cloned().collect(), input);
    let policies: Vec<Value> = page
        .into_iter()
        .filter_map(|policy| {
            let AccessScope { kind, namespaces } = entry.policies.get(&policy)?;
            Some(json!({
                "policyArn": policy,
                "accessScope": { "type": kind, "namespaces": namespaces },
                "associatedAt": now,
                "modifiedAt": now,
            }))
        })
        .collect();
    Ok(json!({
        "clusterName": cluster,
        "principalArn": arn,
        "nextToken": token,
        "associatedAccessPolicies": policies,
    }))
}

/// Whether the ARN is of a user or role that exists; those of accounts outside
/// the organization are taken on trust.
fn exists(state: &State, principal: &str) -> bool {
    let parts: Vec<&str> = principal.splitn(6, ':').collect();
    let ["arn", _, "iam", "", account, resource] = parts.as_slice() else { return false };
    let Some(held) = state.accounts.get(*account) else { return true };
    let Some((kind, path)) = resource.split_once('/') else { return false };
    let (path, name) = path
        .rsplit_once('/')
        .map_or(("/".to_owned(), path), |(path, name)| (format!("/{path}/"), name));
    match kind {
        "role" => held.iam.roles.get(name).is_some_and(|role| role.identity.path == path),
        "user" => held.iam.users.get(name).is_some_and(|user| user.identity.path == path),
        _ => false,
    }
}

/// The name that EKS gives where none is asked for (EKS user guide, "Create
/// access entries").
pub fn default_username(principal: &str) -> String {
    let parts: Vec<&str> = principal.splitn(6, ':').collect();
    match parts.as_slice() {
        [_, partition, _, _, account, resource] if resource.starts_with("role/") => {
            let name = resource.rsplit('/').next().unwrap_or_default();
            format!("arn:{partition}:sts::{account}:assumed-role/{name}/{{{{SessionName}}}}")
        }
        _ => principal.to_owned(),
    }
}

fn tags(input: &Value) -> BTreeMap<String, String> {
    let tags = input.get("tags").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    tags.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn create_entry(state: &mut State, place: &Place, input: &Value, unique: u64) -> Answer {
    let invalid = |message: &str| Err(error(400, "InvalidParameterException", message));
    let principal = required(input, "principalArn")?.to_owned();
    let known = exists(state, &principal);
    let (name, cluster) = with_entries(state, place, input)?;
    if !principal.contains(":iam::") {
        return invalid("The principalArn parameter format is not valid");
    }
    if principal.contains(":role/aws-service-role/") {
        return invalid(
            "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role",
        );
    }
    if !known {
        return invalid("The specified principalArn is invalid: invalid principal.");
    }
    if cluster.entries.contains_key(&principal) {
        let message = "The specified access entry resource is already in use on this cluster.";
        return Err(error(409, "ResourceInUseException", message));
    }
    let asked = input.get("username").and_then(Value::as_str);
    let reserved = ["system:", "eks:", "aws:", "amazon:", "iam:"];
    if asked.is_some_and(|name| reserved.iter().any(|prefix| name.starts_with(prefix))) {
        return invalid("The username has a reserved prefix");
    }
    let groups = texts(input, "kubernetesGroups");
    if groups.iter().any(|group| group.starts_with("system:")) {
        return invalid("The kubernetes group name is invalid, it cannot start with system:");
    }
    let kind = input.get("type").and_then(Value::as_str).unwrap_or("STANDARD").to_owned();
    let tags = tags(input);
    if tags.len() > 50 {
        return invalid("There can be no more than 50 tags");
    }
    let created = AccessEntry {
        groups,
        username: asked.map_or_else(|| default_username(&principal), str::to_owned),
        kind,
        tags,
        policies: BTreeMap::new(),
        created: place.now.as_second(),
        id: unique.to_string(),
    };
    let rendered = rendered(place, &name, &principal, &created);
    cluster.entries.insert(principal, created);
    Ok(json!({ "accessEntry": rendered }))
}

fn delete_entry(state: &mut State, place: &Place, input: &Value) -> Answer {
    let (_, arn, _) = entry(state, place, input)?;
    let (_, cluster) = with_entries(state, place, input)?;
    cluster.entries.remove(&arn);
    Ok(json!({}))
}

fn associate(state: &mut State, place: &Place, input: &Value) -> Answer {
    let policy = required(input, "policyArn")?.to_owned();
    let scope = input.get("accessScope").cloned().unwrap_or(Value::Null);
    let (cluster, arn, entry) = entry(state, place, input)?;
    if entry.kind != "STANDARD" {
        let message = "Access policies can be associated with access entries of type STANDARD only";
        return Err(error(400, "InvalidRequestException", message));
    }
    let kind = required(&scope, "type")?.to_owned();
    let namespaces = texts(&scope, "namespaces");
    if (kind == "namespace") == namespaces.is_empty() {
        let message = "A scope of type namespace, and no other, has namespaces";
        return Err(error(400, "InvalidParameterException", message));
    }
    entry.policies.insert(policy.clone(), AccessScope { kind, namespaces });
    Ok(json!({
        "clusterName": cluster,
        "principalArn": arn,
        "associatedAccessPolicy": { "policyArn": policy, "accessScope": scope },
    }))
}

/// Tags of clusters and access entries.
fn tag(state: &mut State, place: &Place, operation: &str, input: &Value) -> Answer {
    let arn = required(input, "resourceArn")?.to_owned();
    let eks = &mut state.regional(&place.account, &place.region).eks;
    let found = eks.clusters.iter_mut().find_map(|(name, cluster)| {
        if arn.ends_with(&format!(":cluster/{name}")) {
            return Some(&mut cluster.tags);
        }
        let entries = cluster.entries.iter_mut();
        let mut named =
            entries.filter(|(principal, entry)| entry_arn(place, name, principal, entry) == arn);
        named.next().map(|(_, entry)| &mut entry.tags)
    });
    let Some(found) = found else {
        return Err(error(404, "NotFoundException", format!("No resource found: {arn}")));
    };
    if operation == "TagResource" {
        found.extend(tags(input));
    } else {
        // One key comes as a text, as the query has it.
        let one = input.get("tagKeys").and_then(Value::as_str).map(str::to_owned);
        for key in one.into_iter().chain(texts(input, "tagKeys")) {
            found.remove(&key);
        }
    }
    Ok(json!({}))
}
