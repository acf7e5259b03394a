//! The threads that run the shards.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use metrics::gauge;
use parlance_isc::{Node, ShardInput};
use parlance_net::{Net, Resolver};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::assembly::Assembly;
use crate::measure::{DIALOGS, QUEUED, TASKS, TRANSACTIONS};
use crate::wire::NetWire;

/// How long a shard may take to say that it lives; local value.
const PULSE: Duration = Duration::from_secs(5);

/// What a shard thread works with.
pub(crate) struct Start {
    pub(crate) assembly: Arc<Assembly>,
    pub(crate) net: Arc<Net>,
    pub(crate) resolver: Resolver,
    pub(crate) number: u8,
    pub(crate) queue: mpsc::Receiver<ShardInput>,
    /// True when the shard is to end.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The thread of one shard and its runtime, before the shard runs there.
pub(crate) struct Thread {
    runtime: Handle,
    start: oneshot::Sender<Start>,
    thread: JoinHandle<()>,
}

impl Thread {
    /// Starts the thread of shard `number`. It ends when it is told so, or dropped.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub(crate) fn new(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (start, started) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
            let tasks = LocalSet::new();
            tasks.block_on(&runtime, async {
                if let Ok(start) = started.await {
                    run(start).await;
                }
            });
        })?;
        Ok(Self { runtime: handle, start, thread })
    }

    /// What else may run on the thread.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs the shard. It ends when told so.
    pub(crate) fn start(self, start: Start) -> JoinHandle<()> {
        // Without its receiver the thread panicked, which its end tells.
        let _ = self.start.send(start);
        self.thread
    }
}

async fn run(start: Start) {
    let Start { assembly, net, resolver, number, queue, mut stop } = start;
    let wire = Rc::new(NetWire::new(net, resolver, number));
    tokio::task::spawn_local(Rc::clone(&wire).flush());
    let shard = assembly.shard(number, wire, Box::new(rand::random::<u64>));
    tokio::select! {
        () = shard.run(queue) => {}
        // An error means that the server is gone without a word; then the shard ends as well.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// What one shard has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Server transactions that wait for an answer.
    pub(crate) unanswered: usize,
    /// Dialogs in which the server is a user agent.
    pub(crate) dialogs: usize,
}

/// Tells every session that the server stops. A shard that has too much to do is not told: its
/// sessions end when it does.
pub(crate) fn drain_sessions(node: &Node) {
    for queue in &node.shards {
        let tell = ShardInput::Run(Box::new(|cx| {
            cx.drain_sessions();
            Box::pin(std::future::ready(()))
        }));
        let _ = queue.try_send(tell);
    }
}

/// Asks every shard how much it has to do, and measures it. `None` when one does not answer in
/// time: it hangs, or is gone.
pub(crate) async fn pulse(node: &Node) -> Option<Vec<Load>> {
    let mut loads = Vec::with_capacity(node.shards.len());
    for (number, queue) in node.shards.iter().enumerate() {
        let (answer, answered) = oneshot::channel();
        let ask = ShardInput::Run(Box::new(move |cx| {
            // Nobody waits any more after the time for the answer.
            let _ = answer.send((cx.load(), cx.dialogs(), cx.tasks()));
            Box::pin(std::future::ready(()))
        }));
        let shard = number.to_string();
        let waiting = queue.max_capacity().saturating_sub(queue.capacity());
        gauge!(QUEUED, "shard" => shard.clone()).set(waiting as f64);
        let asked = async {
            queue.send(ask).await.ok()?;
            answered.await.ok()
        };
        let ((servers, unanswered, clients), dialogs, tasks) =
            timeout(PULSE, asked).await.ok().flatten()?;
        for (kind, count) in [("server", servers), ("unanswered", unanswered), ("client", clients)]
        {
            gauge!(TRANSACTIONS, "shard" => shard.clone(), "kind" => kind).set(count as f64);
        }
        gauge!(DIALOGS, "shard" => shard.clone()).set(dialogs as f64);
        gauge!(TASKS, "shard" => shard).set(tasks as f64);
        loads.push(Load { unanswered, dialogs });
    }
    Some(loads)
}
