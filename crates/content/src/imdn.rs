//! Instant message disposition notifications (RFC 5438).
//!
//! An IM asks for notifications in headers of the namespace [`NAMESPACE`] in its `message/cpim`
//! body; a notification is an XML document ([`Imdn`]) in a `message/cpim` body of its own. Who may
//! send which, and that none is sent twice, is the sender's; [`Imdn::about`] sees to it that none
//! is written that was not asked for, or for a notification.

mod document;
mod route;

use bytes::Bytes;

pub use self::document::{
    DeliveryStatus, DisplayStatus, Disposition, Imdn, ImdnError, ProcessingStatus, Subject,
};
pub use self::route::{next_hop, with_record_route, without_top_route};
use crate::MimeHeaders;
use crate::cpim::{Address, BuildError, Builder, Cpim};
use crate::multipart::{Limits, Multipart};

/// The namespace of the message headers (§6.1).
pub const NAMESPACE: &str = "urn:ietf:params:imdn";

/// The media type of the XML document (§11.1.8).
pub const MEDIA_TYPE: &str = "message/imdn+xml";

/// Bounds on an aggregate (§8.3). Local limit: 512 documents, one for each recipient and
/// disposition of a list as large as our own may be. A larger one is known as a notification only
/// by its `Content-Disposition`, and none of its documents is read.
const AGGREGATE: Limits = Limits { parts_max: 512, header_bytes_max: 4096, depth_max: 1 };

/// The message headers of [`NAMESPACE`], for [`Cpim::check_required`].
pub const HEADERS: [(&str, &str); 5] = [
    (NAMESPACE, "Message-ID"),
    (NAMESPACE, "Disposition-Notification"),
    (NAMESPACE, "Original-To"),
    (NAMESPACE, "IMDN-Record-Route"),
    (NAMESPACE, "IMDN-Route"),
];

/// The notifications that an IM asks for (§6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `positive-delivery`.
    pub positive_delivery: bool,
    /// `negative-delivery`.
    pub negative_delivery: bool,
    /// `processing`.
    pub processing: bool,
    /// `display`.
    pub display: bool,
}

impl Asked {
    /// What `message` asks for; nothing when it is itself a notification (§7.2.1).
    ///
    /// Values that are not known are passed over (§7.2.1), parameters too.
    pub fn of(message: &Cpim) -> Self {
        let mut asked = Self::default();
        if is_imdn(message) {
            return asked;
        }
        for header in message.named(NAMESPACE, "Disposition-Notification") {
            for request in header.value.split(',') {
                let token = request.split(';').next().unwrap_or_default();
                match token.trim() {
                    "positive-delivery" => asked.positive_delivery = true,
                    "negative-delivery" => asked.negative_delivery = true,
                    "processing" => asked.processing = true,
                    "display" => asked.display = true,
                    _ => {}
                }
            }
        }
        asked
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a notification of `disposition` is asked for (§5).
    pub fn includes(&self, disposition: Disposition) -> bool {
        match disposition {
            Disposition::Delivery(DeliveryStatus::Delivered) => self.positive_delivery,
            Disposition::Delivery(
                DeliveryStatus::Failed | DeliveryStatus::Forbidden | DeliveryStatus::Error,
            ) => self.negative_delivery,
            Disposition::Processing(_) => self.processing,
            Disposition::Display(_) => self.display,
        }
    }
}

/// `Message-ID` (§6.3).
pub fn message_id(message: &Cpim) -> Option<&str> {
    let header = message.named(NAMESPACE, "Message-ID").next()?;
    (!header.value.is_empty()).then_some(header.value)
}

/// `Original-To`: whom the IM was sent to before an intermediary changed it (§6.4).
pub fn original_to(message: &Cpim) -> Option<Address<'_>> {
    Address::parse(message.named(NAMESPACE, "Original-To").next()?.value)
}

/// `IMDN-Record-Route`, topmost first (§6.5); none in a notification (§7.2.1).
pub fn record_routes(message: &Cpim) -> Vec<Address<'_>> {
    if is_imdn(message) {
        return Vec::new();
    }
    addresses(message, "IMDN-Record-Route")
}

