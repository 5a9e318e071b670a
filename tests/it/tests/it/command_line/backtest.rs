//! Stored findings replayed: from files in every packing, and from Security Hub.

use std::fs;
use std::io::Write;
use std::path::Path;

use firebreak_demo::world::{Attack, event};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::command_line::offline::folder;
use crate::command_line::served::served;

/// A policy that acts, with a budget.
const PROPOSED: &str = "\
attach: r-fb01
budgets: [{ actions: 2, per: 1h }]
rules:
  - name: act
    when: { resource: { type: [Instance] } }
    mode: auto
    then: [isolate-instance]
  - name: ask
    mode: approve
    then: [revoke-sessions, block-public-access]
";

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
}

#[test]
fn findings_in_every_packing_are_replayed_through_both_policies() {
    let served = served();
    let folder = folder("backtest");
    write(&folder.join("proposed.yaml"), PROPOSED);
    write(
        &folder.join("present.yaml"),
        "attach: r-fb01\nrules: [{ name: watch, mode: observe }]\n",
    );
    let stored = folder.join("stored");
    fs::create_dir(&stored).unwrap();
    // Four instances at the same time: one JSON value a line, packed, and events in a list.
    let findings: Vec<Value> = (0..4)
        .map(|member| Attack::Instance.finding(&served.world.members[member], member))
        .collect();
    let lines: Vec<String> = findings[..2].iter().map(Value::to_string).collect();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(lines.join("\n").as_bytes()).unwrap();
    fs::write(stored.join("a.jsonl.gz"), packed.finish().unwrap()).unwrap();
    let events: Vec<Value> = findings[2..].iter().map(event).collect();
    write(&stored.join("b.json"), &json!(events).to_string());
    // An update of the first, a second finding of the same instance, and what is no finding.
    let mut update = findings[0].clone();
    update["updatedAt"] = "2026-01-02T00:00:00.000Z".into();
    let mut second = Attack::Instance.finding(&served.world.members[0], 9);
    second["updatedAt"] = "2026-01-03T00:00:00.000Z".into();
    write(&stored.join("c.ndjson"), &format!("{update}\n{second}\nno finding\n"));
    let page = folder.join("page.html");
    let offline = [
        "policy",
        "backtest",
        folder.join("proposed.yaml").to_str().unwrap(),
        "--against",
        folder.join("present.yaml").to_str().unwrap(),
        "--findings",
        stored.to_str().unwrap(),
        "--ou-path",
        "r-fb01",
        "--html",
        page.to_str().unwrap(),
        "--output",
        "json",
    ]
    .map(str::to_owned);
    let offline: Vec<&str> = offline.iter().map(String::as_str).collect();
    served.world.organization.forget_calls();
    let report: Value = serde_json::from_str(&served.text(&offline, "")).unwrap();
    assert!(
        served.world.organization.calls().is_empty(),
        "with files for everything no AWS is asked"
    );
    assert_eq!((&report["findings"], &report["rejected"]), (&6.into(), &1.into()), "{report:#}");
    assert_eq!((&report["targets"], &report["repeats"]), (&5.into(), &1.into()), "{report:#}");
    // Two of four are within the budget; the first one's response covers its second finding.
    let after = &report["after"];
    assert_eq!((&after["responses"], &after["tripped"][0]["times"]), (&4.into(), &2.into()));
    assert_eq!(after["resources"][0][1], 2, "{report:#}");
    let count = |mode: &str, action: &str, side: &str| {
        let rows = report["counts"].as_array().unwrap();
        let row = rows.iter().find(|row| row["mode"] == mode && row["action"] == action);
        row.map_or(0, |row| row[side].as_u64().unwrap())
    };
    assert_eq!((count("observe", "", "before"), count("observe", "", "after")), (5, 0));
    assert_eq!((count("auto", "", "after"), count("approve", "", "after")), (2, 2));
    assert_eq!(count("auto", "isolate-instance", "after"), 2);
    assert_eq!(report["changed"].as_array().unwrap().len(), 5);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg"), "{page}");
    for outside in ["<script", "http://", "https://", "<link", "src="] {
        assert!(!page.contains(outside), "{outside}: the page stands on its own");
    }
    let text = served.text(&offline[..offline.len() - 2], "");
    assert!(text.contains("5 decision(s) change"), "{text}");
    assert!(
        text.contains(
            "2 action(s) per 1h, would have been spent: 2 response(s) would wait for approval"
        ),
        "{text}"
    );
}

