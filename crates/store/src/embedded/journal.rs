//! The journal: what was done since the last durable commit of the database, in a file beside it.
//!
//! A durable commit writes every page that a group touched; the journal takes the changed rows
//! only, one behind the other. So a group is appended here and synced, then committed in the
//! memory of the database, then answered. When the journal is full, a group is committed durably
//! instead, together with the number of the next generation, and the journal begins again at its
//! start. After a crash the database is as the last durable commit left it, and the frames of the
//! generation it names are done again; rows are written as they are, so that twice is as once.
//!
//! The file has a head block and frames, each from a multiple of [`BLOCK`] on, so that writing one
//! cannot damage the one before:
//!
//! | Octets | Head                | Octets | Frame                                            |
//! |--------|---------------------|--------|--------------------------------------------------|
//! | 16     | [`MAGIC`]           | 16     | digest of the store's identity and what follows  |
//! | 4      | version             | 8      | generation                                       |
//! | 16     | the store's identity| 8      | sequence in the generation, from 1               |
//! | 16     | digest of the above | 4      | length of the record                             |
//! |        |                     | ..     | the record                                       |
//!
//! Numbers are big-endian, digests the first octets of SHA-256. A frame that is not whole, or of
//! another generation, ends the replay: it was never acknowledged. One that is whole behind one
//! that is not shows damage to what was acknowledged, and is refused.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use redb::StorageBackend;

use super::codec::{Reader, Writer};
use crate::StoreError;

/// Unit of the disk, at most; local value.
const BLOCK: u64 = 4096;

const MAGIC: &[u8; 16] = b"parlance journal";
const VERSION: u32 = 1;

const DIGEST_OCTETS: usize = 16;

/// Octets of a frame before its record.
pub(super) const FRAME_HEAD: usize = DIGEST_OCTETS + 8 + 8 + 4;

/// Names a store, so that its journal is not taken for that of another.
pub(super) type Identity = [u8; 16];

/// What the database tells about its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) identity: Identity,
    /// Frames of this generation came after the database's state.
    pub(super) generation: u64,
    /// The store was closed in order: there are no such frames.
    pub(super) closed: bool,
}

impl Mark {
    pub(super) fn read(octets: &[u8]) -> Result<Mark, StoreError> {
        let mut reader = Reader::new(octets, 1, "journal mark")?;
        let mark = Mark {
            identity: reader.array()?,
            generation: reader.u64()?,
            closed: reader.u8()? != 0,
        };
        reader.end()?;
        Ok(mark)
    }

    pub(super) fn write(self) -> Vec<u8> {
        let writer = Writer::new(1).raw(&self.identity).u64(self.generation);
        writer.u8(u8::from(self.closed)).into_octets()
    }

    /// The mark of the durable commit after this one.
    pub(super) fn next(self, closed: bool) -> Mark {
        Mark { generation: self.generation.saturating_add(1), closed, ..self }
    }
}

/// Why a journal cannot be used with its database.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error(
        "is missing: put it back, or make an empty file of that name to go on without the last \
         changes"
    )]
    Missing,
    #[error("belongs to another store: put the right one there, or move it away")]
    Foreign,
    #[error(
        "is newer than the store: restore the store that belongs to it, or move the journal away \
         to go on without its changes"
    )]
    Ahead,
    #[error("has version {0}, which a later version of the program wrote: run that one")]
    Newer(u32),
    #[error("is damaged: restore it and the store from a copy")]
    Damaged,
    #[error("cannot be used: {0}")]
    Store(#[from] StoreError),
}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> JournalError {
        JournalError::Store(error.into())
    }
}

/// The file of a journal, and whether it was there before.
#[derive(Debug)]
pub(super) struct Medium {
    pub(super) file: Box<dyn StorageBackend>,
    pub(super) made: bool,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: Box<dyn StorageBackend>,
    mark: Mark,
    /// Sequence of the next frame.
    sequence: u64,
    /// Where the next frame goes.
    end: u64,
    octets_max: u64,
}

impl Journal {
    /// Checks that the journal and the database with `mark` belong together. `fresh` is the
    /// identity of a store that has none yet.
    pub(super) fn open(
        medium: Medium,
        mark: Option<Mark>,
        fresh: Identity,
        octets_max: u64,
    ) -> Result<Journal, JournalError> {
        let Medium { file, made } = medium;
        let head = read_head(&*file)?;
        if mark.is_some_and(|mark| !mark.closed) && made {
            return Err(JournalError::Missing);
        }
        let empty = file.len()? == 0;
        let mark = mark.unwrap_or(Mark { identity: fresh, generation: 0, closed: true });
        let own = head == Some(mark.identity);
        if head.is_none() && !empty && !mark.closed {
            return Err(JournalError::Damaged);
        }
        let journal = Journal { file, mark, sequence: 1, end: BLOCK, octets_max };
        if let Some(identity) = head {
            let first = journal.frame(&identity, BLOCK)?;
            if !own && (first.is_some() || !mark.closed) {
                return Err(JournalError::Foreign);
            }
            if first.is_some_and(|frame| frame.generation > mark.generation) {
                return Err(JournalError::Ahead);
            }
        }
        if !own {
            journal.file.set_len(BLOCK)?;
            journal.file.write(0, &head_block(&mark.identity))?;
            journal.file.sync_data()?;
        }
        Ok(journal)
    }

