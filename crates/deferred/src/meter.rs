//! The counters of the deferred function.

use metrics::counter;

/// An offer ended like this.
pub(crate) fn offered(result: &'static str) {
    counter!("parlance_deferred_offers_total", "result" => result).increment(1);
}

/// An attempt to deliver a message ended like this.
pub(crate) fn delivery(result: &'static str) {
    counter!("parlance_deferred_deliveries_total", "result" => result).increment(1);
}

/// An attempt to tell a user of his messages ended like this.
pub(crate) fn notification(result: &'static str) {
    counter!("parlance_deferred_notifications_total", "result" => result).increment(1);
}

/// A disposition notification ended like this.
pub(crate) fn report(result: &'static str) {
    counter!("parlance_deferred_reports_total", "result" => result).increment(1);
}

/// Messages whose time was over were removed.
pub(crate) fn expired(count: u64) {
    counter!("parlance_deferred_expired_total").increment(count);
}

/// Something was left to the next sweep, because a bound was reached or the store failed.
pub(crate) fn left(why: &'static str) {
    counter!("parlance_deferred_left_total", "why" => why).increment(1);
}
