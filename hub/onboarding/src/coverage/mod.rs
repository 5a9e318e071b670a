//! The coverage of an organization: every account in every Region. Pure:
//! `aws::coverage` reads, this module finds what is missing.
//!
//! ```text
//! Survey (kept between runs) ────────┐
//! policy in force, audit log ────────┼→ Matrix → text, JSON, CSV, HTML
//! accounts left out on purpose ──────┘
//! ```
//!
//! What could not be read counts as missing.

mod csv;
mod html;
mod matrix;
mod survey;

pub use csv::csv;
pub use html::page;
pub use matrix::{
    AccountRow, AccountStatus, Cell, CoverageStatus, Matrix, RegionRow, Summary, matrix,
};
pub use survey::{
    FORMAT, Members, Question, RULES, RegionSurvey, Rule, RuleWanted, SecurityHubUse, Spoke,
    Survey, SurveyContext, SurveyedAccount,
};

#[cfg(test)]
mod tests;
