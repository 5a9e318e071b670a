//! How long the cut takes where others answer: the `bootstrap` program, with the environment
//! that hub.yaml gives the function, before moto, at 30 ms a call. The same figures of the
//! simulation are those of the bench `time_to_cut`.
//!
//! moto checks no session or trust policy, and its answers take some milliseconds more.

#![expect(clippy::disallowed_methods, reason = "a test reads the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_iam::types::StatusType;
use firebreak_aws::policies::{Author, Policies};
use firebreak_aws::settings::Settings;
use firebreak_aws::store::Store;
use firebreak_demo::world::{Attack, Member, asff, event};
use firebreak_policy::StoredDocument;
use firebreak_response::record::State;
use firebreak_spoke::registry;
use firebreak_testkit::arrange::FIVE_TYPES;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::conformance::backend::{self, Backend, Moto, REGION};
use crate::conformance::proxy::{Call, Proxy};
use crate::conformance::templates::{deploy, put_code};
use crate::lambda_runtime::{
    Extensions, Function, Invocation, Runtime, batch, record, serve_runtime,
};

const LATENCY: Duration = Duration::from_millis(30);
const TIMEOUT: Duration = Duration::from_secs(300);

/// What moto itself may take of a cut, beside the latency: it is one process in Python, on a
/// machine that may be busy. The figures are printed; this only keeps them from getting lost.
const OF_MOTO: u128 = 1_000;

/// The calls that 100 findings may cost, apart from their write-back: the bar of 600, and some
/// more where moto answers so slowly that fewer findings ask at the same moment.
const CALLS_OF_A_HUNDRED: usize = 700;

struct Installation {
    moto: Backend,
    proxy: Arc<Proxy>,
    runtime: Arc<Runtime>,
    answers: UnboundedReceiver<Value>,
    settings: Settings,
    write_back: String,
    member: SdkConfig,
    account: String,
    subnet: String,
    group: String,
    findings: usize,
    _function: Function,
}

impl Installation {
    /// hub.yaml, an organization with a member account, and a policy.
    async fn new(moto: Moto, then: &str) -> Self {
        let address = ([127, 0, 0, 1], moto.port).into();
        let (proxy, endpoint) = Proxy::start(address, LATENCY).await;
        let moto = Backend::Moto(Box::new(moto));
        put_code(&moto).await;
        let organizations = aws_sdk_organizations::Client::new(moto.config());
        let made = organizations.create_organization().send().await.unwrap();
        let organization = made.organization().unwrap().id().unwrap().to_owned();
        let roots = organizations.list_roots().send().await.unwrap();
        let root = roots.roots()[0].id().unwrap().to_owned();
        let made = organizations.create_account().email("a@example.com").account_name("member");
        let made = made.send().await.unwrap();
        let account = made.create_account_status().unwrap().account_id().unwrap().to_owned();
        let parameters = [
            ("OrganizationId", organization.as_str()),
            ("ManagementAccountId", "123456789012"),
            ("ExternalId", "firebreak-conformance"),
            ("CodeBucket", "code"),
            ("CodeKey", "firebreak.zip"),
            ("AggregatorRegion", REGION),
            // Without these moto leaves statements of no value in the policies.
            ("ArchiveResolved", "true"),
            ("EvidenceObjectLock", "true"),
            ("EvidenceLockDays", "30"),
            ("EvidenceExpiryDays", "400"),
        ];
        let outputs = deploy(&moto, "hub.yaml", &parameters).await;
        let environment = environment(&moto).await;
        // moto takes messages for a function that it does not run; the test delivers them.
        let sources = moto.lambda().list_event_source_mappings().send().await.unwrap();
        for source in sources.event_source_mappings() {
            let disable = moto.lambda().update_event_source_mapping().enabled(false);
            disable.uuid(source.uuid().unwrap()).send().await.unwrap();
        }
        let settings = Settings::read(|name| environment.get(name).cloned()).unwrap();

        let policies = Policies::new(moto.config(), &settings, registry::catalog());
        let text = format!(
            "version: 1\nattach: {root}\nrules:\n  - name: act\n    mode: auto\n    then: [{then}]\n"
        );
        let document = StoredDocument { attach: root, file: "root.yaml".to_owned(), text };
        let author = Author { by: "the test".to_owned(), note: String::new() };
        let before = policies.version().await.unwrap();
        policies.push(&[document], &before, &author).await.unwrap();

        let (runtime, answers) = Runtime::new(Extensions::Offered, Vec::new());
        let mut program = Runtime::program(serve_runtime(runtime.clone()).await);
        program
            .envs(&environment)
            .env("AWS_ENDPOINT_URL", format!("http://{endpoint}"))
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let function = Function(program.spawn().unwrap());

        let member = member(&moto, &account).await;
        let ec2 = aws_sdk_ec2::Client::new(&member);
        let vpc = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap();
        let vpc = vpc.vpc().unwrap().vpc_id().unwrap().to_owned();
        let subnet = ec2.create_subnet().vpc_id(&vpc).cidr_block("10.0.0.0/20");
        let subnet = subnet.send().await.unwrap().subnet().unwrap().subnet_id().unwrap().to_owned();
        let group = ec2.create_security_group().group_name("web").description("x").vpc_id(&vpc);
        let group = group.send().await.unwrap().group_id().unwrap().to_owned();
        let write_back = outputs["WriteBackQueueUrl"].clone();
        let mut installation = Self {
            moto,
            proxy,
            runtime,
            answers,
            settings,
            write_back,
            member,
            account,
            subnet,
            group,
            findings: 0,
            _function: function,
        };
        // The sweep runs each minute, also before the first finding.
        let tick =
            json!({ "detail-type": "Scheduled Event", "source": "aws.events", "detail": {} });
        installation.invoke(Invocation { event: tick, within: TIMEOUT }).await;
        installation
    }

