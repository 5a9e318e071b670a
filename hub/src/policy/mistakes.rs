//! Mistakes in documents as cases: where each is told, and how.

use super::read_files;
use super::testing::{actions, files};

/// The mistakes of one file, as `line:column: message`, and `help: …` behind.
fn told(text: &str) -> Vec<String> {
    let Err(diagnostics) = read_files(&files(&[text]), &actions()) else { return Vec::new() };
    diagnostics
        .iter()
        .map(|it| {
            let help = it.help.as_ref().map(|help| format!(" (help: {help})")).unwrap_or_default();
            format!("{}:{}: {}{help}", it.line, it.column, it.message)
        })
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(told(text), expected, "{text}");
}

/// A sound document around the lines of one rule.
fn rule(lines: &str) -> String {
    format!("attach: r-ab12\nrules:\n  - name: a\n{lines}")
}

#[test]
fn keys_of_a_document() {
    check("attach: r-ab12\n", &[]);
    check("ceiling: auto\n", &["1:1: a document needs `attach`"]);
    check(
        "attach: r-ab12\ncieling: auto\n",
        &["2:1: a document has no key `cieling` (help: did you mean `ceiling`?)"],
    );
    check(
        "attach: r-ab12\nbudgets:\n  - { actions: 20, per: 1h }\n",
        &[
            "2:1: `budgets` is not in this version of Firebreak (help: it is refused, not skipped: a guardrail that is skipped would be none)",
        ],
    );
    check("version: 2\nattach: r-ab12\n", &["1:10: version 1 is known, not the number 2"]);
    check(
        "- attach: r-ab12\n",
        &[
            "1:1: a document is expected here, not a list (help: it has the keys version, attach, ceiling, protect, rules)",
        ],
    );
}

#[test]
fn where_a_document_is_attached() {
    let help = "(help: write r-…, ou-…-… or twelve digits; names can change, ids cannot)";
    for attach in ["r-ab12", "ou-ab12-prod1234", "\"111111111111\""] {
        check(&format!("attach: {attach}\n"), &[]);
    }
    for attach in ["Production", "ou-ab12", "r-AB12", "ou-ab12-short", "\"11111\""] {
        let bare = attach.trim_matches('"');
        let expected = format!("1:9: `{bare}` is no root id, OU id or account id {help}");
        check(&format!("attach: {attach}\n"), &[&expected]);
    }
    check(
        "attach: 111111111111\n",
        &[
            "1:9: `attach` is a text, not the number 111111111111 (help: write it in quotes: \"111111111111\")",
        ],
    );
}

#[test]
fn two_documents_for_one_point() {
    let both = files(&["attach: r-ab12\n", "# again\nattach: r-ab12\n"]);
    let diagnostics = read_files(&both, &actions()).unwrap_err();
    let [diagnostic] = diagnostics.as_slice() else { panic!("{diagnostics:?}") };
    assert_eq!(
        diagnostic.to_string(),
        "1.yaml:2:9: `r-ab12` has a document already, in 0.yaml\n  |\n2 | attach: r-ab12\n  |         ^^^^^^\nhelp: one point of the tree has one document: put the rules together"
    );
}

#[test]
fn modes() {
    check("attach: r-ab12\nceiling: off\n", &[]);
    check(
        "attach: r-ab12\nceiling: aprove\n",
        &["2:10: `aprove` is no mode (help: did you mean `approve`?)"],
    );
    check(
        &rule("    mode: full\n"),
        &["4:11: `full` is no mode (help: it is one of off, observe, approve, auto)"],
    );
    check(&rule("    mode: true\n"), &["4:11: a mode is a text, not the truth value `true`"]);
}

#[test]
fn protections() {
    let protect = |lines: &str| format!("attach: r-ab12\nprotect:\n{lines}");
    check(
        &protect("  tags: { firebreak: exempt }\n"),
        &[
            "3:9: `tags` is a list, not keys with values (help: write each entry on a line after a dash)",
        ],
    );
    check(
        &protect("  tags: [firebreak]\n"),
        &[
            "3:10: a set of tags is expected here, not the text `firebreak` (help: write it as in { firebreak: exempt })",
        ],
    );
    check(
        &protect("  tags: [{ level: 1 }]\n"),
        &["3:19: a tag's value is a text, not the number 1 (help: write it in quotes: \"1\")"],
    );
    check(&protect("  tags: [{}]\n"), &["3:10: an empty set of tags would protect everything"]);
    check(
        &protect("  principals: [BreakGlass]\n"),
        &[
            "3:16: `BreakGlass` protects nothing: an ARN has six parts with colons between them (help: write it as in arn:*:iam::*:role/BreakGlass*)",
        ],
    );
    check(
        &protect("  principals: [\"arn:*:iam::*:role/ops/BreakGlass\"]\n"),
        &[
            "3:16: `arn:*:iam::*:role/ops/BreakGlass` protects nothing: findings name users and roles without their path (help: leave the path out: a name is unique in its account whatever its path)",
        ],
    );
    check(
        &protect("  resources: [my-bucket]\n"),
        &[
            "3:15: `my-bucket` protects nothing: an ARN has six parts with colons between them (help: write it as in arn:*:s3:::backup-*, or `*` for everything)",
        ],
    );
    check(
        &protect("  accounts: [\"1234\"]\n"),
        &["3:14: `1234` is not an account id of twelve digits"],
    );
    check(
        &protect("  tag: []\n"),
        &["3:3: `protect` has no key `tag` (help: did you mean `tags`?)"],
    );
}

