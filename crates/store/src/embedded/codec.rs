//! Compact records: fixed-width integers and length-prefixed texts, big-endian.

use crate::StoreError;

/// Writes a record.
#[derive(Debug, Default)]
pub(super) struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// Starts with a layout number, by which a later version tells the records apart.
    pub(super) fn new(layout: u8) -> Writer {
        Writer { octets: vec![layout] }
    }

    pub(super) fn u8(mut self, value: u8) -> Writer {
        self.octets.push(value);
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Writer {
        self.octets.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Writer {
        self.octets.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Octets of a length the reader knows.
    pub(super) fn raw(mut self, value: &[u8]) -> Writer {
        self.octets.extend_from_slice(value);
        self
    }

    /// Texts are bounded by the callers far below 64 KiB.
    pub(super) fn text(mut self, value: &str) -> Writer {
        let length = u16::try_from(value.len()).expect("checked to be at most 1024 octets");
        self.octets.extend_from_slice(&length.to_be_bytes());
        self.octets.extend_from_slice(value.as_bytes());
        self
    }

    pub(super) fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}

/// Reads a record; everything that does not fit is [`StoreError::Corrupt`].
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Starts a record named `what` of layout `layout`.
    pub(super) fn new(
        octets: &'a [u8],
        layout: u8,
        what: &'static str,
    ) -> Result<Reader<'a>, StoreError> {
        let mut reader = Reader { rest: octets, what };
        if reader.u8()? == layout { Ok(reader) } else { Err(reader.damaged()) }
    }

    /// The error for this record.
    pub(super) fn damaged(&self) -> StoreError {
        StoreError::Corrupt(format!("unreadable {}", self.what))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        let length = u16::from_be_bytes(self.array()?);
        let taken = self.take(usize::from(length))?.to_vec();
        String::from_utf8(taken).map_err(|_| self.damaged())
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Reader, StoreError, Writer};

    fn read(octets: &[u8]) -> Result<(u8, u32, u64, String), StoreError> {
        let mut reader = Reader::new(octets, 3, "record")?;
        let fields = (reader.u8()?, reader.u32()?, reader.u64()?, reader.text()?);
        reader.end()?;
        Ok(fields)
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(a: u8, b: u32, c: u64, d in ".{0,40}") {
            let octets = Writer::new(3).u8(a).u32(b).u64(c).text(&d).into_octets();
            assert_eq!(read(&octets), Ok((a, b, c, d)));
            for cut in 0..octets.len() {
                assert!(read(&octets[..cut]).is_err(), "cut at {cut}");
            }
        }

        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&octets);
        }
    }
}
