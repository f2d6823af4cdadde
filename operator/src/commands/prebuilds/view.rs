//! What `prebuilds list` and `prebuilds revoke` print. Pure.

use job::Target;
use serde::Serialize;

use super::list::ListedPrebuild;
use crate::commands::submit::SubmittedView;
use crate::layout::format_table;
use crate::output::View;
use crate::time::length;

/// The answer of `prebuilds list`.
#[derive(Debug, Serialize)]
pub(super) struct ListView {
    pub(super) prebuilds: Vec<ListedPrebuild>,
    /// What could not be found out.
    pub(super) notes: Vec<String>,
}

impl View for ListView {
    fn text(&self) -> String {
        let mut text = if self.prebuilds.is_empty() {
            "no prebuilds\n".to_owned()
        } else {
            let header = ["TARGET", "USE", "COMMIT", "AGE", "QUALITY", "SECRETS", "IN DAYTONA"];
            format_table(header, self.prebuilds.iter().map(ListedPrebuild::row))
        };
        text.extend(self.notes.iter().map(|note| format!("\nnote: {note}\n")));
        text
    }
}

impl ListedPrebuild {
    fn row(&self) -> [String; 7] {
        let quality = self.completeness.map(|completeness| completeness.to_string());
        let quality: Vec<String> = quality.into_iter().chain(self.flags.iter().cloned()).collect();
        [
            self.target.to_string(),
            self.used_as.as_str().to_owned(),
            self.commit_short().to_owned(),
            self.age(),
            if quality.is_empty() { "not verified".to_owned() } else { quality.join(", ") },
            self.secret_names(),
            self.in_daytona.clone().unwrap_or_else(|| "not asked".to_owned()),
        ]
    }

    fn commit_short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }

    fn age(&self) -> String {
        length(std::time::Duration::from_secs(self.age_seconds))
    }

    fn secret_names(&self) -> String {
        match &self.secrets {
            None => "not known".to_owned(),
            Some(names) if names.is_empty() => "none".to_owned(),
            Some(names) => names.iter().cloned().collect::<Vec<_>>().join(", "),
        }
    }
}

/// What became of a prebuild that is withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum RevokeEnd {
    /// Nothing was done: it would be.
    WouldBe,
    /// Nobody is given it any more, and its snapshot is deleted.
    Deleted,
    /// Nobody is given it any more, and there was no snapshot.
    Missing,
    /// An attempt is at work on it, which finds it withdrawn and deletes it.
    LeftToItsAttempt,
    /// Nobody is given it any more, and its snapshot could not be deleted.
    NotDeleted {
        /// What stood in the way.
        error: String,
    },
    /// It could not be withdrawn.
    NotWithdrawn {
        /// What stood in the way.
        error: String,
    },
}

impl RevokeEnd {
    /// Whether something is left for a person to do.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::NotDeleted { .. } | Self::NotWithdrawn { .. } => true,
            Self::WouldBe | Self::Deleted | Self::Missing | Self::LeftToItsAttempt => false,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::WouldBe => "would be withdrawn".to_owned(),
            Self::Deleted => "withdrawn, deleted".to_owned(),
            Self::Missing => "withdrawn; no snapshot of it was there".to_owned(),
            Self::LeftToItsAttempt => "withdrawn; its attempt is at work and deletes it".to_owned(),
            Self::NotDeleted { error } => format!("withdrawn, NOT deleted: {error}"),
            Self::NotWithdrawn { error } => format!("NOT withdrawn: {error}"),
        }
    }
}

/// A prebuild, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct RevokedPrebuild {
    #[serde(flatten)]
    pub(super) prebuild: ListedPrebuild,
    #[serde(flatten)]
    pub(super) end: RevokeEnd,
}

/// The answer of `prebuilds revoke`.
#[derive(Debug, Serialize)]
pub(super) struct RevokeView {
    pub(super) dry_run: bool,
    pub(super) prebuilds: Vec<RevokedPrebuild>,
    /// Targets without such a prebuild that were told all the same, because one may be in the making.
    pub(super) also_told: Vec<Target>,
    /// Jobs that build anew what was withdrawn.
    pub(super) rebuilds: Vec<SubmittedView>,
    /// Targets that fleet.toml does not list, so that nothing builds them anew.
    pub(super) not_listed: Vec<Target>,
}

impl View for RevokeView {
    fn text(&self) -> String {
        let mut text = if self.prebuilds.is_empty() {
            "no prebuild of the register was built so\n".to_owned()
        } else {
            let header = ["TARGET", "USE", "COMMIT", "AGE", "SECRETS", "RESULT"];
            let row = |revoked: &RevokedPrebuild| {
                let prebuild = &revoked.prebuild;
                [
                    prebuild.target.to_string(),
                    prebuild.used_as.as_str().to_owned(),
                    prebuild.commit_short().to_owned(),
                    prebuild.age(),
                    prebuild.secret_names(),
                    revoked.end.sentence(),
                ]
            };
            format_table(header, self.prebuilds.iter().map(row))
        };
        let also_told =
            |target: &Target| format!("{target}  what is being built now is not promoted either\n");
        text.extend(self.also_told.iter().map(also_told));
        text.extend(self.rebuilds.iter().map(SubmittedView::line));
        let not_listed = |target: &Target| format!("{target}  not built anew: it is not in fleet.toml\n");
        text.extend(self.not_listed.iter().map(not_listed));
        text
    }
}
