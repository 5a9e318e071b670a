//! What a call needs, and whether its caller has it.

mod conditions;
mod regional;

use jiff::Timestamp;
use serde_json::Value;

use crate::caller::Caller;
use crate::iam::model::{Iam, Identity};
use crate::policy::{Context, NotModelled, Principal, Question, Verdict, addressed, evaluate};
use crate::state::State;
use crate::wire::HttpRequest;

pub use self::conditions::of_request;

/// One permission that a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The IAM action.
    pub action: String,
    /// The resource's ARN, or `*`.
    pub resource: String,
}

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The access key is unknown, inactive or its token does not fit.
    #[error("the credentials are not valid: {0}")]
    Credentials(&'static str),
    /// The session's time is over.
    #[error("the session has expired")]
    Expired,
    /// A statement denies, or none allows.
    #[error("{caller} is not authorized to perform {action} on {resource}: {why}")]
    Policy {
        /// The caller's ARN.
        caller: String,
        /// The action.
        action: String,
        /// The resource.
        resource: String,
        /// `explicit deny` or `no allow`, and where.
        why: &'static str,
    },
    /// A policy uses what the simulation does not model.
    #[error("{0}")]
    NotModelled(#[from] NotModelled),
}

/// The unique id of the caller, as `aws:userid` has it.
pub fn user_id(state: &State, caller: &Caller) -> String {
    match caller {
        Caller::User { account, name } => state
            .accounts
            .get(account)
            .and_then(|it| it.iam.users.get(name))
            .map_or_else(String::new, |user| user.identity.id.clone()),
        Caller::Role(session) => format!("{}:{}", session.role_id, session.name),
        Caller::Anonymous => "anonymous".to_owned(),
    }
}

/// The ARN that policies name: a role's, not its session's.
pub fn principal_arn(state: &State, caller: &Caller) -> String {
    match caller {
        Caller::Role(session) => {
            let path = state
                .accounts
                .get(&session.account)
                .and_then(|it| it.iam.roles.get(&session.role))
                .map_or("/", |role| role.identity.path.as_str());
            format!("arn:aws:iam::{}:role{path}{}", session.account, session.role)
        }
        Caller::User { .. } | Caller::Anonymous => caller.arn(),
    }
}

/// The condition keys that come with a caller.
pub fn principal_context(state: &State, caller: &Caller) -> Context {
    let mut context = Context::new();
    let mut add = |key: &str, value: String| {
        context.insert(key.to_owned(), vec![value]);
    };
    add("aws:userid", user_id(state, caller));
    add("aws:securetransport", "true".to_owned());
    add("aws:principalarn", principal_arn(state, caller));
    add("aws:principalaccount", caller.account().to_owned());
    if state.accounts.contains_key(caller.account()) {
        add("aws:principalorgid", state.organizations.id.clone());
    }
    if let Caller::Role(session) = caller {
        // Long-term keys carry no time of issue (IAM user guide, "AWS global
        // condition context keys").
        add("aws:tokenissuetime", session.issued.to_string());
        for (key, value) in &session.tags {
            add(&format!("aws:principaltag/{}", key.to_ascii_lowercase()), value.clone());
        }
        if let Some(identity) = &session.source_identity {
            add("aws:sourceidentity", identity.clone());
        }
    }
    context
}

/// Whether the caller has one permission, with what the request says of it.
pub fn authorize(
    state: &State,
    caller: &Caller,
    region: &str,
    needed: &Needed,
    request: Context,
    now: Timestamp,
) -> Result<(), Denied> {
    let Needed { action, resource } = needed;
    let refuse = |why: &'static str| {
        let (action, resource) = (action.clone(), resource.clone());
        Err(Denied::Policy { caller: caller.arn(), action, resource, why })
    };
    let (identity, session): (Option<(&Iam, &Identity)>, Option<&Value>) = match caller {
        Caller::Anonymous => return refuse("the request is not signed"),
        Caller::User { account, name } => {
            let iam = state.effective_iam(account, now);
            let user = iam.and_then(|iam| Some((iam, &iam.users.get(name)?.identity)));
            (user, None)
        }
        Caller::Role(session) => {
            let iam = state.effective_iam(&session.account, now);
            let role = iam.and_then(|iam| Some((iam, &iam.roles.get(&session.role)?.identity)));
            // A role that was deleted and made anew is another role.
            let role = role.filter(|(_, identity)| identity.id == session.role_id);
            (role, session.policy.as_ref())
        }
    };
    let boundary = identity.and_then(|(iam, identity)| iam.boundary_of(identity));
    let identity = identity.map(|(iam, identity)| iam.policies_of(identity)).unwrap_or_default();
    let mut context = principal_context(state, caller);
    context.extend(request);
    context.insert("aws:requestedregion".to_owned(), vec![region.to_owned()]);
    let question = Question { action, resource, context: &context };
    match evaluate(&identity, &question)? {
        Verdict::Allow => {}
        Verdict::ExplicitDeny => return refuse("an identity policy denies it explicitly"),
        Verdict::ImplicitDeny => return refuse("no identity policy allows it"),
    }
    if let Some(boundary) = &boundary {
        match evaluate([boundary], &question)? {
            Verdict::Allow => {}
            Verdict::ExplicitDeny => {
                return refuse("the permissions boundary denies it explicitly");
            }
            Verdict::ImplicitDeny => return refuse("the permissions boundary does not allow it"),
        }
    }
    if let Some(policy) = session {
        match evaluate([policy], &question)? {
            Verdict::Allow => {}
            Verdict::ExplicitDeny => return refuse("the session policy denies it explicitly"),
            Verdict::ImplicitDeny => return refuse("no session policy allows it"),
        }
    }
    let Some((owner, policy)) = resource_policy(state, resource) else { return Ok(()) };
    let principal = principal_arn(state, caller);
    let principal = Principal::Aws { arn: &principal, account: caller.account() };
    match evaluate([&addressed(&policy, principal)], &question)? {
        Verdict::Allow => Ok(()),
        Verdict::ExplicitDeny => refuse("the resource's policy denies it explicitly"),
        // Within an account either side may allow (IAM user guide, "Policy
        // evaluation for requests within a single account").
        Verdict::ImplicitDeny if owner == caller.account() => Ok(()),
        Verdict::ImplicitDeny => refuse("the resource's policy does not let another account in"),
    }
}

