//! Renders the spoke role's template: it is written by hand, except for the parts that
//! are generated from the permissions that actions declare. Pure.

mod digest;
mod limits;
mod template;
mod yaml;

pub use self::digest::{DIGEST_TAG, digest};
pub use self::limits::{MANAGED_CHARACTERS, ROLE_CHARACTERS, Size, TEMPLATE_BYTES};
pub use self::template::{Rendered, TemplateError, render};

/// The built-in template, stacksets/spoke.yaml.
pub const SPOKE: &str = include_str!("../../../../stacksets/spoke.yaml");
