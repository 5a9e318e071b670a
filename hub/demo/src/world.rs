//! The organization of the demo and the tests: accounts, OUs and resources to attack;
//! `templates` deploys Firebreak.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use firebreak_model::resource::Region;
use firebreak_simulation::ec2::model::{Peer, Rule};
use firebreak_simulation::s3::model::Bucket;
use firebreak_simulation::{Options, Organization};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::templates::{self, OPERATOR_ROLE, Stack};
use firebreak_aws::config;
use firebreak_aws::error::HubError;
use firebreak_aws::policies::Author;
use firebreak_aws::settings::Settings;
use firebreak_engine::Engine;
use firebreak_policy::{Policy, read_files};
use firebreak_spoke::registry;

/// The management account, which has no resources.
pub const MANAGEMENT: &str = "100000000001";
/// The hub's account, which is the delegated administrator.
pub const HUB: &str = "100000000002";
/// The hub's Region, and Security Hub's home Region.
pub const HOME: &str = "eu-central-1";
/// The Regions in use.
pub const REGIONS: [&str; 2] = [HOME, "us-east-1"];
const HUB_ROLE: &str = "FirebreakHub";
const FUNCTION: &str = "firebreak";
/// The external id of the spoke roles.
pub const EXTERNAL_ID: &str = "firebreak-demo";
pub const ORGANIZATION: &str = "o-fb01demo01";

/// The OUs, by id and name; accounts are spread over them in this order.
pub const UNITS: [(&str, &str); 4] = [
    ("ou-fb01-sandbox1", "sandbox"),
    ("ou-fb01-prod1111", "production"),
    ("ou-fb01-security", "security"),
    ("ou-fb01-observe1", "observe"),
];

/// The policy documents of the demo: the examples in `policies/`.
pub const DOCUMENTS: [(&str, &str); 7] = [
    ("policies/root.yaml", include_str!("../../../policies/root.yaml")),
    ("policies/sandbox.yaml", include_str!("../../../policies/sandbox.yaml")),
    ("policies/production.yaml", include_str!("../../../policies/production.yaml")),
    ("policies/security.yaml", include_str!("../../../policies/security.yaml")),
    ("policies/observe.yaml", include_str!("../../../policies/observe.yaml")),
    ("policies/suspended.yaml", include_str!("../../../policies/suspended.yaml")),
    (
        "policies/exception-payments-lab.yaml",
        include_str!("../../../policies/exception-payments-lab.yaml"),
    ),
];

/// The policy of these documents.
///
/// # Errors
///
/// `Refused` with every diagnostic if a document is invalid.
pub fn example_policy() -> Result<Policy, HubError> {
    let files: Vec<(String, String)> =
        DOCUMENTS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    read_files(&files, registry::catalog()).map_err(|diagnostics| {
        let all: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        HubError::refused(all.join("\n"))
    })
}

/// A member account and its resources.
#[derive(Clone, Debug)]
pub struct Member {
    pub account: String,
    /// The id of its OU.
    pub unit: String,
    /// The Region of its resources.
    pub region: String,
    /// An instance that can reach the internet and be reached from it.
    pub instance: String,
    /// The instance's credentials, from its role.
    pub instance_credentials: Credentials,
    /// The name of a user; a role has the same name.
    pub user: String,
    pub key: String,
    /// A session of the role of that name.
    pub role_session: Credentials,
    /// A bucket that everyone can read.
    pub bucket: String,
}

#[derive(Clone, Debug)]
pub struct World {
    pub organization: Organization,
    began: Timestamp,
    /// The member accounts, including the hub's.
    pub members: Vec<Member>,
}

impl World {
    /// An organization of `accounts` members.
    pub fn new(accounts: usize, options: Options) -> Self {
        let organization = Organization::new(ORGANIZATION, "r-fb01", MANAGEMENT, options);
        for (id, name) in UNITS {
            organization.add_ou("r-fb01", id, name);
        }
        organization.add_ou("r-fb01", "ou-fb01-suspend1", "suspended");
        organization.add_account("ou-fb01-sandbox1", "111122223333", "payments-lab");
        let mut members = Vec::new();
        for index in 0..accounts {
            let (unit, name) = unit_of(index);
            // The hub's account is the first one in the security OU.
            let account = match index {
                2 => HUB.to_owned(),
                _ => format!("{:012}", 200_000_000_001 + index),
            };
            organization.add_account(unit, &account, &format!("{name}-{index}"));
            add_spoke_role(&organization, &account);
            members.push(add_resources(&organization, index, unit, &account));
        }
        if accounts < 3 {
            organization.add_account(UNITS[2].0, HUB, "hub");
        }
        templates::deploy_all(&organization);
        add_operators(&organization);
        organization.delegate(HUB);
        organization.edit(|state| {
            state.security_hub.home_region = Some(HOME.to_owned());
            for region in REGIONS {
                state.guardduty.enable(HUB, region);
            }
        });
        Self { began: organization.now(), organization, members }
    }

