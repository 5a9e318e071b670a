//! The permissions that calls of the services told as values need, and on which
//! resources (Service Authorization Reference). Reads are asked on `*`.

use serde_json::Value;

use super::Needed;
use crate::ec2::form::Form;
use crate::wire::{self, HttpRequest};

/// Where a call is made, for the ARNs of what it names.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) region: &'a str,
    pub(super) account: &'a str,
}

impl At<'_> {
    fn arn(self, service: &str, name: &str) -> String {
        let Self { region, account } = self;
        format!("arn:aws:{service}:{region}:{account}:{name}")
    }
}

/// What a call of one of these services needs; `None` for another service's.
pub(super) fn needed(
    service: &str,
    operation: &str,
    at: At<'_>,
    request: &HttpRequest,
) -> Option<Vec<Needed>> {
    let known = [
        "application-autoscaling",
        "autoscaling",
        "ecs",
        "eks",
        "elasticloadbalancing",
        "lambda",
        "rds",
        "s3-control",
        "ssm",
        "wafv2",
    ];
    if !known.contains(&service) {
        return None;
    }
    let read = ["Describe", "Get", "List"].iter().any(|verb| operation.starts_with(verb));
    let form = Form::new(wire::form(&request.text()));
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let named: Vec<(String, String)> = match service {
        // S3's setting of an account is no resource; its reads and changes have
        // permissions of their own names.
        "s3-control" => {
            let action = match operation {
                "GetPublicAccessBlock" => "s3:GetAccountPublicAccessBlock",
                _ => "s3:PutAccountPublicAccessBlock",
            };
            vec![(action.to_owned(), "*".to_owned())]
        }
        _ if read => vec![(format!("{service}:{operation}"), "*".to_owned())],
        "ssm" => ssm(operation, at, &body),
        "rds" => rds(operation, at, &form),
        "eks" => eks(operation, at, request),
        _ => {
            let resources = match service {
                "autoscaling" => {
                    let group = form.get("AutoScalingGroupName").unwrap_or("*");
                    vec![
                        at.arn(
                            service,
                            &format!("autoScalingGroup:*:autoScalingGroupName/{group}"),
                        ),
                    ]
                }
                "elasticloadbalancing" => {
                    let classic = form.get("LoadBalancerName");
                    let classic =
                        classic.map(|name| at.arn(service, &format!("loadbalancer/{name}")));
                    let group = form.get("TargetGroupArn").map(str::to_owned);
                    classic.or(group).into_iter().collect()
                }
                "ecs" => ecs(at, &body),
                "lambda" => {
                    let mut parts = request.path.split('/').skip_while(|it| *it != "functions");
                    let name = parts.nth(1).map(wire::decode).unwrap_or_default();
                    vec![arn_or(&name, || at.arn(service, &format!("function:{name}")))]
                }
                "application-autoscaling" => {
                    let id = body.get("ResourceId").and_then(Value::as_str).unwrap_or("*");
                    vec![at.arn(service, &format!("scalable-target/{id}"))]
                }
                "wafv2" => {
                    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("*");
                    let scope = if text("Scope") == "CLOUDFRONT" { "global" } else { "regional" };
                    let set = format!("{scope}/ipset/{}/{}", text("Name"), text("Id"));
                    vec![at.arn(service, &set)]
                }
                _ => Vec::new(),
            };
            on(&format!("{service}:{operation}"), resources)
        }
    };
    Some(named.into_iter().map(|(action, resource)| Needed { action, resource }).collect())
}

/// One permission on each of some resources, or on `*` where the call names none.
fn on(action: &str, resources: Vec<String>) -> Vec<(String, String)> {
    let resources = if resources.is_empty() { vec!["*".to_owned()] } else { resources };
    resources.into_iter().map(|resource| (action.to_owned(), resource)).collect()
}

fn arn_or(named: &str, otherwise: impl FnOnce() -> String) -> String {
    if named.starts_with("arn:") { named.to_owned() } else { otherwise() }
}

