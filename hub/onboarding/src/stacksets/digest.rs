//! A short digest of the permissions that a role was rendered with, so that its tag shows
//! whether it is outdated.

use firebreak_model::digest::sha256_hex_of_parts;
use firebreak_spoke::permissions::Statement;

/// The key of the spoke role's tag that holds the digest.
pub const DIGEST_TAG: &str = "firebreak:permissions";

/// The first 16 hexadecimal digits of the SHA-256 of the statements, each with its policy
/// and with its placeholders: the same for every account and every parameter value.
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
    fn a_digest_depends_on_the_permissions_only() {
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
