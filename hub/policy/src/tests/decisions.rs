//! Tests of decisions: cases first, then laws that hold for every tree.

use std::collections::BTreeMap;

use firebreak_model::resource::{PrincipalType, ResourceKind};
use proptest::prelude::*;

use super::support::{
    ACCOUNT, OU_PATH, actions, documents, finding, instance, key_of, place, place_at, policy,
    target,
};
use crate::{
    BudgetCounters, Decision, Document, Mode, Policy, PolicyOutcome, StoredDocument, Tags,
};
use firebreak_model::finding::Target;

/// The root, the OU below it and the account's own OU, nearest last.
const ROOT: &str = "r-ab12";
const WORK: &str = "ou-ab12-work1111";
const PROD: &str = "ou-ab12-prod1111";

fn acting(attach: &str, lines: &str) -> String {
    format!(
        "attach: {attach}\n{lines}\nrules:\n  - name: act\n    mode: auto\n    then: [isolate-instance, deactivate-access-key, revoke-sessions]\n"
    )
}

fn known(tags: &[(&str, &str)]) -> Tags {
    Tags::Known(tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
}

fn unknown() -> Tags {
    Tags::Unknown { reason: "the look-up was denied".to_owned() }
}

fn decide(texts: &[&str], target: &Target, tags: &Tags) -> Decision {
    policy(texts).decide(&finding(target), target, &place(), tags)
}

#[track_caller]
fn check(
    texts: &[&str],
    target: &Target,
    tags: &Tags,
    outcome: PolicyOutcome,
    mode: Mode,
) -> Decision {
    let decision = decide(texts, target, tags);
    assert_eq!((decision.outcome, decision.mode), (outcome, mode), "{decision:#?}");
    decision
}

#[test]
fn the_nearest_rule_decides_and_the_first_within_a_document() {
    let root = "attach: r-ab12\nrules:\n  - { name: watch, mode: observe }\n";
    let work = "attach: ou-ab12-work1111\nrules:\n  - name: other\n    when: { type: [x] }\n    mode: observe\n  - { name: act, when: { severity: [{ numeric: [\">\", 1] }] }, mode: auto, then: [isolate-instance] }\n  - { name: late, mode: off }\n";
    let decision =
        check(&[root, work], &instance(), &Tags::None, PolicyOutcome::Follow, Mode::Auto);
    let rule = decision.rule.unwrap();
    assert_eq!((&*rule.document, &*rule.rule, &*rule.file), (WORK, "act", "1.yaml"));
    let own = format!("attach: \"{ACCOUNT}\"\nrules:\n  - {{ name: mine, mode: off }}\n");
    check(&[root, work, &own], &instance(), &Tags::None, PolicyOutcome::Off, Mode::Off);
}

#[test]
fn every_ceiling_on_the_way_lowers_the_mode() {
    let act = acting(PROD, "");
    let check = |root: &str, work: &str, own: &str, expected| {
        let texts = [
            format!("attach: {ROOT}\n{root}\n"),
            format!("attach: {WORK}\n{work}\n"),
            acting(PROD, own),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        decide(&texts, &instance(), &Tags::None).mode == expected
    };
    assert_eq!(decide(&[&act], &instance(), &Tags::None).mode, Mode::Auto);
    assert!(check("ceiling: approve", "ceiling: auto", "", Mode::Approve));
    assert!(check("ceiling: auto", "ceiling: observe", "ceiling: auto", Mode::Observe));
    assert!(check("", "", "ceiling: approve", Mode::Approve));
    assert!(check("ceiling: off", "", "", Mode::Off));
}

#[test]
fn a_ceiling_that_lowered_the_mode_is_named() {
    let texts = [&*acting(PROD, ""), "attach: r-ab12\nceiling: approve\n"];
    let decision = check(&texts, &instance(), &Tags::None, PolicyOutcome::Follow, Mode::Approve);
    assert_eq!(
        decision.reason(),
        "rule `act` of ou-ab12-prod1111 is in mode approve: isolate-instance; the ceiling of r-ab12 lowers auto to approve"
    );
}

#[test]
fn protections_of_every_document_above_hold() {
    let act = acting(PROD, "");
    let check = |protect: &str, target: &Target, tags: &Tags, outcome| {
        for above in [ROOT, WORK] {
            let protects = format!("attach: {above}\nprotect:\n  {protect}\n");
            let decision = decide(&[&act, &protects], target, tags);
            assert_eq!(decision.outcome, outcome, "{protect}: {decision:#?}");
            let named = decision.guardrails.iter().any(|it| it.document == above);
            assert_eq!(named, decision.is_refused(), "{decision:#?}");
        }
    };
    let key = |name| key_of(PrincipalType::IamUser, name);
    let session = |name| key_of(PrincipalType::AssumedRole, name);
    let (yes, no, none) = (PolicyOutcome::Protected, PolicyOutcome::Follow, &Tags::None);

    let tags = "tags: [{ firebreak: exempt }, { team: a, tier: \"*\" }]";
    check(tags, &instance(), &known(&[("firebreak", "exempt")]), yes);
    check(tags, &instance(), &known(&[("firebreak", "no")]), no);
    check(tags, &instance(), &known(&[("team", "a")]), no);
    check(tags, &instance(), &known(&[("team", "a"), ("tier", "1")]), yes);
    check(tags, &instance(), &unknown(), PolicyOutcome::TagsUnknown);
    check(tags, &instance(), none, no);

    let principals = "principals: [\"arn:*:iam::*:role/BreakGlass*\"]";
    check(principals, &session(Some("BreakGlassA")), none, yes);
    check(principals, &session(Some("App")), none, no);
    check(principals, &key(Some("BreakGlassA")), none, no);
    check(principals, &session(None), none, PolicyOutcome::PrincipalUnknown);
    check(
        principals,
        &key_of(PrincipalType::AwsAccount, None),
        none,
        PolicyOutcome::PrincipalUnknown,
    );
    check(principals, &instance(), none, no);
    check(principals, &target(ResourceKind::Role { name: "BreakGlassB".to_owned() }), none, yes);
    check("principals: [\"arn:*:iam::*:root\"]", &key_of(PrincipalType::Root, None), none, yes);

    check("resources: [\"arn:*:ec2:*:*:instance/i-0a*\"]", &instance(), none, yes);
    check("resources: [\"arn:*:s3:::*\"]", &instance(), none, no);
    check("resources: [\"arn:*:iam::*:role/App\"]", &session(Some("App")), none, yes);
    check("resources: [\"*\"]", &instance(), none, yes);
    check(&format!("accounts: [\"{ACCOUNT}\"]"), &instance(), none, yes);
    check("accounts: [\"222222222222\"]", &instance(), none, no);
}

#[test]
fn an_observed_target_that_is_protected_is_reported() {
    let observe = "attach: r-ab12\nprotect: { resources: [\"*\"] }\nrules:\n  - { name: watch, mode: observe }\n";
    let decision = check(&[observe], &instance(), &unknown(), PolicyOutcome::Follow, Mode::Observe);
    assert!(decision.reason().ends_with("a stronger mode would be refused"), "{decision:#?}");
}

#[test]
fn a_rule_that_looks_at_unknown_tags_is_not_skipped_for_a_later_one() {
    let rules = |when: &str| {
        format!(
            "attach: r-ab12\nrules:\n  - {{ name: spare, when: {{ {when} }}, mode: off }}\n  - {{ name: act, mode: auto, then: [isolate-instance] }}\n"
        )
    };
    let tagged = rules("tags: { spare: [\"yes\"] }");
    let decision =
        check(&[&tagged], &instance(), &unknown(), PolicyOutcome::TagsUnknown, Mode::Off);
    assert!(decision.depends_on_tags() && decision.is_refused());
    assert_eq!(
        decision.reason(),
        "rule `spare` looks at the tags, which are unknown: the look-up was denied"
    );
    check(&[&tagged], &instance(), &known(&[("spare", "yes")]), PolicyOutcome::Off, Mode::Off);
    check(&[&tagged], &instance(), &known(&[]), PolicyOutcome::Follow, Mode::Auto);
    // If another field does not match, the tags do not matter.
    let settled = rules("type: [x], tags: { spare: [\"yes\"] }");
    check(&[&settled], &instance(), &unknown(), PolicyOutcome::Follow, Mode::Auto);
}

#[test]
fn samples_and_archived_findings_are_never_acted_on() {
    let policy = policy(&[&acting(ROOT, "")]);
    let mut finding = finding(&instance());
    finding.sample = true;
    let decide = |finding: &_| policy.decide(finding, &instance(), &place(), &Tags::None);
    assert_eq!(decide(&finding).outcome, PolicyOutcome::Sample);
    (finding.sample, finding.archived) = (false, true);
    assert_eq!(decide(&finding).outcome, PolicyOutcome::Archived);
    assert_eq!(decide(&finding).rule_key(), None);
}

#[test]
fn nothing_is_done_without_a_document_a_rule_or_a_fitting_action() {
    let elsewhere = acting("ou-ab12-other111", "");
    check(&[&elsewhere], &instance(), &Tags::None, PolicyOutcome::NoDocument, Mode::Off);
    let decision =
        check(&["attach: r-ab12\n"], &instance(), &Tags::None, PolicyOutcome::NoRule, Mode::Off);
    assert_eq!(decision.rule_key(), None);
    let bucket = target(ResourceKind::Bucket { name: "b".to_owned() });
    let decision =
        check(&[&acting(ROOT, "")], &bucket, &Tags::None, PolicyOutcome::NoAction, Mode::Off);
    assert_eq!(decision.reason(), "rule `act` has no action for a target of type S3Bucket");
}

#[test]
fn actions_that_do_not_fit_the_target_are_left_out_with_a_reason() {
    let target = target(ResourceKind::Role { name: "App".to_owned() });
    let decision =
        check(&[&acting(ROOT, "")], &target, &Tags::None, PolicyOutcome::Follow, Mode::Auto);
    let names: Vec<&str> = decision.actions.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["revoke-sessions"]);
    let [first, second] = decision.left_out.as_slice() else { panic!("{decision:#?}") };
    assert_eq!(first.action, "isolate-instance");
    assert_eq!(second.why, "it acts on AccessKey, User, not on a target of type Role");
}

#[test]
fn a_place_of_another_account_is_refused() {
    let mut place = place();
    place.account = "222222222222".parse().unwrap();
    let policy = policy(&[&acting(ROOT, "")]);
    let decision = policy.decide(&finding(&instance()), &instance(), &place, &Tags::None);
    assert_eq!(decision.outcome, PolicyOutcome::WrongPlace);
}

#[test]
fn a_decision_carries_the_terms_of_its_rule_and_the_budgets_above() {
    let act = format!(
        "attach: {PROD}\nbudgets: [{{ actions: 2, per: 30m, by: account }}]\nrules:\n  - name: act\n    mode: auto\n    approve: {{ within: 30m, otherwise: deny, approvers: on call }}\n    then: [isolate-instance: {{ right: \"${{account.id}} ${{region}}\" }}]\n    expires: 72h\n    confirm: false\n"
    );
    let root = "attach: r-ab12\nbudgets: [{ actions: 20, per: 1d }]\n";
    let decision =
        check(&[root, &act], &instance(), &Tags::None, PolicyOutcome::Follow, Mode::Auto);
    assert_eq!(decision.actions[0].parameters["right"], "111111111111 eu-west-1");
    assert_eq!(decision.approve.approvers.as_deref(), Some("on call"));
    assert_eq!(decision.expires.unwrap().to_string(), "3d");
    assert!(!decision.confirm);
    let unsaid = decide(&[&acting(ROOT, "")], &instance(), &Tags::None);
    assert!(unsaid.confirm, "only a rule that says so acts unconfirmed");
    let budgets: Vec<String> =
        decision.budgets.iter().map(|it| format!("{}: {}", it.document, it.budget)).collect();
    assert_eq!(
        budgets,
        ["ou-ab12-prod1111: 2 action(s) per 30m by account", "r-ab12: 20 action(s) per 1d"]
    );
}

#[test]
fn an_action_that_exceeds_a_budget_asks_a_person_and_the_window_slides() {
    let policy = policy(&[&acting(
        ROOT,
        "budgets: [{ actions: 2, per: 1h }, { actions: 1, per: 1h, by: action }]",
    )]);
    let decide = || policy.decide(&finding(&instance()), &instance(), &place(), &Tags::None);
    let mut counters = BudgetCounters::default();
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut modes = Vec::new();
    for minutes in [0, 30, 59, 60, 61] {
        let mut decision = decide();
        let now = start + jiff::SignedDuration::from_mins(minutes);
        if let Err(budget) = counters.draw(&decision.draws(&place()), now) {
            decision.lower_for_spent_budget(budget);
        }
        modes.push(decision.mode);
        if minutes == 30 {
            assert!(decision.reason().contains(
                "the budget of r-ab12, 1 action(s) per 1h by action, is spent and lowers auto to approve"
            ), "{}", decision.reason());
        }
    }
    assert_eq!(modes, [Mode::Auto, Mode::Approve, Mode::Approve, Mode::Auto, Mode::Approve]);
}

fn stored(texts: &[&str]) -> Vec<StoredDocument> {
    documents(texts).iter().map(|document| document.to_stored()).collect()
}

#[test]
fn a_stored_document_reads_back_as_it_was() {
    let text = acting(PROD, "ceiling: approve\nprotect: { tags: [{ a: b }] }");
    for stored in stored(&[&text]) {
        assert_eq!(stored.text, text);
        let back = crate::syntax::read_stored(&stored, actions()).unwrap();
        assert_eq!(back.to_stored(), stored);
    }
}

#[test]
fn a_broken_stored_document_refuses_what_it_governs_and_nothing_else() {
    let sound = "attach: r-ab12\nrules:\n  - { name: act, mode: auto, then: [isolate-instance] }\n";
    let check = |attach: &str, text: &str, outcome| {
        let mut documents = stored(&[sound]);
        documents.push(StoredDocument {
            attach: attach.to_owned(),
            file: "f.yaml".to_owned(),
            text: text.to_owned(),
        });
        let policy = Policy::from_stored(documents, actions());
        let decision = policy.decide(&finding(&instance()), &instance(), &place(), &Tags::None);
        assert_eq!(decision.outcome, outcome, "{decision:#?}");
        let explanation = policy.explain(&finding(&instance()), &instance(), &place(), &Tags::None);
        assert_eq!(explanation.to_string().contains("is broken"), outcome == PolicyOutcome::Broken);
    };
    for text in [
        "",
        "{}",
        "version: 1\nattach: r-ab12\n",
        "version: 2\nattach: ou-ab12-prod1111\n",
        "attach: ou-ab12-prod1111\nkey-to-come: 1\n",
        "attach: ou-ab12-prod1111\nrules: [\n",
    ] {
        check(PROD, text, PolicyOutcome::Broken);
        check("ou-ab12-other111", text, PolicyOutcome::Follow);
    }
}

#[test]
fn two_documents_for_one_point_break_it() {
    let mut both = documents(&[&acting(ROOT, "")]);
    both.extend(documents(&["attach: r-ab12\nceiling: auto\n"]));
    let policy = Policy::new(both);
    let decision = policy.decide(&finding(&instance()), &instance(), &place(), &Tags::None);
    assert_eq!(decision.outcome, PolicyOutcome::Broken);
}

#[test]
fn an_explanation_names_the_budgets_that_acting_draws_on() {
    let root = acting(ROOT, "budgets: [{ actions: 2, per: 1h }, { actions: 9, per: 1d }]");
    let explain = |texts: &[&str]| {
        policy(texts).explain(&finding(&instance()), &instance(), &place(), &known(&[]))
    };
    let explanation = explain(&[&root]);
    assert_eq!(explanation.decision.mode, Mode::Auto);
    let text = explanation.to_string();
    assert!(text.contains("# counts against 2 action(s) per 1h of r-ab12"), "{text}");
    let asks = explain(&[&root, "attach: ou-ab12-prod1111\nceiling: approve\n"]);
    assert_eq!((asks.decision.mode, asks.decision.budgets.len()), (Mode::Approve, 2));
    // In mode observe nothing is drawn on budgets.
    let observed = explain(&[&root, "attach: ou-ab12-prod1111\nceiling: observe\n"]);
    assert!(observed.decision.budgets.is_empty());
}

#[test]
fn an_explanation_shows_the_walk() {
    let texts = [
        "attach: r-ab12\nceiling: approve\nprotect: { tags: [{ a: b }] }\nrules:\n  - { name: watch, mode: observe }\n",
        "attach: ou-ab12-prod1111\nrules:\n  - { name: low, when: { severity: [{ numeric: [\"<\", 4] }] }, mode: off }\n  - { name: act, mode: auto, then: [isolate-instance, revoke-sessions] }\n",
    ];
    let explanation =
        policy(&texts).explain(&finding(&instance()), &instance(), &place(), &known(&[]));
    assert_eq!(
        explanation.to_string(),
        "\
arn:aws:ec2:eu-west-1:111111111111:instance/i-0abc
UnauthorizedAccess:EC2/SSHBruteForce
└ 111111111111 (no document)
  └ ou-ab12-prod1111 (1.yaml)
      ✗ low: `severity` does not match
      ✓ act
    └ ou-ab12-work1111 (no document)
      └ r-ab12 (0.yaml), ceiling approve, 1 protection(s)
- revoke-sessions is left out: it acts on AccessKey, User, Role, not on a target of type Instance
! the ceiling of r-ab12 lowers auto to approve
= approve: rule `act` of ou-ab12-prod1111 is in mode approve: isolate-instance; the ceiling of r-ab12 lowers auto to approve"
    );
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["decision"]["outcome"], "follow");
    assert_eq!(json["walk"][1]["rules"][0]["result"]["fails-at"], "severity");
}