    /// When it began, by its own clock.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// The SDK configuration of the hub's function.
    pub async fn hub_config(&self) -> Result<SdkConfig, HubError> {
        self.config(HUB_ROLE, "firebreak").await
    }

    /// The SDK configuration of the people who push policies, approve and undo.
    pub async fn operator_config(&self) -> Result<SdkConfig, HubError> {
        self.config(OPERATOR_ROLE, "alice").await
    }

    async fn config(&self, role: &str, session: &str) -> Result<SdkConfig, HubError> {
        let session = self.organization.role_session(HUB, role, session);
        let region: Region = HOME.parse().map_err(|error| HubError::failed(format!("{error}")))?;
        let (client, time) = (self.organization.http_client(), self.organization.time_source());
        Ok(config::with_http_client(client, session, time, &region).await)
    }

    /// The settings that stacksets/hub.yaml gives the function.
    ///
    /// # Errors
    ///
    /// The function is not deployed, or its environment is invalid.
    pub fn deployed_settings(&self) -> Result<Settings, HubError> {
        let environment = self.organization.edit(|state| {
            let functions = &state.regional(HUB, HOME).lambda.functions;
            let configuration = functions.get(FUNCTION)?.configuration.as_ref()?;
            Some(configuration.environment.clone())
        });
        let environment = environment.ok_or_else(|| {
            HubError::failed(format!("the function `{FUNCTION}` is not deployed"))
        })?;
        Settings::read(|name| environment.get(name).cloned())
            .map_err(|error| HubError::failed(error.to_string()))
    }

    /// The same without queues, channels and the archive: each process delivers to Security Hub itself, as
    /// the command line does, and sends no notices.
    ///
    /// # Errors
    ///
    /// As [`World::deployed_settings`].
    pub fn settings(&self) -> Result<Settings, HubError> {
        let deployed = self.deployed_settings()?;
        Ok(Settings {
            intake_queue: None,
            write_back_queue: None,
            archive_resolved: false,
            topic: None,
            event_bus: None,
            ..deployed
        })
    }

    /// An engine, after pushing the policy.
    pub async fn engine(&self, policy: &Policy) -> Result<Engine, HubError> {
        let engine = Engine::new(&self.hub_config().await?, self.settings()?);
        let documents = policy.to_stored();
        let before = engine.policies.version().await?;
        let author = Author { by: MANAGEMENT.to_owned(), note: "the examples".to_owned() };
        engine.policies.push(&documents, &before, &author).await?;
        self.organization.forget_calls();
        Ok(engine)
    }

    /// Imports a GuardDuty finding into Security Hub, as the integration does.
    pub fn import(&self, finding: &Value) {
        let asff = asff(finding);
        let region = finding["region"].as_str().unwrap_or(HOME).to_owned();
        let now = self.organization.now();
        self.organization.edit(|state| state.security_hub.import_at(&region, asff, Some(now)));
    }

    /// Adds a finding to GuardDuty, or updates it there, as a detector does before it sends
    /// the event.
    pub fn raise(&self, finding: &Value) {
        let region = finding["region"].as_str().unwrap_or(HOME).to_owned();
        self.organization.edit(|state| {
            state.guardduty.enable(HUB, &region);
            state.guardduty.raise(finding);
        });
    }

    /// A finding's workflow status in Security Hub.
    pub fn security_hub_status(&self, finding: &Value) -> Option<String> {
        let arn = finding["arn"].as_str()?.to_owned();
        self.organization.edit(|state| {
            let found = state.security_hub.finding(&arn)?;
            Some(found.pointer("/Workflow/Status")?.as_str()?.to_owned())
        })
    }
}

/// Accounts are spread over the OUs in turn.
fn unit_of(index: usize) -> (&'static str, &'static str) {
    let unit = index % UNITS.len();
    UNITS.get(unit).copied().unwrap_or(UNITS[0])
}

fn allow(actions: &Value, resource: &Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": actions, "Resource": resource },
    ]})
}

