//! The contract of the five stores in executable form: every implementation passes it.
//!
//! [`suite!`](crate::conformance::suite) makes one test of each check; it takes an expression
//! that opens a new, empty [`crate::Store`]: `suite!(async || Store::memory());`.

#![allow(clippy::panic, reason = "a check that fails is a test that fails")]

pub mod explosions;
pub mod inbox;
pub mod people;
pub mod settings;
pub mod trail;

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;

use crate::{Binding, Contact, Millis, NewExplosion, NewItem, Pending, Quota};

/// One test for each check, on stores that `$open` opens.
#[macro_export]
macro_rules! conformance_suite {
    ($open:expr) => {
        $crate::conformance_suite!($open;
            inbox: stores_and_gives_back_in_order, recognises_what_came_before,
                forgets_keys_after_the_window, bounds_what_it_remembers, holds_the_quota,
                leases_to_one_holder, fences_the_earlier_holder, attempts_before_settling,
                withdraws_what_nobody_sends, backs_off_and_comes_due, a_dead_holder_leaves_it_due,
                finds_the_expired, lists_recipients, purges_one_user, rebuilds_the_indexes,
                refuses_bad_arguments;
            people: binds_and_refreshes, refuses_a_stale_register, lapses_after_the_grace,
                keeps_what_a_refresh_does_not_tell, numbers_registrations, resolves_aliases,
                creates_the_default_profile_once, puts_with_a_revision, lists_profiles,
                removes_everything_of_a_user, answers_at_once;
            settings: keeps_what_is_published, ends_with_the_registration, runs_out_once;
            explosions: keeps_what_it_accepted, settles_each_recipient_once,
                recognises_an_explosion, bounds_the_explosions, refuses_an_explosion_too_large;
            trail: keeps_the_audit_trail, bounds_the_audit_trail;
        );
    };
    ($open:expr; $($module:ident: $($check:ident),+;)+) => {
        $($(
            #[tokio::test]
            async fn $check() {
                let store = ($open)().await;
                $crate::conformance::$module::$check(&store).await;
            }
        )+)+
    };
}

pub use crate::conformance_suite as suite;

/// The answer of an operation that must succeed.
pub(crate) async fn ok<T: Debug>(pending: Pending<'_, T>) -> T {
    pending.await.expect("the operation succeeds")
}

/// A quota that does not matter.
pub fn quota() -> Quota {
    Quota { items_max: 100_000, octets_max: 1 << 30 }
}

/// A message for `recipient` told apart by `number`.
pub fn item(recipient: &str, number: u64) -> NewItem {
    let mut key = [0; 16];
    for (octet, from) in key.iter_mut().zip(number.to_be_bytes()) {
        *octet = from;
    }
    NewItem {
        recipient: recipient.into(),
        originator: "sip:bob@ims.test".into(),
        dedup: vec![key],
        received: Millis(1_000 + number),
        expires: Millis(604_800_000 + number),
        due: None,
        wants_negative_delivery: false,
        private: false,
        payload: Bytes::from(format!("MESSAGE {recipient} SIP/2.0\r\n\r\n{number}")),
    }
}

/// A message to three recipients, told apart by `number`.
pub fn explosion(number: u64) -> NewExplosion {
    let mut dedup = [0; 16];
    for (octet, from) in dedup.iter_mut().zip(number.to_be_bytes()) {
        *octet = from;
    }
    NewExplosion {
        dedup,
        received: Millis(1_000 + number),
        expires: Millis(604_800_000 + number),
        seed: [7; 16],
        payload: Bytes::from(format!("content {number}")),
        recipients: ["bob", "carol", "dave"].map(|user| format!("sip:{user}@ims.test")).into(),
    }
}

/// A REGISTER of `user` for an hour.
pub fn binding(user: &str) -> Binding {
    Binding {
        user: user.into(),
        public_id: user.to_owned(),
        aliases: Some(vec!["tel:+15551234".into()]),
        scscf: "sip:scscf.ims.test:6060;lr".into(),
        expires: 3600,
        grace: Duration::from_secs(30),
        contacts: Some(vec![Contact {
            uri: "sip:alice@192.0.2.1:5060".into(),
            instance: Some("<urn:gsma:imei:90420156-025763-0>".into()),
            tags: vec!["+g.oma.sip-im".into()],
            has_im_tag: true,
        }]),
        charging: None,
        orig_ioi: Some("ims.test".into()),
        barred: false,
        call_id: "call-1".into(),
        cseq: 1,
    }
}
