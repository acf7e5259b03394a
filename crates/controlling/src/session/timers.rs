//! When a session has to do something by itself.

use std::time::Duration;

use tokio::time::Instant;

use super::{Session, call};
use crate::groups::{Group, GroupsUnavailable};
use crate::policy::{Policy, limit, seconds_of};
use crate::session::end::Ending;

/// The times at which something is due; `None`: it is not.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// The founder's provisional response is repeated.
    pub(super) progress: Option<Instant>,
    /// It is looked whether anybody says anything.
    pub(super) idle: Option<Instant>,
    /// The session has lasted as long as it may.
    pub(super) end: Option<Instant>,
    /// The group is looked for.
    pub(super) group: Option<Instant>,
    /// The room has been empty for as long as it may.
    pub(super) empty: Option<Instant>,
    /// Somebody without an MSRP connection is connected to again, or taken out.
    pub(super) reconnect: Option<Instant>,
    /// Subscribers are told.
    pub(super) tell: Option<Instant>,
    /// What they were told last: the number of the change.
    pub(super) told: u64,
    /// When they were told last.
    pub(super) told_at: Option<Instant>,
    /// What had been sent when it was looked last, and since when it is no more.
    said: (u64, Option<Instant>),
}

/// How often within the idle time it is looked whether anybody says anything.
const LOOKS: u32 = 4;

impl Timers {
    /// Those of a session that begins.
    pub(super) fn new(policy: &Policy, has_group: bool, now: Instant) -> Self {
        Self {
            idle: limit(policy.idle_s).map(|idle| now + idle / LOOKS),
            end: limit(policy.session_s_max).map(|max| now + max),
            group: has_group.then(|| now + seconds_of(policy.group_refresh_s)),
            said: (0, Some(now)),
            ..Self::default()
        }
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        let Self { progress, idle, end, group, empty, reconnect, tell, .. } = self;
        let all = [*progress, *idle, *end, *group, *empty, *reconnect, *tell];
        all.into_iter().flatten().min()
    }
}

fn is_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

impl Session {
    pub(super) async fn time_passed(&mut self) {
        let now = self.now();
        if is_due(&mut self.timers.progress, now) {
            self.repeat_progress();
        }
        if is_due(&mut self.timers.tell, now) {
            self.timers.told_at = Some(now);
            self.watchers_changed();
        }
        if is_due(&mut self.timers.group, now) {
            self.look_for_group();
        }
        if is_due(&mut self.timers.end, now) {
            self.end_with(Ending::TooLong);
        }
        if is_due(&mut self.timers.empty, now) {
            self.end_with(Ending::Over);
        }
        if is_due(&mut self.timers.reconnect, now) {
            self.look_after_lost(now).await;
        }
        if is_due(&mut self.timers.idle, now) {
            self.look_for_activity(now).await;
        }
    }

    /// Ends a session in which nobody says anything (CF-065).
    async fn look_for_activity(&mut self, now: Instant) {
        let Some(max) = limit(self.focus.policy().idle_s) else { return };
        let said = self.room.counts().await.map(|counts| counts.messages);
        let (before, since) = self.timers.said;
        match said {
            Ok(said) if said == before => {
                if since.is_some_and(|since| now.duration_since(since) >= max) {
                    return self.end_with(Ending::Idle);
                }
            }
            Ok(said) => self.timers.said = (said, Some(now)),
            // A core that has too much to do is not idle.
            Err(_) => self.timers.said = (before, Some(now)),
        }
        let wait = (max / LOOKS).max(Duration::from_secs(1));
        self.timers.idle = Some(now + wait);
    }

    fn look_for_group(&mut self) {
        let Some(group) = self.focus.group() else { return };
        let (hosted, identity) = (self.hosted.clone(), group.identity().clone());
        self.work
            .push(Box::pin(async move { call::Done::Group(hosted.groups.group(&identity).await) }));
    }

    /// The group as it is now; one that is gone ends its session (CF-064).
    pub(super) fn group_found(
        &mut self,
        found: Result<Option<std::sync::Arc<Group>>, GroupsUnavailable>,
    ) {
        match found {
            Ok(Some(group)) => self.focus.set_group(group),
            Ok(None) => return self.end_with(Ending::GroupGone),
            Err(GroupsUnavailable) => {}
        }
        let wait = seconds_of(self.focus.policy().group_refresh_s);
        self.timers.group = Some(self.now() + wait);
    }
}
