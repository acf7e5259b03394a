//! Why there is no session, and what the SIP answer says of it.

use parlance_sip::sdp::{AnswerError, MediaError};

use crate::uri::UriError;

/// Why a media line is refused: with port 0 when other lines are taken, else with
/// [`status`](Self::status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No line carries MSRP.
    #[error("no media line carries MSRP")]
    NoMessage,
    /// The line's attributes cannot be read.
    #[error(transparent)]
    Media(MediaError),
    /// The path has something that is no MSRP URI.
    #[error("path: {0}")]
    Uri(UriError),
    /// A URI of the path has no port (RFC 4975 §8.2).
    #[error("a URI of the path has no port")]
    NoPort,
    /// The line is of TCP/MSRP and the path starts with `msrps`, or the other way round
    /// (RFC 4975 §8.1).
    #[error("the transport protocol and the scheme of the path differ")]
    Scheme,
    /// This side would have to connect to a URI that is not reached with TCP (RFC 7977 §5.2), or
    /// has the port of somebody who does not listen (RFC 6135 §4.2.2).
    #[error("the path leads to where no connection can be opened to")]
    Unreachable,
    /// Neither the line nor its answer lets anything be sent that this side sends
    /// (RFC 4975 §8.6).
    #[error("the peer takes no content type that is sent here")]
    Types,
    /// Something between changed the addresses and left the path, without `msrp-cema`
    /// (RFC 6714 §4.3).
    #[error("c= and port differ from the path, and msrp-cema is not offered")]
    Middlebox,
    /// A file is meant, and it is not the one of this transfer, or it has no identifier
    /// (RFC 5547 §8.1).
    #[error("the file is not the one of its file-transfer-id")]
    File,
    /// The answer does not answer the offer.
    #[error(transparent)]
    Answer(AnswerError),
}

impl Refusal {
    /// The status code when nothing else of the offer is taken: 488 Not Acceptable Here
    /// (RFC 3261 §21.4.26).
    pub fn status(&self) -> u16 {
        488
    }

    /// The warning code that goes with it (RFC 3261 §20.43).
    pub fn warning(&self) -> u16 {
        match self {
            Self::Scheme | Self::Unreachable => 302,
            Self::NoMessage => 304,
            Self::Types => 305,
            Self::Media(_) | Self::Uri(_) | Self::NoPort => 306,
            Self::Middlebox | Self::File | Self::Answer(_) => 399,
        }
    }
}