/// The account and the policy of a resource that can have one: a bus, a queue or
/// a topic. Buckets' are read where S3 is.
fn resource_policy(state: &State, resource: &str) -> Option<(String, Value)> {
    let parts: Vec<&str> = resource.split(':').collect();
    let (service, owner) = (parts.get(2)?, parts.get(4)?);
    let policy = match *service {
        "events" if resource.contains(":event-bus/") => {
            let statements = state.events.policies.get(resource);
            let statements: Vec<&Value> =
                statements.into_iter().flat_map(|it| it.values()).collect();
            Some(serde_json::json!({ "Statement": statements }))
        }
        "sqs" => {
            let queue = state.sqs.queues.get(&crate::sqs::Address::of_arn(resource)?)?;
            queue.policy.clone()
        }
        "sns" => state.sns.topics.get(resource)?.policy.clone(),
        _ => return None,
    };
    Some(((*owner).to_owned(), policy.unwrap_or_default()))
}

/// The permissions that a call needs. `operation` is the API's name of it.
pub fn needed(
    state: &State,
    service: &str,
    operation: &str,
    account: &str,
    region: &str,
    request: &HttpRequest,
) -> Vec<Needed> {
    let one = |action: String, resource: String| vec![Needed { action, resource }];
    match service {
        "sts" if operation == "GetCallerIdentity" => Vec::new(),
        // The cluster's own to say, by access entries and RBAC.
        "kubernetes" => Vec::new(),
        "ec2" => ec2(state, operation, account, region, request),
        "iam" => one(format!("iam:{operation}"), iam_resource(state, account, request)),
        "sts" => {
            let form = crate::ec2::form::Form::new(crate::wire::form(&request.text()));
            let role = form.get("RoleArn").unwrap_or("*").to_owned();
            let mut needed = one(format!("sts:{operation}"), role.clone());
            if !form.structures("Tags.member").is_empty() {
                needed.extend(one("sts:TagSession".to_owned(), role.clone()));
            }
            if form.get("SourceIdentity").is_some() {
                needed.extend(one("sts:SetSourceIdentity".to_owned(), role));
            }
            needed
        }
        // "BatchUpdateFindings and BatchUpdateFindingsV2 both use
        // securityhub:BatchUpdateFindings" (Security Hub API reference).
        "securityhub" => {
            let hub = if operation.ends_with("V2") { "hubv2/default" } else { "hub/default" };
            let hub = format!("arn:aws:securityhub:{region}:{account}:{hub}");
            let mut needed = one(format!("securityhub:{}", operation.trim_end_matches("V2")), hub);
            needed.extend(beside(service, operation, account, request));
            needed
        }
        "dynamodb" => dynamodb(operation, account, region, request),
        "sqs" => sqs(state, operation, account, region, request),
        "sns" => {
            let form = crate::ec2::form::Form::new(crate::wire::form(&request.text()));
            let named = form.get("Name").map(|name| crate::sns::arn(account, region, name));
            let topic = form.get("TopicArn").map(str::to_owned).or(named);
            one(format!("sns:{operation}"), topic.unwrap_or_else(|| "*".to_owned()))
        }
        "events" => events(operation, account, region, request),
        "cloudformation" => {
            let form = crate::ec2::form::Form::new(crate::wire::form(&request.text()));
            let set = form.get("StackSetName").map(|name| name.split(':').next().unwrap_or(name));
            let set = set.map_or_else(
                || "*".to_owned(),
                |name| format!("arn:aws:cloudformation:*:{account}:stackset/{name}:*"),
            );
            one(format!("cloudformation:{operation}"), set)
        }
        "s3" if OBJECTS.contains(&operation) => {
            let bucket = crate::router::bucket(request);
            let needed = crate::s3::objects::needed(&state.s3, &bucket, operation, request);
            needed
                .into_iter()
                .map(|(action, resource)| Needed { action: action.to_owned(), resource })
                .collect()
        }
        "s3" => {
            let mut needed = one(s3_action(operation).to_owned(), s3_resource(request));
            if operation == "PutBucketReplication" {
                // S3 is handed the role that replicates (S3 API reference,
                // PutBucketReplication, "Permissions").
                let role = crate::s3::answers::replication_role(&request.text());
                needed.extend(
                    role.map(|resource| Needed { action: "iam:PassRole".to_owned(), resource }),
                );
            }
            needed
        }
        // The detector is the resource (Service Authorization Reference).
        "guardduty" => {
            let resource = crate::guardduty::resource(account, region, request);
            let mut needed = one(format!("guardduty:{operation}"), resource);
            needed.extend(beside(service, operation, account, request));
            needed
        }
        _ => regional::needed(service, operation, regional::At { region, account }, request)
            .unwrap_or_else(|| one(format!("{service}:{operation}"), "*".to_owned())),
    }
}

