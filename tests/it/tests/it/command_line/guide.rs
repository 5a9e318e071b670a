//! docs/deploy.md and examples/terraform: what a reader copies from them is sound,
//! and what they give to a template are parameters that it has.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use firebreak_testkit::repository;
use serde_json::Value;

use crate::command_line::offline::{folder, run};

/// The blocks of code in a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The guide's policies, each under the path in its first line, and its finding.
fn written(name: &str) -> PathBuf {
    let guide = repository::text("docs/deploy.md");
    let folder = folder(name);
    fs::create_dir(folder.join("policies")).unwrap();
    let documents = blocks(&guide, "yaml");
    assert_eq!(documents.len(), 3);
    for document in documents {
        let path = document.lines().next().unwrap().strip_prefix("# ").unwrap();
        fs::write(folder.join(path), document).unwrap();
    }
    let findings = blocks(&guide, "json");
    assert_eq!(findings.len(), 1);
    fs::write(folder.join("finding.json"), findings[0]).unwrap();
    folder
}

#[test]
fn the_guide_s_policy_watches_then_asks_then_acts() {
    let folder = written("guide");
    let (policies, event) = (folder.join("policies"), folder.join("finding.json"));
    let (policies, event) = (policies.to_str().unwrap(), event.to_str().unwrap());
    let explained = || {
        let (code, out, err) = run(&["policy", "check", policies]);
        assert_eq!(code, Some(0), "{out}{err}");
        let path = "r-ab12/ou-ab12-sandbox1";
        let explain =
            ["policy", "explain", "--policies", policies, "--ou-path", path, "--event", event];
        let (code, out, err) = run(&explain);
        assert_eq!(code, Some(0), "{out}{err}");
        out
    };
    let root = folder.join("policies/root.yaml");
    let text = fs::read_to_string(&root).unwrap();
    for mode in ["observe", "approve", "auto"] {
        fs::write(&root, text.replace("ceiling: observe", &format!("ceiling: {mode}"))).unwrap();
        let out = explained();
        let decided = format!("= {mode}: rule `rehearsal` of 444455556666 is in mode {mode}");
        assert!(out.contains(&decided), "{out}");
    }
    fs::remove_file(folder.join("policies/rehearsal.yaml")).unwrap();
    let out = explained();
    assert!(out.contains("= auto: rule `contain-instances` of ou-ab12-sandbox1"), "{out}");
}

/// That a template has the parameters that it is given, and is given those that
/// have no default. Returns all that it has.
fn check(name: &str, given: &BTreeSet<String>) -> BTreeSet<String> {
    let template: Value = repository::template(name);
    let parameters = template["Parameters"].as_object().unwrap();
    for key in given {
        assert!(parameters.contains_key(key), "{name} has no parameter {key}");
    }
    for (key, parameter) in parameters {
        let default = parameter.get("Default").is_some();
        assert!(default || given.contains(key), "{name} needs the parameter {key}");
    }
    parameters.keys().cloned().collect()
}

/// The template that a command deploys, and the parameters that it gives to it.
fn deployed(command: &str) -> Option<(String, BTreeSet<String>)> {
    let (_, rest) = command.split_once("stacksets/")?;
    let (name, _) = rest.split_once(".yaml")?;
    let words = command.split_whitespace().skip_while(|word| !word.starts_with("--parameter"));
    let keys = words.skip(1).filter_map(|word| {
        let word = word.strip_prefix("ParameterKey=").unwrap_or(word);
        let (key, _) = word.split_once([',', '='])?;
        Some(key.to_owned())
    });
    let keys: BTreeSet<String> = keys.collect();
    (!keys.is_empty()).then(|| (format!("{name}.yaml"), keys))
}

#[test]
fn the_guide_gives_each_template_what_it_needs_and_nothing_else() {
    let guide = repository::text("docs/deploy.md");
    let mut documented = BTreeSet::new();
    for block in blocks(&guide, "sh") {
        for command in block.replace("\\\n", " ").lines() {
            if let Some((name, given)) = deployed(command) {
                check(&name, &given);
                documented.insert(name);
            }
        }
    }
    assert_eq!(documented.len(), 5, "{documented:?}");
}

/// Parameters begin with a capital letter, arguments of Terraform with a small one.
#[test]
fn the_terraform_module_gives_each_template_what_it_needs_and_nothing_else() {
    let module = repository::text("examples/terraform/main.tf");
    let mut documented = BTreeSet::new();
    for resource in module.split("\nresource ").skip(1) {
        let Some((_, rest)) = resource.split_once("${local.templates}/") else { continue };
        let (name, _) = rest.split_once('"').unwrap();
        let keys = resource.lines().filter_map(|line| line.split_once('='));
        let keys = keys.map(|(key, _)| key.trim().to_owned());
        let given: BTreeSet<String> =
            keys.filter(|key| key.starts_with(char::is_uppercase)).collect();
        let all = check(name, &given);
        // The provider wants every parameter of a StackSet.
        assert!(name != "spoke.yaml" || given == all, "{given:?}");
        documented.insert(name);
    }
    assert_eq!(documented.len(), 5, "{documented:?}");
}
