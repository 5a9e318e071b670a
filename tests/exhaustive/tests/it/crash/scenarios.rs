//! What is played.

use firebreak_demo::world::{Attack, Member, World};
use firebreak_simulation::regional::ecs::{Cluster, Service, Task};
use firebreak_simulation::regional::lambda::Function;
use firebreak_simulation::regional::rds;
use firebreak_testkit::arrange::finding_on;
use firebreak_testkit::truth::add_volume;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::crash::clusters;

/// One thing that happens.
pub(crate) enum Act {
    /// A finding arrives.
    Deliver(fn(&Member) -> Value),
    /// Somebody undoes the response.
    Undo,
    /// Somebody approves the plan.
    Approve,
    /// Somebody denies it.
    Deny,
    /// Time passes.
    Pass(SignedDuration),
    /// The sweep runs.
    Sweep,
}

impl std::fmt::Debug for Act {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Deliver(_) => "a delivery",
            Self::Undo => "an undo",
            Self::Approve => "an approval",
            Self::Deny => "a denial",
            Self::Pass(_) => "time",
            Self::Sweep => "a sweep",
        })
    }
}

/// A policy, an account, and what happens.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) document: &'static str,
    /// The member's number: the first has one interface, the fifth three in two VPCs.
    pub(crate) member: usize,
    pub(crate) arrange: fn(&World, &Member),
    pub(crate) acts: &'static [Act],
}

/// When the two hours of a rule are over.
const LATER: SignedDuration = SignedDuration::from_hours(3);

const ONE_INTERFACE: usize = 0;
const THREE_INTERFACES: usize = 4;

macro_rules! act {
    ($actions:literal) => {
        act!($actions, "")
    };
    ($actions:literal, $more:literal) => {
        concat!(
            "attach: r-fb01\nrules:\n  - name: act\n    mode: auto\n    irreversible: allow\n    then: [",
            $actions,
            "]\n",
            $more
        )
    };
}

fn nothing(_: &World, _: &Member) {}

fn instance(member: &Member) -> Value {
    Attack::Instance.finding(member, 1)
}

fn instance_again(member: &Member) -> Value {
    Attack::Instance.finding(member, 2)
}

fn user_key(member: &Member) -> Value {
    Attack::UserKey.finding(member, 1)
}

fn role_session(member: &Member) -> Value {
    Attack::RoleSession.finding(member, 1)
}

fn bucket(member: &Member) -> Value {
    Attack::Bucket.finding(member, 1)
}

fn add_database(world: &World, member: &Member) {
    world.organization.edit(|state| {
        let Member { account, region, .. } = member;
        let ec2 = state.ec2(account, region);
        let (id, group) = ec2.groups.iter().find(|(_, group)| group.name == "web").unwrap();
        let (web, vpc) = (id.clone(), group.vpc.clone());
        let rds = &mut state.regional(account, region).rds;
        rds.subnet_groups.insert("private".to_owned(), vpc);
        let held = rds::DbInstance {
            engine: "postgres".to_owned(),
            status: "available".to_owned(),
            groups: vec![web],
            publicly_accessible: true,
            subnet_group: "private".to_owned(),
            ..rds::DbInstance::default()
        };
        rds::add_instance(state, account, region, "orders", held);
    });
}

fn database(member: &Member) -> Value {
    let arn = format!("arn:aws:rds:{}:{}:db:orders", member.region, member.account);
    let details = json!({ "resourceType": "RDSDBInstance", "rdsDbInstanceDetails": {
        "dbInstanceIdentifier": "orders", "engine": "postgres", "dbInstanceArn": arn,
    }});
    finding_on(member, 1, "CredentialAccess:RDS/AnomalousBehavior.SuccessfulLogin", details)
}

fn add_function(world: &World, member: &Member) {
    world.organization.edit(|state| {
        let held = Function { reserved: Some(20), ..Function::default() };
        let lambda = &mut state.regional(&member.account, &member.region).lambda;
        lambda.functions.insert("web".to_owned(), held);
    });
}

fn function(member: &Member) -> Value {
    let arn = format!("arn:aws:lambda:{}:{}:function:web:7", member.region, member.account);
    let details = json!({ "resourceType": "Lambda", "lambdaDetails": {
        "functionName": "web", "functionArn": arn,
    }});
    finding_on(member, 1, "Backdoor:Lambda/C&CActivity.B", details)
}

