//! The spoke role's template: what of it is written by hand, and what from the
//! permissions that actions declare. Pure: texts in, texts out.

mod digest;
mod limits;
mod template;
mod yaml;

pub use self::digest::{DIGEST_TAG, digest};
pub use self::limits::{MANAGED_CHARACTERS, ROLE_CHARACTERS, Size, TEMPLATE_BYTES};
pub use self::template::{Rendered, TemplateError, render};

/// The template of this version, stacksets/spoke.yaml.
pub const SPOKE: &str = include_str!("../../../../stacksets/spoke.yaml");