    async fn instance(&self, interfaces: i32) -> Member {
        let ec2 = aws_sdk_ec2::Client::new(&self.member);
        let (instance, _) = backend::instance_in(&ec2, &self.subnet, &self.group, interfaces).await;
        Member { instance, ..self.nobody() }
    }

    async fn user(&self, user: &str) -> Member {
        let iam = aws_sdk_iam::Client::new(&self.member);
        iam.create_user().user_name(user).send().await.unwrap();
        let key = iam.create_access_key().user_name(user).send().await.unwrap();
        let key = key.access_key().unwrap().access_key_id().to_owned();
        Member { user: user.to_owned(), key, ..self.nobody() }
    }

    fn nobody(&self) -> Member {
        let nobody = Credentials::new("none", "none", None, None, "none");
        Member {
            account: self.account.clone(),
            unit: "none".to_owned(),
            region: REGION.to_owned(),
            instance: "none".to_owned(),
            instance_credentials: nobody.clone(),
            user: "none".to_owned(),
            key: "none".to_owned(),
            role_session: nobody,
            bucket: "none".to_owned(),
        }
    }

    /// A message with a finding that its services know.
    fn finding(&mut self, attack: Attack, member: &Member, kind: Option<&str>) -> String {
        self.findings += 1;
        let mut finding = attack.finding(member, self.findings);
        if let Some(kind) = kind {
            finding["type"] = kind.into();
        }
        self.proxy.add_finding(finding.clone(), asff(&finding));
        event(&finding).to_string()
    }

    /// Invokes the function; when that began, and the calls that it made.
    async fn invoke(&mut self, invocation: Invocation) -> (Instant, Vec<Call>) {
        self.proxy.take_calls();
        let began = Instant::now();
        self.runtime.invoke(invocation);
        let answer = self.answers.recv();
        let answer = tokio::time::timeout(Duration::from_secs(120), answer).await.unwrap().unwrap();
        assert_eq!(answer["body"]["batchItemFailures"], json!([]), "{answer}");
        (began, self.proxy.take_calls())
    }

    async fn deliver(&mut self, messages: &[String]) -> (Instant, Vec<Call>) {
        let records: Vec<Value> = messages
            .iter()
            .enumerate()
            .map(|(nth, body)| record(&format!("m-{nth}"), body))
            .collect();
        self.invoke(batch(&records, TIMEOUT)).await
    }

