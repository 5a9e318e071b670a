//! Plays Lambda for the function that the hub's template makes: its environment
//! and role, its event source mappings, its schedule. Nothing is set up here.

use firebreak_aws::config;
use firebreak_aws::settings::Settings;
use firebreak_demo::world::{HOME, HUB, World};
use firebreak_engine::Engine;
use firebreak_function as lambda;
use firebreak_policy::Policy;
use firebreak_simulation::Options;
use firebreak_simulation::events::deliver;
use firebreak_simulation::regional::lambda::{Configuration, Function, Source};
use firebreak_simulation::sqs::{Address, Counts, Message};
use firebreak_testkit::player::{Ended, Player};
use serde_json::Value;

pub(crate) struct Wired {
    pub(crate) world: World,
    configuration: Configuration,
    sources: Vec<Source>,
}

impl Wired {
    pub(crate) async fn new(accounts: usize, policy: &Policy) -> Self {
        let world = World::new(accounts, Options::default());
        world.engine(policy).await.unwrap();
        let (configuration, sources) = world.organization.edit(|state| {
            let lambda = &state.regional(HUB, HOME).lambda;
            let configuration = lambda.functions["firebreak"].configuration.clone().unwrap();
            (configuration, lambda.sources.values().cloned().collect())
        });
        Self { world, configuration, sources }
    }

    pub(crate) fn function(&self) -> Function {
        self.world
            .organization
            .edit(|state| state.regional(HUB, HOME).lambda.functions["firebreak"].clone())
    }

    /// A process of the function, as Lambda starts it.
    pub(crate) async fn process(&self) -> Engine {
        let Configuration { role, environment, .. } = &self.configuration;
        let settings = Settings::read(|name| environment.get(name).cloned()).unwrap();
        let role = role.rsplit('/').next().unwrap();
        let organization = &self.world.organization;
        let session = organization.role_session(HUB, role, "firebreak");
        let (client, time) = (organization.http_client(), organization.time_source());
        let region = HOME.parse().unwrap();
        let config = config::with_http_client(client, session, time, &region).await;
        Engine::new(&config, settings)
    }

    pub(crate) fn source(&self, queue: &str) -> &Source {
        self.sources.iter().find(|source| source.queue.ends_with(queue)).unwrap()
    }

    pub(crate) fn counts(&self, queue: &str) -> Counts {
        let now = self.world.organization.now();
        let queue = Address::new(HUB, HOME, queue);
        self.world.organization.edit(|state| state.sqs.counts(&queue, now)).unwrap()
    }

    pub(crate) fn messages(&self, region: &str, queue: &str) -> Vec<Message> {
        let queue = Address::new(HUB, region, queue);
        self.world.organization.edit(|state| state.sqs.messages(&queue))
    }

    /// GuardDuty has a finding, in a detector of the member's, and sends its event
    /// to the member's bus and to the administrator's, in the finding's Region.
    pub(crate) fn emit(&self, finding: &Value) {
        self.world.raise(finding);
        self.world.import(finding);
        let event = firebreak_demo::world::event(finding);
        let region = finding["region"].as_str().unwrap();
        let member = finding["accountId"].as_str().unwrap();
        if member != HUB {
            self.emit_event((member, region), &event);
        }
        self.emit_event((HUB, region), &event);
    }

    pub(crate) fn emit_event(&self, place: (&str, &str), event: &Value) {
        let now = self.world.organization.now();
        self.world.organization.edit(|state| deliver::emit(state, place, event, now));
    }

    /// What the rule with the schedule does each minute.
    pub(crate) async fn tick(&self) {
        let now = self.world.organization.now();
        self.world.organization.edit(|state| {
            let rules = state.events.rules.iter();
            let scheduled: Vec<String> =
                rules.filter(|(_, rule)| rule.schedule.is_some()).map(|it| it.0.clone()).collect();
            for rule in scheduled {
                deliver::tick(state, &rule, now);
            }
        });
        let event = self.function().invoked.last().unwrap().clone();
        assert!(lambda::is_schedule(&event), "{event}");
        lambda::sweep(&self.process().await).await.unwrap();
    }

    /// Empties a queue with as many batches at once as its event source may.
    pub(crate) async fn drain(&self, queue: &str) -> Ended {
        let player = Player::of(&self.world, queue);
        let mut processes = Vec::new();
        for _ in 0..player.at_once {
            processes.push(self.process().await);
        }
        player.drain(&self.world, &processes).await
    }
}
