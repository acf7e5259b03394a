//! Message bodies, sans-IO: what SIP and MSRP carry, read and written over shared octets.
//!
//! Start from [`multipart::Multipart`] for RFC 2046 bodies, from [`cpim::Cpim`] for `message/cpim`
//! (RFC 3862) that is there and [`cpim::Reader`] for one that is still arriving, from
//! [`list_service::Group`] for a group and what its members may do (OMA Group XDM, RFC 4745), from
//! [`conference_info`] for who is in a session (RFC 4575), from
//! [`imdn::Imdn`] for disposition notifications (RFC 5438), from [`is_composing::IsComposing`] for
//! who is writing (RFC 3994), from [`reginfo::Document`] for registration state (RFC 3680), from
//! [`resource_lists::ResourceLists`] for whom a request on a list goes to (RFC 4826, RFC 5364) and
//! from [`sip_message::requests`] for the REGISTER inside a third-party REGISTER.
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
mod date_time;
pub mod imdn;
pub mod is_composing;
pub mod list_service;
mod media_type;
mod mime;
pub mod multipart;
pub mod reginfo;
pub mod resource_lists;
pub mod sip_message;
mod xml;

pub use media_type::{MediaType, MediaTypeError};
pub use mime::{ContentDisposition, Handling, MimeError, MimeHeaders, TransferEncoding};
pub use xml::XmlError;
