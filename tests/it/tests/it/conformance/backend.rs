//! The two implementations, and how each is given what a case needs.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_ec2::types::InstanceNetworkInterfaceSpecification;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use firebreak_aws::config::{behavior_version, with_http_client};
use firebreak_simulation::s3::model::Bucket;
use firebreak_simulation::{Options, Organization};
use serde_json::json;

/// moto's account for credentials that it does not know.
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-central-1";

/// Where S3 Control's calls go: it puts the account before the host, which is no
/// name for a server at an address. Nothing leaves this machine: moto's clusters
/// have endpoints that look like AWS's own.
#[derive(Debug)]
struct OnlyMoto(SharedHttpConnector);

impl HttpConnector for OnlyMoto {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().replacen(&format!("://{ACCOUNT}.127.0.0.1:"), "://127.0.0.1:", 1);
        if !uri.starts_with("http://127.0.0.1:") {
            let error = ConnectorError::user(format!("moto is not at {uri}").into());
            return HttpConnectorFuture::ready(Err(error));
        }
        request.set_uri(uri).unwrap();
        self.0.call(request)
    }
}

fn only_moto() -> SharedHttpClient {
    let client = aws_smithy_http_client::Builder::new().build_http();
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(OnlyMoto(client.http_connector(settings, components)))
    })
}

/// A moto server of this test's own, stopped with it.
pub(crate) struct Moto {
    pub(crate) config: SdkConfig,
    pub(crate) port: u16,
    server: Child,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Moto {
    /// Starts the moto that `FIREBREAK_MOTO` names, as CI does; it has to start.
    /// Whatever else is installed may be too old to answer as AWS does.
    pub(crate) async fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("FIREBREAK_MOTO") else {
            println!(
                "skipped: FIREBREAK_MOTO does not name a moto_server (pip install 'moto[server]>=5.2.5')"
            );
            return None;
        };
        let port =
            std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let started = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            // AWS's own policies, which it leaves out otherwise.
            .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server =
            started.unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let config = aws_config::defaults(behavior_version())
            .http_client(only_moto())
            .endpoint_url(format!("http://127.0.0.1:{port}"))
            .region(aws_config::Region::new(REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "moto"))
            .load()
            .await;
        let moto = Self { config, port, server };
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(moto);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("moto did not answer within 30 seconds");
    }
}

/// Runs an instance with so many interfaces in a subnet and a group; its id and that of its
/// first interface. The first one is made before: moto keeps the groups that are named at the
/// launch on every interface for ever.
pub(crate) async fn instance_in(
    ec2: &aws_sdk_ec2::Client,
    subnet: &str,
    group: &str,
    interfaces: i32,
) -> (String, String) {
    let make = async || {
        let call = ec2.create_network_interface().subnet_id(subnet).groups(group);
        let made = call.send().await.unwrap();
        made.network_interface().unwrap().network_interface_id().unwrap().to_owned()
    };
    let first = make().await;
    let specification = InstanceNetworkInterfaceSpecification::builder();
    let specification = specification.device_index(0).network_interface_id(&first).build();
    let run = ec2.run_instances().image_id("ami-12c6146b").min_count(1).max_count(1);
    let run = run.network_interfaces(specification).send().await.unwrap();
    let instance = run.instances()[0].instance_id().unwrap().to_owned();
    for index in 1..interfaces {
        let attach = ec2.attach_network_interface().device_index(index).instance_id(&instance);
        attach.network_interface_id(make().await).send().await.unwrap();
    }
    (instance, first)
}

pub(crate) enum Backend {
    Simulation(Box<(Organization, SdkConfig)>),
    Moto(Box<Moto>),
}

macro_rules! clients {
    ($($name:ident, $sdk:ident;)*) => {
        impl Backend {
            $(pub(crate) fn $name(&self) -> $sdk::Client {
                $sdk::Client::new(self.config())
            })*
        }
    };
}

clients! {
    autoscaling, aws_sdk_autoscaling;
    cloudformation, aws_sdk_cloudformation;
    dynamodb, aws_sdk_dynamodb;
    ec2, aws_sdk_ec2;
    ecs, aws_sdk_ecs;
    eks, aws_sdk_eks;
    elb, aws_sdk_elasticloadbalancing;
    elbv2, aws_sdk_elasticloadbalancingv2;
    events, aws_sdk_eventbridge;
    iam, aws_sdk_iam;
    lambda, aws_sdk_lambda;
    rds, aws_sdk_rds;
    sns, aws_sdk_sns;
    sqs, aws_sdk_sqs;
    ssm, aws_sdk_ssm;
    sts, aws_sdk_sts;
    wafv2, aws_sdk_wafv2;
}

