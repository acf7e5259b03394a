//! Why a room refuses a request, and the answer to it.

/// Why a request of a participant is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The message is not wrapped in `message/cpim` (RFC 7701 §6.3).
    #[error("message is not message/cpim")]
    NotCpim,
    /// The wrapper cannot be read, or its headers are longer than allowed.
    #[error("message/cpim headers cannot be read")]
    Malformed,
    /// There is no `Message-ID`, by which chunks are told apart (RFC 4975 §7.1.1).
    #[error("SEND has no Message-ID")]
    MessageId,
    /// The first octets of the message have not come, so nobody knows for whom it is.
    #[error("message does not begin with its first octets")]
    Headless,
    /// `From` is not the sender, or not there once (RFC 7701 §6.3).
    #[error("From is not the sender")]
    From,
    /// There are several `To` headers (RFC 7701 §6.1, §6.2).
    #[error("message has several To headers")]
    SeveralTo,
    /// Nobody of this URI takes part (RFC 7701 §6.2).
    #[error("recipient is not in the room")]
    NoSuchRecipient,
    /// The room allows no private messages.
    #[error("room allows no private messages")]
    PrivateMessagesOff,
    /// The recipient does not understand private messages (RFC 7701 §6.2).
    #[error("recipient does not support private messages")]
    PrivateMessagesUnsupported,
    /// The room does not take content of this type (RFC 7701 §4.1).
    #[error("room does not take content of this type")]
    Type,
    /// The message is longer than the room allows.
    #[error("message is longer than the room allows")]
    TooLarge,
    /// The sender has begun more messages than may be on their way at once, or left more gaps in
    /// one. Local limits.
    #[error("too many messages or gaps at once")]
    TooMany,
    /// The room, or this participant, has no nicknames (RFC 7701 §7.1).
    #[error("nicknames are not allowed")]
    NicknamesOff,
    /// The nickname is malformed (RFC 7701 §7.1).
    #[error("nickname is malformed")]
    MalformedNickname,
    /// The nickname is reserved or in use (RFC 7701 §7.1).
    #[error("nickname is reserved or in use")]
    NicknameTaken,
    /// A switch has no such method (RFC 4975 §7.3).
    #[error("method is unknown")]
    Method,
}

impl Refusal {
    /// The status code of the answer (RFC 4975 §10, RFC 7701 §10.3).
    pub(super) fn code(self) -> u16 {
        match self {
            Self::Malformed | Self::MessageId | Self::Headless => 400,
            Self::From | Self::SeveralTo | Self::PrivateMessagesOff | Self::NicknamesOff => 403,
            Self::NoSuchRecipient => 404,
            Self::TooLarge | Self::TooMany => 413,
            Self::NotCpim | Self::Type => 415,
            Self::MalformedNickname => 424,
            Self::NicknameTaken => 425,
            Self::PrivateMessagesUnsupported => 428,
            Self::Method => 501,
        }
    }
}
