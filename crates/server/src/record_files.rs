//! The files of records that the functions write: events, and histories of users.

use crate::assembly::Assembly;
use crate::config::{Config, size};
use crate::event_file::EventFile;
use crate::history_file::HistoryFile;
use crate::line_file::LineFile;
use crate::server::StartError;

/// The files that are open.
#[derive(Clone, Debug)]
pub(crate) struct RecordFiles {
    events: Option<EventFile>,
    history: Option<HistoryFile>,
}

impl RecordFiles {
    /// Opens those that the operator wants.
    pub(crate) fn open(config: &Config) -> Result<Self, StartError> {
        let Config { events, history, .. } = config;
        let opened = events.file.as_deref();
        let opened = opened.map(|file| EventFile::open(file, size(events.lines_max)));
        let kept = history.file.as_deref();
        let kept = kept.map(|file| HistoryFile::open(file, size(history.lines_max)));
        Ok(Self {
            events: opened.transpose().map_err(StartError::Events)?,
            history: kept.transpose().map_err(StartError::History)?,
        })
    }

    /// Has the functions write there.
    pub(crate) fn attach(&self, mut assembly: Assembly) -> Assembly {
        if let Some(file) = &self.events {
            assembly = assembly.with_events(file.clone());
        }
        if let Some(file) = &self.history {
            assembly = assembly.with_history(file.clone());
        }
        assembly
    }

    /// Goes on in files of the same names, after the old ones were renamed.
    pub(crate) fn reopen(&self) {
        self.all().for_each(LineFile::reopen);
    }

    /// Writes what waits and closes the files.
    pub(crate) fn close(&self) {
        self.all().for_each(LineFile::close);
    }

    fn all(&self) -> impl Iterator<Item = &LineFile> {
        let events = self.events.as_ref().map(EventFile::lines);
        events.into_iter().chain(self.history.as_ref().map(HistoryFile::lines))
    }
}
