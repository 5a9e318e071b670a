//! The JSON Schemas beside the policies, which list every key and action.

use firebreak_policy::{schema, test_schema};
use firebreak_spoke::registry;
use firebreak_testkit::repository;

#[test]
#[expect(clippy::disallowed_methods, reason = "UPDATE=1 is for the developer who runs it")]
fn the_schemas_beside_the_policies_are_up_to_date() {
    for (name, schema) in [
        ("schema.json", schema(registry::catalog())),
        ("tests/schema.json", test_schema(registry::catalog())),
    ] {
        let file = repository::root().join("policies").join(name);
        let fresh = format!("{schema:#}\n");
        assert!(!fresh.contains("$ref"), "what is inside another schema has no root to refer to");
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&file, &fresh).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(written == fresh, "policies/{name} is stale: run the tests with UPDATE=1");
    }
}
