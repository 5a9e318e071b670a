//! Which documents are above which. A ceiling above its parent's is an error: it
//! would have no effect, and its author believes that it has.
//!
//! Two relations are known without asking AWS. Every OU's id contains its root's,
//! and `a/b.yaml` is above the files in the folder `a/b/`. Callers that know the
//! organization's tree pass it in.

use std::collections::BTreeMap;

use firebreak_model::organization::OuPath;

use super::document::{ATTACH, CEILING};
use super::issue::Issue;
use super::node::{Node, SourcePosition};
use crate::model::Mode;

/// The attach point and the ceiling of a document that may have errors elsewhere.
pub(super) struct Sketch<'n> {
    file: &'n str,
    attach: &'n str,
    attach_place: SourcePosition,
    ceiling: Option<(Mode, SourcePosition)>,
}

impl<'n> Sketch<'n> {
    pub(super) fn of(file: &'n str, node: &'n Node) -> Option<Self> {
        let (attach, attach_place) = node.text_at(ATTACH.name)?;
        let ceiling = node.text_at(CEILING.name).and_then(|(text, place)| {
            Some((Mode::ALL.into_iter().find(|mode| mode.name() == text)?, place))
        });
        Some(Self { file, attach, attach_place, ceiling })
    }

    /// The root of a root id or OU id. An account id does not show its root.
    fn root(&self) -> Option<&'n str> {
        let rest = self.attach.strip_prefix("r-").or_else(|| self.attach.strip_prefix("ou-"))?;
        rest.split('-').next()
    }

    /// An error where the point is below another root than a document before it. An
    /// organization has one root, so one of the two documents governs nothing.
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

    /// An error where the ceiling is above one of those above it.
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
