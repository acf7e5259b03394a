//! `From` and `To` (RFC 3261 §20.20, §20.39).

use super::name_addr::NameAddr;
use super::{Encode, Fault, Sink};
use crate::uri::Uri;

macro_rules! tagged {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name<'a> {
                address: NameAddr<'a>,
                tag: Option<&'a str>,
            }

            impl<'a> $name<'a> {
                /// The tag; `None` outside a dialog, and from RFC 2543 peers.
                pub fn tag(&self) -> Option<&'a str> {
                    self.tag
                }

                /// The URI.
                pub fn uri(&self) -> Uri<'a> {
                    self.address.uri
                }

                /// Display name, URI and parameters, the tag among them.
                pub fn address(&self) -> NameAddr<'a> {
                    self.address
                }

                #[inline(always)]
                fn read(value: &'a [u8]) -> Result<Self, Fault> {
                    let (address, tag) = read(value)?;
                    Ok(Self { address, tag })
                }
            }

            impl Encode for $name<'_> {
                fn write_to<S: Sink>(&self, out: &mut S) {
                    self.address.write_to(out);
                }
            }

            header!($name<'a>);
        )*
    };
}

tagged! {
    /// Who sends the request (RFC 3261 §20.20).
    From;
    /// Whom the request was meant for at first (RFC 3261 §20.39).
    To;
}

/// Reads an address and its one `tag`, which is a token (RFC 3261 §19.3).
#[inline(always)]
fn read(value: &[u8]) -> Result<(NameAddr<'_>, Option<&str>), Fault> {
    let mut tag = None;
    let address = NameAddr::read_each(value, |param| {
        if !param.is("tag") {
            return Ok(());
        }
        let token = param.value.and_then(|value| value.token()).ok_or(Fault::Parameter)?;
        if tag.replace(token).is_some() { Err(Fault::Repeated) } else { Ok(()) }
    })?;
    Ok((address, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            // RFC 3261 §20.20, §20.39
            ("\"A. G. Bell\" <sip:agb@bell-telephone.com> ;tag=a48s", Some("a48s")),
            ("sip:+12125551212@server.phone2net.com;tag=887s", Some("887s")),
            ("Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8", Some("hyh8")),
            ("The Operator <sip:operator@cs.columbia.edu>;tag=287447", Some("287447")),
            ("sip:user@example.com;TAG=81x2", Some("81x2")),
            ("<sip:+13035551111@ift.client.example.net;user=phone>", None), // RFC 4475 §3.4.1
            ("<sip:a@b.c;tag=1>", None), // of the URI, not of the header
            ("<sip:mundane@example.com>;fromParam''~+*_!.-%=\"x\";tag=_token~1'+`*%!-.",
                Some("_token~1'+`*%!-.")), // RFC 4475 §3.1.1.2
        ];
        for (text, tag) in table {
            assert_eq!(From::parse(text.as_bytes()).unwrap().tag(), tag, "{text}");
            let to = To::parse(text.as_bytes()).unwrap();
            assert_eq!(to.tag(), tag, "{text}");
            assert_eq!(To::parse(to.to_string().as_bytes()), Ok(to));
        }
    }

    #[test]
    fn refuses() {
        refuses!(From, "sip:a@b.c;tag", Fault::Parameter);
        refuses!(From, "sip:a@b.c;tag=\"x\"", Fault::Parameter);
        refuses!(From, "sip:a@b.c;tag=x@y", Fault::Parameter);
        refuses!(To, "sip:a@b.c;tag=x;Tag=y", Fault::Repeated);
        refuses!(To, "", Fault::Empty);
        let error = To::parse(b"\"open <sip:a@b.c>").unwrap_err();
        assert_eq!(error.to_string(), "bad To: display name");
    }
}