impl Backend {
    pub(crate) async fn simulation() -> Self {
        let organization =
            Organization::new("o-conformance", "r-conf", ACCOUNT, Options::default());
        let all = json!({ "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
        let key = organization.add_user(ACCOUNT, "caller", all);
        let config = with_http_client(
            organization.http_client(),
            organization.user_credentials(&key),
            organization.time_source(),
            &REGION.parse().unwrap(),
        )
        .await;
        Self::Simulation(Box::new((organization, config)))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Simulation(_) => "simulation",
            Self::Moto(_) => "moto",
        }
    }

    /// The simulated organization, which is arranged as state where moto is
    /// arranged by calls.
    pub(crate) fn simulated(&self) -> Option<&Organization> {
        match self {
            Self::Simulation(simulation) => Some(&simulation.0),
            Self::Moto(_) => None,
        }
    }

    pub(crate) fn config(&self) -> &SdkConfig {
        match self {
            Self::Simulation(simulation) => &simulation.1,
            Self::Moto(moto) => &moto.config,
        }
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let builder = aws_sdk_s3::config::Builder::from(self.config());
        aws_sdk_s3::Client::from_conf(builder.force_path_style(true).build())
    }

    /// A VPC of its own.
    pub(crate) async fn vpc(&self) -> String {
        match self {
            Self::Simulation(simulation) => {
                simulation.0.edit(|state| state.ec2(ACCOUNT, REGION).add_vpc(false))
            }
            Self::Moto(_) => {
                let made = self.ec2().create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap();
                made.vpc().unwrap().vpc_id().unwrap().to_owned()
            }
        }
    }

    pub(crate) async fn group(&self, vpc: &str, name: &str) -> String {
        let call = self.ec2().create_security_group().group_name(name).description("x").vpc_id(vpc);
        call.send().await.unwrap().group_id().unwrap().to_owned()
    }

    /// One of moto's subnets; the simulation has one in each VPC. No two share
    /// a Zone, as a DB subnet group asks for.
    pub(crate) async fn subnet(&self, vpc: &str, number: usize) -> String {
        let call = self.ec2().create_subnet().vpc_id(vpc);
        let call = call.cidr_block(format!("10.0.{number}.0/24"));
        let call = call.availability_zone(format!("{REGION}{}", ["a", "b", "c"][number]));
        call.send().await.unwrap().subnet().unwrap().subnet_id().unwrap().to_owned()
    }

    /// A running instance in a group; its id and its interface's.
    pub(crate) async fn instance(&self, vpc: &str, group: &str) -> (String, String) {
        match self {
            Self::Simulation(simulation) => simulation.0.edit(|state| {
                let ec2 = state.ec2(ACCOUNT, REGION);
                let id = ec2.add_instance(vpc, &[group]);
                let interface = ec2.interfaces_of(&id).next().unwrap().0.clone();
                (id, interface)
            }),
            Self::Moto(_) => {
                let ec2 = self.ec2();
                let subnet = self.subnet(vpc, 0).await;
                instance_in(&ec2, &subnet, group, 1).await
            }
        }
    }

    /// A user with an active access key; the key's id.
    pub(crate) async fn user(&self, name: &str) -> String {
        match self {
            Self::Simulation(simulation) => simulation.0.add_user(ACCOUNT, name, json!({})),
            Self::Moto(_) => {
                self.iam().create_user().user_name(name).send().await.unwrap();
                let key = self.iam().create_access_key().user_name(name).send().await.unwrap();
                key.access_key().unwrap().access_key_id().to_owned()
            }
        }
    }

    pub(crate) async fn role(&self, name: &str) {
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" },
            "Action": "sts:AssumeRole",
        }]});
        match self {
            Self::Simulation(simulation) => {
                simulation.0.add_role(ACCOUNT, "/", name, trust, json!({}));
            }
            Self::Moto(_) => {
                let trust = trust.to_string();
                let call =
                    self.iam().create_role().role_name(name).assume_role_policy_document(trust);
                call.send().await.unwrap();
            }
        }
    }

    pub(crate) async fn profile(&self, name: &str) {
        self.role(name).await;
        match self {
            Self::Simulation(simulation) => {
                simulation.0.add_profile(ACCOUNT, name, name);
            }
            Self::Moto(_) => {
                self.iam()
                    .create_instance_profile()
                    .instance_profile_name(name)
                    .send()
                    .await
                    .unwrap();
                let call = self.iam().add_role_to_instance_profile();
                call.instance_profile_name(name).role_name(name).send().await.unwrap();
            }
        }
    }

    pub(crate) async fn bucket(&self, name: &str) {
        match self {
            Self::Simulation(simulation) => simulation.0.edit(|state| {
                let bucket = Bucket {
                    account: ACCOUNT.to_owned(),
                    region: REGION.to_owned(),
                    ..Bucket::default()
                };
                state.s3.buckets.insert(name.to_owned(), bucket);
            }),
            Self::Moto(_) => {
                let place = aws_sdk_s3::types::CreateBucketConfiguration::builder()
                    .location_constraint(REGION.into())
                    .build();
                let call = self.s3().create_bucket().bucket(name);
                call.create_bucket_configuration(place).send().await.unwrap();
            }
        }
    }

    pub(crate) async fn table(&self, name: &str) {
        self.table_with_keys(name, &["pk"]).await;
    }

    /// Makes a table with these keys, all strings: the first is the hash key.
    pub(crate) async fn table_with_keys(&self, name: &str, keys: &[&str]) {
        use aws_sdk_dynamodb::types::{
            AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        };
        let mut call = self.dynamodb().create_table().table_name(name);
        for (number, key) in keys.iter().enumerate() {
            let attribute = AttributeDefinition::builder()
                .attribute_name(*key)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap();
            let kind = if number == 0 { KeyType::Hash } else { KeyType::Range };
            let key =
                KeySchemaElement::builder().attribute_name(*key).key_type(kind).build().unwrap();
            call = call.attribute_definitions(attribute).key_schema(key);
        }
        call.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    }
}
