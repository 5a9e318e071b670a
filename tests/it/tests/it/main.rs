//! The integration tests: one program, so that the SDKs are linked once. Each
//! module is a subject; `cargo test -p firebreak-it -- scenarios::` runs one.

mod actions;
mod arrows;
mod bootstrap;
mod checklists;
mod command_line;
mod conformance;
mod cost;
mod deploy;
mod finding_types;
mod hostile;
mod intake;
mod lambda_runtime;
mod package;
mod policy;
mod policy_import;
mod policy_schema;
mod queue;
mod scenarios;
mod session_policy;
mod stacksets;
mod templates;
mod tidy;
