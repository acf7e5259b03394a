//! Media lines that carry MSRP (RFC 4975 §8).

use sdp_types::{Attribute, Media, MediaType, TransportProto};

use super::{Chatroom, Direction, FileTransfer, Fingerprint, MediaLine, MediaRanges, Setup};

/// How MSRP is carried (RFC 4975 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsrpProto {
    /// `TCP/MSRP`.
    Tcp,
    /// `TCP/TLS/MSRP`.
    Tls,
}

/// A media line that carries MSRP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageMedia {
    /// The port; 0 when the line is refused. Where to connect is told by `path` (RFC 4975 §8.1).
    pub port: u16,
    /// How MSRP is carried.
    pub proto: MsrpProto,
    /// `accept-types`: what may be sent as it is. Never empty unless the line is refused.
    pub accept_types: MediaRanges,
    /// `accept-wrapped-types`: what may be sent within a container type, besides.
    pub accept_wrapped_types: MediaRanges,
    /// `path`: MSRP URIs, the next hop first, the endpoint last. Never empty unless the line is
    /// refused.
    pub path: Vec<String>,
    /// `max-size`: most octets of one message that the writer wants; a hint (RFC 4975 §8.6).
    pub max_size: Option<u64>,
    /// `setup`; without it the offerer opens the connection (RFC 4975 §8.5).
    pub setup: Option<Setup>,
    /// Which way messages go.
    pub direction: Direction,
    /// `msrp-cema`: the connection may go where `c=` and the port say, instead of where `path`
    /// says (RFC 6714).
    pub msrp_cema: bool,
    /// `chatroom`: what the writer does of chat rooms; nothing without it (RFC 7701 §8).
    pub chatroom: Option<Chatroom>,
    /// `fingerprint`: the certificates the writer may present (RFC 8122).
    pub fingerprints: Vec<Fingerprint>,
    /// The line is for this one file (RFC 5547).
    pub file: Option<FileTransfer>,
}

/// Why a media line that should carry MSRP cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// `path` is missing or has something that is no MSRP URI (RFC 4975 §8.2).
    #[error("path attribute is missing or not of MSRP URIs")]
    Path,
    /// `accept-types` or `accept-wrapped-types` is missing or has no media ranges (RFC 4975 §8.6).
    #[error("accept-types attribute is missing or not of media types")]
    AcceptTypes,
    /// `max-size` is not a number of 64 bits.
    #[error("max-size attribute is not a number")]
    MaxSize,
    /// `setup` has no value that is known (RFC 4145 §4).
    #[error("setup attribute is unknown")]
    Setup,
    /// A `fingerprint` is not a hash function and its octets (RFC 8122 §5).
    #[error("fingerprint attribute is not a hash function and octets")]
    Fingerprint,
    /// `file-selector` is not a list of selectors (RFC 5547 §6).
    #[error("file-selector attribute is not a list of selectors")]
    FileSelector,
    /// `file-transfer-id` is not a token (RFC 5547 §6).
    #[error("file-transfer-id attribute is not a token")]
    FileTransferId,
    /// `file-range` is no range (RFC 5547 §6).
    #[error("file-range attribute is not a range")]
    FileRange,
}

impl MsrpProto {
    /// Reads the protocol of a media line; `None` when it is not MSRP.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Tls].into_iter().find(|proto| proto.as_str().eq_ignore_ascii_case(name))
    }

    /// The protocol as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP/MSRP",
            Self::Tls => "TCP/TLS/MSRP",
        }
    }
}

impl MessageMedia {
    /// Reads a media line; `None` when it carries something else.
    pub(super) fn read(line: &MediaLine<'_>) -> Option<Result<Self, MediaError>> {
        if !line.kind().eq_ignore_ascii_case("message") {
            return None;
        }
        let proto = MsrpProto::from_name(line.proto())?;
        Some(Self::read_attributes(line, proto))
    }

    fn read_attributes(line: &MediaLine<'_>, proto: MsrpProto) -> Result<Self, MediaError> {
        let ranges = |name: &str| match line.attribute(name) {
            Some(value) => value.parse().map_err(|_| MediaError::AcceptTypes),
            None => Ok(MediaRanges::default()),
        };
        let accept_types: MediaRanges = ranges("accept-types")?;
        let path = path(line.attribute("path").unwrap_or_default())?;
        // A refused line needs no attributes (RFC 3264 §6).
        if !line.is_refused() {
            if accept_types.is_empty() {
                return Err(MediaError::AcceptTypes);
            }
            if path.is_empty() {
                return Err(MediaError::Path);
            }
        }
        Ok(Self {
            port: line.port(),
            proto,
            accept_types,
            accept_wrapped_types: ranges("accept-wrapped-types")?,
            path,
            max_size: line.attribute("max-size").map(number).transpose()?,
            setup: line.setup()?,
            direction: line.direction(),
            msrp_cema: line.attribute("msrp-cema").is_some(),
            chatroom: line.attribute("chatroom").map(|value| {
                let Ok(chatroom) = value.parse();
                chatroom
            }),
            fingerprints: line.fingerprints()?,
            file: FileTransfer::read(line)?,
        })
    }