/// A document, reduced to what the properties distinguish.
#[derive(Clone, Debug)]
struct Sketch {
    ceiling: Option<Mode>,
    protects: bool,
    budget: Option<u32>,
    extends_none: bool,
    rules: Vec<(bool, Mode)>,
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(Mode::ALL.to_vec())
}

fn sketch() -> impl Strategy<Value = Option<Sketch>> {
    let rules = prop::collection::vec((any::<bool>(), mode()), 0..3);
    let guardrails = (
        prop::option::of(mode()),
        prop::bool::weighted(0.2),
        prop::option::of(1..9_u32),
        prop::bool::weighted(0.2),
    );
    let sketch = (guardrails, rules).prop_map(|(guardrails, rules)| {
        let (ceiling, protects, budget, extends_none) = guardrails;
        Sketch { ceiling, protects, budget, extends_none, rules }
    });
    prop::option::of(sketch)
}

fn write(attach: &str, sketch: &Sketch) -> String {
    let mut lines = vec![format!("attach: \"{attach}\"")];
    lines.extend(sketch.ceiling.map(|ceiling| format!("ceiling: {}", ceiling.name())));
    if sketch.protects {
        lines.push("protect: { tags: [{ firebreak: exempt }] }".to_owned());
    }
    lines.extend(sketch.budget.map(|it| format!("budgets: [{{ actions: {it}, per: 1h }}]")));
    if sketch.extends_none {
        lines.push("extends: none".to_owned());
    }
    lines.push("rules:".to_owned());
    for (index, (matches, mode)) in sketch.rules.iter().enumerate() {
        let severity = if *matches { ">" } else { "<" };
        lines.push(format!(
            "  - {{ name: rule-{index}, when: {{ severity: [{{ numeric: [\"{severity}\", 1] }}] }}, mode: {}, then: [isolate-instance] }}",
            mode.name()
        ));
    }
    if sketch.rules.is_empty() {
        lines.pop();
    }
    lines.join("\n")
}

