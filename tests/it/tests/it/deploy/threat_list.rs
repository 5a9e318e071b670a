//! `org threat-list put`: one object, one set in each Region, once.

use firebreak_onboarding::aws::setup::{ListOutcome, Listed, SetupRequest, Upload};
use firebreak_onboarding::setup::entities::{self, ListKind};
use firebreak_simulation::Organization;
use firebreak_simulation::guardduty::{self, EntitySet};
use firebreak_simulation::s3::model::Bucket;

use crate::deploy::organization::{
    ADMINISTRATOR, HOME, MANAGEMENT, OTHER, all_done, begin, both, changing, enable, organization,
    own,
};

/// An organization that is set up, with a bucket of the administrator's.
async fn set_up() -> Organization {
    let organization = organization(1);
    all_done(&enable(&organization, MANAGEMENT, &both()).await.unwrap());
    organization.edit(|state| {
        let bucket = Bucket {
            account: ADMINISTRATOR.to_owned(),
            region: HOME.to_owned(),
            ..Bucket::default()
        };
        state.s3.buckets.insert("lists".to_owned(), bucket);
    });
    organization.forget_calls();
    organization
}

async fn put(organization: &Organization, kind: ListKind, text: &str) -> Result<Listed, String> {
    let setup = begin(organization, ADMINISTRATOR, &SetupRequest::default()).await.unwrap();
    let entities = entities::parse_list(text, kind).unwrap();
    let upload = Upload { bucket: "lists".to_owned(), region: HOME.parse().unwrap() };
    setup.put_list(&upload, kind, &entities, &|_| {}).await.map_err(|it| it.to_string())
}

fn outcomes(listed: &Listed) -> Vec<ListOutcome> {
    listed.regions.iter().map(|(_, outcome)| outcome.clone()).collect()
}

fn sets(organization: &Organization, region: &str) -> Vec<EntitySet> {
    let key = (ADMINISTRATOR.to_owned(), region.to_owned());
    organization.edit(|state| {
        let sets = state.guardduty.entity_sets.get(&key);
        sets.into_iter().flat_map(|sets| sets.values().cloned()).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn a_list_is_put_once_in_every_region_and_replaced_by_the_next() {
    let organization = set_up().await;
    let listed = put(&organization, ListKind::Threat, "192.0.2.1\nevil.example.com").await.unwrap();
    assert!(listed.uploaded);
    assert_eq!(outcomes(&listed), [ListOutcome::Created, ListOutcome::Created]);
    let (bucket, key) = listed.location.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    organization.edit(|state| {
        let object = &state.s3.objects.held[bucket][key];
        assert_eq!(object.body, b"192.0.2.1\nevil.example.com\n");
    });
    for region in [HOME, OTHER] {
        let expected = EntitySet {
            kind: guardduty::Kind::Threat,
            name: "firebreak-threat-list".to_owned(),
            format: "TXT".to_owned(),
            location: listed.location.clone(),
            active: true,
        };
        assert_eq!(sets(&organization, region), [expected]);
    }

    // The same entries in another order.
    organization.forget_calls();
    let again = put(&organization, ListKind::Threat, "# now\nevil.example.com\n192.0.2.1\n").await;
    let again = again.unwrap();
    assert!(!again.uploaded);
    assert_eq!(again.location, listed.location);
    assert_eq!(outcomes(&again), [ListOutcome::Unchanged, ListOutcome::Unchanged]);
    assert!(changing(&organization).is_empty());

    let other = put(&organization, ListKind::Threat, "198.51.100.0/24").await.unwrap();
    assert_eq!(outcomes(&other), [ListOutcome::Updated, ListOutcome::Updated]);
    for region in [HOME, OTHER] {
        assert_eq!(sets(&organization, region).len(), 1);
        assert_eq!(sets(&organization, region)[0].location, other.location);
    }

    // Somebody turned it off in one Region.
    let key = (ADMINISTRATOR.to_owned(), OTHER.to_owned());
    organization.edit(|state| {
        let sets = state.guardduty.entity_sets.get_mut(&key).unwrap();
        for set in sets.values_mut() {
            set.active = false;
        }
    });
    let again = put(&organization, ListKind::Threat, "198.51.100.0/24").await.unwrap();
    assert_eq!(outcomes(&again), [ListOutcome::Unchanged, ListOutcome::Updated]);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_trusted_set_is_not_replaced_and_the_other_region_continues() {
    let organization = set_up().await;
    let key = (ADMINISTRATOR.to_owned(), HOME.to_owned());
    organization.edit(|state| {
        let set = EntitySet {
            kind: guardduty::Kind::Trusted,
            name: "office".to_owned(),
            format: "TXT".to_owned(),
            location: "s3://theirs/office.txt".to_owned(),
            active: true,
        };
        state.guardduty.entity_sets.entry(key).or_default().insert("1".to_owned(), set);
    });
    let listed = put(&organization, ListKind::Trusted, "192.0.2.1").await.unwrap();
    match outcomes(&listed).as_slice() {
        [ListOutcome::Failed(why), ListOutcome::Created] => {
            assert!(why.contains("`office`"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sets(&organization, HOME)[0].name, "office");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_another_account_is_not_written_to() {
    let organization = set_up().await;
    organization.edit(|state| {
        MANAGEMENT.clone_into(&mut state.s3.buckets.get_mut("lists").unwrap().account);
    });
    let refused = put(&organization, ListKind::Threat, "192.0.2.1").await.unwrap_err();
    assert!(refused.contains(&format!("does not belong to account {ADMINISTRATOR}")), "{refused}");
    assert!(changing(&organization).is_empty());
    assert!(sets(&organization, HOME).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_management_account_alone_puts_no_list() {
    let organization = set_up().await;
    let setup = begin(&organization, MANAGEMENT, &own()).await.unwrap();
    let entities = entities::parse_list("192.0.2.1", ListKind::Threat).unwrap();
    let upload = Upload { bucket: "lists".to_owned(), region: HOME.parse().unwrap() };
    let refused = setup.put_list(&upload, ListKind::Threat, &entities, &|_| {}).await.unwrap_err();
    assert!(refused.to_string().contains("lists belong to the administrator"), "{refused}");
}
