//! What is kept for a participant who wants no messages for now (OMA-TS-SIMPLE_IM §7.2.2.10.3).

use std::collections::VecDeque;

use bytes::Bytes;

use super::copies::Copies;
use super::room::Target;
use crate::node::cx::Cx;
use crate::{Continuation, HoldLimits};

/// The copies that are kept for one leg.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) limits: HoldLimits,
    kept: VecDeque<Kept>,
    octets: u64,
    /// How many messages begin in what is kept.
    messages: u32,
}

/// A copy that is kept.
#[derive(Debug)]
struct Kept {
    /// The header fields, the empty line and the body.
    common: Box<[u8]>,
    dashes: bool,
    flag: Continuation,
    waits: Option<u64>,
}

impl Hold {
    pub(super) fn new(limits: HoldLimits) -> Self {
        Self { limits, kept: VecDeque::new(), octets: 0, messages: 0 }
    }

    /// Keeps a copy, if that is within the limits.
    pub(super) fn keep(&mut self, copies: &Copies<'_>) -> bool {
        let messages = self.messages + u32::from(copies.begins);
        let fits =
            messages <= self.limits.messages && self.octets + octets(copies) <= self.limits.octets;
        if fits {
            self.messages = messages;
            self.keep_anyway(copies);
        }
        fits
    }

    /// Keeps a copy however much is kept: one that ends a message.
    pub(super) fn keep_anyway(&mut self, copies: &Copies<'_>) {
        let Copies { common, rest, dashes, flag, waits, .. } = *copies;
        self.octets += octets(copies);
        self.kept.push_back(Kept { common: [common, rest].concat().into(), dashes, flag, waits });
    }

    /// Sends what was kept, in its order.
    pub(super) fn let_go(self, cx: &mut Cx, target: Target) {
        for Kept { common, dashes, flag, waits } in self.kept {
            let (rest, octets, begins) = (&b""[..], &Bytes::new(), false);
            let copies = Copies { common: &common, rest, octets, dashes, begins, flag, waits };
            copies.send_anyway(cx, target);
        }
    }
}

/// What a copy takes while it is kept.
fn octets(copies: &Copies<'_>) -> u64 {
    (copies.common.len() + copies.rest.len() + size_of::<Kept>()) as u64
}