/// The points of the tree that the laws put documents at.
const POINTS: [&str; 5] = [ROOT, WORK, PROD, ACCOUNT, "ou-ab12-other111"];

fn tree(sketches: &[Option<Sketch>]) -> Vec<Document> {
    let texts: Vec<String> = POINTS
        .iter()
        .zip(sketches)
        .filter_map(|(point, sketch)| Some(write(point, sketch.as_ref()?)))
        .collect();
    documents(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn decision(documents: Vec<Document>, ou_path: &str, tags: &[(&str, &str)]) -> Decision {
    let target = instance();
    Policy::new(documents).decide(&finding(&target), &target, &place_at(ou_path), &known(tags))
}

proptest! {
    #[test]
    fn no_document_below_raises_the_mode_above_a_ceiling(
        sketches in prop::collection::vec(sketch(), 5),
    ) {
        let lowest = sketches.iter().take(4).flatten().filter_map(|it| it.ceiling).min();
        let decided = decision(tree(&sketches), OU_PATH, &[]);
        prop_assert!(decided.mode <= lowest.unwrap_or(Mode::Auto), "{decided:#?}");
    }

    #[test]
    fn no_document_below_removes_a_protection(
        sketches in prop::collection::vec(sketch(), 5),
    ) {
        let protects = sketches.iter().take(4).flatten().any(|it| it.protects);
        let decided = decision(tree(&sketches), OU_PATH, &[("firebreak", "exempt")]);
        prop_assert!(!(protects && decided.acts()), "{decided:#?}");
        // Without the protected tag the target is not protected.
        let without = decision(tree(&sketches), OU_PATH, &[]);
        prop_assert!(without.outcome != PolicyOutcome::Protected, "{without:#?}");
    }

    #[test]
    fn no_document_below_enlarges_a_budget_or_leaves_one_out(
        sketches in prop::collection::vec(sketch(), 5),
    ) {
        let decided = decision(tree(&sketches), OU_PATH, &[]);
        let stand = POINTS.iter().take(4).zip(&sketches);
        let expected: BTreeMap<&str, u32> =
            stand.filter_map(|(point, it)| Some((*point, it.as_ref()?.budget?))).collect();
        let execution: BTreeMap<&str, u32> =
            decided.budgets.iter().map(|it| (it.document.as_str(), it.budget.actions)).collect();
        prop_assert_eq!(execution, if decided.acts() { expected } else { BTreeMap::new() });
    }

    #[test]
    fn no_rule_above_a_document_that_extends_none_decides(
        sketches in prop::collection::vec(sketch(), 5),
    ) {
        let decided = decision(tree(&sketches), OU_PATH, &[]);
        // From the account up; POINTS goes from the root down.
        let way: Vec<(&str, &Option<Sketch>)> =
            POINTS.iter().take(4).copied().zip(&sketches).rev().collect();
        let last = way.iter().position(|(_, it)| it.as_ref().is_some_and(|it| it.extends_none));
        let reached: Vec<&str> =
            way.iter().take(last.map_or(way.len(), |it| it + 1)).map(|(point, _)| *point).collect();
        if let Some(rule) = &decided.rule {
            prop_assert!(reached.contains(&rule.document.as_str()), "{decided:#?}");
        }
    }

    #[test]
    fn an_unknown_fact_never_allows_more_than_a_known_one(
        sketches in prop::collection::vec(sketch(), 5),
    ) {
        let target = instance();
        let policy = Policy::new(tree(&sketches));
        let decide = |tags: &Tags| policy.decide(&finding(&target), &target, &place(), tags);
        prop_assert!(!decide(&unknown()).acts() || decide(&known(&[])).acts());
        let exempt = known(&[("firebreak", "exempt")]);
        prop_assert!(!decide(&unknown()).acts() || decide(&exempt).acts());
    }

    #[test]
    fn the_order_of_loading_changes_nothing(
        sketches in prop::collection::vec(sketch(), 5),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut documents = tree(&sketches);
        let expected = decision(documents.clone(), OU_PATH, &[]);
        let middle = if documents.is_empty() { 0 } else { seed.index(documents.len()) };
        documents.rotate_left(middle);
        prop_assert_eq!(decision(documents.clone(), OU_PATH, &[]), expected.clone());
        documents.reverse();
        prop_assert_eq!(decision(documents, OU_PATH, &[]), expected);
    }

    #[test]
    fn an_account_that_moved_is_decided_by_its_new_path(
        sketches in prop::collection::vec(sketch(), 5),
    ) {
        let moved = decision(tree(&sketches), "r-ab12/ou-ab12-other111", &[]);
        // Documents at the OUs that it left have no effect any more.
        let mut left = sketches;
        (left[1], left[2]) = (None, None);
        prop_assert_eq!(moved.outcome, decision(tree(&left), "r-ab12/ou-ab12-other111", &[]).outcome);
        let guardrails: BTreeMap<_, _> =
            moved.guardrails.iter().map(|it| (it.document.as_str(), &it.effect)).collect();
        prop_assert!(!guardrails.contains_key(WORK) && !guardrails.contains_key(PROD));
    }

    #[test]
    fn a_pushed_policy_decides_as_its_files_do(
        sketches in prop::collection::vec(sketch(), 5),
    ) {
        let documents = tree(&sketches);
        let stored = documents.iter().map(|it| it.to_stored()).collect();
        let expected = decision(documents, OU_PATH, &[]);
        let target = instance();
        let decided =
            Policy::from_stored(stored, actions()).decide(&finding(&target), &target, &place(), &known(&[]));
        prop_assert_eq!((decided.outcome, decided.mode), (expected.outcome, expected.mode));
    }
}
