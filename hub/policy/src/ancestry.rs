//! Which documents are above which, as far as files show: a child's ceiling
//! above its parent's is a mistake, because it would have no effect and its
//! author believes that it has.
//!
//! Known without asking AWS are the root, because every OU's id contains its
//! root's, and the folders: `a/b.yaml` is above what stands in the folder
//! `a/b/`. Who knows the organization's tree passes it in.

use std::collections::BTreeMap;

use super::document::Mode;
use super::node::{Node, SourcePosition};
use super::reader::{self, Issue};
use firebreak_model::organization::OuPath;

/// Where a document is attached, and its ceiling, even if it is mistaken in
/// other parts.
pub(super) struct Sketch<'n> {
    file: &'n str,
    attach: &'n str,
    attach_place: SourcePosition,
    ceiling: Option<(Mode, SourcePosition)>,
}

impl<'n> Sketch<'n> {
    pub(super) fn of(file: &'n str, node: &'n Node) -> Option<Self> {
        let (attach, attach_place) = reader::text_at(node, "attach")?;
        let ceiling = reader::text_at(node, "ceiling").and_then(|(text, place)| {
            Some((Mode::ALL.into_iter().find(|mode| mode.name() == text)?, place))
        });
        Some(Self { file, attach, attach_place, ceiling })
    }

    /// The root that it is or is below; accounts do not say.
    fn root(&self) -> Option<&'n str> {
        let rest = self.attach.strip_prefix("r-").or_else(|| self.attach.strip_prefix("ou-"))?;
        rest.split('-').next()
    }

    /// The mistake of a point below another root than a document before it: an
    /// organization has one, so one of the two governs nothing.
    pub(super) fn below_another_root(&self, all: &[Self]) -> Option<Issue> {
        let own = self.root()?;
        let mut before = all.iter().take_while(|other| other.file != self.file);
        let (root, other) = before.find_map(|other| Some((other.root()?, other)))?;
        if root == own {
            return None;
        }
        let message = format!("`{}` is not below r-{root}, as {} is", self.attach, other.file);
        let help =
            "an organization has one root: the id after the first dash is the same everywhere";
        Some(Issue { place: self.attach_place, message, help: Some(help.to_owned()) })
    }

    /// The mistake of a ceiling that is above one of those above it.
    pub(super) fn above_ceilings(
        &self,
        all: &[Self],
        tree: &BTreeMap<String, OuPath>,
    ) -> Option<Issue> {
        let (own, place) = self.ceiling?;
        let (ceiling, above) = all
            .iter()
            .filter(|other| other.is_above(self, tree))
            .filter_map(|other| Some((other.ceiling?.0, other)))
            .min_by_key(|(ceiling, _)| *ceiling)
            .filter(|(ceiling, _)| *ceiling < own)?;
        let message = format!(
            "`{}` is above the ceiling of {}, which is {} ({})",
            own.name(),
            above.attach,
            ceiling.name(),
            above.file
        );
        let help =
            format!("a ceiling can only be lowered: write {}, or leave it out", ceiling.name());
        Some(Issue { place, message, help: Some(help) })
    }

    fn is_above(&self, below: &Self, tree: &BTreeMap<String, OuPath>) -> bool {
        if self.attach == below.attach {
            return false;
        }
        if let Some(path) = tree.get(below.attach) {
            return path.ids().any(|id| id == self.attach);
        }
        let is_root = self.attach.starts_with("r-")
            && below.root().is_none_or(|root| Some(root) == self.root());
        let folder = self.file.strip_suffix(".yaml").or_else(|| self.file.strip_suffix(".yml"));
        let in_folder = folder
            .and_then(|folder| below.file.strip_prefix(folder))
            .is_some_and(|rest| rest.starts_with('/'));
        // An organization has one root, and nothing is above it.
        !below.attach.starts_with("r-") && (is_root || in_folder)
    }
}