/// `IMDN-Route`, topmost first (§6.6).
pub fn routes(message: &Cpim) -> Vec<Address<'_>> {
    addresses(message, "IMDN-Route")
}

/// Whether `message` is a notification, or an aggregate of some (§8.3).
///
/// §9 wants both the media type and the disposition `notification`; here one is enough, so that
/// two servers can never answer each other's notifications because a client left one out.
pub fn is_imdn(message: &Cpim) -> bool {
    is_notification(message.mime())
        || parts(message)
            .is_some_and(|body| body.parts().iter().any(|part| is_notification(&part.headers)))
}

/// The documents in `message`: one, or those of an aggregate (§8.3); none when it holds none.
///
/// The first document that cannot be read is the error.
pub fn documents(message: &Cpim) -> Result<Vec<Imdn>, ImdnError> {
    if message.mime().is_type(MEDIA_TYPE) {
        return Ok(vec![Imdn::parse(message.content())?]);
    }
    let Some(body) = parts(message) else { return Ok(Vec::new()) };
    let documents = body.parts().iter().filter(|part| part.headers.is_type(MEDIA_TYPE));
    documents.map(|part| Imdn::parse(&part.body)).collect()
}

/// Who sends a notification to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The URI of the sender of the notification.
    pub from: &'a str,
    /// The URI of the sender of the IM.
    pub to: &'a str,
    /// The `Message-ID` of the notification, not that of the IM: unique, and with 64 random bits
    /// (§6.3).
    pub message_id: &'a str,
    /// When the notification is sent, RFC 3339.
    pub date_time: &'a str,
}

impl Imdn {
    /// The notification of `disposition` about `message`; `None` when none may be sent.
    ///
    /// None is when `message` did not ask for it (§8.1, §8.2), is a notification itself (§7.2.1)
    /// or has no `Message-ID`. `sent` stands for a missing `DateTime`.
    pub fn about(message: &Cpim, disposition: Disposition, sent: &str) -> Option<Self> {
        if !Asked::of(message).includes(disposition) {
            return None;
        }
        let subject = message.subjects().next();
        Some(Self {
            message_id: message_id(message)?.to_owned(),
            date_time: message.date_time().unwrap_or(sent).to_owned(),
            recipient_uri: message.to().next().map(|to| to.uri.to_owned()),
            original_recipient_uri: original_to(message).map(|to| to.uri.to_owned()),
            subject: subject.map(|subject| Subject {
                text: subject.text().into_owned(),
                language: subject.language().map(str::to_owned),
            }),
            disposition,
        })
    }

    /// The document in a `message/cpim` body, `Content-Disposition: notification`.
    ///
    /// The `IMDN-Record-Route` headers of `message`, the IM it is about, become `IMDN-Route`
    /// headers in their order (§7.2.1). [`next_hop`] of what is written tells where it goes.
    pub fn wrap(&self, message: &Cpim, envelope: &Envelope<'_>) -> Result<Bytes, BuildError> {
        let mut body = Builder::new()
            .from("", envelope.from)
            .to("", envelope.to)
            .date_time(envelope.date_time)
            .namespace("imdn", NAMESPACE)
            .header("imdn.Message-ID", envelope.message_id);
        for route in record_routes(message) {
            body = body.header_as_written("imdn.IMDN-Route", &route.to_string());
        }
        let fields = [("Content-Type", MEDIA_TYPE), ("Content-Disposition", "notification")];
        body.build(&fields, self.to_string().as_bytes())
    }
}

fn addresses<'a>(message: &'a Cpim, name: &'a str) -> Vec<Address<'a>> {
    message.named(NAMESPACE, name).filter_map(|header| Address::parse(header.value)).collect()
}

fn is_notification(headers: &MimeHeaders) -> bool {
    headers.is_type(MEDIA_TYPE)
        || headers.content_disposition().is_some_and(|found| found.is("notification"))
}

fn parts(message: &Cpim) -> Option<Multipart> {
    let media = message.mime().content_type()?.ok().filter(crate::MediaType::is_multipart)?;
    Multipart::parse(&media, message.content(), &AGGREGATE).ok()
}

#[cfg(test)]
mod tests;
