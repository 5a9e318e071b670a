//! Every error of documents as their authors read it.
//! `INSTA_UPDATE=always cargo test -p firebreak-policy` rewrites the snapshot.

use super::support::{actions, files};
use crate::read_files;

/// The text of a rule around some lines of it.
fn rule(lines: &str) -> String {
    format!("attach: r-ab12\nrules:\n  - name: a\n{lines}")
}

fn acting(lines: &str) -> String {
    rule(&format!("    mode: auto\n    then: [isolate-instance]\n{lines}"))
}

fn then(line: &str) -> String {
    rule(&format!("    mode: auto\n    then:\n      - {line}\n"))
}

fn when(lines: &str) -> String {
    rule(&format!("    mode: observe\n    when:\n{lines}"))
}

fn document(lines: &str) -> String {
    format!("attach: r-ab12\n{lines}")
}

/// Errors in a document's own keys: a name for each, and the documents that have it.
fn cases_of_documents() -> Vec<(&'static str, Vec<String>)> {
    let one = |name, text: String| (name, vec![text]);
    vec![
        one("no attach point", "ceiling: auto\n".to_owned()),
        one("an unknown key", document("cieling: auto\n")),
        one("a key like no other", document("colour: red\n")),
        one("a version to come", document("version: 2\n")),
        one("a list for a document", "- attach: r-ab12\n".to_owned()),
        one("a name for an id", "attach: Production\n".to_owned()),
        one("half an OU id", "attach: ou-ab12\n".to_owned()),
        one("an account id without quotes", "attach: 111111111111\n".to_owned()),
        ("two documents for one point", vec![document(""), format!("# again\n{}", document(""))]),
        ("an OU of another root", vec![document(""), "attach: ou-cd34-work1111\n".to_owned()]),
        one("a mode misspelt", document("ceiling: aprove\n")),
        one("no mode", rule("    mode: full\n")),
        one("a truth value for a mode", rule("    mode: true\n")),
        (
            "a ceiling above the root's",
            vec![
                document("ceiling: approve\n"),
                "attach: ou-ab12-prod1111\nceiling: auto\n".into(),
            ],
        ),
        one("extends what is not there", document("extends: grandparent\n")),
        one("one set of tags without its list", document("protect:\n  tags: { a: b }\n")),
        one("a tag without a value", document("protect:\n  tags: [firebreak]\n")),
        one("a number for a tag's value", document("protect:\n  tags: [{ level: 1 }]\n")),
        one("a set of no tags", document("protect:\n  tags: [{}]\n")),
        one("a name for a principal", document("protect:\n  principals: [BreakGlass]\n")),
        one(
            "a principal with its path",
            document("protect:\n  principals: [\"arn:*:iam::*:role/ops/BreakGlass\"]\n"),
        ),
        one(
            "a role with its path as a resource",
            document("protect:\n  resources: [\"arn:*:iam::*:role/ops/x\"]\n"),
        ),
        one(
            "objects for a bucket",
            document("protect:\n  resources: [\"arn:*:s3:::reports/*\"]\n"),
        ),
        one(
            "an instance without its type",
            document("protect:\n  resources: [\"arn:*:ec2:*:*:i-0abc\"]\n"),
        ),
        one("a name for a resource", document("protect:\n  resources: [my-bucket]\n")),
        one("a short account id", document("protect:\n  accounts: [\"1234\"]\n")),
        one("a protection of nothing known", document("protect:\n  tag: []\n")),
        one("a budget without a window", document("budgets:\n  - { actions: 20 }\n")),
        one("a budget of nothing", document("budgets:\n  - { actions: 0, per: 1h }\n")),
        one("a window too short", document("budgets:\n  - { actions: 20, per: 30s }\n")),
        one("a window too long", document("budgets:\n  - { actions: 20, per: 90d }\n")),
        one("a number for a window", document("budgets:\n  - { actions: 20, per: 60 }\n")),
        one(
            "a budget by what is not counted",
            document("budgets:\n  - { actions: 2, per: 1h, by: accounts }\n"),
        ),
    ]
}

