//! The DynamoDB tables that stacks made. The service is behind calls that wait,
//! and a stack does not wait: what is to be made is noted here, and made before
//! the next call of the account.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What is there by stacks, and what is to be done yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    there: BTreeSet<(String, String, String)>,
    due: Vec<Due>,
}

/// A call that is still to be made.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// `CreateTable` or `DeleteTable`.
    pub operation: &'static str,
    /// Its input.
    pub input: Value,
}

impl Tables {
    pub(super) fn make(
        &mut self,
        (account, region): (&str, &str),
        name: &str,
        input: Value,
    ) -> Result<(), String> {
        let (account, region) = (account.to_owned(), region.to_owned());
        if !self.there.insert((account.clone(), region.clone(), name.to_owned())) {
            return Err(format!("Table already exists: {name}"));
        }
        self.due.push(Due { account, region, operation: "CreateTable", input });
        Ok(())
    }

    pub(super) fn delete(&mut self, (account, region): (&str, &str), name: &str) {
        let (account, region) = (account.to_owned(), region.to_owned());
        if self.there.remove(&(account.clone(), region.clone(), name.to_owned())) {
            let input = json!({ "TableName": name });
            self.due.push(Due { account, region, operation: "DeleteTable", input });
        }
    }

    /// What is to be done in an account before its next call.
    pub(crate) fn take(&mut self, account: &str) -> Vec<Due> {
        if self.due.is_empty() {
            return Vec::new();
        }
        let (taken, left) =
            std::mem::take(&mut self.due).into_iter().partition(|due| due.account == account);
        self.due = left;
        taken
    }
}
