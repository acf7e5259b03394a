//! Several threads receive, and any thread sends.

use std::sync::{Arc, Mutex};
use std::thread;

use parlance_net::{Batch, Deliver, Net, Received, Refused, Runtimes, TransmitError};
use parlance_sip::{Source, Target, Transport};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::support::{config, read, request, until};

/// Notes on which thread each message was received.
#[derive(Default)]
struct Threads(Mutex<Vec<(String, Source)>>);

impl Deliver for Threads {
    fn deliver(&self, received: Received) -> Result<(), Refused> {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((name, received.source));
        Ok(())
    }

    fn undeliverable(&self, token: u64, _: Target, error: TransmitError) {
        panic!("{token} could not be sent: {error}");
    }
}

/// A thread with a runtime, until the sender is dropped.
fn receiver(name: &str) -> (Handle, oneshot::Sender<()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || _ = runtime.block_on(stopped)).unwrap();
    (handle, stop)
}

#[tokio::test]
async fn connections_are_shared_out_and_written_to_from_anywhere() {
    let ((first, _one), (second, _two)) = (receiver("first"), receiver("second"));
    let threads = Arc::new(Threads::default());
    let runtimes = Runtimes::new(first, vec![second]);
    let config = config(Transport::Tcp, "127.0.0.1:0");
    let net = Net::bind_on(runtimes, config, threads.clone()).unwrap();
    let address = net.local_addr(parlance_sip::ListenerId(0)).unwrap();
    let mut peers = Vec::new();
    for sent in 1..=4 {
        let mut peer = TcpStream::connect(address).await.unwrap();
        peer.write_all(&request("x")).await.unwrap();
        until(|| threads.0.lock().unwrap().len() == sent).await;
        peers.push(peer);
    }
    let received = threads.0.lock().unwrap().clone();
    let mut names: Vec<&str> = received.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["first", "first", "second", "second"]);
    // Here is neither thread; what joins a batch leaves with it, in order.
    let mut batch = Batch::default();
    let answers = [request("one"), request("two")];
    for (_, source) in &received {
        for answer in &answers {
            net.transmit_batched(&mut batch, &source.back(), answer.clone(), 7).unwrap();
        }
    }
    net.flush(&mut batch);
    let both = answers.concat();
    for peer in &mut peers {
        assert_eq!(read(peer, both.len()).await, both);
    }
}
