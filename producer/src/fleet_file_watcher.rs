//! The fleet file as last understood. It is read anew when it changes; while it cannot be understood, the last good
//! reading stays in force.

use std::path::Path;
use std::time::Duration;

use job::{Settings, Target};
use settings::{DEFAULT_EVERY, FleetFile, FleetLoad, Problem, Problems};

/// The fleet file, and the targets in force.
#[derive(Debug)]
pub struct FleetFileWatcher {
    file: FleetFile,
    /// What was last read: the file's text, or why there was none to be had.
    last_read: Option<Result<String, Problems>>,
    in_force: Option<FleetLoad>,
}

/// What reading the file again has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// The file is as it was, and so are the targets.
    Unchanged,
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

impl FleetFileWatcher {
    /// Nothing is in force before the first reload.
    pub fn new(file: FleetFile) -> Self {
        Self { file, last_read: None, in_force: None }
    }

    /// Reads the file. A text that was read before is unchanged, even one that cannot be used.
    pub fn reload(&mut self) -> Reload {
        let now = self.file.text();
        if self.last_read.as_ref() == Some(&now) {
            return Reload::Unchanged;
        }
        let reload = match now.as_ref().map_err(Clone::clone).and_then(|text| self.file.understand(text)) {
            Ok(load) => {
                let reload = Reload::Changed { targets: load.targets.len(), problems: load.problems.clone() };
                self.in_force = Some(load);
                reload
            }
            Err(problems) => Reload::Unusable(problems),
        };
        self.last_read = Some(now);
        reload
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The targets in force; none while no good file was ever seen.
    pub fn targets(&self) -> &[(Target, Settings)] {
        self.in_force.as_ref().map_or(&[], |load| &load.targets)
    }

    /// How often the schedule fires.
    pub fn every(&self) -> Duration {
        self.in_force.as_ref().map_or(DEFAULT_EVERY, |load| load.every)
    }

    /// Whether a good file was ever seen. Without one nothing is fired, so that a tick is not spent on no targets.
    pub fn is_loaded(&self) -> bool {
        self.in_force.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_is_reported_once_and_the_last_good_one_stays() {
        let folder = std::env::temp_dir().join(format!("fleet-file-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("fleet.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let mut watcher = FleetFileWatcher::new(FleetFile::new(&path));

        assert!(matches!(watcher.reload(), Reload::Unusable(_)), "no file yet");
        assert!(!watcher.is_loaded());
        write("[defaults]\nevery = \"10s\"\n[[repository]]\nname = \"o/a\"\n");
        assert_eq!(watcher.reload(), Reload::Changed { targets: 1, problems: Vec::new() });
        assert_eq!(watcher.reload(), Reload::Unchanged);

        write("[[repository]\n");
        assert!(matches!(watcher.reload(), Reload::Unusable(_)));
        assert_eq!(watcher.reload(), Reload::Unchanged);
        assert_eq!((watcher.targets().len(), watcher.every().as_secs()), (1, 10));

        write(
            "[[repository]]\nname = \"o/a\"\n[[repository]]\nname = \"o/b\"\n[[repository]]\nname = \"wrong\"\n",
        );
        let Reload::Changed { targets: 2, problems } = watcher.reload() else { panic!("{watcher:?}") };
        assert_eq!(problems.len(), 1, "{problems:?}");
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(watcher.reload(), Reload::Unusable(_)));
        assert_eq!(watcher.targets().len(), 2);
    }
}
