//! Several cores: connections go where their sessions are, and may be shared.

use std::time::Duration;

use parlance_msrp::{LendError, MsrpUri};
use tokio::io::AsyncWriteExt;

use crate::support::{ask, at, connect, limited, response, send, session_of, settle, start};

#[tokio::test]
async fn a_connection_goes_to_the_core_of_its_first_session() {
    let msrp = start(|config| config.cores = 3);
    for core in [2, 0, 1, 2, 1, 0] {
        let before = at(&msrp, core).await;
        let mut peer = connect(&msrp).await;
        let request = send("aaaa1234", &session_of(core), 10);
        // The path comes in two pieces: nothing of it may be lost on the way.
        peer.write_all(&request[..40]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        peer.write_all(&request[40..]).await.unwrap();
        response(&mut peer, "aaaa1234").await;
        assert_eq!(at(&msrp, core).await, before + 1, "core {core}");
        ask(&mut peer, "bbbb1234", &session_of(core)).await;
        drop(peer);
        settle(&msrp, 0).await;
    }
    // A core that is not there, or no session of ours: it stays where it is.
    for session in [session_of(9), "elsewhere".to_owned()] {
        let mut peer = connect(&msrp).await;
        ask(&mut peer, "cccc1234", &session).await;
    }
}

// Covers: MSRP-048
#[tokio::test]
async fn a_connection_goes_where_the_uri_of_a_peer_was_lent() {
    let msrp = limited(|limits| limits.lent_max = 2);
    // One that no server of ours has handed out, and one of another server of this kind.
    let uri = |session: &str| -> MsrpUri {
        format!("msrp://127.0.0.1:2855/{session};tcp").parse().unwrap()
    };
    for session in ["iau39soe2843z".to_owned(), session_of(0)] {
        for core in [1, 0, 1] {
            let lend = |core| msrp.lent(|uris| uris.lend(&uri(&session), core, None));
            let ticket = lend(core).unwrap();
            assert_eq!(lend(0), Err(LendError::Taken));
            let before = at(&msrp, core).await;
            let mut peer = connect(&msrp).await;
            ask(&mut peer, "aaaa1234", &session).await;
            assert_eq!(at(&msrp, core).await, before + 1, "core {core}");
            // A connection that is there already carries it as well.
            ask(&mut peer, "bbbb1234", &session_of(1 - core)).await;
            ask(&mut peer, "cccc1234", &session).await;
            let mut other = connect(&msrp).await;
            ask(&mut other, "dddd1234", &session_of(1 - core)).await;
            ask(&mut other, "eeee1234", &session).await;
            assert_eq!(at(&msrp, core).await, before + 2, "it is shared");
            drop((peer, other));
            settle(&msrp, 0).await;
            msrp.lent(|uris| uris.give_back(&uri(&session), ticket));
        }
    }
    let lend = |session, core| msrp.lent(|uris| uris.lend(&uri(session), core, None));
    let one = lend("one", 0).unwrap();
    lend("two", 1).unwrap();
    assert_eq!(lend("three", 1), Err(LendError::Full));
    msrp.lent(|uris| uris.give_back(&uri("one"), one));
    lend("three", 1).unwrap();
}

// Covers: MSRP-011
#[tokio::test]
async fn one_connection_serves_sessions_of_several_cores() {
    let msrp = start(|config| config.cores = 3);
    let mut peer = connect(&msrp).await;
    ask(&mut peer, "aaaa1234", &session_of(1)).await;
    ask(&mut peer, "bbbb1234", &session_of(2)).await;
    ask(&mut peer, "cccc1234", &session_of(0)).await;
    for core in 0..3 {
        assert_eq!(at(&msrp, core).await, 1, "core {core}");
    }
    // All at once, each answered, whatever the order.
    let mut octets = Vec::new();
    for turn in 0..300 {
        octets.extend(send(&format!("t{turn:07}"), &session_of(turn as u8 % 3), 100 * turn));
    }
    let (mut reader, mut writer) = peer.into_split();
    let writing = tokio::spawn(async move {
        writer.write_all(&octets).await.unwrap();
        writer
    });
    let mut answers = String::new();
    let mut last = Vec::new();
    while answers.matches(" 481").count() < 300 {
        use tokio::io::AsyncReadExt;
        let mut buffer = [0; 8192];
        let read = tokio::time::timeout(crate::support::PATIENCE, reader.read(&mut buffer));
        let count = read.await.expect("the answers come").unwrap();
        assert!(count > 0);
        last.extend_from_slice(&buffer[..count]);
        answers = String::from_utf8_lossy(&last).into_owned();
    }
    for turn in 0..300 {
        assert_eq!(answers.matches(&format!("MSRP t{turn:07} 481")).count(), 1, "{turn}");
    }
    drop((reader, writing.await.unwrap()));
    settle(&msrp, 0).await;
    for core in 0..3 {
        assert_eq!(at(&msrp, core).await, 0, "core {core} knows that it is gone");
    }
}

#[tokio::test]
async fn what_is_under_way_between_cores_is_bounded() {
    let msrp = limited(|limits| limits.shared_octets_max = 4096);
    let mut peer = connect(&msrp).await;
    ask(&mut peer, "aaaa1234", &session_of(0)).await;
    // Far more than may be under way: reading stops and goes on as the other core takes it.
    for turn in 0..20 {
        let id = format!("b{turn:07}");
        peer.write_all(&send(&id, &session_of(1), 100_000)).await.unwrap();
        response(&mut peer, &id).await;
    }
}
