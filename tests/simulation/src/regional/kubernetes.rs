//! The Kubernetes API of an EKS cluster: objects by their path, who the caller
//! is by access entry or `aws-auth`, and what RBAC lets it do.
//!
//! A token is a presigned URL of STS's GetCallerIdentity: it stands for the
//! caller who signed it. Of the access policies only the cluster
//! administrator's grants something here; all else is RBAC's objects.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::eks::{AccessEntry, Cluster};
use crate::caller::Caller;
use crate::permissions;
use crate::state::State;
use crate::wire::{self, HttpRequest, HttpResponse, Protocol, ServiceError};

/// What a cluster's API holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Kubernetes {
    /// Objects by path, without resource versions.
    pub objects: BTreeMap<String, Value>,
    /// Resource versions by path; never the same again.
    #[serde(skip)]
    versions: BTreeMap<String, u64>,
}

/// The kinds that are modelled: group, resource, kind, whether in namespaces.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("", "pods", "Pod", true),
    ("", "nodes", "Node", false),
    ("", "configmaps", "ConfigMap", true),
    ("apps", "deployments", "Deployment", true),
    ("apps", "daemonsets", "DaemonSet", true),
    ("apps", "statefulsets", "StatefulSet", true),
    ("apps", "replicasets", "ReplicaSet", true),
    ("batch", "jobs", "Job", true),
    ("networking.k8s.io", "networkpolicies", "NetworkPolicy", true),
    ("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", false),
];

/// Where an object of a kind is.
fn path(resource: &str, namespace: &str, name: &str) -> String {
    let found = KINDS.iter().find(|(_, plural, _, _)| *plural == resource);
    let (group, namespaced) = found.map_or(("", true), |(group, _, _, inside)| (*group, *inside));
    let root = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
    if namespaced {
        format!("{root}/namespaces/{namespace}/{resource}/{name}")
    } else {
        format!("{root}/{resource}/{name}")
    }
}

impl Kubernetes {
    /// Adds or replaces an object as a controller would, with a uid of its own
    /// where it has none.
    pub fn put(&mut self, resource: &str, namespace: &str, name: &str, mut object: Value) {
        let path = path(resource, namespace, name);
        if let Some(object) = object.as_object_mut() {
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("name".to_owned(), json!(name));
                if path.contains("/namespaces/") {
                    metadata.insert("namespace".to_owned(), json!(namespace));
                }
                metadata.entry("uid").or_insert_with(|| json!(format!("uid-{resource}-{name}")));
            }
        }
        *self.versions.entry(path.clone()).or_default() += 1;
        self.objects.insert(path, object);
    }

    /// An object.
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&path(resource, namespace, name))
    }

    /// An object to be changed.
    pub fn object_mut(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Option<&mut Value> {
        self.objects.get_mut(&path(resource, namespace, name))
    }

    /// Takes an object away.
    pub fn remove(&mut self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.objects.remove(&path(resource, namespace, name))
    }

    fn rendered(&self, path: &str) -> Option<Value> {
        let mut object = self.objects.get(path)?.clone();
        let version = self.versions.get(path).copied().unwrap_or_default().to_string();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
        Some(object)
    }
}

/// What a request is about.
struct Target {
    group: &'static str,
    resource: &'static str,
    kind: &'static str,
    namespace: Option<String>,
    name: Option<String>,
}

impl Target {
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<String> = path.trim_matches('/').split('/').map(wire::decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, "v1", rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (resource, name) = match rest {
            [resource] => (*resource, None),
            [resource, name] => (*resource, Some((*name).to_owned())),
            _ => return None,
        };
        let (group, resource, kind, _) =
            KINDS.iter().find(|kind| kind.0 == group && kind.1 == resource)?;
        Some(Self { group, resource, kind, namespace, name })
    }

    fn path(&self, name: &str) -> String {
        path(self.resource, self.namespace.as_deref().unwrap_or_default(), name)
    }
}

fn verb(method: &str, target: &Target) -> Option<&'static str> {
    Some(match (method, &target.name) {
        ("GET", Some(_)) => "get",
        ("GET", None) => "list",
        ("POST", None) => "create",
        ("PATCH", Some(_)) => "patch",
        ("DELETE", Some(_)) => "delete",
        _ => return None,
    })
}