    pub(super) fn to_media(&self) -> Media {
        let proto = TransportProto::Other(self.proto.as_str().to_owned());
        let mut media = Media::new(MediaType::Message, self.port, proto, "*");
        if !self.accept_types.is_empty() {
            media.add_attribute_with_value("accept-types", &self.accept_types);
        }
        if !self.accept_wrapped_types.is_empty() {
            media.add_attribute_with_value("accept-wrapped-types", &self.accept_wrapped_types);
        }
        if !self.path.is_empty() {
            media.add_attribute_with_value("path", self.path.join(" "));
        }
        if let Some(max_size) = self.max_size {
            media.add_attribute_with_value("max-size", max_size);
        }
        if let Some(setup) = self.setup {
            media.add_attribute_with_value("setup", setup.as_str());
        }
        if self.msrp_cema {
            media.add_attribute(Attribute::new("msrp-cema"));
        }
        if let Some(chatroom) = &self.chatroom {
            let tokens = chatroom.to_string();
            let value = (!tokens.is_empty()).then_some(tokens);
            media.add_attribute(Attribute { attribute: "chatroom".to_owned(), value });
        }
        for fingerprint in &self.fingerprints {
            media.add_attribute_with_value("fingerprint", fingerprint);
        }
        media.add_attribute(Attribute::new(self.direction.as_str()));
        if let Some(file) = &self.file {
            file.write(&mut media);
        }
        media
    }
}

/// `MSRP-URI *(SP MSRP-URI)` (RFC 4975 §8.2); reading the URIs is the `msrp` crate's.
fn path(value: &str) -> Result<Vec<String>, MediaError> {
    let uris = value.split(' ').filter(|uri| !uri.is_empty());
    uris.map(|uri| {
        let (scheme, rest) = uri.split_once("://").ok_or(MediaError::Path)?;
        let known = scheme.eq_ignore_ascii_case("msrp") || scheme.eq_ignore_ascii_case("msrps");
        if known && !rest.is_empty() { Ok(uri.to_owned()) } else { Err(MediaError::Path) }
    })
    .collect()
}