/// A start with tags needs the permission to tag, one with a role to act with
/// the permission to pass it (Systems Manager user guide, "Setting up
/// Automation"). AWS's own documents are of no account.
fn ssm(operation: &str, at: At<'_>, body: &Value) -> Vec<(String, String)> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let action = format!("ssm:{operation}");
    let document = text("DocumentName").unwrap_or("*");
    let owner = if document.starts_with("AWS") { "" } else { at.account };
    let of_owner = |kind: &str| {
        let region = at.region;
        arn_or(document, || format!("arn:aws:ssm:{region}:{owner}:{kind}/{document}"))
    };
    match operation {
        "SendCommand" => {
            let mut resources = vec![of_owner("document")];
            let instances = body.get("InstanceIds").and_then(Value::as_array);
            let instances = instances.into_iter().flatten().filter_map(Value::as_str);
            resources.extend(instances.map(|id| at.arn("ec2", &format!("instance/{id}"))));
            let bucket = text("OutputS3BucketName");
            resources.extend(bucket.map(|bucket| format!("arn:aws:s3:::{bucket}")));
            on(&action, resources)
        }
        "StartAutomationExecution" => {
            let execution = at.arn("ssm", "automation-execution/*");
            let version = text("DocumentVersion").unwrap_or("$DEFAULT");
            let definition = format!("{}:{version}", of_owner("automation-definition"));
            let resources = vec![of_owner("document"), definition, execution.clone()];
            let mut needed = on(&action, resources);
            if body.get("Tags").is_some() {
                needed.push(("ssm:AddTagsToResource".to_owned(), execution));
            }
            if let Some(role) = body.pointer("/Parameters/AutomationAssumeRole/0") {
                let role = role.as_str().unwrap_or("*").to_owned();
                needed.push(("iam:PassRole".to_owned(), role));
            }
            needed
        }
        _ => on(&action, Vec::new()),
    }
}

/// To tag what is made is a permission of its own (RDS user guide, "Specifying
/// conditions: using custom tags").
fn rds(operation: &str, at: At<'_>, form: &Form) -> Vec<(String, String)> {
    let action = format!("rds:{operation}");
    let named = [
        ("DBInstanceIdentifier", "db"),
        ("DBClusterIdentifier", "cluster"),
        ("DBSnapshotIdentifier", "snapshot"),
        ("DBClusterSnapshotIdentifier", "cluster-snapshot"),
    ];
    let named = named.iter().filter_map(|(parameter, kind)| {
        form.get(parameter).map(|id| at.arn("rds", &format!("{kind}:{id}")))
    });
    let resources: Vec<String> = named.collect();
    let made = resources.iter().find(|arn| arn.contains("snapshot:")).cloned();
    let mut needed = on(&action, resources);
    let tags = ["Tags.Tag", "Tags.member"].iter().any(|it| !form.structures(it).is_empty());
    if let (Some(made), true) = (made, operation.starts_with("Create") && tags) {
        needed.push(("rds:AddTagsToResource".to_owned(), made));
    }
    needed
}

/// An access entry that is made with tags needs the permission to tag it.
fn eks(operation: &str, at: At<'_>, request: &HttpRequest) -> Vec<(String, String)> {
    let parts: Vec<String> = request.path.trim_matches('/').split('/').map(wire::decode).collect();
    let action = format!("eks:{operation}");
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let entries = |cluster: &str| at.arn("eks", &format!("access-entry/{cluster}/*"));
    match parts.as_slice() {
        ["clusters", cluster, "access-entries"] => {
            let mut needed = on(&action, vec![at.arn("eks", &format!("cluster/{cluster}"))]);
            if request.text().contains("\"tags\"") {
                needed.push(("eks:TagResource".to_owned(), entries(cluster)));
            }
            needed
        }
        ["clusters", cluster, ..] => on(&action, vec![entries(cluster)]),
        ["tags", arn] => on(&action, vec![(*arn).to_owned()]),
        _ => on(&action, Vec::new()),
    }
}

/// Names and ARNs are both taken; a name stands under its cluster's.
fn ecs(at: At<'_>, body: &Value) -> Vec<String> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let cluster = text("cluster").unwrap_or("default");
    let cluster = cluster.rsplit('/').next().unwrap_or(cluster);
    let arn = |kind: &str, named: &str| {
        arn_or(named, || at.arn("ecs", &format!("{kind}/{cluster}/{named}")))
    };
    let instances = body.get("containerInstances").and_then(Value::as_array);
    let instances = instances.into_iter().flatten().filter_map(Value::as_str);
    let service = text("service").map(|name| arn("service", name));
    let task = text("task").map(|id| arn("task", id));
    let instances = instances.map(|id| arn("container-instance", id));
    service.into_iter().chain(task).chain(instances).collect()
}