/// The role of the people who push policies, approve and undo, with the managed policies
/// of stacksets/hub.yaml.
fn add_operators(organization: &Organization) {
    let trust = json!({ "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "sso.amazonaws.com" },
        "Action": "sts:AssumeRole",
    }]});
    organization.add_role(HUB, "/", OPERATOR_ROLE, trust, json!({ "Statement": [] }));
    organization.edit(|state| {
        let Some(role) = state.iam(HUB).roles.get_mut(OPERATOR_ROLE) else { return };
        for name in ["FirebreakRespond", "FirebreakOperator"] {
            role.identity.attached.insert(format!("arn:aws:iam::{HUB}:policy/{name}"));
        }
    });
}

/// Deploys stacksets/spoke.yaml in an account, again if it is there.
pub fn add_spoke_role(organization: &Organization, account: &str) {
    Stack::Spoke.deploy(organization, account, HOME);
}

fn add_resources(organization: &Organization, index: usize, unit: &str, account: &str) -> Member {
    let region = REGIONS.get(index / UNITS.len() % REGIONS.len()).copied().unwrap_or(HOME);
    let services = json!({ "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" },
        "Action": "sts:AssumeRole",
    }]});
    let data = allow(&json!(["s3:*", "ec2:Describe*"]), &json!("*"));
    organization.add_role(account, "/", "web-server", services.clone(), data.clone());
    let (arn, id) = organization.add_profile(account, "web-server", "web-server");
    let instance = organization.edit(|state| {
        let ec2 = state.ec2(account, region);
        let vpc = ec2.add_vpc(index.is_multiple_of(2));
        let web = ec2.add_group(&vpc, "web");
        if let Some(group) = ec2.groups.get_mut(&web) {
            group.ingress.insert(Rule::tcp(443, "0.0.0.0/0"));
            group.ingress.insert(Rule::all(Peer::Group(web.clone())));
        }
        let instance = ec2.add_instance(&vpc, &[&web]);
        if index % 3 == 1 {
            // A second interface with two groups, and a third in another VPC.
            let admin = ec2.add_group(&vpc, "admin");
            ec2.attach_interface(&instance, &vpc, &[&admin, &web]);
            let other = ec2.add_vpc(false);
            let data = ec2.add_group(&other, "data");
            ec2.attach_interface(&instance, &other, &[&data]);
        }
        ec2.associate(&instance, &arn, &id);
        ec2.tags.entry(instance.clone()).or_default().insert("Name".into(), "web".into());
        instance
    });
    // A user and a role of the same name: confusing them would hit the wrong one.
    let user = "deploy".to_owned();
    let key = organization.add_user(account, &user, data.clone());
    organization.add_role(account, "/", &user, services, data);
    let bucket = format!("reports-{account}");
    organization.edit(|state| {
        let held = Bucket {
            account: account.to_owned(),
            region: region.to_owned(),
            public_policy: true,
            ..Bucket::default()
        };
        state.s3.buckets.insert(bucket.clone(), held);
    });
    Member {
        account: account.to_owned(),
        unit: unit.to_owned(),
        region: region.to_owned(),
        instance_credentials: organization.role_session(account, "web-server", &instance),
        role_session: organization.role_session(account, &user, "build-42"),
        instance,
        user,
        key,
        bucket,
    }
}

/// The subject of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// The instance communicates with a command and control server.
    Instance,
    /// The user's access key is used from elsewhere.
    UserKey,
    /// A session of the role is used from elsewhere.
    RoleSession,
    /// The bucket was opened to everyone.
    Bucket,
}

impl Attack {
    pub const ALL: [Self; 4] = [Self::Instance, Self::UserKey, Self::RoleSession, Self::Bucket];

    /// A GuardDuty finding of this attack on a member, as in the event; `number` determines
    /// its id.
    pub fn finding(self, member: &Member, number: usize) -> Value {
        let Member { account, region, .. } = member;
        let (kind, severity) = match self {
            Self::Instance => ("Backdoor:EC2/C&CActivity.B!DNS", 8.0),
            Self::UserKey => ("UnauthorizedAccess:IAMUser/TorIPCaller", 7.5),
            Self::RoleSession => {
                ("UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS", 8.0)
            }
            Self::Bucket => ("Policy:S3/BucketAnonymousAccessGranted", 8.0),
        };
        let id = format!("{number:032x}");
        let detector = "d0".repeat(16);
        json!({
            "schemaVersion": "2.0",
            "accountId": account,
            "region": region,
            "partition": "aws",
            "id": id,
            "arn": format!(
                "arn:aws:guardduty:{region}:{account}:detector/{detector}/finding/{id}"
            ),
            "type": kind,
            "severity": severity,
            "title": format!("{kind} in {account}"),
            "description": "Made by the demo.",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "updatedAt": "2026-01-01T00:00:00.000Z",
            "resource": self.resource(member),
            "service": {
                "serviceName": "guardduty",
                "detectorId": detector,
                "archived": false,
                "count": 1,
                "resourceRole": if self == Self::Instance { "ACTOR" } else { "TARGET" },
                "additionalInfo": { "type": "default", "value": "{}" },
            },
        })
    }

