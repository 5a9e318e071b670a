//! What documents can ask for and this version does not carry out by itself. A
//! guardrail that is skipped would be none, so such a response asks a person.

use super::decision::Decision;
use super::document::Mode;

/// Whether whoever uses a decision counts budgets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budgets {
    /// It does, as a backtest.
    Counted,
    /// It does not, as the engine.
    NotCounted,
}

impl Decision {
    /// Makes a decision ask a person where it rests on what is not carried out.
    pub(super) fn ask_a_person_instead(&mut self, budgets: Budgets) {
        if self.mode < Mode::Auto || !self.acts() {
            return;
        }
        let budget = self.budgets.first().filter(|_| budgets == Budgets::NotCounted);
        let mut found = budget.map(|it| {
            let what = format!("the budget of {}, which this version does not count,", it.document);
            (it.document.clone(), what)
        });
        let document = || self.rule.as_ref().map(|it| it.document.clone()).unwrap_or_default();
        if self.confirm == Some(true) {
            let what = "the confirmation, which this version does not ask for,".to_owned();
            found = found.or_else(|| Some((document(), what)));
        }
        if let Some((document, what)) = found {
            self.lower(Mode::Approve, &document, &what);
        }
    }
}
