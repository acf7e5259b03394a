//! What of a session is limited, and what happens at the limit.

/// The limits of the sessions of one shard. Local limits; the RFCs set none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Dialogs in which the server is a user agent, at most. Default 200,000; one takes some
    /// 2 KiB. Beyond: a request that would make one is answered 480 with Retry-After, a 2xx that
    /// would is acknowledged and ended with BYE.
    pub dialogs_max: usize,
    /// Subscriptions in one dialog, at most. Default 8. Beyond: 480.
    pub watchers_max: usize,
    /// What peers may have waiting in one mailbox, at most. Default 256. Beyond: 500 with
    /// Retry-After in a dialog; what the role gives itself comes back to it.
    pub events_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { dialogs_max: 200_000, watchers_max: 8, events_max: 256 }
    }
}

/// How long, in seconds, whoever is refused at a limit is asked to wait.
pub(super) const RETRY_AFTER: u32 = 5;

/// Dialogs that one INVITE of ours may make, early ones or by a 2xx, at most. Beyond: a reliable
/// provisional response is not acknowledged, a 2xx neither; its sender ends the dialog itself.
pub(super) const FORKS_MAX: usize = 16;

/// Provisional responses of one INVITE of ours that wait for the role, at most. Beyond: the oldest
/// goes.
pub(super) const PROVISIONALS_MAX: usize = 16;

/// How often one request of ours is sent again after 422 or 491, at most.
pub(super) const RETRIES_MAX: u8 = 4;

/// 2xx responses of ours to INVITEs in one dialog that wait for their ACK, at most. Beyond: a
/// re-INVITE is answered 500 with Retry-After.
pub(super) const UNACKNOWLEDGED_MAX: usize = 4;
