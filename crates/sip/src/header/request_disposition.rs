//! `Request-Disposition` (RFC 3841 §9.1).

use super::token_params::TokenParams;
use super::{Encode, Fault, Sink};

/// How the caller wants the request treated; an element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestDisposition<'a> {
    /// Forward it.
    Proxy,
    /// Answer with where to go.
    Redirect,
    /// Cancel other branches on success.
    Cancel,
    /// Leave that to the caller.
    NoCancel,
    /// Try several contacts.
    Fork,
    /// Try the best one only.
    NoFork,
    /// Follow redirections.
    Recurse,
    /// Hand redirections back.
    NoRecurse,
    /// Try contacts at once.
    Parallel,
    /// Try contacts one after the other.
    Sequential,
    /// Wait for a busy or absent user; for a message: store it.
    Queue,
    /// Refuse at once.
    NoQueue,
    /// The set is not meant to grow, but what is unknown is no reason to refuse a request.
    Other(&'a str),
}

const KNOWN: [(&str, RequestDisposition<'static>); 12] = [
    ("proxy", RequestDisposition::Proxy),
    ("redirect", RequestDisposition::Redirect),
    ("cancel", RequestDisposition::Cancel),
    ("no-cancel", RequestDisposition::NoCancel),
    ("fork", RequestDisposition::Fork),
    ("no-fork", RequestDisposition::NoFork),
    ("recurse", RequestDisposition::Recurse),
    ("no-recurse", RequestDisposition::NoRecurse),
    ("parallel", RequestDisposition::Parallel),
    ("sequential", RequestDisposition::Sequential),
    ("queue", RequestDisposition::Queue),
    ("no-queue", RequestDisposition::NoQueue),
];

impl<'a> RequestDisposition<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let TokenParams { token, params } = TokenParams::read(value)?;
        if !params.is_empty() {
            return Err(Fault::Syntax);
        }
        let known = KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(token));
        Ok(known.map_or(Self::Other(token), |(_, directive)| *directive))
    }
}

impl Encode for RequestDisposition<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(match self {
            Self::Other(token) => token,
            known => KNOWN.iter().find(|(_, value)| value == known).map_or("", |(name, _)| name),
        });
    }
}

header!(RequestDisposition<'a>, list);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::split_list;
    use crate::header::Header;

    #[test]
    fn parses() {
        use RequestDisposition::{NoQueue, Other, Parallel, Proxy, Recurse};
        let read: Vec<_> =
            split_list(b"proxy, Recurse, parallel, NO-QUEUE, x") // RFC 3841 §9.1
                .map(|directive| RequestDisposition::parse(directive).unwrap())
                .collect();
        assert_eq!(read, [Proxy, Recurse, Parallel, NoQueue, Other("x")]);
        for (name, directive) in KNOWN {
            assert_eq!(directive.to_string(), name);
            accepts!(RequestDisposition, name);
        }
        accepts!(RequestDisposition, "x-new");
    }

    #[test]
    fn refuses() {
        refuses!(RequestDisposition, "", Fault::Empty);
        refuses!(RequestDisposition, "queue;x", Fault::Syntax);
        refuses!(RequestDisposition, "no queue", Fault::Syntax);
    }
}