/// What setting a service up needs besides the permission for the call: the
/// service acts with the caller's permissions (GuardDuty user guide, "Permissions
/// required to designate a delegated administrator account" and "Prerequisites
/// for entity lists"; Security Hub user guide, "Permissions required to designate
/// the delegated administrator").
fn beside(service: &str, operation: &str, account: &str, request: &HttpRequest) -> Vec<Needed> {
    let needs = |action: &str, resource: String| Needed { action: action.to_owned(), resource };
    match operation {
        "EnableOrganizationAdminAccount" => vec![
            needs("organizations:EnableAWSServiceAccess", "*".to_owned()),
            needs("organizations:RegisterDelegatedAdministrator", "*".to_owned()),
        ],
        "CreateDetector" | "EnableSecurityHub" => {
            let role =
                format!("arn:aws:iam::{account}:role/aws-service-role/{service}.amazonaws.com/");
            vec![needs("iam:CreateServiceLinkedRole", role)]
        }
        "CreateThreatEntitySet"
        | "UpdateThreatEntitySet"
        | "CreateTrustedEntitySet"
        | "UpdateTrustedEntitySet" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let location = body.get("location").and_then(Value::as_str).unwrap_or_default();
            let object = location.strip_prefix("s3://").unwrap_or(location);
            vec![needs("s3:GetObject", format!("arn:aws:s3:::{object}"))]
        }
        _ => Vec::new(),
    }
}