/// Whether a host is a cluster's: `ID.gr7.REGION.eks.amazonaws.com`.
pub fn is_cluster(host: &str) -> bool {
    host.ends_with(".eks.amazonaws.com")
}

/// The Region of a cluster's host.
pub fn region(host: &str) -> String {
    host.split('.').nth(2).unwrap_or_default().to_owned()
}

/// The operation of a request, such as `PatchPod`.
pub fn operation(method: &str, path: &str) -> Option<String> {
    let target = Target::of(path)?;
    let verb = verb(method, &target)?;
    let (first, rest) = verb.split_at(1);
    Some(format!("{}{rest}{}", first.to_ascii_uppercase(), target.kind))
}

/// Access key id and session token of the caller who signed a request's token;
/// nothing where there is no token that a cluster would take.
pub fn signer(request: &HttpRequest) -> Option<(String, Option<String>)> {
    let token = request.header("authorization")?.strip_prefix("Bearer k8s-aws-v1.")?;
    let url = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (host, query) = url.strip_prefix("https://sts.")?.split_once("/?")?;
    let pairs: BTreeMap<String, String> = wire::form(query).into_iter().collect();
    let text = |name: &str| pairs.get(name).map(String::as_str);
    let signed = text("X-Amz-SignedHeaders")?;
    let lives: u32 = text("X-Amz-Expires")?.parse().ok()?;
    let fits = host.contains(".amazonaws.com")
        && text("Action") == Some("GetCallerIdentity")
        && signed.split(';').any(|header| header == "x-k8s-aws-id")
        && lives <= 900
        && text("X-Amz-Signature").is_some();
    if !fits {
        return None;
    }
    let key = text("X-Amz-Credential")?.split('/').next()?.to_owned();
    Some((key, text("X-Amz-Security-Token").map(str::to_owned)))
}

fn found<'a>(state: &'a State, host: &str) -> Option<(&'a str, &'a str, &'a str, &'a Cluster)> {
    let id = host.split('.').next().unwrap_or_default();
    let accounts = state.accounts.iter();
    accounts
        .flat_map(|(account, held)| {
            held.regional.iter().map(move |(region, services)| (account, region, services))
        })
        .find_map(|(account, region, services)| {
            let mut clusters = services.eks.clusters.iter();
            let (name, cluster) = clusters.find(|(_, cluster)| cluster.id == id)?;
            Some((account.as_str(), region.as_str(), name.as_str(), cluster))
        })
}

/// Whether a cluster of this host exists and answers outside its VPC.
pub fn is_reachable(state: &State, host: &str) -> bool {
    found(state, host).is_some_and(|(_, _, _, cluster)| cluster.public_endpoint)
}

fn refused(status: u16, reason: &str, message: impl Into<String>) -> ServiceError {
    ServiceError::new(status, reason, message)
}

/// Answers a request.
pub fn answer(state: &mut State, caller: &Caller, request: &HttpRequest) -> HttpResponse {
    match answered(state, caller, request) {
        Ok((status, value)) => wire::kubernetes(status, &value),
        Err(error) => wire::error(Protocol::Kubernetes, &error),
    }
}

