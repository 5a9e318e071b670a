//! Files of findings, plain or gzipped.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// The limit for an unpacked file: gzip can expand a small file a thousandfold, and
/// GuardDuty's exports are far smaller than this.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;

/// Collects the files below a path, in the order of their names.
pub(super) fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.as_os_str() != "-" && path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            collect(&entry, files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

/// A file's text; `-` is standard input.
pub(super) fn text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else if path.extension().is_some_and(|extension| extension == "gz") {
        let unpacked = GzDecoder::new(File::open(path)?);
        unpacked.take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_UNPACKED_BYTES {
            let why = format!("it unpacks to more than {} MiB", MAX_UNPACKED_BYTES >> 20);
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
        }
    } else {
        File::open(path)?.read_to_end(&mut bytes)?;
    }
    // Text that is not UTF-8 is not JSON either: intake rejects it with a reason.
    let text = String::from_utf8_lossy(&bytes);
    Ok(without_byte_order_mark(&text).to_owned())
}

/// Some editors write a byte order mark.
pub(super) fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
