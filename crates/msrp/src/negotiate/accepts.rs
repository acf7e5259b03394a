//! What a peer takes (RFC 4975 §8.6).

use parlance_sip::sdp::{MediaRanges, MessageMedia};

/// The content types that may be sent to a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    types: MediaRanges,
    wrapped: MediaRanges,
}

impl Accepts {
    /// What the writer of `media` takes.
    pub fn new(media: &MessageMedia) -> Self {
        Self { types: media.accept_types.clone(), wrapped: media.accept_wrapped_types.clone() }
    }

    /// Whether `media_type` may be the content of a message.
    pub fn as_root(&self, media_type: &str) -> bool {
        self.types.admits(media_type)
    }

    /// Whether `media_type` may be within a container that is the content of a message: what may
    /// be sent by itself may be wrapped, too.
    pub fn wrapped(&self, media_type: &str) -> bool {
        self.types.admits(media_type) || self.wrapped.admits(media_type)
    }

    /// Whether the peer wants every message in `message/cpim`: it is the first of its types.
    pub fn wants_cpim(&self) -> bool {
        let first = self.types.iter().next().unwrap_or_default();
        let essence = first.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("message/cpim")
    }

    /// How content of `media_type` is sent; `None` when it may not be sent at all.
    pub fn form(&self, media_type: &str) -> Option<Form> {
        let cpim = self.as_root("message/cpim") && self.wrapped(media_type);
        if cpim && self.wants_cpim() {
            Some(Form::Wrapped)
        } else if self.as_root(media_type) {
            Some(Form::Bare)
        } else {
            cpim.then_some(Form::Wrapped)
        }
    }
}

/// How content is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Bare,
    /// Within `message/cpim`.
    Wrapped,
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-080
    #[test]
    fn what_may_be_sent_and_how() {
        let accepts = |types: &str, wrapped: &str| Accepts {
            types: types.parse().unwrap(),
            wrapped: wrapped.parse().unwrap(),
        };
        use Form::{Bare, Wrapped};
        #[rustfmt::skip]
        let table = [
            ("text/plain",              "",              "text/plain",  Some(Bare)),
            ("text/plain",              "",              "text/html",   None),
            ("text/*",                  "",              "TEXT/html; charset=utf-8", Some(Bare)),
            ("*",                       "",              "a/b",         Some(Bare)),
            ("message/cpim",            "text/plain",    "text/plain",  Some(Wrapped)),
            ("message/cpim",            "text/plain",    "text/html",   None),
            ("message/cpim text/plain", "",              "text/plain",  Some(Wrapped)),
            ("text/plain message/cpim", "image/*",       "text/plain",  Some(Bare)),
            ("text/plain message/cpim", "image/*",       "image/png",   Some(Wrapped)),
            ("text/plain",              "image/*",       "image/png",   None),
            ("Message/CPIM;a=b",        "*",             "image/png",   Some(Wrapped)),
            ("message/*",               "*",             "image/png",   Some(Wrapped)),
        ];
        for (types, wrapped, media_type, form) in table {
            assert_eq!(accepts(types, wrapped).form(media_type), form, "{types} {media_type}");
        }
    }
}
