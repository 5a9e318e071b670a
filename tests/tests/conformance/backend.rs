//! The two implementations, and how each is given what a case needs.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use firebreak_hub::aws::config::{behavior_version, with_http_client};
use firebreak_simulation::s3::model::Bucket;
use firebreak_simulation::{Options, Organization};
use serde_json::json;

/// moto's account for credentials that it does not know.
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-central-1";

/// A moto server of this test's own, stopped with it.
pub(crate) struct Moto {
    config: SdkConfig,
    server: Child,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Moto {
    /// Starts moto where it is installed. Where `FIREBREAK_MOTO` names it, as in
    /// CI, it has to be.
    pub(crate) async fn start() -> Option<Self> {
        let program = std::env::var_os("FIREBREAK_MOTO").unwrap_or_else(|| "moto_server".into());
        let port =
            std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let started = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = match started {
            Ok(server) => server,
            Err(error) => {
                let named = std::env::var_os("FIREBREAK_MOTO");
                assert!(named.is_none(), "{named:?} does not start: {error}");
                println!("skipped: moto is not installed (pip install 'moto[server]')");
                return None;
            }
        };
        let config = aws_config::defaults(behavior_version())
            .endpoint_url(format!("http://127.0.0.1:{port}"))
            .region(aws_config::Region::new(REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "moto"))
            .load()
            .await;
        let moto = Self { config, server };
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(moto);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("moto did not answer within 30 seconds");
    }
}

pub(crate) enum Backend {
    Simulation(Box<(Organization, SdkConfig)>),
    Moto(Box<Moto>),
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

    pub(crate) fn config(&self) -> &SdkConfig {
        match self {
            Self::Simulation(simulation) => &simulation.1,
            Self::Moto(moto) => &moto.config,
        }
    }

    pub(crate) fn ec2(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(self.config())
    }

    pub(crate) fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(self.config())
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let builder = aws_sdk_s3::config::Builder::from(self.config());
        aws_sdk_s3::Client::from_conf(builder.force_path_style(true).build())
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(self.config())
    }

    pub(crate) fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(self.config())
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
                let subnet = ec2.create_subnet().vpc_id(vpc).cidr_block("10.0.0.0/24");
                let subnet = subnet.send().await.unwrap();
                let run = ec2
                    .run_instances()
                    .image_id("ami-12c6146b")
                    .min_count(1)
                    .max_count(1)
                    .subnet_id(subnet.subnet().unwrap().subnet_id().unwrap())
                    .security_group_ids(group);
                let run = run.send().await.unwrap();
                let instance = &run.instances()[0];
                let interface = instance.network_interfaces()[0].network_interface_id().unwrap();
                (instance.instance_id().unwrap().to_owned(), interface.to_owned())
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