fn answered(
    state: &mut State,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<(u16, Value), ServiceError> {
    let not_found = || refused(404, "NotFound", "the server could not find the resource");
    let target = Target::of(&request.path).ok_or_else(not_found)?;
    let verb = verb(&request.method, &target).ok_or_else(not_found)?;
    let (account, region, name, cluster) = found(state, &request.host).ok_or_else(not_found)?;
    let (account, region, name) = (account.to_owned(), region.to_owned(), name.to_owned());
    let user =
        user(state, cluster, caller).ok_or_else(|| refused(401, "Unauthorized", "Unauthorized"))?;
    if !may(cluster, &user, verb, &target) {
        let Target { group, resource, namespace, name, .. } = &target;
        let scope = match namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let name = name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        return Err(refused(
            403,
            "Forbidden",
            format!(
                "{resource}{name} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}",
                user.name
            ),
        ));
    }
    let unique = state.unique();
    let clusters = &mut state.regional(&account, &region).eks.clusters;
    let held = &mut clusters.get_mut(&name).ok_or_else(not_found)?.kubernetes;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    match verb {
        "get" => {
            let path = target.path(target.name.as_deref().unwrap_or_default());
            let object = held.rendered(&path).ok_or_else(|| missing(&target))?;
            Ok((200, typed(&target, object)))
        }
        "list" => Ok((200, list(held, &target, request))),
        "create" => create(held, &target, body, unique).map(|object| (201, object)),
        "patch" => patch(held, &target, request, &body).map(|object| (200, object)),
        _ => delete(held, &target, &body).map(|status| (200, status)),
    }
}

fn missing(target: &Target) -> ServiceError {
    let name = target.name.as_deref().unwrap_or_default();
    let Target { group, resource, .. } = target;
    let resource =
        if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
    refused(404, "NotFound", format!("{resource} \"{name}\" not found"))
}

fn typed(target: &Target, mut object: Value) -> Value {
    let version =
        if target.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", target.group) };
    if let Some(object) = object.as_object_mut() {
        object.insert("kind".to_owned(), json!(target.kind));
        object.insert("apiVersion".to_owned(), json!(version));
    }
    object
}

struct User {
    name: String,
    groups: Vec<String>,
    is_administrator: bool,
}

/// Who a caller is in a cluster. An access entry goes before `aws-auth` (EKS
/// user guide, "Grant IAM users and roles access to Kubernetes APIs").
fn user(state: &State, cluster: &Cluster, caller: &Caller) -> Option<User> {
    let principal = match caller {
        Caller::Anonymous => return None,
        Caller::User { .. } | Caller::Role(_) => permissions::principal_arn(state, caller),
    };
    let session = match caller {
        Caller::Role(session) => session.name.replace('@', "-"),
        Caller::User { .. } | Caller::Anonymous => String::new(),
    };
    let named = |template: &str| {
        template
            .replace("{{SessionName}}", &session)
            .replace("{{SessionNameRaw}}", &session)
            .replace("{{AccountID}}", caller.account())
    };
    let mode = cluster.authentication_mode.as_str();
    if mode != "CONFIG_MAP"
        && let Some(AccessEntry { groups, username, policies, .. }) =
            cluster.entries.get(&principal)
    {
        let is_administrator = policies.iter().any(|(arn, scope)| {
            arn.ends_with("/AmazonEKSClusterAdminPolicy") && scope.kind == "cluster"
        });
        return Some(User { name: named(username), groups: groups.clone(), is_administrator });
    }
    if mode == "API" {
        return None;
    }
    let auth = cluster.kubernetes.object("configmaps", "kube-system", "aws-auth")?;
    let (list, key) = match caller {
        Caller::Role(_) => ("mapRoles", "rolearn"),
        Caller::User { .. } | Caller::Anonymous => ("mapUsers", "userarn"),
    };
    let text = auth.get("data")?.get(list)?.as_str()?;
    let mappings: Vec<Mapping> = serde_saphyr::from_str(text).ok()?;
    // Mapped ARNs have no path.
    let (head, tail) = principal.split_once(":role/").unwrap_or((&principal, ""));
    let name = tail.rsplit('/').next().unwrap_or_default();
    let pathless = if tail.is_empty() { principal.clone() } else { format!("{head}:role/{name}") };
    let found = mappings.into_iter().find(|mapping| {
        let arn = if key == "rolearn" { &mapping.rolearn } else { &mapping.userarn };
        arn.as_deref() == Some(pathless.as_str())
    })?;
    Some(User { name: named(&found.username), groups: found.groups, is_administrator: false })
}

/// One mapping of `aws-auth`.
#[derive(Deserialize)]
struct Mapping {
    rolearn: Option<String>,
    userarn: Option<String>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

fn may(cluster: &Cluster, user: &User, verb: &str, target: &Target) -> bool {
    let member = |group: &str| user.groups.iter().any(|own| own == group);
    if user.is_administrator || member("system:masters") {
        return true;
    }
    let objects = &cluster.kubernetes.objects;
    let bindings = objects.iter().filter(|(path, _)| path.contains("/clusterrolebindings/"));
    let bound = bindings.filter(|(_, binding)| {
        each(binding, "subjects").any(|subject| {
            let name = subject.get("name").and_then(Value::as_str).unwrap_or_default();
            match subject.get("kind").and_then(Value::as_str) {
                Some("Group") => member(name),
                Some("User") => user.name == name,
                _ => false,
            }
        })
    });
    bound
        .filter_map(|(_, binding)| binding.get("roleRef")?.get("name")?.as_str())
        .filter_map(|role| cluster.kubernetes.object("clusterroles", "", role))
        .flat_map(|role| each(role, "rules"))
        .any(|rule| {
            let has =
                |list: &str, wanted: &str| each(rule, list).any(|it| it == wanted || it == "*");
            let named = rule.get("resourceNames").is_none()
                || target.name.as_deref().is_some_and(|name| has("resourceNames", name));
            has("apiGroups", target.group)
                && has("resources", target.resource)
                && has("verbs", verb)
                && named
        })
}

fn each<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn list(held: &Kubernetes, target: &Target, request: &HttpRequest) -> Value {
    let query = |name: &str| {
        let found = request.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (selector, after) = (query("labelSelector"), query("continue"));
    let size = query("limit").parse().ok().filter(|size| *size > 0).unwrap_or(usize::MAX);
    let root = target.path("");
    let inside = |path: &str| {
        if target.namespace.is_some() {
            path.strip_prefix(&root).is_some_and(|name| !name.contains('/'))
        } else {
            let of = Target::of(path);
            of.is_some_and(|it| it.group == target.group && it.resource == target.resource)
        }
    };
    let mut rest = held.objects.iter().filter(|(path, object)| {
        inside(path) && path.as_str() > after.as_str() && selects(&selector, object)
    });
    let page: Vec<&String> = rest.by_ref().take(size).map(|(path, _)| path).collect();
    let token = rest.next().and_then(|_| page.last().copied());
    let items: Vec<Value> = page.iter().filter_map(|path| held.rendered(path)).collect();
    json!({
        "kind": format!("{}List", target.kind),
        "apiVersion": "v1",
        "metadata": { "resourceVersion": "1", "continue": token.map_or("", String::as_str) },
        "items": items,
    })
}

/// Whether a selector fits an object's labels (Kubernetes' "Labels and
/// Selectors": equality- and set-based requirements).
fn selects(selector: &str, object: &Value) -> bool {
    let label = |key: &str| object.pointer("/metadata/labels")?.get(key.trim())?.as_str();
    requirements(selector).iter().all(|requirement| {
        let set = |text: &str| -> Vec<String> {
            let inner = text.trim().trim_start_matches('(').trim_end_matches(')');
            inner.split(',').map(|value| value.trim().to_owned()).collect()
        };
        if let Some((key, values)) = requirement.split_once(" notin ") {
            return label(key).is_none_or(|value| !set(values).iter().any(|it| it == value));
        }
        if let Some((key, values)) = requirement.split_once(" in ") {
            return label(key).is_some_and(|value| set(values).iter().any(|it| it == value));
        }
        if let Some((key, value)) = requirement.split_once("!=") {
            return label(key) != Some(value);
        }
        if let Some((key, value)) = requirement.split_once('=') {
            return label(key) == Some(value.trim_start_matches('='));
        }
        match requirement.strip_prefix('!') {
            Some(key) => label(key).is_none(),
            None => label(requirement).is_some(),
        }
    })
}

/// A selector's requirements: commas inside parentheses do not part them.
fn requirements(selector: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0_u32, vec![String::new()]);
    for char in selector.chars() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if char == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(char);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn is_label(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= 63
        && value.bytes().all(allowed)
        && ends(value.bytes().next())
        && ends(value.bytes().last())
}

/// The node lifecycle controller's taint (Kubernetes' "Taints and Tolerations").
const TAINT: &str = "node.kubernetes.io/unschedulable";

/// What the API server refuses, and what it drops or its controllers add.
fn settled(target: &Target, mut object: Value) -> Result<Value, ServiceError> {
    let invalid = |what: String| Err(refused(422, "Invalid", what));
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if !value.as_str().is_some_and(is_label) {
            return invalid(format!("metadata.labels: Invalid value: {key}={value}"));
        }
    }
    let drop_empty = |object: &mut Value, parent: &str, name: &str| {
        if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            let empty = |value: &Value| match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if parent.get(name).is_some_and(empty) {
                parent.remove(name);
            }
        }
    };
    drop_empty(&mut object, "/metadata", "labels");
    if target.kind == "NetworkPolicy" {
        drop_empty(&mut object, "/spec", "ingress");
        drop_empty(&mut object, "/spec", "egress");
    }
    if target.kind == "Node" {
        drop_empty(&mut object, "/spec", "unschedulable");
        let cordoned = object.pointer("/spec/unschedulable") == Some(&json!(true));
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            let taints = spec.entry("taints").or_insert_with(|| json!([]));
            if let Some(taints) = taints.as_array_mut() {
                taints.retain(|taint| taint.get("key") != Some(&json!(TAINT)));
                if cordoned {
                    taints.push(json!({ "key": TAINT, "effect": "NoSchedule" }));
                }
            }
        }
        drop_empty(&mut object, "/spec", "taints");
    }
    Ok(object)
}

