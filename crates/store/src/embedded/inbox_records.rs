//! The records of one recipient: the state of his inbox and the heads of his items.

use redb::ReadableTable;

use super::codec::{Reader, Writer};
use super::keys;
use super::seal::Sealer;
use crate::{Attempt, DedupKey, Item, Millis, Seq, StoreError, UserId};

/// "Not set" in a time or an epoch.
const NONE: u64 = u64::MAX;

/// The state of an inbox; stays when the inbox is empty, for the numbers go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The last number given out.
    pub(super) last: u64,
    pub(super) items: u64,
    pub(super) octets: u64,
    pub(super) holder: u64,
    pub(super) leased_until: Millis,
    pub(super) token: u64,
    /// Attempts of an earlier epoch are over.
    pub(super) epoch: u64,
    pub(super) due: Option<Millis>,
    pub(super) failures: u32,
    /// When the oldest dedup keys age out.
    pub(super) forget: Option<Millis>,
    /// Dedup keys in rows of their own, aged ones included until they are removed.
    pub(super) spilled: u64,
    /// Dedup keys of the latest messages, oldest first: most messages then cost no row more.
    pub(super) recent: Vec<Remembered>,
}

/// The dedup keys of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) seq: Seq,
    /// Until when they count.
    pub(super) until: Millis,
    pub(super) keys: Vec<DedupKey>,
}

impl State {
    pub(super) fn read(octets: &[u8]) -> Result<State, StoreError> {
        let mut reader = Reader::new(octets, 1, "inbox state")?;
        let mut state = State {
            last: reader.u64()?,
            items: reader.u64()?,
            octets: reader.u64()?,
            holder: reader.u64()?,
            leased_until: Millis(reader.u64()?),
            token: reader.u64()?,
            epoch: reader.u64()?,
            due: time(reader.u64()?),
            failures: reader.u32()?,
            forget: time(reader.u64()?),
            spilled: reader.u64()?,
            recent: Vec::new(),
        };
        for _ in 0..reader.u8()? {
            let (seq, until) = (Seq(reader.u64()?), Millis(reader.u64()?));
            let keys = (0..reader.u8()?).map(|_| reader.array()).collect::<Result<_, _>>()?;
            state.recent.push(Remembered { seq, until, keys });
        }
        reader.end()?;
        Ok(state)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let writer = Writer::new(1)
            .u64(self.last)
            .u64(self.items)
            .u64(self.octets)
            .u64(self.holder)
            .u64(self.leased_until.0)
            .u64(self.token)
            .u64(self.epoch)
            .u64(self.due.map_or(NONE, |when| when.0))
            .u32(self.failures)
            .u64(self.forget.map_or(NONE, |when| when.0))
            .u64(self.spilled)
            .u8(u8::try_from(self.recent.len()).expect("kept at most RECENT_MAX"));
        let writer = self.recent.iter().fold(writer, |writer, Remembered { seq, until, keys }| {
            let count = u8::try_from(keys.len()).expect("at most 8 were accepted");
            keys.iter()
                .fold(writer.u64(seq.0).u64(until.0).u8(count), |writer, key| writer.raw(key))
        });
        writer.into_octets()
    }

    /// All dedup keys.
    pub(super) fn remembered(&self) -> u64 {
        self.recent.iter().map(|message| message.keys.len() as u64).sum::<u64>() + self.spilled
    }

    /// The state of the inbox of `user`, if he ever had one.
    pub(super) fn load(
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        user: &str,
    ) -> Result<Option<State>, StoreError> {
        let row = table.get(keys::state(user).as_slice())?;
        row.map(|row| State::read(row.value())).transpose()
    }
}

fn time(value: u64) -> Option<Millis> {
    (value != NONE).then_some(Millis(value))
}

/// An item without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Where the payload lies.
    pub(super) body: u64,
    pub(super) octets: u64,
    pub(super) received: Millis,
    pub(super) expires: Millis,
    pub(super) wants_negative_delivery: bool,
    pub(super) private: bool,
    pub(super) originator: String,
    /// The epoch of the last attempt.
    pub(super) sending: Option<u64>,
    pub(super) attempt: Option<Attempt>,
}

