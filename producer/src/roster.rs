//! The fleet file as last understood. It is read anew when it changes; while it cannot be understood, the last good
//! reading stays in force.

use std::path::Path;
use std::time::Duration;

use job::{Settings, Target};
use settings::{DEFAULT_EVERY, FleetFile, FleetLoad, Problem, Problems};

/// The targets in force.
#[derive(Debug)]
pub struct Roster {
    file: FleetFile,
    /// What was last looked at: its text, or that there was none to be had.
    seen: Option<Result<String, Problems>>,
    good: Option<FleetLoad>,
}

/// What looking at the file showed.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// A new reading is in force.
    Changed {
        /// How many targets it has.
        targets: usize,
        /// What is wrong with its other entries.
        problems: Vec<Problem>,
    },
    /// It cannot be understood; what was in force still is.
    Unusable(Problems),
}

impl Roster {
    /// Nothing is in force before the first look.
    pub fn new(file: FleetFile) -> Self {
        Self { file, seen: None, good: None }
    }

    /// Looks at the file. What was said of a text is not said again until the text changes.
    pub fn look(&mut self) -> Look {
        let now = self.file.text();
        if self.seen.as_ref() == Some(&now) {
            return Look::Same;
        }
        let look = match now.as_ref().map_err(Clone::clone).and_then(|text| self.file.understand(text)) {
            Ok(load) => {
                let look = Look::Changed { targets: load.targets.len(), problems: load.problems.clone() };
                self.good = Some(load);
                look
            }
            Err(problems) => Look::Unusable(problems),
        };
        self.seen = Some(now);
        look
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The targets in force; none while no good file was ever seen.
    pub fn targets(&self) -> &[(Target, Settings)] {
        self.good.as_ref().map_or(&[], |load| &load.targets)
    }

    /// How often the schedule fires.
    pub fn every(&self) -> Duration {
        self.good.as_ref().map_or(DEFAULT_EVERY, |load| load.every)
    }

    /// Whether a good file was ever seen. Without one nothing is fired, so that a tick is not spent on no targets.
    pub fn is_loaded(&self) -> bool {
        self.good.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_leaves_the_last_good_reading_in_force_and_is_told_once() {
        let folder = std::env::temp_dir().join(format!("roster-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("fleet.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let mut roster = Roster::new(FleetFile::new(&path));

        assert!(matches!(roster.look(), Look::Unusable(_)), "no file yet");
        assert!(!roster.is_loaded());
        write("[defaults]\nevery = \"10s\"\n[[repository]]\nname = \"o/a\"\n");
        assert_eq!(roster.look(), Look::Changed { targets: 1, problems: Vec::new() });
        assert_eq!(roster.look(), Look::Same);

        write("[[repository]\n");
        assert!(matches!(roster.look(), Look::Unusable(_)));
        assert_eq!(roster.look(), Look::Same);
        assert_eq!((roster.targets().len(), roster.every().as_secs()), (1, 10));

        write(
            "[[repository]]\nname = \"o/a\"\n[[repository]]\nname = \"o/b\"\n[[repository]]\nname = \"wrong\"\n",
        );
        let Look::Changed { targets: 2, problems } = roster.look() else { panic!("{roster:?}") };
        assert_eq!(problems.len(), 1, "{problems:?}");
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(roster.look(), Look::Unusable(_)));
        assert_eq!(roster.targets().len(), 2);
    }
}