#[test]
fn keys_of_a_rule() {
    check(&rule("    mode: observe\n"), &[]);
    check(
        &rule("    wehn: {}\n"),
        &["3:5: a rule needs `mode`", "4:5: a rule has no key `wehn` (help: did you mean `when`?)"],
    );
    check(
        &rule("    mode: observe\n    expires: 72h\n"),
        &[
            "5:5: `expires` is not in this version of Firebreak (help: it is refused, not skipped: a guardrail that is skipped would be none)",
        ],
    );
    check(
        &rule("    mode: auto\n"),
        &[
            "3:5: a rule that acts needs actions (help: name actions under `then`, or use mode observe)",
        ],
    );
    check(
        &rule("    mode: observe\n  - name: a\n    mode: observe\n"),
        &[
            "5:11: a rule named `a` stands above already (help: responses are kept under the rule's name: give it another)",
        ],
    );
    check(
        "attach: r-ab12\nrules:\n  - name: a/b\n    mode: off\n",
        &["3:11: `a/b` is no rule name (help: write words with dashes, without / and #)"],
    );
}

#[test]
fn actions_of_a_rule() {
    let then = |line: &str| rule(&format!("    mode: auto\n    then:\n{line}"));
    check(&then("      - isolate-instance\n"), &[]);
    check(&then("      - isolate-instance: { right: 1 }\n"), &[]);
    check(
        &then("      - isolate-instence\n"),
        &["6:9: there is no action `isolate-instence` (help: did you mean `isolate-instance`?)"],
    );
    check(
        &then("      - launch-rocket\n"),
        &[
            "6:9: there is no action `launch-rocket` (help: `firebreak actions list` shows what there is)",
        ],
    );
    check(
        &then("      - isolate-instance: { wrong: 1 }\n"),
        &["6:9: `isolate-instance` does not take this: unknown field `wrong`"],
    );
    check(
        &then("      - [isolate-instance]\n"),
        &[
            "6:9: an action is expected here, not a list (help: write `- isolate-instance`, or the name with its parameters below it)",
        ],
    );
    check(
        &then("      - terminate-instance\n"),
        &[
            "6:9: `terminate-instance` cannot be undone (help: add `irreversible: allow` to the rule if that is meant)",
        ],
    );
    check(&then("      - terminate-instance\n    irreversible: allow\n"), &[]);
    check(
        &then("      - isolate-instance\n    irreversible: true\n"),
        &["7:19: `irreversible` is `allow` or left out, not the truth value `true`"],
    );
}

#[test]
fn event_patterns() {
    let when = |lines: &str| rule(&format!("    mode: observe\n    when:\n{lines}"));
    check(&when("      severity: [{ numeric: [\">=\", 7] }]\n"), &[]);
    check(
        &when("      type: Recon\n"),
        &["6:7: `type`: a value stands in a list: write [\"Recon\"]"],
    );
    check(
        &when("      type:\n        - Recon\n        - { prefx: Recon }\n"),
        &[
            "8:13: `type[1].prefx`: this is no operator; there are prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, exists, cidr",
        ],
    );
    check(
        &when("      severity: [{ numeric: [\"=>\", 7] }]\n"),
        &["6:20: `severity[0].numeric`: `=>` is not one of <, <=, =, >=, >"],
    );
}

#[test]
fn patterns_that_would_never_match() {
    let when = |lines: &str| rule(&format!("    mode: observe\n    when:\n{lines}"));
    let beyond = "(help: what the service wrote beyond these fields is under `detail`)";
    check(
        &when("      severty: [7]\n"),
        &[
            "6:7: `when` has no field `severty`: this would never match (help: did you mean `severity`?)",
        ],
    );
    check(
        &when("      service: { action: [x] }\n"),
        &[&format!("6:7: `when` has no field `service`: this would never match {beyond}")],
    );
    check(
        &when("      resource: { typ: [Instance] }\n"),
        &[
            "6:19: `resource` has no field `typ`: this would never match (help: did you mean `type`?)",
        ],
    );
    check(
        &when("      account: [111111111111]\n"),
        &[
            "6:17: `account` holds texts, and the number 111111111111 would never match (help: write it in quotes: \"111111111111\")",
        ],
    );
    check(
        &when("      severity: [\"7\"]\n"),
        &[
            "6:18: `severity` holds numbers, and the text `7` would never match (help: write it without quotes: 7)",
        ],
    );
    check(
        &when("      resource: [Instance]\n"),
        &[
            "6:17: `resource` is no single value (help: look at a field of it, as in resource: { … })",
        ],
    );
    check(
        &when("      $or:\n        - { type: [x] }\n        - { typo: [x] }\n"),
        &["8:13: `when` has no field `typo`: this would never match (help: did you mean `type`?)"],
    );
    check(&when("      resource.type: [Instance]\n      tags: { team: [a] }\n"), &[]);
    check(&when("      detail: { anything: { at: [all, 1, null] } }\n"), &[]);
}

#[test]
fn text_that_is_no_yaml() {
    check("attach: [r-ab12\n", &["1:9: unclosed bracket '['"]);
    check(
        "attach: r-ab12\nceiling: off\nceiling: auto\n",
        &["3:1: duplicate mapping key: ceiling"],
    );
}

#[test]
fn every_mistake_of_every_file_is_told_in_one_run() {
    let texts = ["attach: x\nceiling: y\nrules: z\n", "attach: [\n", "attach: r-ab12\nrule: []\n"];
    let diagnostics = read_files(&files(&texts), &actions()).unwrap_err();
    let places: Vec<(&str, u64)> = diagnostics.iter().map(|it| (&*it.file, it.line)).collect();
    assert_eq!(places, [("0.yaml", 1), ("0.yaml", 2), ("0.yaml", 3), ("1.yaml", 1), ("2.yaml", 2)]);
}
