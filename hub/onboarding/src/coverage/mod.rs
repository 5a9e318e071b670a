//! How far an organization is covered: every account, in every Region. Pure:
//! `aws::coverage` reads, this says what is missing.
//!
//! ```text
//! Survey (what was read, kept between runs) ─┐
//! policy in force, record of decisions ──────┼→ Matrix → text, JSON, CSV, HTML
//! accounts that are left out on purpose ─────┘
//! ```
//!
//! What could not be read is a gap: nothing counts as covered that was not seen
//! to be.

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
    FORMAT, Members, Question, RULES, RegionSurvey, Rule, RuleWanted, SecurityHub, Spoke, Survey,
    SurveyContext, SurveyedAccount,
};

#[cfg(test)]
mod tests;
