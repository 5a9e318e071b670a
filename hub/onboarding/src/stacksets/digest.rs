//! Says in a few characters which permissions a role was rendered with, so that
//! a stale role can be recognized by its tag.

use firebreak_model::digest::sha256_hex_of_parts;
use firebreak_spoke::permissions::Statement;

/// The key of the spoke role's tag that holds the digest.
pub const DIGEST_TAG: &str = "firebreak:permissions";

/// The first 16 hexadecimal digits of the SHA-256 of the statements, each with
/// the policy that it stands in and its placeholders as they are: the same for
/// every account and every value of a parameter.
pub fn digest(statements: &[Statement]) -> String {
    let parts =
        statements.iter().flat_map(|it| [it.policy.to_owned(), it.document(&[]).to_string()]);
    let mut digits = sha256_hex_of_parts(parts);
    digits.truncate(16);
    digits
}

#[cfg(test)]
mod tests {
    use firebreak_spoke::registry;

    use super::*;
    use crate::stacksets::{SPOKE, render};

    #[test]
    fn a_digest_stands_for_the_permissions_and_for_nothing_else() {
        let of = |names: &[&str]| {
            let entries: Vec<_> = names.iter().filter_map(|name| registry::find(name)).collect();
            render(SPOKE, &entries).unwrap()
        };
        let (one, other) = (of(&["stop-instance"]), of(&["isolate-instance"]));
        assert_ne!(one.digest, other.digest);
        assert_eq!(one.digest, of(&["stop-instance", "stop-instance"]).digest);
        assert_eq!(one.digest.len(), 16);
        let tag = format!("- Key: {DIGEST_TAG}\n          Value: \"{}\"\n", one.digest);
        assert!(one.text.contains(&tag), "{}", one.text);
        assert!(!other.text.contains(&one.digest));
    }
}
