//! S3 and S3 Control: public access blocks, tags, configurations, objects, and who can read.

pub mod answers;
mod configuration;
mod documents;
pub mod model;
pub mod objects;