/// The same for rules.
fn cases_of_rules() -> Vec<(&'static str, Vec<String>)> {
    let one = |name, text: String| (name, vec![text]);
    vec![
        one("a rule without a mode", rule("    wehn: {}\n")),
        one("a rule that acts without actions", rule("    mode: auto\n")),
        one(
            "a rule's name of several lines",
            rule("    mode: observe\n").replace("name: a", "name: \"a\\nb\""),
        ),
        one("an account id with a leading zero", "attach: 012345678901\n".to_owned()),
        one(
            "a rule behind one that matches everything",
            document(
                "rules:\n  - { name: a, mode: observe }\n  - { name: b, when: { type: [x] }, mode: \"off\" }\n",
            ),
        ),
        one("two rules of one name", rule("    mode: observe\n  - name: a\n    mode: observe\n")),
        one("a rule's name with a slash", document("rules:\n  - name: a/b\n    mode: off\n")),
        one("an end that is no time", acting("    expires: soon\n")),
        one("an end in months", acting("    expires: 2mo\n")),
        one("an approval after the end", acting("    approve: { within: 3h }\n    expires: 2h\n")),
        one("an approval that nothing follows", acting("    approve: { otherwise: escalate }\n")),
        one("otherwise without within", acting("    approve: { otherwise: act }\n")),
        one("an unknown key of an approval", acting("    approve: { witin: 30m }\n")),
        one("a word for confirm", acting("    confirm: always\n")),
        one("an action misspelt", then("isolate-instence")),
        one("an action like no other", then("launch-rocket")),
        one("a parameter misspelt", then("isolate-instance: { righ: 1 }")),
        one("a parameter that is wrong", then("isolate-instance: { wrong: 1 }")),
        one("a list for parameters", then("isolate-instance: [1]")),
        one("a variable in a key", then("isolate-instance: { right: { \"${region}\": x } }")),
        one("a parameter of an action that takes none", then("deactivate-access-key: { a: 1 }")),
        one("a variable misspelt", then("isolate-instance: { right: \"${acount.id}\" }")),
        one("a variable that is not closed", then("isolate-instance: { right: \"${region\" }")),
        one("a map for actions", rule("    mode: auto\n    then: { isolate-instance: {} }\n")),
        one("a list for an action", then("[isolate-instance]")),
        one(
            "an action twice",
            rule("    mode: auto\n    then: [isolate-instance, isolate-instance]\n"),
        ),
        one("an action in both lists", acting("    if-residual: [isolate-instance]\n")),
        one(
            "a condition that nothing meets",
            rule("    mode: observe\n    if-residual: [isolate-instance]\n"),
        ),
        one(
            "what cannot be undone, on a condition",
            acting("    if-residual: [terminate-instance]\n"),
        ),
        one("an action that cannot be undone", then("terminate-instance")),
        one(
            "two actions that set the same",
            rule(
                "    mode: auto\n    then: [stop-instance, terminate-instance]\n    irreversible: allow\n",
            ),
        ),
        one(
            "an end of what cannot be undone",
            rule(
                "    mode: auto\n    then: [terminate-instance]\n    irreversible: allow\n    expires: 2h\n",
            ),
        ),
        one("true for allow", acting("    irreversible: true\n")),
        one(
            "an action that the rule's resources never have",
            acting("    when: { resource: { type: [AccessKey, User] } }\n"),
        ),
    ]
}

/// The same for patterns and files as a whole.
fn cases_of_patterns_and_files() -> Vec<(&'static str, Vec<String>)> {
    let one = |name, text: String| (name, vec![text]);
    vec![
        one("a value without its list", when("      type: Recon\n")),
        one("a word for a severity", when("      severity: HIGH\n")),
        one("a word for a severity in its list", when("      severity: [HIGH]\n")),
        one(
            "several errors in one pattern",
            when(
                "      severity: [{ numeric: [\">=\", \"7\"] }]\n      type: Instance\n      regoin: [x]\n",
            ),
        ),
        one(
            "an operator misspelt",
            when("      type:\n        - Recon\n        - { prefx: Recon }\n"),
        ),
        one("a comparison turned around", when("      severity: [{ numeric: [\"=>\", 7] }]\n")),
        one("a wildcard too complex", when("      type: [{ wildcard: \"*:*:*:*:*:x\" }]\n")),
        one("a field misspelt", when("      severty: [7]\n")),
        one("a field of the original", when("      service: { action: [x] }\n")),
        one("a field of the resource misspelt", when("      resource: { typ: [Instance] }\n")),
        one("a number where a text is", when("      account: [111111111111]\n")),
        one("a text where a number is", when("      severity: [\"7\"]\n")),
        one("the original taken for a value", when("      detail: [{ exists: false }]\n")),
        one("a severity beyond the scale", when("      severity: [{ numeric: [\">=\", 70] }]\n")),
        one(
            "an exclusion of texts where a number is",
            when("      severity: [{ anything-but: \"8\" }]\n"),
        ),
        one("an address where a text is", when("      type: [{ cidr: 10.0.0.0/8 }]\n")),
        one("a path where ids are held", when("      ouPath: [r-ab12/ou-ab12-prod1234]\n")),
        one("a resource type misspelt", when("      resource: { type: [Instnace] }\n")),
        one("a role in small letters", when("      resource: { role: [target] }\n")),
        one("samples", when("      sample: [true]\n")),
        one("an object taken for a value", when("      resource: [Instance]\n")),
        one(
            "a field misspelt in an alternative",
            when("      $or:\n        - { type: [x] }\n        - { typo: [x] }\n"),
        ),
        one("no YAML", "attach: [r-ab12\n".to_owned()),
        one("two documents in a file", document("---\nattach: ou-ab12-prod1111\n")),
        one("a tab before a list", document("rules:\n\t- name: a\n")),
        one("a tab", document("\tceiling: off\n")),
        one("a number beyond all", when("      severity: [{ numeric: [\">\", 1e400] }]\n")),
        one("nothing but a comment", "# to come\n".to_owned()),
        one("a key twice", document("ceiling: off\nceiling: auto\n")),
        (
            "every error of every file in one run",
            vec![
                "attach: x\nceiling: y\nrules: z\n".into(),
                "attach: [\n".into(),
                document("rule: []\n"),
            ],
        ),
    ]
}