/// A batch needs the permission of its single call; a move of dead letters, to
/// take them out and to put them back (SQS developer guide, "Actions, resources"
/// and "Dead-letter queue redrive").
fn sqs(
    state: &State,
    operation: &str,
    account: &str,
    region: &str,
    request: &HttpRequest,
) -> Vec<Needed> {
    use crate::sqs::Address;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let needs =
        |action: &str, resource: String| Needed { action: format!("sqs:{action}"), resource };
    if operation == "StartMessageMoveTask" {
        let source = text("SourceArn").unwrap_or("*").to_owned();
        let actions =
            ["StartMessageMoveTask", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];
        let mut needed: Vec<Needed> =
            actions.iter().map(|action| needs(action, source.clone())).collect();
        let origins = state.sqs.queues.iter().filter(|(_, queue)| {
            queue.redrive.as_ref().is_some_and(|redrive| redrive.dead_letter.arn() == source)
        });
        let origins = origins.map(|(address, _)| address.arn());
        match text("DestinationArn") {
            Some(destination) => needed.push(needs("SendMessage", destination.to_owned())),
            None => needed.extend(origins.map(|origin| needs("SendMessage", origin))),
        }
        return needed;
    }
    let queue = match (text("QueueUrl"), text("QueueName")) {
        (Some(url), _) => Address::of_url(url, region),
        (None, Some(name)) => Some(Address::new(account, region, name)),
        (None, None) => None,
    };
    let action = operation.strip_suffix("Batch").unwrap_or(operation);
    vec![needs(action, queue.map_or_else(|| "*".to_owned(), |queue| queue.arn()))]
}

fn events(operation: &str, account: &str, region: &str, request: &HttpRequest) -> Vec<Needed> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let action = format!("events:{operation}");
    if let Some(resource) = crate::events::rules::of_call(operation, &body, account, region) {
        return vec![Needed { action, resource }];
    }
    let entries = body.get("Entries").and_then(Value::as_array).into_iter().flatten();
    let mut buses: Vec<String> =
        entries.map(|entry| crate::events::bus(entry, account, region)).collect();
    if let Some(name) = body.get("Name").and_then(Value::as_str) {
        buses.push(crate::events::arn(account, region, name));
    }
    buses.sort_unstable();
    buses.dedup();
    buses.into_iter().map(|resource| Needed { action: action.clone(), resource }).collect()
}

fn dynamodb(operation: &str, account: &str, region: &str, request: &HttpRequest) -> Vec<Needed> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let arn = |table: &str| format!("arn:aws:dynamodb:{region}:{account}:table/{table}");
    if operation == "TransactWriteItems" {
        // Each item needs the permission of its own kind of write.
        let items = body.get("TransactItems").and_then(Value::as_array);
        return items
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flatten()
            .map(|(kind, item)| {
                let table = item.get("TableName").and_then(Value::as_str).unwrap_or_default();
                let action = match kind.as_str() {
                    "Put" => "dynamodb:PutItem",
                    "Update" => "dynamodb:UpdateItem",
                    "Delete" => "dynamodb:DeleteItem",
                    _ => "dynamodb:ConditionCheckItem",
                };
                Needed { action: action.to_owned(), resource: arn(table) }
            })
            .collect();
    }
    if let Some(tables) = body.get("RequestItems").and_then(Value::as_object) {
        let action = || format!("dynamodb:{operation}");
        return tables.keys().map(|it| Needed { action: action(), resource: arn(it) }).collect();
    }
    let table = body.get("TableName").and_then(Value::as_str).unwrap_or_default();
    let resource = match body.get("IndexName").and_then(Value::as_str) {
        Some(index) => format!("{}/index/{index}", arn(table)),
        None => arn(table),
    };
    vec![Needed { action: format!("dynamodb:{operation}"), resource }]
}

