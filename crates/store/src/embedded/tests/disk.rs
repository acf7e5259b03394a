//! A disk for tests: it fills up, and it remembers in which order it was written.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::{Builder, StorageBackend};

use super::super::journal::Medium;
use super::super::open::Files;
use super::super::{Embedded, EmbeddedConfig, OpenError};

pub(in crate::embedded) const DATABASE: usize = 0;
pub(in crate::embedded) const JOURNAL: usize = 1;

/// What happened to a disk.
#[derive(Clone, Debug)]
pub(in crate::embedded) enum Event {
    Length(usize, u64),
    Write(usize, u64, Vec<u8>),
    Sync(usize),
    /// What the test says in between.
    Told(u64),
}

/// A disk that survives its store and takes only so many more octets.
#[derive(Debug)]
pub(in crate::embedded) struct Disk {
    pub(in crate::embedded) content: Mutex<[Vec<u8>; 2]>,
    /// Octets it still takes; negative: every write fails.
    pub(in crate::embedded) room: AtomicI64,
    pub(in crate::embedded) opened: AtomicU64,
    pub(in crate::embedded) events: Mutex<Vec<Event>>,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::of([Vec::new(), Vec::new()])
    }
}

#[derive(Debug)]
struct Device {
    disk: Arc<Disk>,
    file: usize,
}

impl Disk {
    pub(in crate::embedded) fn of(content: [Vec<u8>; 2]) -> Disk {
        Disk {
            content: Mutex::new(content),
            room: AtomicI64::new(i64::MAX),
            opened: AtomicU64::new(0),
            events: Mutex::default(),
        }
    }

    pub(in crate::embedded) fn tell(&self, number: u64) {
        self.events.lock().unwrap().push(Event::Told(number));
    }

    fn take(&self, wanted: usize) -> io::Result<()> {
        match self.room.fetch_sub(wanted as i64, Ordering::SeqCst) >= wanted as i64 {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    /// The file of the journal.
    pub(in crate::embedded) fn journal(self: &Arc<Disk>) -> Medium {
        let made = self.content.lock().unwrap()[JOURNAL].is_empty();
        Medium { file: Box::new(Device { disk: self.clone(), file: JOURNAL }), made }
    }

    pub(in crate::embedded) fn try_open(
        self: &Arc<Disk>,
        config: EmbeddedConfig,
    ) -> Result<Embedded, OpenError> {
        let disk = self.clone();
        let opener = move || {
            disk.opened.fetch_add(1, Ordering::SeqCst);
            let device = Device { disk: disk.clone(), file: DATABASE };
            let mut builder = Builder::new();
            builder.set_cache_size(config_cache());
            let database = builder.create_with_backend(device);
            let database = database.map_err(|error| OpenError::Store(error.into()))?;
            Ok(Files { database, journal: disk.journal() })
        };
        Embedded::open_with(config, Box::new(opener))
    }
}

/// Small, so that pages are written before their commit, too.
fn config_cache() -> usize {
    1 << 20
}

impl StorageBackend for Device {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.content.lock().unwrap()[self.file].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.disk.content.lock().unwrap();
        out.copy_from_slice(&content[self.file][offset as usize..offset as usize + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.take(0)?;
        self.disk.content.lock().unwrap()[self.file].resize(len as usize, 0);
        self.disk.note(Event::Length(self.file, len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.take(0)?;
        self.disk.note(Event::Sync(self.file));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.take(data.len())?;
        let mut content = self.disk.content.lock().unwrap();
        content[self.file][offset as usize..offset as usize + data.len()].copy_from_slice(data);
        self.disk.note(Event::Write(self.file, offset, data.to_vec()));
        Ok(())
    }
}
