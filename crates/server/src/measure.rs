//! What is measured: the recorder of the process, and what each metric means.

use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub(crate) const TRANSACTIONS: &str = "parlance_transactions";
pub(crate) const QUEUED: &str = "parlance_shard_queue";
pub(crate) const WAITING: &str = "parlance_store_waiting";
pub(crate) const CONNECTIONS: &str = "parlance_connections";

/// The recorder of the process, which is made and described at the first call.
///
/// A process that has a recorder of its own keeps it; this one then stays empty.
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

/// Counters of the other crates, as they name them; `net` describes its own.
const COUNTERS: [(&str, &str); 15] = [
    ("parlance_sip_unacknowledged_total", "Final responses to INVITE that got no ACK"),
    ("parlance_sip_untrusted_total", "Requests of peers that are not trusted, answered 403"),
    ("parlance_sip_overload_total", "Requests answered 503"),
    ("parlance_sip_stray_responses_total", "Responses that match no transaction"),
    ("parlance_sip_malformed_total", "Malformed messages dropped, by fault"),
    ("parlance_sip_refused_total", "Malformed requests answered, by fault"),
    ("parlance_participating_forwarded_total", "Messages passed on"),
    ("parlance_participating_deferred_total", "Messages given to the deferred function"),
    ("parlance_participating_discarded_total", "Messages of rejected senders answered 200"),
    ("parlance_participating_delivered_late_total", "Messages delivered after they were stored"),
    ("parlance_participating_refused_total", "Messages refused, by reason"),
    ("parlance_participating_welcomes_total", "Notices to new users, by result"),
    ("parlance_store_accepted_total", "Messages offered to the store, by result"),
    ("parlance_store_settled_total", "Stored messages that ended, by how"),
    ("parlance_admin_refused_total", "Administration requests without the token"),
];

fn describe() {
    parlance_net::describe_metrics();
    for (name, text) in COUNTERS {
        describe_counter!(name, Unit::Count, text);
    }
    describe_gauge!(TRANSACTIONS, Unit::Count, "Transactions, by shard and kind");
    describe_gauge!(QUEUED, Unit::Count, "Messages that wait for a shard");
    describe_gauge!(WAITING, Unit::Count, "Messages stored for users");
    describe_gauge!(CONNECTIONS, Unit::Count, "TCP and TLS connections");
}