fn ec2(
    state: &State,
    operation: &str,
    account: &str,
    region: &str,
    request: &HttpRequest,
) -> Vec<Needed> {
    let form = crate::ec2::form::Form::new(crate::wire::form(&request.text()));
    // A snapshot's ARN has no account in it (Service Authorization Reference).
    let arn = |kind: &str, id: &str| match kind {
        "snapshot" => format!("arn:aws:ec2:{region}::{kind}/{id}"),
        _ => format!("arn:aws:ec2:{region}:{account}:{kind}/{id}"),
    };
    let mut needed = Vec::new();
    let mut add = |action: &str, resource: String| {
        needed.push(Needed { action: action.to_owned(), resource });
    };
    let action = format!("ec2:{operation}");
    if operation.starts_with("Describe") {
        // EC2's reads know no resources (Service Authorization Reference).
        add(&action, "*".to_owned());
        return needed;
    }
    let mut found = false;
    for (parameter, kind) in [
        ("InstanceId", "instance"),
        ("NetworkInterfaceId", "network-interface"),
        ("GroupId", "security-group"),
        ("VpcId", "vpc"),
        ("NetworkAclId", "network-acl"),
        ("PrefixListId", "prefix-list"),
        ("AllocationId", "elastic-ip"),
    ] {
        if let Some(id) = form.get(parameter) {
            add(&action, arn(kind, id));
            found = true;
        }
    }
    for id in form.list("SecurityGroupId") {
        add(&action, arn("security-group", id));
    }
    for id in form.list("InstanceId") {
        add(&action, arn("instance", id));
        found = true;
    }
    for id in form.list("ResourceId") {
        add(&action, arn(kind_of(id), id));
        found = true;
    }
    // What an association belongs to is not in its id.
    if form.get("AssociationId").is_some() {
        let kind = if operation.ends_with("Address") { "elastic-ip" } else { "instance" };
        add(&action, arn(kind, "*"));
        found = true;
    }
    if operation == "CreateSecurityGroup" {
        add(&action, arn("security-group", "*"));
    }
    // ModifyInstanceAttribute also has the resource type volume (Service Authorization
    // Reference); whether EC2 checks it is not documented.
    if !form.structures("BlockDeviceMapping").is_empty() {
        add(&action, arn("volume", "*"));
    }
    // EC2 itself lets the call succeed and stops the instance again: here it is refused.
    if operation == "StartInstances" {
        let held = state.accounts.get(account).and_then(|it| it.ec2.get(region));
        let keys_of = |id| held.map(|it| crate::ec2::instances::keys_of(it, id));
        for key in form.list("InstanceId").into_iter().filter_map(keys_of).flatten() {
            for action in START_KEYS {
                add(action, key.clone());
            }
        }
    }
    for (action, resource) in snapshots(&form, operation, &arn) {
        add(action, resource);
        found = true;
    }
    if !found {
        add(&action, "*".to_owned());
    }
    if operation == "CreateSecurityGroup" && !form.structures("TagSpecification").is_empty() {
        add("ec2:CreateTags", arn("security-group", "*"));
    }
    if operation.ends_with("IamInstanceProfile") || operation.starts_with("ReplaceIam") {
        let named = form.get("IamInstanceProfile.Arn").or(form.get("IamInstanceProfile.Name"));
        if let Some(profile) = named {
            let name = profile.rsplit('/').next().unwrap_or(profile);
            let iam = state.accounts.get(account).map(|it| &it.iam);
            let role = iam.and_then(|iam| iam.profiles.get(name)?.role.clone());
            if let Some(role) = role {
                add("iam:PassRole", format!("arn:aws:iam::{account}:role/{role}"));
            }
        }
    }
    needed
}

/// The resource type, by how its ids begin.
fn kind_of(id: &str) -> &'static str {
    let kinds = [
        ("i-", "instance"),
        ("sg-", "security-group"),
        ("eni-", "network-interface"),
        ("vol-", "volume"),
        ("snap-", "snapshot"),
        ("vpc-", "vpc"),
    ];
    kinds.iter().find(|(prefix, _)| id.starts_with(prefix)).map_or("*", |(_, kind)| kind)
}

