//! Checks of the audit trail.

use super::ok;
use crate::{Access, AuditEntry, AuditLimits, Millis, Store};

fn entry(when: u64, who: &str) -> AuditEntry {
    AuditEntry {
        when: Millis(when),
        who: who.into(),
        what: Access::ReadContent,
        user: "sip:alice@ims.test".into(),
        detail: "item 7".into(),
    }
}

// Covers: DF-014
/// Entries come back as written, newest first.
pub async fn keeps_the_audit_trail(store: &Store) {
    for (when, who) in [(1, "ann"), (2, "ben"), (2, "cat")] {
        ok(store.audit.append(entry(when, who))).await;
    }
    let all = ok(store.audit.newest(0, 10)).await;
    assert_eq!(all, [entry(2, "cat"), entry(2, "ben"), entry(1, "ann")]);
    assert_eq!(ok(store.audit.newest(1, 1)).await, [entry(2, "ben")]);
    assert_eq!(ok(store.audit.newest(3, 1)).await, []);
}

/// What is older than the limit goes when something is added.
pub async fn bounds_the_audit_trail(store: &Store) {
    ok(store.audit.append(entry(1, "ann"))).await;
    let later = Millis(2) + AuditLimits::default().age_max;
    ok(store.audit.append(entry(later.0, "ben"))).await;
    assert_eq!(ok(store.audit.newest(0, 10)).await, [entry(later.0, "ben")]);
}
