//! The form of the ids that a document can be attached to.

use firebreak_model::resource::AccountId;

/// Whether a text has the form of a root id, an OU id or an account id. AWS
/// Organizations documents them: `^r-[0-9a-z]{4,32}$` and
/// `^ou-[0-9a-z]{4,32}-[a-z0-9]{8,32}$`.
pub fn is_attach_point(text: &str) -> bool {
    let word = |part: &str, shortest: usize| {
        (shortest..=32).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["r", root] => word(root, 4),
        ["ou", root, unit] => word(root, 4) && word(unit, 8),
        [account] => account.parse::<AccountId>().is_ok(),
        _ => false,
    }
}
