//! Message bodies, sans-IO: what SIP and MSRP carry, read and written over shared octets.
//!
//! Start from [`multipart::Multipart`] for RFC 2046 bodies and from the type of what is in them:
//!
//! - [`cpim::Cpim`]: `message/cpim` (RFC 3862) that is there, [`cpim::Reader`]: that arrives;
//! - [`imdn::Imdn`]: disposition notifications (RFC 5438);
//! - [`is_composing::IsComposing`]: who is writing (RFC 3994);
//! - [`resource_lists::ResourceLists`]: whom a request on a list goes to (RFC 4826, RFC 5364);
//! - [`conference_info`]: who is in a session (RFC 4575);
//! - [`list_service::Group`]: a group and what its members may do (OMA Group XDM), with the rules
//!   of [`common_policy`] (RFC 4745);
//! - [`im_settings::ImSettings`]: what a user publishes about his service (OMA SIMPLE IM);
//! - [`reginfo::Document`]: registration state (RFC 3680);
//! - [`sipfrag::SipFrag`]: what a NOTIFY about a REFER carries (RFC 3420);
//! - [`sip_message::requests`]: the REGISTER inside a third-party REGISTER.
//!
//! [`octets`] looks at eight octets at a time, for whoever reads lines.
//!
//! Left out: decoding of base64 and quoted-printable (SIP and MSRP are 8-bit clean, RFC 3261
//! §7.4.1), signatures and encryption of RFC 1847, validation against extension schemas.
//!
//! **Invariant:** no sockets, clock, threads or randomness; a boundary or a Message-ID comes from
//! the caller.
//! **Invariant:** reading never copies a body, and what is not asked to change keeps its octets.

pub mod common_policy;
pub mod conference_info;
pub mod cpim;
pub mod date_time;
pub mod im_settings;
pub mod imdn;
pub mod is_composing;
pub mod list_service;
mod media_type;
mod mime;
pub mod multipart;
pub mod octets;
pub mod reginfo;
pub mod resource_lists;
pub mod sip_message;
pub mod sipfrag;
mod xml;

pub use media_type::{MediaType, MediaTypeError};
pub use mime::{ContentDisposition, Handling, MimeError, MimeHeaders, TransferEncoding};
pub use xml::XmlError;
