//! An organization served on a loopback address, and the program run against it.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use assert_cmd::cargo::cargo_bin;
use firebreak_demo::templates::OPERATOR_ROLE;
use firebreak_demo::world::{HOME, HUB, World};
use firebreak_simulation::Options;
use firebreak_simulation::serve::serve;
use firebreak_testkit::{repository, truth};

pub(crate) struct Served {
    pub(crate) world: World,
    address: SocketAddr,
    /// Dropped last: the server lives in it.
    pub(crate) runtime: tokio::runtime::Runtime,
}

/// The processes have the real clock, so the organization begins now.
pub(crate) fn served() -> Served {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = real_time();
    let world = runtime.block_on(async { World::new(4, Options { start, ..Options::default() }) });
    let (ready, address) = mpsc::channel();
    let organization = world.organization.clone();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    runtime.spawn(async move {
        serve(organization, any, |address| ready.send(address).unwrap()).await.unwrap();
    });
    let address = address.recv().unwrap();
    Served { world, address, runtime }
}

fn real_time() -> jiff::Timestamp {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(now).unwrap()
}

impl Served {
    /// Waits until the organization's clock, which began when it was built, has
    /// come to where that of the processes is: what they recorded is past then.
    pub(crate) fn catch_up(&self) {
        let now = real_time();
        while self.world.organization.now() < now {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let session = self.world.organization.role_session(HUB, OPERATOR_ROLE, "command-line");
        let mut child = Command::new(cargo_bin("firebreak"))
            .args(arguments)
            .env_clear()
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_REGION", HOME)
            .env("AWS_ACCESS_KEY_ID", session.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", session.secret_access_key())
            .env("AWS_SESSION_TOKEN", session.session_token().unwrap())
            .env("FIREBREAK_EXTERNAL_ID", "firebreak-demo")
            .env("FIREBREAK_AGGREGATOR_REGION", HOME)
            .current_dir(repository::root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn text(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn reaches_internet(&self) -> bool {
        truth::reaches_internet(&self.world, &self.world.members[0])
    }
}
