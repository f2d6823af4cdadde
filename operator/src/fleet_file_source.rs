//! Where fleet.toml is read: by each command that needs it, as it is at that moment.

use std::path::{Path, PathBuf};

use settings::{FleetFile, FleetLoad};

use crate::error::CommandError;

/// The file that says which repositories there are.
#[derive(Debug)]
pub(crate) struct FleetFileSource {
    path: PathBuf,
}

impl FleetFileSource {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. Wrong entries are among what it answers; a file that cannot be used at all is the error.
    pub(crate) fn load(&self) -> Result<FleetLoad, CommandError> {
        FleetFile::load(&self.path)
            .map_err(|problems| CommandError::usage(format!("the fleet file cannot be used: {problems}")))
    }
}
