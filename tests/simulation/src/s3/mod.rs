//! S3 and S3 Control: public access blocks, tags, and who can read.

pub mod answers;
pub mod model;
