//! SHA-256 digests as text: ids that follow from what they identify.

use sha2::{Digest, Sha256};

/// SHA-256 of `data` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(data: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(data))
}

/// SHA-256 of the parts, each followed by a zero byte so that `["ab", "c"]` and
/// `["a", "bc"]` differ, as 64 lower-case hexadecimal digits.
pub fn sha256_hex_of_parts<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_ref());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}
