//! What documents can ask for and this version does not carry out by itself. A
//! guardrail that is skipped would be none, so such a response asks a person.

use super::decision::Decision;
use super::document::Mode;

impl Decision {
    /// Makes a decision ask a person where it rests on what is not carried out.
    pub fn ask_a_person_instead(&mut self) {
        if self.mode < Mode::Auto {
            return;
        }
        for (document, what) in self.not_carried_out() {
            self.lower(Mode::Approve, &document, &what);
        }
    }

    /// What the decision rests on that is not carried out: by which document,
    /// and in words.
    pub(super) fn not_carried_out(&self) -> Vec<(String, String)> {
        if !self.acts() {
            return Vec::new();
        }
        let mut found: Vec<(String, String)> = self
            .budgets
            .iter()
            .map(|it| {
                let what =
                    format!("the budget of {}, which this version does not count,", it.document);
                (it.document.clone(), what)
            })
            .collect();
        let document = || self.rule.as_ref().map(|it| it.document.clone()).unwrap_or_default();
        if let Some(expires) = self.expires {
            let what = format!("the end after {expires}, which this version does not bring about,");
            found.push((document(), what));
        }
        if self.confirm == Some(true) {
            let what = "the confirmation, which this version does not ask for,".to_owned();
            found.push((document(), what));
        }
        found
    }
}