    /// Invokes the function with what is in its write-back queue; the calls that it made.
    async fn write_back(&mut self) -> Vec<Call> {
        let sqs = self.moto.sqs();
        let mut records = Vec::new();
        loop {
            let call = sqs.receive_message().queue_url(&self.write_back).max_number_of_messages(10);
            let received = call.send().await.unwrap();
            if received.messages().is_empty() {
                break;
            }
            for message in received.messages() {
                let delete = sqs.delete_message().queue_url(&self.write_back);
                let receipt = message.receipt_handle().unwrap();
                delete.receipt_handle(receipt).send().await.unwrap();
                let id = message.message_id().unwrap();
                records.push(record(id, message.body().unwrap()));
            }
        }
        self.invoke(batch(&records, TIMEOUT)).await.1
    }

    /// Every interface of an instance is in the isolation group alone.
    async fn is_cut_off(&self, member: &Member) -> bool {
        let ec2 = aws_sdk_ec2::Client::new(&self.member);
        let described = ec2.describe_instances().instance_ids(&member.instance);
        let described = described.send().await.unwrap();
        let interfaces = described.reservations()[0].instances()[0].network_interfaces();
        let groups = interfaces.iter().map(|it| it.groups());
        let groups: Vec<Vec<&str>> =
            groups.map(|groups| groups.iter().filter_map(|it| it.group_name()).collect()).collect();
        !groups.is_empty() && groups.iter().all(|it| *it == ["firebreak-isolation"])
    }

    async fn states(&self) -> BTreeSet<&'static str> {
        let store = Store::new(self.moto.config(), &self.settings);
        let hour = SignedDuration::from_hours(1);
        let now = Timestamp::now();
        let responses = store.responses(now - hour, now + hour).await.unwrap();
        for response in responses.iter().filter(|it| it.state != State::Contained) {
            println!("{} is {}: {}", response.resource.arn(), response.state, response.reason);
        }
        responses.iter().map(|it| it.state.name()).collect()
    }
}

