//! Keeps a survey in a file between runs. The file always holds a complete survey, the
//! older or the newer one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::Failure;
use firebreak_onboarding::coverage::{Question, Survey};

/// Loads a survey, ready to be continued; `None` if there is no such file.
pub(super) fn load_survey(
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
        "cannot resume from `{}`: {why}\nhelp: remove the file to start again",
        file.display()
    ))
}

pub(super) fn save_survey(file: &Path, survey: &Survey) -> io::Result<()> {
    let text = serde_json::to_vec(survey)?;
    replace(file, &text)
}

/// Replaces a file in one step: writes another and renames it.
pub(super) fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new_file: PathBuf = file.with_file_name(name);
    let written = File::create(&new_file).and_then(|mut new| {
        new.write_all(text)?;
        new.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&new_file, file));
    if done.is_err() {
        // The error of writing is returned, whether or not the removal succeeds.
        drop(fs::remove_file(&new_file));
    }
    done
}

pub(super) fn forget(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_onboarding::coverage::SecurityHubUse;

    fn question() -> Question {
        Question {
            management: "100000000001".parse().unwrap(),
            administrator: "100000000002".parse().unwrap(),
            home: "eu-central-1".parse().unwrap(),
            regions: vec!["eu-central-1".parse().unwrap()],
            spoke_role: "FirebreakSpoke".to_owned(),
            digest: "0123456789abcdef".to_owned(),
            security_hub: SecurityHubUse::Wanted,
        }
    }

    #[test]
    fn a_survey_is_resumed_for_the_same_question_within_a_day() {
        let folder = std::env::temp_dir().join(format!("firebreak-keep-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("survey.json");
        let now = Timestamp::UNIX_EPOCH;
        assert!(load_survey(&file, &question(), now).unwrap().is_none());
        let survey = Survey::new(question(), now);
        save_survey(&file, &survey).unwrap();
        save_survey(&file, &survey).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(load_survey(&file, &question(), now).unwrap(), Some(survey));
        let refused = |question: &Question, now| {
            let error = load_survey(&file, question, now).unwrap_err().to_string();
            assert!(error.contains("help: remove the file"), "{error}");
            error
        };
        let other = Question { digest: "other".to_owned(), ..question() };
        assert!(refused(&other, now).contains("for other accounts"));
        let later = now + jiff::SignedDuration::from_hours(25);
        assert!(refused(&question(), later).contains("more than a day ago"));
        fs::write(&file, "{").unwrap();
        refused(&question(), now);
        forget(&file).unwrap();
        forget(&file).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
