//! The paths of buckets and databases.

use firebreak_model::resource::{Resource, ResourceKind};
use firebreak_simulation::regional::rds::Rds;
use firebreak_simulation::s3::model::Bucket;
use firebreak_simulation::state::State;

use super::{Attempt, Fate, attempt};
use crate::actions::stage::{ACCOUNT, REGION};

fn name_of(target: &Resource) -> String {
    match &target.kind {
        ResourceKind::Bucket { name } => name.clone(),
        other => panic!("no bucket: {other:?}"),
    }
}

fn bucket<'a>(state: &'a mut State, target: &Resource) -> &'a mut Bucket {
    let name = name_of(target);
    state.s3.buckets.get_mut(&name).unwrap()
}

fn anyone_can_read(state: &mut State, target: &Resource) -> bool {
    state.s3.anyone_can_read(&name_of(target))
}

fn public_acl(state: &mut State, target: &Resource) {
    bucket(state, target).public_acl = true;
}

fn public_policy(state: &mut State, target: &Resource) {
    bucket(state, target).public_policy = true;
}

fn public_objects(state: &mut State, target: &Resource) {
    bucket(state, target).public_objects.insert("invoice.pdf".to_owned());
}

fn rds(state: &mut State) -> &mut Rds {
    &mut state.regional(ACCOUNT, REGION).rds
}

fn is_reached_through_proxy(state: &mut State, _: &Resource) -> bool {
    !rds(state).proxies.is_empty()
}

pub(super) fn attempts() -> Vec<Attempt> {
    use Fate::{Closed, Residual};
    let of = |case, attempt| Attempt { case, ..attempt };
    let private = |attempt| of("private-acl of a bucket with grants", attempt);
    let block = |attempt| of("block-public-access of a bucket without a block", attempt);
    vec![
        private(attempt(("private-acl", "bucket-acl", Closed), public_acl, anyone_can_read)),
        private(attempt(("private-acl", "object-acls", Residual), public_objects, anyone_can_read)),
        private(attempt(
            ("private-acl", "bucket-policy", Residual),
            public_policy,
            anyone_can_read,
        )),
        block(attempt(("block-public-access", "bucket-acl", Closed), public_acl, anyone_can_read)),
        block(attempt(
            ("block-public-access", "object-acls", Closed),
            public_objects,
            anyone_can_read,
        )),
        block(attempt(
            ("block-public-access", "bucket-policy", Closed),
            public_policy,
            anyone_can_read,
        )),
        of(
            "restrict-bucket-policy of a bucket with one",
            attempt(
                ("restrict-bucket-policy", "bucket-policy", Closed),
                public_policy,
                anyone_can_read,
            ),
        ),
        of(
            "restrict-bucket-policy of a bucket with one",
            attempt(
                ("restrict-bucket-policy", "object-acls", Closed),
                public_objects,
                anyone_can_read,
            ),
        ),
        of(
            "quarantine-db of an instance",
            attempt(
                ("quarantine-db", "network", Closed),
                |_, _| (),
                |state, _| {
                    let groups: Vec<String> =
                        rds(state).instances.values().flat_map(|it| it.groups.clone()).collect();
                    let all = &state.ec2(ACCOUNT, REGION).groups;
                    let open = |id: &String| all.get(id).is_some_and(|it| !it.egress.is_empty());
                    groups.iter().any(open)
                },
            ),
        ),
        of(
            "quarantine-db of an instance",
            attempt(
                ("quarantine-db", "proxy", Residual),
                |state, _| {
                    let id = rds(state).instances.keys().next().unwrap().clone();
                    rds(state).proxies.insert("pool".to_owned(), id);
                },
                is_reached_through_proxy,
            ),
        ),
        of(
            "quarantine-db of an Aurora cluster",
            attempt(
                ("quarantine-db", "data-api", Residual),
                |state, _| {
                    rds(state).clusters.values_mut().for_each(|it| it.data_api = true);
                },
                |state, _| rds(state).clusters.values().any(|it| it.data_api),
            ),
        ),
    ]
}
