//! The session policies that the actions lead to.

use firebreak_aws::sessions::{POLICY_CHARACTERS, session_policy};
use firebreak_spoke::{registry, tags};

#[test]
fn a_session_policy_for_every_action_there_is_fits_the_limit() {
    let all: Vec<&str> = registry::all()
        .iter()
        .flat_map(|entry| entry.spec.reads.iter().chain(entry.spec.writes))
        .copied()
        .collect();
    let policy = session_policy(&all);
    assert!(policy.len() <= POLICY_CHARACTERS, "{}", policy.len());
}

#[test]
fn a_session_that_reads_never_names_a_whole_service() {
    let types = registry::all().iter().flat_map(|it| it.spec.resource_types);
    for kind in types {
        let reads: Vec<&str> = registry::all()
            .iter()
            .filter(|entry| entry.spec.resource_types.contains(kind))
            .flat_map(|entry| entry.spec.reads)
            .chain(tags::READS)
            .copied()
            .collect();
        assert!(!session_policy(&reads).contains(":*\""), "{kind}");
    }
}
