//! Keeps a survey in a file between runs. Whoever reads the file sees a whole
//! survey, an older or a newer one, never a part of one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::Failure;
use firebreak_onboarding::coverage::{Question, Survey};

/// The survey in a file, made ready to be gone on with; `None` where there is no
/// such file.
pub(super) fn load(
    file: &Path,
    question: &Question,
    now: Timestamp,
) -> Result<Option<Survey>, Failure> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(file, &error)),
    };
    let survey: Survey = serde_json::from_slice(&text).map_err(|error| cannot(file, &error))?;
    survey.resume(question, now).map(Some).map_err(|why| cannot(file, &why))
}

fn cannot(file: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!(
        "cannot go on from `{}`: {why}\nhelp: remove the file to begin anew",
        file.display()
    ))
}

/// Keeps a survey.
pub(super) fn save(file: &Path, survey: &Survey) -> io::Result<()> {
    let text = serde_json::to_vec(survey)?;
    replace(file, &text)
}

/// Writes a file beside the old one and then puts it in its place.
pub(super) fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside: PathBuf = file.with_file_name(name);
    let written = File::create(&beside).and_then(|mut new| {
        new.write_all(text)?;
        new.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&beside, file));
    if done.is_err() {
        // The temporary file is of no use; why it failed is reported.
        drop(fs::remove_file(&beside));
    }
    done
}

/// Removes what was kept.
pub(super) fn forget(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_onboarding::coverage::SecurityHub;

    fn question() -> Question {
        Question {
            management: "100000000001".parse().unwrap(),
            administrator: "100000000002".parse().unwrap(),
            home: "eu-central-1".parse().unwrap(),
            regions: vec!["eu-central-1".parse().unwrap()],
            spoke_role: "FirebreakSpoke".to_owned(),
            digest: "0123456789abcdef".to_owned(),
            security_hub: SecurityHub::Wanted,
        }
    }

    #[test]
    fn what_is_kept_comes_back_for_the_same_question_within_a_day() {
        let folder = std::env::temp_dir().join(format!("firebreak-keep-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("survey.json");
        let now = Timestamp::UNIX_EPOCH;
        assert!(load(&file, &question(), now).unwrap().is_none());
        let survey = Survey::new(question(), now);
        save(&file, &survey).unwrap();
        save(&file, &survey).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(load(&file, &question(), now).unwrap(), Some(survey));
        let refused = |question: &Question, now| {
            let error = load(&file, question, now).unwrap_err().to_string();
            assert!(error.contains("help: remove the file"), "{error}");
            error
        };
        let other = Question { digest: "other".to_owned(), ..question() };
        assert!(refused(&other, now).contains("read for other"));
        let later = now + jiff::SignedDuration::from_hours(25);
        assert!(refused(&question(), later).contains("more than a day ago"));
        fs::write(&file, "{").unwrap();
        refused(&question(), now);
        forget(&file).unwrap();
        forget(&file).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