/// What snapshots need besides the permission for the call: that for each of
/// its resources, for tags, and for the key of a copy (EBS user guide,
/// "Required permissions for EBS encryption").
fn snapshots(
    form: &crate::ec2::form::Form,
    operation: &str,
    arn: &dyn Fn(&str, &str) -> String,
) -> Vec<(&'static str, String)> {
    let mut needed = Vec::new();
    match operation {
        "CreateSnapshots" => {
            let instance = form.get("InstanceSpecification.InstanceId").unwrap_or("*");
            for (kind, id) in [("instance", instance), ("volume", "*"), ("snapshot", "*")] {
                needed.push(("ec2:CreateSnapshots", arn(kind, id)));
            }
        }
        "CopySnapshot" => {
            let source = form.get("SourceSnapshotId").unwrap_or("*");
            for id in [source, "*"] {
                needed.push(("ec2:CopySnapshot", arn("snapshot", id)));
            }
            let key = form.get("KmsKeyId").unwrap_or("*");
            for action in COPY_KEYS {
                needed.push((action, key.to_owned()));
            }
        }
        "ModifySnapshotAttribute" => {
            let id = form.get("SnapshotId").unwrap_or("*");
            needed.push(("ec2:ModifySnapshotAttribute", arn("snapshot", id)));
        }
        _ => return needed,
    }
    if !form.structures("TagSpecification").is_empty() {
        needed.push(("ec2:CreateTags", arn("snapshot", "*")));
    }
    needed
}

/// "The permissions that the caller needs for the key of an encrypted volume when it starts an
/// instance" (EBS user guide, "Required permissions for EBS encryption").
const START_KEYS: [&str; 4] =
    ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"];

const COPY_KEYS: [&str; 6] = [
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

fn iam_resource(state: &State, account: &str, request: &HttpRequest) -> String {
    let form = crate::ec2::form::Form::new(crate::wire::form(&request.text()));
    let iam = state.accounts.get(account).map(|it| &it.iam);
    if let Some(name) = form.get("RoleName") {
        let role = iam.and_then(|iam| iam.roles.get(name));
        let path = role.map_or("/", |role| role.identity.path.as_str());
        return format!("arn:aws:iam::{account}:role{path}{name}");
    }
    if let Some(name) = form.get("UserName") {
        let user = iam.and_then(|iam| iam.users.get(name));
        let path = user.map_or("/", |user| user.identity.path.as_str());
        return format!("arn:aws:iam::{account}:user{path}{name}");
    }
    if let Some(arn) = form.get("PolicyArn") {
        return arn.to_owned();
    }
    match form.get("InstanceProfileName") {
        Some(name) => format!("arn:aws:iam::{account}:instance-profile/{name}"),
        None => "*".to_owned(),
    }
}

const OBJECTS: [&str; 4] = ["GetObject", "GetObjectLockConfiguration", "HeadObject", "PutObject"];

fn s3_action(operation: &str) -> &'static str {
    match operation {
        "GetPublicAccessBlock" => "s3:GetBucketPublicAccessBlock",
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "s3:PutBucketPublicAccessBlock",
        "GetBucketTagging" => "s3:GetBucketTagging",
        "PutBucketTagging" | "DeleteBucketTagging" => "s3:PutBucketTagging",
        "GetBucketLocation" => "s3:GetBucketLocation",
        "GetBucketPolicy" => "s3:GetBucketPolicy",
        "GetBucketPolicyStatus" => "s3:GetBucketPolicyStatus",
        "PutBucketPolicy" => "s3:PutBucketPolicy",
        "DeleteBucketPolicy" => "s3:DeleteBucketPolicy",
        "GetBucketAcl" => "s3:GetBucketAcl",
        "PutBucketAcl" => "s3:PutBucketAcl",
        "GetBucketOwnershipControls" => "s3:GetBucketOwnershipControls",
        "GetBucketVersioning" => "s3:GetBucketVersioning",
        "PutBucketVersioning" => "s3:PutBucketVersioning",
        "GetBucketReplication" => "s3:GetReplicationConfiguration",
        "PutBucketReplication" => "s3:PutReplicationConfiguration",
        "GetBucketLifecycleConfiguration" => "s3:GetLifecycleConfiguration",
        "PutBucketLifecycleConfiguration" => "s3:PutLifecycleConfiguration",
        _ => "s3:ListBucket",
    }
}

fn s3_resource(request: &HttpRequest) -> String {
    format!("arn:aws:s3:::{}", crate::router::bucket(request))
}
