use std::time::Duration;

use bytes::Bytes;
use parlance_store::{Millis, NewItem, Quota, Store};
use serde_json::Value;

use super::{Account, Admin, AdminError, Command};

const NOW: Millis = Millis(1_790_000_000_000);

struct Bench {
    admin: Admin,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let store = Store::memory();
        Self { admin: Admin::new(store.clone(), || NOW), store }
    }

    async fn run(&self, command: Command) -> Result<Value, AdminError> {
        let account = Account { proof: "token", name: "root".to_owned() };
        self.admin.run(&account, command).await
    }

    async fn keep(&self, recipient: &str, payload: &'static [u8]) {
        let item = NewItem {
            recipient: recipient.into(),
            originator: "sip:bob@ims.test".to_owned(),
            dedup: Vec::new(),
            received: NOW,
            expires: NOW + Duration::from_secs(60),
            due: None,
            wants_negative_delivery: false,
            private: false,
            payload: Bytes::from_static(payload),
        };
        let quota = Quota { items_max: 10, octets_max: 1_000 };
        self.store.inboxes.accept(item, quota, NOW).await.unwrap();
    }

    /// What the trail says, oldest first.
    async fn trail(&self) -> Vec<String> {
        let entries = self.store.audit.newest(0, 100).await.unwrap();
        let line = |entry: &parlance_store::AuditEntry| {
            format!("{} {:?} {} {}", entry.who, entry.what, entry.user, entry.detail)
        };
        entries.iter().rev().map(line).collect()
    }
}

fn user() -> String {
    "sip:alice@ims.test".to_owned()
}

// Covers: DF-014
#[tokio::test]
async fn content_is_shown_only_for_a_reason_and_after_it_is_in_the_trail() {
    let bench = Bench::new();
    bench.keep("sip:alice@ims.test", b"MESSAGE sip:alice@ims.test SIP/2.0\r\n\r\nsecret").await;
    bench.keep("sip:alice@ims.test", &[0xff]).await;
    let content = |seq, reason: &str| Command::Content { user: user(), seq, reason: reason.into() };

    let refused = bench.run(content(1, " ")).await;
    assert!(matches!(refused, Err(AdminError::Invalid(_))), "{refused:?}");
    assert!(bench.trail().await.is_empty());

    let shown = bench.run(content(1, "court order 7")).await.unwrap();
    assert!(shown["content"]["text"].as_str().unwrap().ends_with("secret"));
    let expected = "token (root) ReadContent sip:alice@ims.test message 1: court order 7";
    assert_eq!(bench.trail().await, [expected]);

    assert_eq!(bench.run(content(2, "x")).await.unwrap()["content"]["hexadecimal"], "ff");
    let missing = bench.run(content(3, "x")).await;
    assert!(matches!(missing, Err(AdminError::NotFound(_))), "{missing:?}");

    let inbox = Command::Inbox { user: user(), after: 0, limit: 10 };
    let listed = bench.run(inbox).await.unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert!(!listed.to_string().contains("secret"), "a listing has no content");
    assert!(bench.trail().await.last().unwrap().contains("ListItems sip:alice@ims.test"));
}

// Covers: DF-014
#[tokio::test]
async fn nothing_is_shown_when_the_trail_cannot_be_written() {
    let memory = std::sync::Arc::new(parlance_store::Memory::new());
    let bench = Bench::new();
    bench.keep("sip:alice@ims.test", b"secret").await;
    // The messages of one store, the trail of another one that is full.
    let store = Store { audit: memory.clone(), ..bench.store.clone() };
    memory.fail(Some(parlance_store::StoreError::Full("no space".to_owned())));
    let admin = Admin::new(store, || NOW);
    let account = Account { proof: "store", name: String::new() };
    let commands = [
        Command::Content { user: user(), seq: 1, reason: "x".to_owned() },
        Command::Inbox { user: user(), after: 0, limit: 1 },
        Command::Show { user: user() },
        Command::List { after: None, limit: 1 },
        Command::Discard { user: user(), seq: 1, reason: "x".to_owned() },
        Command::Set { user: user(), changes: vec!["barred=true".to_owned()] },
        Command::Remove { user: user() },
    ];
    for command in commands {
        let said = format!("{command:?}");
        let refused = admin.run(&account, command).await;
        assert!(matches!(refused, Err(AdminError::Store(_))), "{said}: {refused:?}");
    }
    let counts = bench.store.inboxes.counts(&user().as_str().into()).await.unwrap();
    assert_eq!(counts.items, 1, "nothing was removed");
}

#[tokio::test]
async fn a_user_is_added_changed_found_by_alias_and_removed() {
    let bench = Bench::new();
    let changes = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let add = Command::Add { user: user(), changes: changes(&["aliases+=tel:+1555"]) };
    assert_eq!(bench.run(add.clone()).await.unwrap()["aliases"][0], "tel:+1555");
    let again = bench.run(add).await;
    assert!(matches!(again, Err(AdminError::Exists(_))), "{again:?}");

    let set = Command::Set { user: "tel:+1-555".to_owned(), changes: changes(&["barred=true"]) };
    let changed = bench.run(set).await.unwrap();
    assert_eq!((&changed["user"], &changed["barred"]), (&user().into(), &true.into()));
    let wrong = Command::Set { user: user(), changes: changes(&["barred=1", "x=2"]) };
    let wrong = bench.run(wrong).await;
    assert!(matches!(&wrong, Err(AdminError::Invalid(list)) if list.len() == 2), "{wrong:?}");

    let shown = bench.run(Command::Show { user: user() }).await.unwrap();
    assert_eq!(shown["profile"]["barred"], true);
    let listed = bench.run(Command::List { after: None, limit: 9 }).await.unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));

    bench.run(Command::Remove { user: user() }).await.unwrap();
    let gone = bench.run(Command::Show { user: user() }).await;
    assert!(matches!(gone, Err(AdminError::NotFound(_))), "{gone:?}");
    let bad = bench.run(Command::Show { user: "alice".to_owned() }).await;
    assert!(matches!(bad, Err(AdminError::Invalid(_))), "{bad:?}");
}

#[tokio::test]
async fn a_message_is_discarded_and_the_trail_is_listed() {
    let bench = Bench::new();
    bench.keep("sip:alice@ims.test", b"x").await;
    let discard = || Command::Discard { user: user(), seq: 1, reason: "spam".to_owned() };
    assert_eq!(bench.run(discard()).await.unwrap()["removed"], 1);
    let gone = bench.run(discard()).await;
    assert!(matches!(gone, Err(AdminError::NotFound(_))), "{gone:?}");
    let trail = bench.run(Command::Audit { skip: 0, limit: 10 }).await.unwrap();
    assert_eq!(trail[0]["what"], "remove-item");
    assert_eq!(trail[0]["detail"], "message 1: spam");
}