impl Head {
    pub(super) fn open(
        seal: &Sealer,
        user: &str,
        seq: Seq,
        row: &[u8],
    ) -> Result<Head, StoreError> {
        let context: [&[u8]; 3] = [b"item", user.as_bytes(), &seq.0.to_be_bytes()];
        Head::read(&seal.open_record(&context, row)?)
    }

    pub(super) fn seal(&self, seal: &Sealer, user: &str, seq: Seq) -> Vec<u8> {
        let context: [&[u8]; 3] = [b"item", user.as_bytes(), &seq.0.to_be_bytes()];
        seal.seal(&context, &self.write())
    }

    fn read(octets: &[u8]) -> Result<Head, StoreError> {
        let mut reader = Reader::new(octets, 1, "item")?;
        let (body, octets) = (reader.u64()?, reader.u64()?);
        let (received, expires) = (Millis(reader.u64()?), Millis(reader.u64()?));
        let flags = reader.u8()?;
        let originator = reader.text()?;
        let sending = Some(reader.u64()?).filter(|epoch| *epoch != NONE);
        let attempt = match flags & 4 {
            0 => None,
            _ => Some(Attempt {
                call_id: reader.text()?,
                cseq: reader.u32()?,
                from_tag: reader.text()?,
                branch: reader.text()?,
                started: Millis(reader.u64()?),
            }),
        };
        reader.end()?;
        Ok(Head {
            body,
            octets,
            received,
            expires,
            wants_negative_delivery: flags & 1 != 0,
            private: flags & 2 != 0,
            originator,
            sending,
            attempt,
        })
    }

    fn write(&self) -> Vec<u8> {
        let flags = u8::from(self.wants_negative_delivery)
            | u8::from(self.private) << 1
            | u8::from(self.attempt.is_some()) << 2;
        let writer = Writer::new(1)
            .u64(self.body)
            .u64(self.octets)
            .u64(self.received.0)
            .u64(self.expires.0)
            .u8(flags)
            .text(&self.originator)
            .u64(self.sending.unwrap_or(NONE));
        let writer = match &self.attempt {
            None => writer,
            Some(attempt) => writer
                .text(&attempt.call_id)
                .u32(attempt.cseq)
                .text(&attempt.from_tag)
                .text(&attempt.branch)
                .u64(attempt.started.0),
        };
        writer.into_octets()
    }

    pub(super) fn with_payload(self, user: &UserId, seq: Seq, payload: Vec<u8>) -> Item {
        Item {
            seq,
            recipient: user.clone(),
            originator: self.originator,
            received: self.received,
            expires: self.expires,
            wants_negative_delivery: self.wants_negative_delivery,
            private: self.private,
            attempt: self.attempt,
            payload: payload.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Attempt, Head, Millis, Remembered, Seq, State};

    #[test]
    fn reads_what_it_writes() {
        let state = State {
            last: 1,
            items: 2,
            octets: 3,
            holder: 4,
            leased_until: Millis(5),
            token: 6,
            epoch: 7,
            due: Some(Millis(8)),
            failures: 9,
            forget: None,
            spilled: 10,
            recent: vec![
                Remembered { seq: Seq(11), until: Millis(12), keys: vec![[13; 16], [14; 16]] },
                Remembered { seq: Seq(15), ..Remembered::default() },
            ],
        };
        assert_eq!(State::read(&state.write()), Ok(state));
        let head = Head {
            body: 1,
            octets: 2,
            received: Millis(3),
            expires: Millis(4),
            wants_negative_delivery: true,
            private: false,
            originator: "sip:bob@ims.test".into(),
            sending: Some(5),
            attempt: Some(Attempt { call_id: "c".into(), cseq: 6, ..Attempt::default() }),
        };
        assert_eq!(Head::read(&head.write()), Ok(head.clone()));
        let waiting = Head { sending: None, attempt: None, private: true, ..head };
        assert_eq!(Head::read(&waiting.write()), Ok(waiting));
    }

    proptest! {
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..120)) {
            let layout = [&[1], octets.as_slice()].concat();
            let _ = (State::read(&octets), Head::read(&octets));
            let _ = (State::read(&layout), Head::read(&layout));
        }
    }
}