#[test]
fn an_update_that_raises_the_severity_is_decided_again() {
    let served = served();
    let folder = folder("backtest-updates");
    let rule = "mode: auto, then: [isolate-instance]";
    let proposed = format!(
        "attach: r-fb01\nrules:\n  - {{ name: act, when: {{ severity: [{{ numeric: [\">=\", 7] }}] }}, {rule} }}\n  - {{ name: watch, mode: observe }}\n"
    );
    write(&folder.join("proposed.yaml"), &proposed);
    write(
        &folder.join("present.yaml"),
        "attach: r-fb01\nrules: [{ name: watch, mode: observe }]\n",
    );
    let mut lines = Vec::new();
    for (number, severity) in [(1, 3.0), (2, 8.0), (3, 8.0)] {
        let mut finding = Attack::Instance.finding(&served.world.members[0], 1);
        finding["severity"] = severity.into();
        finding["updatedAt"] = format!("2026-01-0{number}T00:00:00.000Z").into();
        lines.push(finding.to_string());
    }
    write(&folder.join("f.ndjson"), &lines.join("\n"));
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let report = served.text(
        &[
            "policy",
            "backtest",
            &path("proposed.yaml"),
            "--against",
            &path("present.yaml"),
            "--findings",
            &path("f.ndjson"),
            &path("f.ndjson"),
            "--ou-path",
            "r-fb01",
            "--output",
            "json",
        ],
        "",
    );
    let report: Value = serde_json::from_str(&report).unwrap();
    // Six lines of one finding: it is seen, it becomes serious, and nothing else changes.
    assert_eq!(
        (&report["findings"], &report["targets"], &report["repeats"]),
        (&6.into(), &2.into(), &4.into()),
        "{report:#}"
    );
    assert_eq!((&report["after"]["responses"], &report["after"]["held"]), (&1.into(), &0.into()));
    let auto =
        report["counts"].as_array().unwrap().iter().find(|row| row["mode"] == "auto").unwrap();
    assert_eq!((&auto["before"], &auto["after"]), (&0.into(), &1.into()));
    assert_eq!(report["changed"].as_array().unwrap().len(), 1);
    // What cannot be read is reported with its file and line; nothing at all is a failure.
    write(&folder.join("bad.ndjson"), "{}\nno finding\n");
    let output = served.run(
        &[
            "policy",
            "backtest",
            &path("proposed.yaml"),
            "--against",
            &path("present.yaml"),
            "--findings",
            &path("bad.ndjson"),
            "--ou-path",
            "r-fb01",
        ],
        "",
    );
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("bad.ndjson:2: "), "{error}");
}

#[test]
fn findings_of_security_hub_are_replayed_at_the_places_of_their_accounts() {
    let served = served();
    served.text(&["policy", "push", "policies", "--yes"], "");
    // More than a page of them.
    for number in 0..130 {
        served.world.import(&Attack::Instance.finding(&served.world.members[number % 4], number));
    }
    let folder = folder("backtest-hub");
    write(&folder.join("proposed.yaml"), PROPOSED);
    let backtest = [
        "policy",
        "backtest",
        folder.to_str().unwrap(),
        "--from-security-hub",
        "--since",
        "3000d",
        "--output",
        "json",
    ];
    let report: Value = serde_json::from_str(&served.text(&backtest, "")).unwrap();
    assert_eq!((&report["findings"], &report["rejected"]), (&130.into(), &0.into()));
    assert_eq!(report["compared_with"], "version 1, in force");
    let rows = report["counts"].as_array().unwrap();
    let units: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row["unit"].as_str().unwrap()).collect();
    assert_eq!(units.len(), 4, "{units:?}");
    let none = served.text(&[&backtest[..5], &["1m", "--output", "json"]].concat(), "");
    let none: Value = serde_json::from_str(&none).unwrap();
    assert_eq!(none["findings"], 0, "older than a minute: {none:#}");
}

#[test]
fn places_come_from_the_answer_of_list_accounts() {
    let served = served();
    let folder = folder("backtest-places");
    write(&folder.join("proposed.yaml"), PROPOSED);
    let member = &served.world.members[0];
    write(&folder.join("finding.json"), &Attack::Instance.finding(member, 1).to_string());
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let run = |places: &Value| {
        write(&folder.join("places.json"), &places.to_string());
        let (policy, finding, places) =
            (path("proposed.yaml"), path("finding.json"), path("places.json"));
        served.run(
            &[
                "policy",
                "backtest",
                &policy,
                "--against",
                &policy,
                "--findings",
                &finding,
                "--places",
                &places,
                "--output",
                "json",
            ],
            "",
        )
    };
    let account = member.account.as_str();
    let listed = json!({ "Accounts": [{ "Id": account, "Paths": [format!("o-x/r-fb01/ou-fb01-sandbox1/{account}/")] }] });
    let map = json!({ account: "r-fb01/ou-fb01-sandbox1" });
    for places in [listed, map] {
        let report: Value = serde_json::from_slice(&run(&places).stdout).unwrap();
        assert_eq!(
            (&report["targets"], &report["counts"][0]["unit"]),
            (&1.into(), &"ou-fb01-sandbox1".into())
        );
        assert_eq!(report["changed"].as_array().unwrap().len(), 0);
    }
    // An account that has no place is reported, and nothing is decided for it.
    let report: Value = serde_json::from_slice(&run(&json!({})).stdout).unwrap();
    assert_eq!(
        (&report["targets"], &report["unplaced"][account]),
        (&0.into(), &1.into()),
        "{report:#}"
    );
    let output = run(&json!({ account: "sandbox" }));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