fn number(value: &str) -> Result<u64, MediaError> {
    let value = value.trim();
    if !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(MediaError::MaxSize);
    }
    value.parse().map_err(|_| MediaError::MaxSize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{FileSelector, Sdp};
    use super::*;

    fn read(media: &str) -> Result<MessageMedia, MediaError> {
        let text = format!("v=0\r\no=- 1 2 IN IP4 h\r\ns=-\r\nt=0 0\r\n{media}");
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        sdp.media().next().unwrap().message().unwrap()
    }

    #[test]
    fn reads_every_attribute() {
        let media = read(
            "m=message 7654 tcp/tls/msrp *\r\na=accept-types:message/cpim text/*\r\n\
             a=accept-wrapped-types:text/plain image/jpeg\r\na=max-size:18446744073709551615\r\n\
             a=path:msrps://relay.example.com:2855/r1;tcp msrps://192.0.2.10:7654/lm88;tcp\r\n\
             a=setup:actpass\r\na=msrp-cema\r\na=sendonly\r\n\
             a=chatroom:nickname odd\r\na=fingerprint:x 01:02\r\na=fingerprint:y 03\r\n\
             a=file-selector:type:text/plain size:18213\r\n",
        )
        .unwrap();
        assert_eq!((media.port, media.proto), (7654, MsrpProto::Tls));
        assert!(media.accept_types.admits("text/html") && !media.accept_types.admits("image/png"));
        assert!(media.accept_wrapped_types.admits("image/jpeg"));
        assert_eq!(media.path.len(), 2);
        assert_eq!(media.path[1], "msrps://192.0.2.10:7654/lm88;tcp");
        assert_eq!(media.max_size, Some(u64::MAX));
        assert_eq!(media.setup, Some(Setup::ActPass));
        assert_eq!(media.direction, Direction::SendOnly);
        assert!(media.msrp_cema);
        let chatroom = media.chatroom.unwrap();
        assert!(chatroom.nickname && !chatroom.private_messages);
        let digests: Vec<_> = media.fingerprints.into_iter().map(|one| one.digest).collect();
        assert_eq!(digests, [vec![1, 2], vec![3]]);
        assert_eq!(media.file.unwrap().selector.size, Some(18213));
    }

    #[test]
    fn refuses() {
        const TYPES: &str = "a=accept-types:*\r\n";
        const PATH: &str = "a=path:msrp://h:1/s;tcp\r\n";
        #[rustfmt::skip]
        let table = [
            (PATH.to_owned(),                               MediaError::AcceptTypes),
            (format!("{PATH}a=accept-types:\r\n"),          MediaError::AcceptTypes),
            (format!("{PATH}a=accept-types:text\r\n"),      MediaError::AcceptTypes),
            (format!("{PATH}{TYPES}a=accept-wrapped-types:/\r\n"), MediaError::AcceptTypes),
            (TYPES.to_owned(),                              MediaError::Path),
            (format!("{TYPES}a=path: \r\n"),                MediaError::Path),
            (format!("{TYPES}a=path:sip:a@b\r\n"),          MediaError::Path),
            (format!("{TYPES}a=path:http://h/s\r\n"),       MediaError::Path),
            (format!("{TYPES}{PATH}a=max-size:-1\r\n"),     MediaError::MaxSize),
            (format!("{TYPES}{PATH}a=max-size:\r\n"),       MediaError::MaxSize),
            (format!("{TYPES}{PATH}a=max-size:18446744073709551616\r\n"), MediaError::MaxSize),
            (format!("{TYPES}{PATH}a=setup:both\r\n"),      MediaError::Setup),
            (format!("{TYPES}{PATH}a=fingerprint:sha-1 00\r\n"), MediaError::Fingerprint),
            (format!("{TYPES}{PATH}a=file-selector:size:x\r\n"), MediaError::FileSelector),
            (format!("{TYPES}{PATH}a=file-transfer-id:a b\r\n"), MediaError::FileTransferId),
            (format!("{TYPES}{PATH}a=file-transfer-id:a\r\na=file-range:0-1\r\n"),
             MediaError::FileRange),
        ];
        for (attributes, error) in table {
            let media = format!("m=message 7654 TCP/MSRP *\r\n{attributes}");
            assert_eq!(read(&media), Err(error), "{attributes}");
        }
        assert!(read("m=message 0 TCP/MSRP *\r\n").is_ok(), "a refused line needs nothing");
    }

    #[test]
    fn fingerprints_of_the_line_go_before_those_of_the_session() {
        let table = [
            ("a=fingerprint:x 01\r\n", "", vec![vec![1]]),
            (
                "a=fingerprint:x 01\r\n",
                "a=fingerprint:x 02\r\na=fingerprint:x 03\r\n",
                vec![vec![2], vec![3]],
            ),
        ];
        for (session, media, expect) in table {
            let text = format!(
                "v=0\r\no=- 1 2 IN IP4 h\r\n{session}m=message 0 TCP/TLS/MSRP *\r\n{media}"
            );
            let sdp = Sdp::parse(text.as_bytes()).unwrap();
            let read = sdp.media().next().unwrap().fingerprints().unwrap();
            let digests: Vec<_> = read.into_iter().map(|one| one.digest).collect();
            assert_eq!(digests, expect, "{text}");
        }
    }

    prop_compose! {
        fn media()(
            port: u16, tls: bool,
            types in prop::collection::vec("[a-z]{1,5}/([a-z]{1,5}|[*])", 1..4),
            wrapped in prop::collection::vec("[a-z]{1,5}/[a-z]{1,5}", 0..3),
            path in prop::collection::vec("msrps?://[a-z.]{1,9}:1/[a-z0-9]{1,9};tcp", 1..3),
            max_size: Option<u64>, setup in 0..5_usize, direction in 0..4_usize, size: Option<u64>,
            msrp_cema: bool, nickname: Option<bool>, id in prop::option::of("[a-z0-9]{1,32}"),
            digests in prop::collection::vec(prop::collection::vec(0..=u8::MAX, 1..4), 0..3),
        ) -> MessageMedia {
            let of = |digest: Vec<u8>| {
                Fingerprint { function: super::super::HashFunction::from_name("x"), digest }
            };
            MessageMedia {
                port,
                proto: if tls { MsrpProto::Tls } else { MsrpProto::Tcp },
                accept_types: types.join(" ").parse().unwrap(),
                accept_wrapped_types: wrapped.join(" ").parse().unwrap(),
                path,
                max_size,
                setup: Setup::NAMES.get(setup).map(|(_, setup)| *setup),
                direction: Direction::NAMES[direction].1,
                msrp_cema,
                chatroom: nickname.map(|nickname| Chatroom { nickname, ..Chatroom::default() }),
                fingerprints: digests.into_iter().map(of).collect(),
                file: size.map(|_| FileTransfer {
                    selector: FileSelector { size, ..FileSelector::default() },
                    id,
                    ..FileTransfer::default()
                }),
            }
        }
    }

    proptest! {
        #[test]
        fn written_then_read_is_identity(media in media(), version: u64) {
            let mut sdp = Sdp::new("-", 7, version, "127.0.0.1");
            sdp.push_message(&media);
            let read = Sdp::parse(sdp.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read.origin().version, version);
            let line = read.media().next().unwrap();
            prop_assert_eq!(line.connection(), Some("127.0.0.1"));
            prop_assert_eq!(line.message(), Some(Ok(media)));
            prop_assert_eq!(&read, &sdp);
        }
    }
}