#[test]
fn every_error_is_reported_at_its_place_with_what_to_do() {
    let mut reported = Vec::new();
    let cases = [cases_of_documents(), cases_of_rules(), cases_of_patterns_and_files()];
    for (name, texts) in cases.concat() {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let diagnostics = read_files(&files(&texts), actions()).unwrap_err();
        assert!(diagnostics.iter().all(|it| it.line > 0), "{name}: {diagnostics:#?}");
        let diagnostics: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        reported.push(format!("## {name}\n\n{}", diagnostics.join("\n\n")));
    }
    insta::assert_snapshot!("issues", reported.join("\n\n"));
}

#[test]
fn a_correct_document_has_no_issues() {
    let whole = "\
version: 1
attach: ou-ab12-prod1111
ceiling: auto
extends: none
protect: { tags: [{ a: b }], principals: [\"arn:*:iam::*:role/x\"], resources: [\"*\"], accounts: [\"111111111111\"] }
budgets: [{ actions: 20, per: 1h }, { actions: 5, per: 1d, by: account }]
rules:
  - name: all
    when: { resource.type: [Instance], tags: { team: [a] }, detail: { any: { at: [all, 1, null] } } }
    mode: auto
    approve: { within: 30m, otherwise: act, approvers: the team on call }
    then: [isolate-instance: { right: \"${account.id}/${region}/${finding.id}/${partition}\" }]
    expires: 72h
    confirm: true
  - { name: end, mode: auto, then: [terminate-instance], irreversible: allow }
";
    for text in [
        whole.to_owned(),
        "attach: r-ab12\n".to_owned(),
        "attach: \"111111111111\"\nceiling: off\n".to_owned(),
        rule("    mode: observe\n"),
        when("      severity: [{ numeric: [\">=\", 7] }]\n"),
        // A tag may have the name of a field, and any value.
        when(
            "      tags: { role: [web], account: [prod], type: [Users], ip: [{ cidr: 10.0.0.0/8 }] }\n",
        ),
        when("      resource: { type: [Node, AwsRdsDbInstance, EKSCluster] }\n"),
        // Names of resource types are not checked in a finding's type.
        when("      type: [Users]\n"),
        acting("    when: { resource: { type: [{ prefix: Inst }] } }\n"),
        acting("    when: { resource: { type: [AccessKey, Instance] } }\n"),
    ] {
        let reported = read_files(&files(&[&text]), actions()).map(|_| ()).map_err(|diagnostics| {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        });
        assert_eq!(reported, Ok(()), "{text}");
    }
}

#[test]
fn a_child_s_ceiling_is_compared_with_the_known_ceilings_above() {
    let ceilings = |files: &[(&str, &str, &str)], tree: &[(&str, &str)]| {
        let files: Vec<(String, String)> = files
            .iter()
            .map(|(file, attach, ceiling)| {
                ((*file).to_owned(), format!("attach: {attach}\nceiling: {ceiling}\n"))
            })
            .collect();
        let tree =
            tree.iter().map(|(id, path)| ((*id).to_owned(), path.parse().unwrap())).collect();
        let read = crate::read_files_within(&files, actions(), &tree);
        read.err().map_or(0, |diagnostics| diagnostics.len())
    };
    let (work, prod) = ("ou-ab12-work1111", "ou-ab12-prod1111");
    let account = "\"111111111111\"";
    assert_eq!(ceilings(&[("r", "r-ab12", "observe"), ("a", account, "auto")], &[]), 1);
    assert_eq!(ceilings(&[("r", "r-ab12", "observe"), ("a", work, "observe")], &[]), 0);
    // The one error here is that the OU is of another root.
    assert_eq!(ceilings(&[("r", "r-cd34", "observe"), ("a", work, "auto")], &[]), 1);
    // Only folders or the organization's tree show which OU is below another.
    let both = |prod_file| [("work.yaml", work, "approve"), (prod_file, prod, "auto")];
    assert_eq!(ceilings(&both("prod.yaml"), &[]), 0);
    assert_eq!(ceilings(&both("work/prod.yaml"), &[]), 1);
    assert_eq!(
        ceilings(&both("prod.yaml"), &[(prod, "r-ab12/ou-ab12-work1111/ou-ab12-prod1111")]),
        1
    );
    assert_eq!(ceilings(&both("work/prod.yaml"), &[(prod, "r-ab12/ou-ab12-prod1111")]), 0);
}
