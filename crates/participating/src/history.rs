//! What a user sends and gets, for his conversation history (OMA-TS-SIMPLE_IM §7.2.2.4, §7.2.3.16).

use bytes::Bytes;
use parlance_content::cpim::{Cpim, Limits};
use parlance_content::{MediaType, imdn, is_composing};
use parlance_isc::Mode;
use parlance_sip::Request;
use parlance_store::{Millis, Profile, UserId};

use crate::role::Functions;

/// One message of a user.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// When it was delivered, or has passed.
    pub at: Millis,
    /// Whose history it is for.
    pub user: &'a UserId,
    /// How it was carried.
    pub mode: Mode,
    /// Whether he has sent it; else it came for him.
    pub is_sent: bool,
    /// The MESSAGE, or the INVITE of the session: identities, Call-ID, subject.
    pub request: &'a Request,
    /// The type of the body.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Keeps the messages of users whose history is active. None is installed by default.
pub trait History {
    /// Keeps a message. Must not block: it is called on the thread of the shard.
    fn keep(&self, message: &Message<'_>);
}

impl Message<'_> {
    /// Keeps it in `history`, when it is something that was said.
    pub(crate) fn keep_in(&self, history: &dyn History) {
        if self.is_kept() {
            history.keep(self);
        }
    }

    /// Whether it is something that was said: that somebody composes, or was told what became of a
    /// message, is not kept, alone or in a `message/cpim` (MSRP-019, MSRP-072).
    fn is_kept(&self) -> bool {
        let is_said = |content_type: &str| {
            let Ok(media) = MediaType::parse(content_type) else { return true };
            !media.is(is_composing::MEDIA_TYPE) && !media.is(imdn::MEDIA_TYPE)
        };
        let Ok(media) = MediaType::parse(self.content_type) else { return true };
        if !media.is("message/cpim") {
            return is_said(self.content_type);
        }
        let body = Bytes::copy_from_slice(self.body);
        let Ok(cpim) = Cpim::parse(&body, &Limits::default()) else { return true };
        cpim.mime().value("Content-Type").is_none_or(is_said)
    }
}

impl Functions {
    /// Whether messages of this user that are carried so are to be kept now.
    pub(crate) fn keeps(&self, profile: &Profile, mode: Option<Mode>, now: Millis) -> bool {
        self.history.is_some() && is_active(profile, mode, now)
    }
}

/// Whether the history of a user is active for this mode (`hist-activation`).
fn is_active(profile: &Profile, mode: Option<Mode>, now: Millis) -> bool {
    let settings = profile.settings(now);
    match mode {
        Some(Mode::SessionMode) => settings.session_history,
        Some(Mode::PagerMode | Mode::LargeMessageMode) => settings.pager_large_history,
        None => false,
    }
}
