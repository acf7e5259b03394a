//! How a header writes itself, and the macro that turns a type into a header.

use std::fmt::{self, Write};

use bytes::BytesMut;

/// Where octets are written to.
pub trait Sink: Sized {
    /// Appends octets.
    fn octets(&mut self, octets: &[u8]);

    /// Appends text.
    fn text(&mut self, text: &str) {
        self.octets(text.as_bytes());
    }

    /// Appends what `Display` writes.
    fn show(&mut self, value: impl fmt::Display) {
        // Writing to a sink cannot fail, and no `Display` of ours fails by itself.
        let _ = write!(Text(self), "{value}");
    }
}

impl Sink for Vec<u8> {
    fn octets(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }
}

impl Sink for BytesMut {
    fn octets(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }
}

/// Something that can be written back as it stands in a message.
pub trait Encode {
    /// Appends the value, octet for octet, without a line end.
    fn write_to<S: Sink>(&self, out: &mut S);
}

/// A sink as a target of `write!`.
struct Text<'s, S>(&'s mut S);

impl<S: Sink> Write for Text<'_, S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.text(text);
        Ok(())
    }
}

/// A formatter as a sink: what is not UTF-8 becomes U+FFFD.
struct Lossy<'f, 'g> {
    formatter: &'f mut fmt::Formatter<'g>,
    result: fmt::Result,
}

impl Sink for Lossy<'_, '_> {
    fn octets(&mut self, octets: &[u8]) {
        for chunk in octets.utf8_chunks() {
            self.text(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.text("\u{fffd}");
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.result = self.result.and_then(|()| self.formatter.write_str(text));
    }
}

/// `Display` of what can be encoded.
pub(crate) fn display(value: &impl Encode, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut lossy = Lossy { formatter, result: Ok(()) };
    value.write_to(&mut lossy);
    lossy.result
}

/// Gives a type that has `read(&[u8]) -> Result<Self, Fault>` and `Encode` the traits of a header:
/// `header!(Via<'a>, list)`, `header!(Date)`. The name of the type is the name of the header.
macro_rules! header {
    ($type:ident <$a:lifetime>, list) => {
        header!($type<$a>);
        impl<$a> $crate::header::ListHeader<$a> for $type<$a> {}
    };
    ($type:ident, list) => {
        header!($type);
        impl $crate::header::ListHeader<'_> for $type {}
    };
    ($type:ident <$a:lifetime>) => {
        impl<$a> $crate::header::Header<$a> for $type<$a> {
            const NAME: $crate::HeaderName = $crate::HeaderName::$type;

            // Of a value that is only judged nothing is kept, which the caller alone can know.
            #[inline(always)]
            fn parse(value: &$a [u8]) -> Result<Self, $crate::header::HeaderError> {
                let name = <Self as $crate::header::Header<$a>>::NAME;
                Self::read(value).map_err(|fault| fault.at(name))
            }
        }
        display_encoded!($type<'_>);
    };
    ($type:ident) => {
        impl $crate::header::Header<'_> for $type {
            const NAME: $crate::HeaderName = $crate::HeaderName::$type;

            fn parse(value: &[u8]) -> Result<Self, $crate::header::HeaderError> {
                let name = <Self as $crate::header::Header<'_>>::NAME;
                Self::read(value).map_err(|fault| fault.at(name))
            }
        }
        display_encoded!($type);
    };
}

/// `Display` for a type that is `Encode`.
macro_rules! display_encoded {
    ($type:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::header::encode::display(self, f)
            }
        }
    };
}

/// Headers that share a value type: `wrap! { Route(NameAddr = bracketed), list; }`, where
/// `bracketed` reads the value.
macro_rules! wrap {
    ($($(#[$doc:meta])* $name:ident($inner:ident = $read:path) $(, $list:ident)?;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name<'a>(pub $inner<'a>);

            impl<'a> $name<'a> {
                #[inline]
                fn read(value: &'a [u8]) -> Result<Self, $crate::header::Fault> {
                    $read(value).map(Self)
                }
            }

            impl $crate::header::Encode for $name<'_> {
                fn write_to<S: $crate::header::Sink>(&self, out: &mut S) {
                    self.0.write_to(out);
                }
            }

            impl<'a> std::ops::Deref for $name<'a> {
                type Target = $inner<'a>;

                fn deref(&self) -> &$inner<'a> {
                    &self.0
                }
            }

            header!($name<'a> $(, $list)?);
        )*
    };
}

/// Asserts that a value is accepted, how it is written, and that this reads back as the same.
#[cfg(test)]
macro_rules! accepts {
    ($type:ident, $value:expr, $written:expr) => {{
        use $crate::header::Header;
        let value: &str = $value;
        let read =
            $type::parse(value.as_bytes()).unwrap_or_else(|error| panic!("{error}: {value}"));
        let written = read.to_string();
        let expected: &str = $written;
        assert_eq!(written, expected);
        assert_eq!($type::parse(written.as_bytes()), Ok(read));
    }};
    ($type:ident, $value:expr) => {
        accepts!($type, $value, $value)
    };
}

/// Asserts that a value is refused, and the fault.
#[cfg(test)]
macro_rules! refuses {
    ($type:ident, $value:expr, $fault:expr) => {{
        use $crate::header::Header;
        let value: &str = $value;
        let error = $fault.at(<$type as Header>::NAME);
        assert_eq!($type::parse(value.as_bytes()), Err(error), "{value}");
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Octets(&'static [u8]);

    impl Encode for Octets {
        fn write_to<S: Sink>(&self, out: &mut S) {
            out.octets(self.0);
            out.show(42);
        }
    }

    display_encoded!(Octets);

    #[test]
    fn octets_are_kept_and_display_is_lossy() {
        let mut bytes = BytesMut::new();
        Octets(b"a\xffb").write_to(&mut bytes);
        assert_eq!(bytes.as_ref(), b"a\xffb42");
        assert_eq!(Octets(b"a\xffb\xc3\xa9").to_string(), "a\u{fffd}b\u{e9}42");
    }
}
