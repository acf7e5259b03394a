//! How content may be sent to a peer (RFC 4975 §8.6).

use crate::endpoint::Accepts;

impl Accepts {
    /// How content of `media_type` is sent; `None` when it may not be sent at all.
    pub fn form(&self, media_type: &str) -> Option<Form> {
        let cpim = self.admits("message/cpim") && self.admits_wrapped(media_type);
        if cpim && self.prefers_cpim() {
            Some(Form::Wrapped)
        } else if self.admits(media_type) {
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
            octets_max: None,
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