/// The function's environment, as hub.yaml declares it. moto gives the timeout as a text,
/// which the SDK does not take, so the answer is read as it came.
async fn environment(moto: &Backend) -> BTreeMap<String, String> {
    let call = moto.lambda().get_function_configuration().function_name("firebreak");
    let unreadable = call.send().await.unwrap_err();
    let body = unreadable.raw_response().unwrap().body().bytes().unwrap();
    let answer: Value = serde_json::from_slice(body).unwrap();
    let variables = answer["Environment"]["Variables"].as_object().unwrap().iter();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    variables.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The member account, as its own administrator sees it.
async fn member(moto: &Backend, account: &str) -> SdkConfig {
    let assume = moto.sts().assume_role().role_session_name("owner");
    let assume = assume.role_arn(format!("arn:aws:iam::{account}:role/Owner"));
    let assumed = assume.send().await.unwrap();
    let session = assumed.credentials().unwrap();
    let credentials = Credentials::new(
        session.access_key_id(),
        session.secret_access_key(),
        Some(session.session_token().to_owned()),
        None,
        "moto",
    );
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(credentials);
    moto.config().to_builder().credentials_provider(provider).build()
}

/// Milliseconds until a change was read back.
fn read_back(began: Instant, calls: &[Call], change: &str, read: &str) -> u128 {
    let of = |operation: &str| {
        let operation = operation.to_owned();
        calls.iter().filter(move |it| it.operation == operation && it.succeeded())
    };
    let changed = of(change).map(|it| it.ended).max().unwrap();
    let read = of(read).filter(|it| it.began >= changed).map(|it| it.ended).min().unwrap();
    read.duration_since(began).as_millis()
}

fn print_by_operation(calls: &[Call]) {
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    for call in calls {
        *counts.entry((&call.service, &call.operation)).or_default() += 1;
    }
    for ((service, operation), count) in counts {
        println!("{count:>6}  {service}:{operation}");
    }
}

const CUT: (&str, &str) = ("ModifyNetworkInterfaceAttribute", "DescribeNetworkInterfaces");

/// Prints a figure, and whether it holds its bar with moto's own time on top.
fn figure(missed: &mut Vec<String>, what: &str, millis: u128, bar: u128, calls: usize) {
    println!("{what:<60} {millis:>6} ms  (bar {bar:>5})  {calls:>4} calls");
    if millis > bar + OF_MOTO {
        missed.push(format!("{what}: {millis} ms"));
    }
}

/// A hundred findings of five types on twenty instances of one account, ten in a batch, one
/// batch after the other.
async fn many(hub: &mut Installation, missed: &mut Vec<String>) {
    let mut instances = Vec::new();
    for _ in 0..20 {
        instances.push(hub.instance(1).await);
    }
    let mut messages = Vec::new();
    for kind in FIVE_TYPES {
        for member in &instances {
            messages.push(hub.finding(Attack::Instance, member, Some(kind)));
        }
    }
    let (mut began, mut all) = (None, Vec::new());
    for batch in messages.chunks(10) {
        let (at, calls) = hub.deliver(batch).await;
        began.get_or_insert(at);
        all.extend(calls);
    }
    let last = read_back(began.unwrap(), &all, CUT.0, CUT.1);
    print_by_operation(&all);
    let what = "100 findings of 5 types on 20 instances, the last cut";
    figure(missed, what, last, 10_000, all.len());
    if all.len() > CALLS_OF_A_HUNDRED {
        missed.push(format!("{what}: {} calls", all.len()));
    }
    for member in &instances {
        assert!(hub.is_cut_off(member).await, "{}", member.instance);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_moto_the_cut_takes_no_longer_than_in_the_simulation() {
    let Some(moto) = Moto::start().await else { return };
    let then = "isolate-instance, revoke-instance-credentials, tag-resource, deactivate-access-key, revoke-sessions";
    let mut hub = Installation::new(moto, then).await;
    let mut missed = Vec::new();
    for (what, interfaces, bar) in [
        ("the first instance of an account", 1, 1_000),
        ("the second", 1, 500),
        ("an instance with 4 interfaces", 4, 500),
    ] {
        let member = hub.instance(interfaces).await;
        let message = hub.finding(Attack::Instance, &member, None);
        let (began, calls) = hub.deliver(&[message]).await;
        figure(&mut missed, what, read_back(began, &calls, CUT.0, CUT.1), bar, calls.len());
        assert!(hub.is_cut_off(&member).await, "{what}");
    }
    let member = hub.user("deploy").await;
    let message = hub.finding(Attack::UserKey, &member, None);
    let (began, calls) = hub.deliver(&[message]).await;
    let off = read_back(began, &calls, "UpdateAccessKey", "ListAccessKeys");
    figure(&mut missed, "a key is off", off, 500, calls.len());
    let denied = read_back(began, &calls, "PutUserPolicy", "GetUserPolicy");
    figure(&mut missed, "its sessions are denied", denied, 700, calls.len());
    let keys = aws_sdk_iam::Client::new(&hub.member).list_access_keys().user_name("deploy");
    let keys = keys.send().await.unwrap();
    assert_eq!(keys.access_key_metadata()[0].status(), Some(&StatusType::Inactive));

    let mut messages = Vec::new();
    for nth in 0..10 {
        let member = hub.user(&format!("user-{nth}")).await;
        messages.push(hub.finding(Attack::UserKey, &member, None));
    }
    let (began, calls) = hub.deliver(&messages).await;
    let last = read_back(began, &calls, "PutUserPolicy", "GetUserPolicy");
    figure(&mut missed, "ten keys of one account in a batch, the last", last, 5_000, calls.len());

    many(&mut hub, &mut missed).await;
    let calls = hub.write_back().await;
    print_by_operation(&calls);
    let told: BTreeSet<String> = hub
        .proxy
        .updates()
        .iter()
        .flat_map(|update| {
            assert_eq!(update["Workflow"]["Status"], "RESOLVED", "{update}");
            update["FindingIdentifiers"].as_array().cloned().unwrap_or_default()
        })
        .map(|id| id["Id"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(told.len(), 14 + 100, "each finding is resolved in Security Hub: {told:?}");
    assert_eq!(hub.states().await, BTreeSet::from(["contained"]));
    assert!(missed.is_empty(), "{missed:#?}");
}
