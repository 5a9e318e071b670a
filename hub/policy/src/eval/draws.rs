//! The draws of a decision on the budgets above its target.

use firebreak_model::organization::Place;

use crate::model::{BudgetRef, CountedBy, Decision, Draw};

impl Decision {
    /// The draws on the budgets above a place, if the decision's actions are executed
    /// there.
    pub fn draws(&self, place: &Place) -> Vec<Draw> {
        self.budgets.iter().flat_map(|budget| draws_on(budget, self, place)).collect()
    }
}

fn draws_on(reference: &BudgetRef, decision: &Decision, place: &Place) -> Vec<Draw> {
    let BudgetRef { document, budget } = reference;
    let draw = |group: &str, actions: usize| Draw {
        budget: reference.clone(),
        key: format!("{document}/{budget}/{group}"),
        actions: u32::try_from(actions).unwrap_or(u32::MAX),
    };
    let all = decision.actions.len();
    match budget.by {
        None => vec![draw("", all)],
        Some(CountedBy::Account) => vec![draw(place.account.as_str(), all)],
        Some(CountedBy::Ou) => vec![draw(place.ou_path.unit(), all)],
        Some(CountedBy::Rule) => vec![draw(&decision.rule_key().unwrap_or_default(), all)],
        Some(CountedBy::Action) => {
            decision.actions.iter().map(|call| draw(&call.name, 1)).collect()
        }
    }
}
