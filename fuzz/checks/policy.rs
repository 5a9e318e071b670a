//! What holds of every text that is given as a policy document: used by the
//! fuzz target and by the tests of hostile input.

use std::sync::OnceLock;

use firebreak_model::action::ActionCatalog;
use firebreak_model::finding::Finding;
use firebreak_model::organization::Place;
use firebreak_policy::{Policy, Tags, read_files, read_tests};

/// Reads a text as a document and as a file of tests; gives back whether it is
/// a sound document. One that is can be decided with, explained, and stored.
pub(crate) fn check(text: &str, actions: ActionCatalog) -> bool {
    let files = [("a.yaml".to_owned(), text.to_owned())];
    if let Err(diagnostics) = read_tests(&files, actions) {
        assert!(!diagnostics.is_empty(), "a test file refused without a reason");
    }
    let policy = match read_files(&files, actions) {
        Ok(policy) => policy,
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "a document refused without a reason");
            for diagnostic in diagnostics {
                assert!(!diagnostic.message.is_empty(), "an issue without a message");
                assert!(diagnostic.to_string().contains("a.yaml"), "{diagnostic}");
            }
            return false;
        }
    };
    let stored = Policy::from_stored(policy.to_stored(), actions);
    assert_eq!(stored.broken(), Vec::<(&str, &str)>::new(), "it is sound only as a file");
    for finding in findings() {
        for target in &finding.targets {
            for path in ["r-fb01/ou-fb01-sandbox1", "r-ab12/ou-ab12-prod1234"] {
                let Ok(ou_path) = path.parse() else { continue };
                let place = Place { account: target.resource.account.clone(), ou_path };
                for tags in [Tags::Known(target.tags.clone()), Tags::None] {
                    let decision = policy.decide(finding, target, &place, &tags);
                    assert!(!decision.reason().is_empty(), "a decision without a reason");
                    assert_eq!(decision, stored.decide(finding, target, &place, &tags));
                    let explained = policy.explain(finding, target, &place, &tags).to_string();
                    assert!(!explained.is_empty(), "a decision that cannot be explained");
                }
            }
        }
    }
    true
}

fn findings() -> &'static [Finding] {
    static FINDINGS: OnceLock<Vec<Finding>> = OnceLock::new();
    FINDINGS.get_or_init(|| {
        [
            include_str!("../../tests/fixtures/findings/guardduty-instance.json"),
            include_str!("../../tests/fixtures/findings/guardduty-attack-sequence-eks.json"),
            include_str!("../../tests/fixtures/findings/asff-of-guardduty-access-key-role.json"),
        ]
        .iter()
        .flat_map(|text| firebreak_intake::read(text))
        .flatten()
        .collect()
    })
}
