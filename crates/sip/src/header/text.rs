//! Headers of free text: `User-Agent`, `Server` (RFC 3261 §20.41, §20.35) and `Subject` (§20.36).

use super::{Encode, Fault, Sink};
use crate::grammar::{self, Scanner};

/// Text that is passed on and not interpreted, but for the release token of an IM entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Nothing is refused: a strange product name is no reason to refuse a request (CORE-017).
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self(grammar::trim(value)))
    }

    /// The octets as written, folding included.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The words between white space, comments left out. A `(` that no `)` answers is skipped.
    fn words(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut scanner = Scanner::new(self.0);
        // Once a comment is open to the end, no later one can be whole: that keeps time linear.
        let mut open = false;
        std::iter::from_fn(move || {
            loop {
                scanner.take_while(grammar::is_lws);
                if scanner.peek()? != b'(' {
                    return Some(
                        scanner.take_while(|octet| !grammar::is_lws(octet) && octet != b'('),
                    );
                }
                if open || scanner.comment().is_none() {
                    open = true;
                    scanner.next_octet();
                }
            }
        })
    }
}

impl Encode for Text<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.octets(self.0);
    }
}

wrap! {
    /// The software that sends the request (RFC 3261 §20.41).
    UserAgent(Text = Text::read);
    /// The software that answers (RFC 3261 §20.35).
    Server(Text = Text::read);
    /// What a message or session is about (RFC 3261 §20.36); may be empty.
    Subject(Text = Text::read);
}

impl UserAgent<'_> {
    /// The release of the IM client or server; `None` when there is no such token.
    pub fn release(&self) -> Option<Release> {
        Release::find(&self.0)
    }
}

impl Server<'_> {
    /// The release of the IM client or server; `None` when there is no such token.
    pub fn release(&self) -> Option<Release> {
        Release::find(&self.0)
    }
}

/// The release an IM entity names itself by: `IM-client/OMA1.0`, `IM-serv/OMA1.0`
/// (OMA-TS-SIMPLE_IM §6.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Whether it is a client's.
    pub client: bool,
    /// The number before the dot.
    pub major: u32,
    /// The number after the dot.
    pub minor: u32,
}

/// The highest release we know, major and minor.
const HIGHEST: (u32, u32) = (1, 0);

impl Release {
    /// The release to act by: the highest known one when this is higher (CORE-017).
    pub fn known(self) -> Self {
        let (major, minor) = (self.major, self.minor).min(HIGHEST);
        Self { client: self.client, major, minor }
    }

    fn find(text: &Text<'_>) -> Option<Self> {
        text.words().find_map(Self::read)
    }

    fn read(word: &[u8]) -> Option<Self> {
        let word = std::str::from_utf8(word).ok()?;
        let (product, version) = word.split_once('/')?;
        let client = product.eq_ignore_ascii_case("IM-client");
        if !client && !product.eq_ignore_ascii_case("IM-serv") {
            return None;
        }
        let (prefix, numbers) = version.split_at_checked(3)?;
        let (major, minor) =
            numbers.split_once('.').filter(|_| prefix.eq_ignore_ascii_case("OMA"))?;
        let number = |digits: &str| {
            grammar::decimal(digits.as_bytes())
                .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        };
        Some(Self { client, major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    // Covers: CORE-016, CORE-017
    #[test]
    fn releases() {
        let release = |client, major, minor| Some(Release { client, major, minor });
        #[rustfmt::skip]
        let table = [
            ("IM-client/OMA1.0", release(true, 1, 0)),
            ("IM-client/OMA1.0 [vendor/product]", release(true, 1, 0)),
            ("Acme/3 (IM-client/OMA9.9) im-CLIENT/oma2.11", release(true, 2, 11)),
            ("IM-serv/OMA1.0 Parlance/0.1", release(false, 1, 0)),
            ("x (open IM-client/OMA1.0", release(true, 1, 0)),
            ("IM-client/OMA99999999999.0", release(true, u32::MAX, 0)),
            ("Softphone Beta1.5", None), // RFC 3261 §20.41
            ("IM-client/OMA1", None),
            ("IM-client/1.0", None),
            ("IM-client/OMA1.0b", None),
            ("IM-other/OMA1.0", None),
            ("IM-client/OM\u{e9}1.0", None),
            ("", None),
        ];
        for (text, expect) in table {
            let agent = UserAgent::parse(text.as_bytes()).unwrap();
            assert_eq!(agent.release(), expect, "{text}");
            assert_eq!(Server::parse(text.as_bytes()).unwrap().release(), expect, "{text}");
            assert_eq!(agent.to_string(), text);
        }
    }

    // Covers: CORE-017
    #[test]
    fn a_higher_release_is_handled_as_the_highest_known() {
        let table = [((1, 0), (1, 0)), ((1, 7), (1, 0)), ((2, 0), (1, 0)), ((0, 9), (0, 9))];
        for ((major, minor), known) in table {
            let release = Release { client: true, major, minor }.known();
            assert_eq!((release.major, release.minor, release.client), (known.0, known.1, true));
        }
    }

    #[test]
    fn text_is_not_interpreted() {
        accepts!(Subject, "Need more boxes"); // RFC 3261 §20.36
        accepts!(Subject, "");
        accepts!(Subject, " \"open, <;;\t", "\"open, <;;");
        let subject = Subject::parse(b"caf\xe9").unwrap();
        assert_eq!(subject.as_bytes(), b"caf\xe9");
    }

    proptest! {
        #[test]
        fn release_is_found_behind_anything(
            before in "([a-z/.]{1,5} |\\([a-z]{0,4}\\) ?){0,4}",
            major: u32,
            minor: u32,
        ) {
            let text = format!("{before} IM-client/OMA{major}.{minor}");
            let release = UserAgent::parse(text.as_bytes()).unwrap().release();
            prop_assert_eq!(release, Some(Release { client: true, major, minor }));
        }

        #[test]
        fn never_panics(value: Vec<u8>) {
            let _ = UserAgent::parse(&value).map(|agent| agent.release());
        }
    }
}
