//! Random operations on the embedded and the in-memory store give the same answers.

use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use tempfile::TempDir;

use super::super::{Embedded, EmbeddedConfig};
use super::{config, sealed};
use crate::conformance::{binding, item};
use crate::{
    Attempt, Binding, Fence, Millis, NewItem, Profile, Quota, Seq, Settlement, Store, UserId,
};

#[derive(Clone, Debug)]
enum Step {
    Accept { user: u8, number: u8, size: u8, due: Option<u8> },
    Lease { user: u8, holder: u8, length: u8 },
    Release { fence: u8 },
    Attempt { fence: u8, seq: u8 },
    Settle { fence: u8, seq: u8 },
    Withdraw { user: u8, seq: u8 },
    Postpone { fence: u8, wait: u8, failures: u8 },
    Bind { user: u8, call: u8, cseq: u8, expires: u8, alias: Option<u8> },
    Unbind { user: u8 },
    Lapse { user: u8 },
    Create { user: u8 },
    Put { user: u8, revision: u8, alias: u8 },
    Remove { user: u8 },
    Rebuild,
    Restart,
    Wait { length: u8 },
    WaitLong,
}

fn step() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    let due = || proptest::option::of(any::<u8>());
    prop_oneof![
        8 => (byte(), byte(), byte(), due())
            .prop_map(|(user, number, size, due)| Step::Accept { user, number, size, due }),
        4 => (byte(), byte(), byte())
            .prop_map(|(user, holder, length)| Step::Lease { user, holder, length }),
        1 => byte().prop_map(|fence| Step::Release { fence }),
        3 => (byte(), byte()).prop_map(|(fence, seq)| Step::Attempt { fence, seq }),
        4 => (byte(), byte()).prop_map(|(fence, seq)| Step::Settle { fence, seq }),
        2 => (byte(), byte()).prop_map(|(user, seq)| Step::Withdraw { user, seq }),
        2 => (byte(), byte(), byte())
            .prop_map(|(fence, wait, failures)| Step::Postpone { fence, wait, failures }),
        4 => (byte(), byte(), byte(), byte(), due()).prop_map(|(user, call, cseq, expires, alias)| {
            Step::Bind { user, call, cseq, expires, alias }
        }),
        1 => byte().prop_map(|user| Step::Unbind { user }),
        2 => byte().prop_map(|user| Step::Lapse { user }),
        1 => byte().prop_map(|user| Step::Create { user }),
        3 => (byte(), byte(), byte())
            .prop_map(|(user, revision, alias)| Step::Put { user, revision, alias }),
        1 => byte().prop_map(|user| Step::Remove { user }),
        1 => Just(Step::Rebuild),
        1 => Just(Step::Restart),
        3 => byte().prop_map(|length| Step::Wait { length }),
        1 => Just(Step::WaitLong),
    ]
}

fn user(number: u8) -> UserId {
    UserId::from(format!("sip:u{}@ims.test", number % 4))
}

fn alias(number: u8) -> String {
    format!("tel:+{}", number % 5)
}

