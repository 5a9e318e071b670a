//! S3 and S3 Control: public access blocks, tags, who can read, and objects.

pub mod answers;
pub mod model;
pub mod objects;