fn create(
    held: &mut Kubernetes,
    target: &Target,
    body: Value,
    unique: u64,
) -> Result<Value, ServiceError> {
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 253 || !name.bytes().all(allowed) {
        let message = format!("{} \"{name}\" is invalid: metadata.name", target.kind);
        return Err(refused(422, "Invalid", message));
    }
    let (name, path) = (name.to_owned(), target.path(name));
    if held.objects.contains_key(&path) {
        let message = format!("{} \"{name}\" already exists", target.resource);
        return Err(refused(409, "AlreadyExists", message));
    }
    let mut object = settled(target, body)?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), json!(format!("uid-{unique}")));
    }
    let namespace = target.namespace.as_deref().unwrap_or_default();
    held.put(target.resource, namespace, &name, object);
    let rendered = held.rendered(&path).ok_or_else(|| missing(target))?;
    Ok(typed(target, rendered))
}

/// Merges as RFC 7396 has it.
fn merge(into: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *into = change.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    if let Some(into) = into.as_object_mut() {
        for (key, value) in change {
            if value.is_null() {
                into.remove(key);
            } else {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

fn patch(
    held: &mut Kubernetes,
    target: &Target,
    request: &HttpRequest,
    change: &Value,
) -> Result<Value, ServiceError> {
    if request.header("content-type") != Some("application/merge-patch+json") {
        return Err(refused(415, "UnsupportedMediaType", "the simulation takes merge patches"));
    }
    let path = target.path(target.name.as_deref().unwrap_or_default());
    let before = held.rendered(&path).ok_or_else(|| missing(target))?;
    let differs = |pointer: &str| {
        let wanted = change.pointer(pointer);
        wanted.is_some_and(|wanted| before.pointer(pointer) != Some(wanted))
    };
    if differs("/metadata/resourceVersion") {
        let message = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(refused(409, "Conflict", message));
    }
    // As the garbage collector and the controllers rely on.
    if differs("/metadata/uid") {
        return Err(refused(422, "Invalid", "metadata.uid: Invalid value: field is immutable"));
    }
    let mut object = held.objects.get(&path).cloned().unwrap_or_default();
    merge(&mut object, change);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    let object = settled(target, object)?;
    if held.objects.get(&path) != Some(&object) {
        *held.versions.entry(path.clone()).or_default() += 1;
        held.objects.insert(path.clone(), object);
    }
    let rendered = held.rendered(&path).ok_or_else(|| missing(target))?;
    Ok(typed(target, rendered))
}

fn delete(held: &mut Kubernetes, target: &Target, options: &Value) -> Result<Value, ServiceError> {
    let name = target.name.as_deref().unwrap_or_default();
    let path = target.path(name);
    let object = held.rendered(&path).ok_or_else(|| missing(target))?;
    for field in ["uid", "resourceVersion"] {
        let wanted = options.pointer(&format!("/preconditions/{field}"));
        if wanted
            .is_some_and(|wanted| object.pointer(&format!("/metadata/{field}")) != Some(wanted))
        {
            let message = format!("Precondition failed: {field} in precondition");
            return Err(refused(409, "Conflict", message));
        }
    }
    held.objects.remove(&path);
    held.versions.remove(&path);
    Ok(json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": { "name": name, "kind": target.resource },
    }))
}