/// Does `step` and describes the answer.
async fn act(store: &Store, step: &Step, fences: &[Fence], now: Millis) -> (String, Option<Fence>) {
    let Store { registrations, profiles, inboxes, .. } = store;
    let fence = |number: u8| fences.get(usize::from(number) % fences.len().max(1)).cloned();
    let seq = |number: u8| Seq(u64::from(number % 8));
    let said = match step.clone() {
        Step::Accept { user: to, number, size, due } => {
            let message = NewItem {
                payload: vec![size; usize::from(size)].into(),
                due: due.map(|due| Millis(now.0 + u64::from(due))),
                expires: Millis(now.0 + 10 * u64::from(number)),
                ..item(user(to).as_str(), u64::from(number % 16))
            };
            let quota = Quota { items_max: 6, octets_max: 700 };
            format!("{:?}", inboxes.accept(message, quota, now).await)
        }
        Step::Lease { user: of, holder, length } => {
            let until = Millis(now.0 + u64::from(length));
            let leased = inboxes.lease(&user(of), u64::from(holder % 3), until, now).await;
            return (format!("{leased:?}"), leased.unwrap());
        }
        Step::Withdraw { user: of, seq: at } => {
            format!("{:?}", inboxes.withdraw(&user(of), seq(at), now).await)
        }
        Step::Bind { user: of, call, cseq, expires, alias: told } => {
            let request = Binding {
                call_id: (call % 2).to_string(),
                cseq: u32::from(cseq % 4),
                expires: u32::from(expires),
                aliases: told.map(|number| vec![alias(number)]),
                ..binding(user(of).as_str())
            };
            format!("{:?}", registrations.bind(request, now).await)
        }
        Step::Unbind { user: of } => format!("{:?}", registrations.unbind(&user(of)).await),
        Step::Lapse { user: of } => format!("{:?}", registrations.lapse(&user(of), now).await),
        Step::Create { user: of } => {
            format!("{:?}", profiles.create_default(&user(of), now).await)
        }
        Step::Put { user: of, revision, alias: number } => {
            let profile = Profile {
                revision: u64::from(revision % 3),
                aliases: vec![alias(number)],
                ..Profile::new(user(of), now)
            };
            format!("{:?}", profiles.put(profile).await)
        }
        Step::Remove { user: of } => format!("{:?}", profiles.remove(&user(of)).await),
        Step::Rebuild => format!("{:?}", inboxes.rebuild().await.is_ok()),
        Step::Restart | Step::Wait { .. } | Step::WaitLong => String::new(),
        Step::Release { fence: of } => match fence(of) {
            Some(fence) => format!("{:?}", inboxes.release(&fence).await),
            None => String::new(),
        },
        Step::Attempt { fence: of, seq: at } => match fence(of) {
            Some(fence) => {
                let attempt = Attempt { started: now, ..Attempt::default() };
                format!("{:?}", inboxes.attempt(&fence, seq(at), attempt).await)
            }
            None => String::new(),
        },
        Step::Settle { fence: of, seq: at } => match fence(of) {
            Some(fence) => {
                format!("{:?}", inboxes.settle(&fence, seq(at), Settlement::Delivered).await)
            }
            None => String::new(),
        },
        Step::Postpone { fence: of, wait, failures } => match fence(of) {
            Some(fence) => {
                let until = Millis(now.0 + u64::from(wait));
                format!("{:?}", inboxes.postpone(&fence, until, u32::from(failures)).await)
            }
            None => String::new(),
        },
    };
    (said, None)
}

/// Everything that can be asked.
async fn observe(store: &Store, now: Millis) -> String {
    let Store { registrations, profiles, inboxes, .. } = store;
    let mut seen = format!(
        "{} {:?} {:?} {:?} {:?} {:?}",
        inboxes.waiting(),
        inboxes.due(now, 9).await,
        inboxes.expired(now, 9).await,
        inboxes.recipients(None, 9).await,
        registrations.lapsed(now, 9).await,
        profiles.list(None, 9).await,
    );
    for number in 0..4 {
        let user = user(number);
        seen += &format!(
            "\n{:?} {:?} {:?} {:?} {:?} {:?}",
            registrations.lookup(&user).await,
            profiles.profile(&user).await,
            profiles.resolve(user.as_str()).await,
            inboxes.counts(&user).await,
            inboxes.failures(&user).await,
            inboxes.head(&user, Seq(0), 99).await,
        );
    }
    for number in 0..5 {
        seen += &format!("\n{:?}", profiles.resolve(&alias(number)).await);
    }
    seen
}

async fn compare(steps: Vec<Step>, settings: EmbeddedConfig) {
    let memory = Store::memory();
    let open = || Store::of(Arc::new(Embedded::open(settings.clone()).unwrap()));
    let mut embedded = open();
    let mut fences = Vec::new();
    let mut now = Millis(1_000_000);
    for step in steps {
        match step {
            Step::Restart => {
                drop(embedded);
                embedded = open();
            }
            Step::Wait { length } => now.0 += u64::from(length) * 10,
            Step::WaitLong => now.0 += 13 * 60 * 60 * 1000,
            _ => {}
        }
        let (said, fence) = act(&memory, &step, &fences, now).await;
        let (answered, _) = act(&embedded, &step, &fences, now).await;
        assert_eq!(answered, said, "{step:?}");
        fences.extend(fence);
        assert_eq!(observe(&embedded, now).await, observe(&memory, now).await, "after {step:?}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn both_stores_answer_alike(
        steps in proptest::collection::vec(step(), 1..60),
        encrypted: bool,
    ) {
        let directory = TempDir::new().unwrap();
        let settings =
            if encrypted { sealed(directory.path(), 1) } else { config(directory.path()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(steps, settings));
    }
}
