//! Files of findings, packed or not.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// What a packed file may unpack to. GuardDuty's exports are far smaller, and a
/// thousand times as much as was packed fits into what gzip can say.
const LARGEST_UNPACKED: u64 = 256 << 20;

/// The files below a path, in the order of their names.
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
        unpacked.take(LARGEST_UNPACKED + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_UNPACKED {
            let why = format!("it unpacks to more than {} MiB", LARGEST_UNPACKED >> 20);
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
        }
    } else {
        File::open(path)?.read_to_end(&mut bytes)?;
    }
    // What is no UTF-8 is no JSON either: it is rejected with a reason, as an input.
    let text = String::from_utf8_lossy(&bytes);
    Ok(without_mark(&text).to_owned())
}

/// The text without a byte order mark, which some editors put in front of it.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
