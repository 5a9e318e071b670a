//! The record of decisions, from the command line: exported, verified in the
//! table and without it, and compared.

use std::fs;

use firebreak_aws::store::Store;
use firebreak_demo::world::{Attack, event};
use serde_json::Value;

use crate::command_line::served::{Served, served};

fn code(served: &Served, arguments: &[&str]) -> (Option<i32>, String) {
    let output = served.run(arguments, "");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn export_and_verify_in_the_table_and_without_it() {
    let served = served();
    let finding = Attack::Instance.finding(&served.world.members[0], 1);
    served.world.raise(&finding);
    served.world.import(&finding);
    served.text(&["policy", "push", "policies", "--yes"], "");
    served.text(&["respond", "--event", "-"], &event(&finding).to_string());
    served.catch_up();
    let now = served.world.organization.now();
    let chained = served.runtime.block_on(async {
        let config = served.world.hub_config().await.unwrap();
        let store = Store::new(&config, &served.world.settings().unwrap());
        store.chain_due(served.world.organization.now(), 1_000).await.unwrap()
    });
    assert!(chained >= 2, "{chained} at {now}");

    let said = served.text(&["audit", "verify"], "");
    assert!(said.contains("no fault was found"), "{said}");
    let json = served.text(&["audit", "verify", "--since", "1d", "--output", "json"], "");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["faults"], serde_json::json!([]));
    assert_eq!(json["responses"], 1);
    let events: u64 =
        json["chains"].as_array().unwrap().iter().map(|it| it["events"].as_u64().unwrap()).sum();
    assert_eq!(usize::try_from(events).unwrap(), chained);

    let file = std::env::temp_dir().join(format!("firebreak-export-{}.jsonl", std::process::id()));
    let path = file.to_str().unwrap();
    let (exported, said) = code(&served, &["audit", "export", "--since", "1d", "--out", path]);
    assert_eq!(exported, Some(0), "{said}");
    assert!(said.contains("SHA-256"), "{said}");
    // An export is never written over.
    let (again, said) = code(&served, &["audit", "export", "--since", "1d", "--out", path]);
    assert_eq!(again, Some(2), "{said}");
    let text = fs::read_to_string(&file).unwrap();
    let printed = served.text(&["audit", "export", "--since", "1d"], "");
    assert_eq!(text.lines().count(), printed.lines().count());

    assert_eq!(code(&served, &["audit", "verify", path]).0, Some(0));
    assert_eq!(code(&served, &["audit", "verify", "--against", path]).0, Some(0));
    assert_eq!(code(&served, &["audit", "verify", path, "--since", "1d"]).0, Some(2));

    // Of a typing error nothing would be found wrong.
    let (wrong, said) = code(&served, &["audit", "verify", "--account", "organisation"]);
    assert_eq!(wrong, Some(2), "{said}");

    // One event less, and one that says something else.
    let mut lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with(r#"{"event""#)).unwrap();
    let removed = lines.remove(at);
    fs::write(&file, lines.join("\n")).unwrap();
    let (found, said) = code(&served, &["audit", "verify", path]);
    assert_eq!(found, Some(1), "{said}");
    assert!(said.contains("missing: event 1 is missing"), "{said}");
    let changed = removed.replace("decided", "guessed");
    assert_ne!(changed, removed);
    lines.insert(at, &changed);
    fs::write(&file, lines.join("\n")).unwrap();
    let (found, said) = code(&served, &["audit", "verify", path, "--output", "json"]);
    assert_eq!(found, Some(1), "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let faults = said["faults"].as_array().unwrap();
    assert!(faults.iter().any(|it| it["fault"] == "changed" && it["seq"] == 1), "{said:#}");

    fs::write(&file, "no export").unwrap();
    assert_eq!(code(&served, &["audit", "verify", path]).0, Some(2));
    fs::remove_file(&file).unwrap();
}
