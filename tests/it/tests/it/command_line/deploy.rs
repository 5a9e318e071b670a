//! `firebreak stacksets deploy`, as it is called.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firebreak_demo::templates::OPERATOR_ROLE;
use firebreak_demo::world::{HOME, HUB};
use firebreak_simulation::cloudformation::stack_sets::{DELEGATED, TRUSTED};
use firebreak_simulation::cloudformation::{Place, stack};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::command_line::served::{Served, served};

/// An organization without spoke roles, whose people may deploy StackSets.
fn before() -> Served {
    let served = served();
    let now = served.world.organization.now();
    served.world.organization.edit(|state| {
        for member in &served.world.members {
            let place = Place { account: &member.account, region: HOME, now };
            assert!(stack::delete(state, place, "firebreak-spoke"));
        }
        state.organizations.trusted.insert(TRUSTED.to_owned());
        let delegations = state.organizations.delegations.entry(DELEGATED.to_owned());
        delegations.or_default().insert(HUB.to_owned());
        let role = state.iam(HUB).roles.get_mut(OPERATOR_ROLE).unwrap();
        let deploy = json!({ "Statement": [{
            "Effect": "Allow", "Resource": "*",
            "Action": ["cloudformation:*", "organizations:Describe*"],
        }]});
        role.identity.inline.insert("deploy".to_owned(), deploy);
    });
    served
}

#[test]
fn it_plans_asks_deploys_and_reports_the_result() {
    let served = before();
    let deploy = ["stacksets", "deploy", "--ou", "ou-fb01-sandbox1"];
    let with = |more: &[&'static str]| [&deploy[..], more].concat();
    let calls = |served: &Served| {
        served.world.organization.take_calls().into_iter().filter(|call| call.mutating).count()
    };
    let planned = served.text(&with(&["--plan"]), "");
    assert!(
        planned.contains("firebreak-spoke: create the StackSet\n")
            && planned.contains("create stacks in all accounts below ou-fb01-sandbox1"),
        "{planned}"
    );
    let output = served.run(&deploy, "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("confirm with --yes"));
    let output = served.run(&["stacksets", "deploy", "--ou", "ou-fb01-nowhere1", "--yes"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(calls(&served), 0, "nothing was changed so far");

    // The accounts' time flies meanwhile.
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                served.world.organization.advance(SignedDuration::from_secs(60));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let output = served.run(&with(&["--yes", "--output", "json"]), "");
        over.store(true, Ordering::SeqCst);
        assert!(output.status.success(), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        // The sandbox of the first four accounts, and payments-lab.
        assert_eq!(result["stack_sets"][0]["current"], 2, "{result:#}");
        let progress = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(progress.contains("firebreak-spoke: done after"), "{progress}");
    });
    assert_eq!(calls(&served), 2);
    let member = &served.world.members[0].account;
    let has_role = served
        .world
        .organization
        .edit(|state| state.iam(member).roles.contains_key("FirebreakSpoke"));
    assert!(has_role);
    let again = served.text(&with(&["--yes"]), "");
    assert_eq!(
        again,
        "firebreak-spoke: nothing to change\nfirebreak-spoke: 2 current, 0 skipped, 0 failed\n"
    );
    assert_eq!(calls(&served), 0);
}
