//! ministack, an AWS emulator that runs a function's own `bootstrap`: started on
//! a loopback address for one test, with IAM enforced, and given what
//! CloudFormation makes of the project's templates. It never outlives its test.

use std::fs::{self, File};
use std::future::Future;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_cloudformation::types::{Capability, Parameter, Stack};
use firebreak_aws::config::behavior_version;
use firebreak_testkit::repository;
use serde_json::Value;

/// Where the hub is.
pub(crate) const REGION: &str = "eu-central-1";

/// A server of this test's own.
pub(crate) struct Ministack {
    server: Child,
    port: u16,
    pub(crate) log: PathBuf,
}

/// Runs the program until the standard input ends, which it does with this test
/// however that ends; then all of the process group goes, the functions among it.
const UNTIL_THE_TEST_ENDS: &str = r#""$0" & read -r _; trap "" TERM; kill -TERM 0; wait"#;

impl Drop for Ministack {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let asked = Instant::now();
        while matches!(self.server.try_wait(), Ok(None)) && asked.elapsed().as_secs() < 10 {
            std::thread::sleep(Duration::from_millis(50));
        }
        // What does not end by itself.
        let group = format!("-{}", self.server.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
        drop(self.server.wait());
    }
}

impl Ministack {
    /// Starts the program. `AUTH` makes it check each call as IAM does.
    pub(crate) async fn start(program: &Path) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ministack");
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("log");
        let file = File::create(&log).unwrap();
        let port =
            std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let endpoint = format!("http://127.0.0.1:{port}");
        let server = Command::new("sh")
            .args(["-c", UNTIL_THE_TEST_ENDS])
            .arg(program)
            .current_dir(&folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_REGION", REGION)
            .env("AUTH", "true")
            // The functions get it in their environment.
            .env("AWS_ENDPOINT_URL", &endpoint)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let ministack = Self { server, port, log };
        until("ministack answers", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        ministack
    }

    /// The configuration of an account's administrator: an account's number is
    /// its root's access key.
    pub(crate) async fn account(&self, account: &str) -> SdkConfig {
        aws_config::defaults(behavior_version())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .region(aws_config::Region::new(REGION))
            .credentials_provider(Credentials::new(account, "root", None, None, "ministack"))
            .load()
            .await
    }
}

/// Waits, a minute and a half at most, until something is there.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asked = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(asked.elapsed() < Duration::from_secs(90), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// One of the project's templates, without what ministack reads otherwise than
/// AWS does: see the list in `mod.rs`.
fn template(name: &str) -> Value {
    let mut template = repository::template(name);
    let resources = template["Resources"].as_object_mut().unwrap();
    resources.retain(|_, resource| resource["Type"] != "AWS::Events::EventBusPolicy");
    for resource in resources.values_mut() {
        let statements = resource.pointer_mut("/Properties/PolicyDocument/Statement");
        if let Some(statements) = statements.and_then(Value::as_array_mut) {
            statements.retain(|statement| statement["Sid"] != "TlsOnly");
        }
        let trust = resource.pointer_mut("/Properties/AssumeRolePolicyDocument/Statement");
        for statement in trust.and_then(Value::as_array_mut).into_iter().flatten() {
            let condition = statement.get_mut("Condition").and_then(Value::as_object_mut);
            if let Some(condition) = condition {
                condition.remove("ArnEquals");
            }
        }
    }
    template
}

/// Makes a stack of a template in an account, and waits for it.
pub(crate) async fn deploy(
    config: &SdkConfig,
    name: &str,
    file: &str,
    parameters: &[(&str, &str)],
) -> Stack {
    let client = aws_sdk_cloudformation::Client::new(config);
    let parameters = parameters.iter().map(|(key, value)| {
        Parameter::builder().parameter_key(*key).parameter_value(*value).build()
    });
    client
        .create_stack()
        .stack_name(name)
        .template_body(template(file).to_string())
        .capabilities(Capability::CapabilityNamedIam)
        .set_parameters(Some(parameters.collect()))
        .send()
        .await
        .unwrap();
    let stack = until("the stack is made", || async {
        let stacks = client.describe_stacks().stack_name(name).send().await.unwrap();
        let stack = stacks.stacks().first().unwrap().clone();
        let status = stack.stack_status().unwrap().as_str().to_owned();
        (!status.ends_with("_IN_PROGRESS")).then_some(stack)
    })
    .await;
    assert_eq!(stack.stack_status().unwrap().as_str(), "CREATE_COMPLETE", "{stack:?}");
    stack
}

/// The output of a stack with this name.
pub(crate) fn output_of(stack: &Stack, name: &str) -> String {
    let output = stack.outputs().iter().find(|output| output.output_key() == Some(name));
    output.unwrap().output_value().unwrap().to_owned()
}