    fn resource(self, member: &Member) -> Value {
        let Member { account, instance, user, key, role_session, bucket, .. } = member;
        match self {
            Self::Instance => json!({
                "resourceType": "Instance",
                "instanceDetails": {
                    "instanceId": instance,
                    "tags": [{ "key": "Name", "value": "web" }],
                },
            }),
            Self::UserKey => json!({
                "resourceType": "AccessKey",
                "accessKeyDetails": {
                    "accessKeyId": key, "principalId": null,
                    "userType": "IAMUser", "userName": user,
                },
            }),
            Self::RoleSession => json!({
                "resourceType": "AccessKey",
                "accessKeyDetails": {
                    "accessKeyId": role_session.access_key_id(),
                    "principalId": null,
                    "userType": "AssumedRole", "userName": user,
                },
            }),
            Self::Bucket => json!({
                "resourceType": "S3Bucket",
                "s3BucketDetails": [{
                    "arn": format!("arn:aws:s3:::{bucket}"), "name": bucket,
                    "owner": { "id": account },
                    "publicAccess": { "effectivePermission": "PUBLIC" },
                }],
            }),
        }
    }
}

/// A GuardDuty finding as EventBridge delivers it.
pub fn event(finding: &Value) -> Value {
    json!({
        "version": "0",
        "id": format!("event-{}", finding["id"].as_str().unwrap_or_default()),
        "detail-type": "GuardDuty Finding",
        "source": "aws.guardduty",
        "account": HUB,
        "time": "2026-01-01T00:00:00Z",
        "region": finding["region"],
        "resources": [],
        "detail": finding,
    })
}

/// A GuardDuty finding as the integration imports it into Security Hub.
pub fn asff(finding: &Value) -> Value {
    let text = |name: &str| finding[name].as_str().unwrap_or_default();
    let (account, region) = (text("accountId"), text("region"));
    let resource = &finding["resource"];
    let described = if let Some(id) = resource.pointer("/instanceDetails/instanceId") {
        let id = id.as_str().unwrap_or_default();
        json!({ "Type": "AwsEc2Instance", "Id": format!("arn:aws:ec2:{region}:{account}:instance/{id}") })
    } else if let Some(name) = resource.pointer("/s3BucketDetails/0/name") {
        let name = name.as_str().unwrap_or_default();
        json!({ "Type": "AwsS3Bucket", "Id": format!("arn:aws:s3:::{name}") })
    } else {
        let details = &resource["accessKeyDetails"];
        let key = details["accessKeyId"].as_str().unwrap_or_default();
        json!({
            "Type": "AwsIamAccessKey",
            "Id": format!("AWS::IAM::AccessKey:{key}"),
            "Details": { "AwsIamAccessKey": {
                "PrincipalName": details["userName"], "PrincipalType": details["userType"],
            }},
        })
    };
    let mut described = described;
    if let Some(object) = described.as_object_mut() {
        object.insert("Partition".to_owned(), json!("aws"));
        object.insert("Region".to_owned(), json!(region));
    }
    json!({
        "SchemaVersion": "2018-10-08",
        "Id": text("arn"),
        "ProductArn": format!("arn:aws:securityhub:{region}::product/aws/guardduty"),
        "GeneratorId": "guardduty",
        "AwsAccountId": account,
        "Types": [format!("TTPs/{}", text("type").replacen('/', "-", 1))],
        "CreatedAt": text("createdAt"),
        "UpdatedAt": text("updatedAt"),
        "Severity": { "Product": finding["severity"], "Label": "HIGH" },
        "Title": text("title"),
        "Description": text("description"),
        "ProductFields": {
            "aws/guardduty/service/resourceRole": finding.pointer("/service/resourceRole"),
        },
        "Resources": [described],
        "RecordState": "ACTIVE",
        "Workflow": { "Status": "NEW" },
    })
}