    /// Gives `redo` the records since the state of the database, in order; says how many.
    pub(super) fn replay(
        &mut self,
        mut redo: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<u64, JournalError> {
        while let Some(frame) = self.next_frame(self.end)?.filter(|f| f.sequence == self.sequence) {
            redo(&frame.record)?;
            self.end += blocks(FRAME_HEAD + frame.record.len());
            self.sequence += 1;
        }
        let (mut at, length) = (self.end, self.file.len()?);
        while at < length {
            if self.next_frame(at)?.is_some_and(|frame| frame.sequence > self.sequence) {
                return Err(JournalError::Damaged);
            }
            at += BLOCK;
        }
        Ok(self.sequence - 1)
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Largest record that still fits.
    pub(super) fn room(&self) -> usize {
        let room = self.octets_max.saturating_sub(self.end);
        usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(FRAME_HEAD)
    }

    /// Appends a record that fits; on the disk when this returns. `frame` has [`FRAME_HEAD`]
    /// octets before it. After a failure the next one takes its place.
    pub(super) fn append(&mut self, mut frame: Vec<u8>) -> Result<(), StoreError> {
        let record = frame.len() - FRAME_HEAD;
        let head = frame.get_mut(DIGEST_OCTETS..FRAME_HEAD).expect("there is room for the head");
        let (generation, rest) = head.split_at_mut(8);
        let (sequence, length) = rest.split_at_mut(8);
        generation.copy_from_slice(&self.mark.generation.to_be_bytes());
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        length.copy_from_slice(&u32::try_from(record).expect("it fits").to_be_bytes());
        let (digest, rest) = frame.split_at_mut(DIGEST_OCTETS);
        digest.copy_from_slice(&self::digest(&self.mark.identity, rest));
        let size = blocks(frame.len());
        frame.resize(size as usize, 0);
        if let Err(error) = self.put(&frame) {
            // So that it is not done after a crash, having been refused; as far as the disk obeys.
            let _ = self.file.write(self.end, &[0; FRAME_HEAD]);
            return Err(error.into());
        }
        self.end += size;
        self.sequence += 1;
        Ok(())
    }

    fn put(&self, frame: &[u8]) -> io::Result<()> {
        let end = self.end + frame.len() as u64;
        if self.file.len()? < end {
            self.file.set_len(end)?;
        }
        self.file.write(self.end, frame)?;
        self.file.sync_data()
    }

    /// The database was durably committed with `mark`.
    pub(super) fn begin(&mut self, mark: Mark) {
        self.mark = mark;
        self.sequence = 1;
        self.end = BLOCK;
    }

    /// The whole frame at `at`, if there is one of the generation in hand.
    fn next_frame(&self, at: u64) -> Result<Option<Frame>, JournalError> {
        let frame = self.frame(&self.mark.identity, at)?;
        Ok(frame.filter(|frame| frame.generation == self.mark.generation))
    }

    fn frame(&self, identity: &Identity, at: u64) -> Result<Option<Frame>, JournalError> {
        let Some(head) = read(&*self.file, at, FRAME_HEAD)? else { return Ok(None) };
        let fields = head.split_at_checked(DIGEST_OCTETS);
        let (told, fields) = fields.ok_or(JournalError::Damaged)?;
        let field = |from: usize| fields.get(from..from + 8).and_then(|f| f.try_into().ok());
        let (generation, sequence) = (field(0), field(8));
        let length = fields.get(16..).and_then(|field| field.try_into().ok());
        let (Some(generation), Some(sequence), Some(length)) = (generation, sequence, length)
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(length) as usize;
        let Some(record) = read(&*self.file, at + FRAME_HEAD as u64, length)? else {
            return Ok(None);
        };
        let mut context = Context::new(&SHA256);
        [identity.as_slice(), fields, &record].into_iter().for_each(|part| context.update(part));
        let whole = context.finish().as_ref().get(..DIGEST_OCTETS) == Some(told);
        let (generation, sequence) = (u64::from_be_bytes(generation), u64::from_be_bytes(sequence));
        Ok(whole.then_some(Frame { generation, sequence, record }))
    }
}

/// A frame that was read.
struct Frame {
    generation: u64,
    sequence: u64,
    record: Vec<u8>,
}

/// `length` octets from `at` on; `None` when there are fewer.
fn read(file: &dyn StorageBackend, at: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    if file.len()?.checked_sub(at).is_none_or(|left| left < length as u64) {
        return Ok(None);
    }
    let mut octets = vec![0; length];
    file.read(at, &mut octets)?;
    Ok(Some(octets))
}

/// Octets of the blocks that `octets` take.
fn blocks(octets: usize) -> u64 {
    (octets as u64).next_multiple_of(BLOCK)
}

fn digest(identity: &[u8], octets: &[u8]) -> [u8; DIGEST_OCTETS] {
    let mut context = Context::new(&SHA256);
    context.update(identity);
    context.update(octets);
    let mut first = [0; DIGEST_OCTETS];
    first.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    first
}

fn head_block(identity: &Identity) -> Vec<u8> {
    let mut head = [MAGIC.as_slice(), &VERSION.to_be_bytes(), identity].concat();
    let digest = digest(&[], &head);
    head.extend_from_slice(&digest);
    head.resize(BLOCK as usize, 0);
    head
}

/// The identity in the head; `None` when there is no whole head.
fn read_head(file: &dyn StorageBackend) -> Result<Option<Identity>, JournalError> {
    let Some(block) = read(file, 0, BLOCK as usize)? else { return Ok(None) };
    let identity = block.get(20..36).and_then(|identity| identity.try_into().ok());
    let version = block.get(16..20).and_then(|version| version.try_into().ok());
    let (Some(identity), Some(version)) = (identity, version) else { return Ok(None) };
    let version = u32::from_be_bytes(version);
    let head = block.get(..36).unwrap_or_default();
    let whole = head.starts_with(MAGIC) && block.get(36..52) == Some(&digest(&[], head)[..]);
    match whole {
        true if version > VERSION => Err(JournalError::Newer(version)),
        true => Ok(Some(identity)),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests;
