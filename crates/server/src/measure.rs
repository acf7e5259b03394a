//! What is measured: the recorder of the process, and what each metric means.

use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub(crate) const TRANSACTIONS: &str = "parlance_transactions";
pub(crate) const DIALOGS: &str = "parlance_dialogs";
pub(crate) const TASKS: &str = "parlance_tasks";
pub(crate) const QUEUED: &str = "parlance_shard_queue";
pub(crate) const WAITING: &str = "parlance_store_waiting";
const SESSIONS: &str = "parlance_controlling_sessions";
const PARTICIPANTS: &str = "parlance_controlling_participants";
const EXPLOSIONS: &str = "parlance_explosions";

/// The recorder of the process, which is made and described at the first call.
///
/// A process that has a recorder of its own keeps it; this one then stays empty. There are
/// counters and gauges only: a histogram of this recorder grows by some 2 MB an hour, which it
/// never gives back.
pub(crate) fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let made = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("the process has a metrics recorder already; /metrics stays empty");
        }
        describe();
        handle
    };
    HANDLE.get_or_init(made).clone()
}

/// Counters of this crate and those below, but for `net`, which describes its own.
#[rustfmt::skip]
const COUNTERS: [(&str, &str); 35] = [
    ("parlance_admin_refused_total", "Administration requests without the token"),
    ("parlance_controlling_invitations_total", "Users called into a session"),
    ("parlance_controlling_refused_total", "Requests to groups and sessions refused, by reason"),
    ("parlance_controlling_sessions_ended_total", "Sessions that ended, by reason"),
    ("parlance_controlling_sessions_total", "Sessions that began, by kind"),
    ("parlance_deferred_deliveries_total", "Attempts to deliver a stored message, by result"),
    ("parlance_deferred_expired_total", "Stored messages removed because their time was over"),
    ("parlance_deferred_left_total", "Work left to the next search, by reason"),
    ("parlance_deferred_notifications_total", "Attempts to tell of stored messages, by result"),
    ("parlance_deferred_offers_total", "Messages offered for storing, by result"),
    ("parlance_deferred_reports_total", "Disposition notifications sent, by result"),
    ("parlance_event_lines_lost_total", "Lines of the file of events that were lost"),
    ("parlance_exploded_total", "Messages sent to one recipient of a list or group, by result"),
    ("parlance_explosion_reports_total", "Reports about explosions, by result"),
    ("parlance_explosions_total", "Messages to a list or group that were accepted"),
    ("parlance_history_messages_lost_total", "Lines of the file of histories that were lost"),
    ("parlance_isc_reg_event_total", "Subscriptions to the reg event of users, by result"),
    ("parlance_participating_deferred_total", "Messages given to the deferred function"),
    ("parlance_participating_delivered_late_total", "Messages delivered after they were stored"),
    ("parlance_participating_discarded_total", "Messages of rejected senders answered 200"),
    ("parlance_participating_forwarded_total", "Messages passed on"),
    ("parlance_participating_lists_not_found_total", "Access lists that were not found"),
    ("parlance_participating_refused_total", "Messages refused, by reason"),
    ("parlance_participating_welcomes_total", "Notices to new users, by result"),
    ("parlance_sip_malformed_total", "Malformed messages dropped, by fault"),
    ("parlance_sip_overload_total", "Requests answered 503"),
    ("parlance_sip_refused_total", "Malformed requests answered, by fault"),
    ("parlance_sip_stray_responses_total", "Responses that match no transaction"),
    ("parlance_sip_unacknowledged_total", "Final responses to INVITE that got no ACK"),
    ("parlance_sip_untrusted_total", "Requests of peers that are not trusted, answered 403"),
    ("parlance_store_busy_total", "Changes refused because the queue of the store was full"),
    ("parlance_store_changes_total", "Changes in the commits of the store"),
    ("parlance_store_commits_total", "Commits of the store, each of one change or more"),
    ("parlance_store_failed_groups_total", "Commits that failed"),
    ("parlance_store_settled_total", "Stored messages that ended, by how"),
];

fn describe() {
    parlance_net::describe_metrics();
    for (name, text) in COUNTERS {
        describe_counter!(name, Unit::Count, text);
    }
    describe_gauge!(TRANSACTIONS, Unit::Count, "Transactions, by shard and kind");
    describe_gauge!(DIALOGS, Unit::Count, "Dialogs in which the server is a user agent, by shard");
    describe_gauge!(TASKS, Unit::Count, "Tasks that run, by shard; each request is one at first");
    describe_gauge!(SESSIONS, Unit::Count, "Sessions of groups and conferences that run");
    describe_gauge!(PARTICIPANTS, Unit::Count, "Participants that are in them");
    describe_gauge!(EXPLOSIONS, Unit::Count, "Messages that are being sent to a list or group");
    describe_gauge!(QUEUED, Unit::Count, "Messages that wait for a shard");
    describe_gauge!(WAITING, Unit::Count, "Messages stored for users");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{COUNTERS, DIALOGS, EXPLOSIONS, PARTICIPANTS, QUEUED, SESSIONS};
    use super::{TRANSACTIONS, WAITING};

    /// The names of metrics in a source text: literals behind the macros of `metrics`.
    fn names(text: &str) -> Vec<String> {
        let macros = ["counter!(", "gauge!("];
        let behind = macros.iter().flat_map(|name| text.split(name).skip(1));
        let literal = |rest: &str| {
            let rest = rest.trim_start().strip_prefix('"')?;
            let (name, _) = rest.split_once('"')?;
            name.starts_with("parlance_").then(|| name.to_owned())
        };
        behind.filter_map(literal).collect()
    }

    fn collect(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains(concat!("histogram", "!(")), "see the recorder: {path:?}");
                found.extend(names(&text));
            }
        }
    }

    #[test]
    fn every_metric_is_described_and_no_other() {
        let mut found = Vec::new();
        let crates = [
            "sip",
            "content",
            "store",
            "isc",
            "participating",
            "controlling",
            "deferred",
            "server",
        ];
        for name in crates {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
            collect(&path, &mut found);
        }
        let described: Vec<&str> = COUNTERS
            .iter()
            .map(|(name, _)| *name)
            .chain([DIALOGS, EXPLOSIONS, PARTICIPANTS, QUEUED, SESSIONS, TRANSACTIONS, WAITING])
            .collect();
        for name in &found {
            assert!(described.contains(&name.as_str()), "{name} is not described");
        }
        for (name, _) in COUNTERS {
            assert!(found.iter().any(|found| found == name), "{name} is counted nowhere");
        }
        assert_eq!(names("counter!(\n  \"parlance_x\""), ["parlance_x"]);
    }
}
