//! An organization with the hub behind its two queues.

use std::collections::BTreeMap;
use std::slice::from_ref;

use firebreak_aws::settings::Settings;
use firebreak_demo::world::{Attack, Member, World, event};
use firebreak_engine::{Disposition, Engine, SweepReport};
use firebreak_policy::Policy;
use firebreak_response::outbox::OutboxKey;
use firebreak_response::record::Response;
use firebreak_simulation::Options;
use firebreak_testkit::player::{Ended, INTAKE, Player, WRITE_BACK};
use jiff::SignedDuration;
use serde_json::Value;

/// An organization with a hub behind its queues.
pub(crate) struct Hub {
    pub(crate) world: World,
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) intake: Player,
    pub(crate) write_back: Player,
}

/// Makes an organization whose hub delivers through the write-back queue if
/// `settings` says so, which is asked with the queue's URL.
pub(crate) async fn hub(
    accounts: usize,
    policy: &Policy,
    options: Options,
    settings: impl FnOnce(Settings, String) -> Settings,
) -> Hub {
    let world = World::new(accounts, options);
    // It makes the table and pushes the policy.
    world.engine(policy).await.unwrap();
    let intake = Player::of(&world, INTAKE);
    let write_back = Player::of(&world, WRITE_BACK);
    let intake_queue = Some(intake.queue.url());
    let settings =
        settings(Settings { intake_queue, ..world.settings().unwrap() }, write_back.queue.url());
    let config = world.hub_config().await.unwrap();
    let engine = Engine::new(&config, settings.clone());
    Hub { world, engine, settings, intake, write_back }
}

/// The settings of a hub that delivers everything itself.
pub(crate) fn at_once(settings: Settings, _: String) -> Settings {
    settings
}

/// The settings of a hub with a write-back queue.
pub(crate) fn through_the_queue(settings: Settings, url: String) -> Settings {
    Settings { write_back_queue: Some(url), ..settings }
}

impl Hub {
    /// A member of the sandboxes, where everything is contained at once.
    pub(crate) fn sandbox(&self, nth: usize) -> &Member {
        &self.world.members[4 * nth]
    }

    /// A finding that GuardDuty and Security Hub know.
    pub(crate) fn finding(&self, member: &Member, number: usize) -> Value {
        self.raised(Attack::Instance.finding(member, number))
    }

    pub(crate) fn raised(&self, finding: Value) -> Value {
        self.world.raise(&finding);
        self.world.import(&finding);
        finding
    }

    /// Sends a finding as EventBridge does, in the group of its account.
    pub(crate) fn send(&self, finding: &Value) -> String {
        let group = finding["accountId"].as_str();
        self.intake.send(&self.world, &event(finding).to_string(), group)
    }

    /// How often a finding is received before it is a dead letter.
    pub(crate) fn received_at_most(&self) -> u32 {
        self.intake.received_at_most(&self.world)
    }

    /// Handles all of the intake, whatever the write-back queue holds.
    pub(crate) async fn take_in(&self) -> Ended {
        self.intake.drain(&self.world, from_ref(&self.engine)).await
    }

    /// Delivers all that the write-back queue holds.
    pub(crate) async fn report(&self) -> Ended {
        self.write_back.drain(&self.world, from_ref(&self.engine)).await
    }

    /// What the schedule does each minute.
    pub(crate) async fn sweep(&self) -> SweepReport {
        Box::pin(self.engine.sweep()).await
    }

    /// Another process of the function.
    pub(crate) async fn another(&self) -> Engine {
        Engine::new(&self.world.hub_config().await.unwrap(), self.settings.clone())
    }

    /// One more instance of a member, in its group `web`.
    pub(crate) fn another_instance(&self, member: &Member) -> String {
        self.world.organization.edit(|state| {
            let ec2 = state.ec2(&member.account, &member.region);
            let vpc = ec2.vpcs.keys().next().unwrap().clone();
            let web = ec2.groups.iter().find(|(_, it)| it.name == "web").unwrap().0.clone();
            ec2.add_instance(&vpc, &[&web])
        })
    }

    pub(crate) fn reaches_internet(&self, member: &Member, instance: &str) -> bool {
        self.world
            .organization
            .edit(|state| state.ec2(&member.account, &member.region).reaches_internet(instance))
    }

    pub(crate) fn count(&self, operation: &str) -> usize {
        let calls = self.world.organization.calls();
        calls.iter().filter(|call| call.operation == operation && call.error.is_none()).count()
    }

    /// Every response that is recorded.
    pub(crate) async fn responses(&self) -> Vec<Response> {
        let (since, until) = (self.world.began(), self.engine.now());
        self.engine.store.responses(since, until).await.unwrap()
    }

    /// What is not delivered yet, due or not.
    pub(crate) async fn outbox(&self) -> Vec<OutboxKey> {
        let later = self.engine.now() + SignedDuration::from_hours(48);
        self.engine.store.due_outbox_items(later, 1_000).await.unwrap()
    }
}

/// How often each disposition was come to.
pub(crate) fn dispositions(ended: &Ended) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for outcome in ended.iter().flat_map(|(_, handled)| &handled.outcomes) {
        *counted.entry(format!("{:?}", outcome.disposition)).or_default() += 1;
    }
    counted
}

/// How often a response was opened or carried to its end.
pub(crate) fn responded(ended: &Ended) -> usize {
    let outcomes = ended.iter().flat_map(|(_, handled)| &handled.outcomes);
    outcomes.filter(|outcome| outcome.disposition == Disposition::Responded).count()
}