fn add_service(world: &World, member: &Member) {
    world.organization.edit(|state| {
        let mut cluster = Cluster::default();
        cluster.services.insert("web".to_owned(), Service::new("REPLICA", 3));
        let running = Task {
            group: "service:web".to_owned(),
            launch_type: "FARGATE".to_owned(),
            ..Task::default()
        };
        cluster.tasks.insert("0001".to_owned(), running);
        let ecs = &mut state.regional(&member.account, &member.region).ecs;
        ecs.clusters.insert("prod".to_owned(), cluster);
    });
}

fn service(member: &Member) -> Value {
    let (region, account) = (&member.region, &member.account);
    let details = json!({ "resourceType": "ECSCluster", "ecsClusterDetails": {
        "name": "prod", "arn": format!("arn:aws:ecs:{region}:{account}:cluster/prod"),
        "taskDetails": {
            "arn": format!("arn:aws:ecs:{region}:{account}:task/prod/0001"),
            "group": "service:web",
        },
    }});
    finding_on(member, 1, "Execution:Runtime/ReverseShell", details)
}

/// Everything that is stopped at each of its calls.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = containments();
    scenarios.extend(courses());
    scenarios
}

fn containments() -> Vec<Scenario> {
    let contained = |name, document, arrange, acts| Scenario {
        name,
        document,
        member: ONE_INTERFACE,
        arrange,
        acts,
    };
    vec![
        contained(
            "an instance",
            act!("isolate-instance, revoke-instance-credentials, snapshot-volumes"),
            add_volume,
            &[Act::Deliver(instance)],
        ),
        Scenario {
            name: "an instance with three interfaces in two networks",
            document: act!("isolate-instance"),
            member: THREE_INTERFACES,
            arrange: nothing,
            acts: &[Act::Deliver(instance)],
        },
        contained(
            "a user's key",
            act!("deactivate-access-key, revoke-sessions"),
            nothing,
            &[Act::Deliver(user_key)],
        ),
        contained(
            "a role's session",
            act!("revoke-sessions"),
            nothing,
            &[Act::Deliver(role_session)],
        ),
        contained("a bucket", act!("block-public-access"), nothing, &[Act::Deliver(bucket)]),
        contained("a database", act!("quarantine-db"), add_database, &[Act::Deliver(database)]),
        contained("a function", act!("freeze-function"), add_function, &[Act::Deliver(function)]),
        contained("a service", act!("freeze-service"), add_service, &[Act::Deliver(service)]),
        contained(
            "a cluster's user and pod",
            act!("isolate-pod, revoke-cluster-access"),
            clusters::arrange,
            &[Act::Deliver(clusters::finding)],
        ),
    ]
}

/// What is not a first finding that is contained.
fn courses() -> Vec<Scenario> {
    let course = |name, document, acts| Scenario {
        name,
        document,
        member: ONE_INTERFACE,
        arrange: add_volume,
        acts,
    };
    vec![
        course(
            "a refusal",
            "attach: r-fb01\nprotect:\n  tags: [{ Name: web }]\nrules:\n  - { name: act, mode: auto, then: [isolate-instance] }\n",
            &[Act::Deliver(instance)],
        ),
        course(
            "an observation",
            "attach: r-fb01\nrules:\n  - { name: act, mode: observe, then: [isolate-instance] }\n",
            &[Act::Deliver(instance)],
        ),
        course(
            "a response that awaits approval",
            "attach: r-fb01\nrules:\n  - { name: act, mode: approve, then: [isolate-instance] }\n",
            &[Act::Deliver(instance)],
        ),
        course(
            "an approval",
            "attach: r-fb01\nrules:\n  - { name: act, mode: approve, then: [isolate-instance] }\n",
            &[Act::Deliver(instance), Act::Approve],
        ),
        course(
            "a denial",
            "attach: r-fb01\nrules:\n  - { name: act, mode: approve, then: [isolate-instance] }\n",
            &[Act::Deliver(instance), Act::Deny],
        ),
        course(
            "a spent budget",
            "attach: r-fb01\nbudgets: [{ actions: 1, per: 1d }]\nrules:\n  - { name: act, mode: auto, then: [isolate-instance, deactivate-access-key] }\n",
            &[Act::Deliver(instance), Act::Deliver(user_key)],
        ),
        course(
            "a second finding of a contained instance",
            act!("isolate-instance"),
            &[Act::Deliver(instance), Act::Deliver(instance_again)],
        ),
        Scenario {
            name: "an undo",
            document: act!("isolate-instance, tag-resource"),
            member: THREE_INTERFACES,
            arrange: nothing,
            acts: &[Act::Deliver(instance), Act::Undo],
        },
        course(
            "an end by the clock",
            act!("isolate-instance", "    expires: 2h\n"),
            &[Act::Deliver(instance), Act::Pass(LATER), Act::Sweep],
        ),
    ]
}
