//! What the users do: each group of them its own, over and over, until it is enough.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use parlance_lab::ue::{Draft, Ue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::cast::Cast;
use crate::sessions;

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

const EXPLODER: &str = "sip:im-exploder@ims.test";
const TEAM: &str = "sip:im-group-team@ims.test";

/// How often what was done, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: BTreeMap<&'static str, u64>,
    wrong: BTreeMap<String, u64>,
}

impl Tally {
    /// Everything was as it had to be, and everything was done.
    pub(crate) fn check(&self) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert_eq!(self.done.len(), 8, "each kind of load: {:?}", self.done);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done: Vec<_> =
            self.done.iter().map(|(what, count)| format!("{what} {count}")).collect();
        write!(f, "done: {}", done.join(", "))
    }
}

/// One group of users at work.
pub(crate) struct Actor {
    began: Instant,
    random: RefCell<StdRng>,
    over: Rc<Cell<bool>>,
    tally: Rc<RefCell<Tally>>,
}

impl Actor {
    /// Notes that something was done.
    pub(crate) fn done(&self, what: &'static str) {
        *self.tally.borrow_mut().done.entry(what).or_default() += 1;
    }

    /// Notes what is not as it has to be; whether it is.
    pub(crate) fn expect<T: PartialEq + fmt::Debug>(
        &self,
        what: &str,
        found: T,
        wanted: T,
    ) -> bool {
        let holds = found == wanted;
        if !holds {
            let text = format!("{what}: {found:?} instead of {wanted:?}");
            println!("after {:>5} s: {text}", self.began.elapsed().as_secs());
            *self.tally.borrow_mut().wrong.entry(text).or_default() += 1;
        }
        holds
    }

    /// Waits until something holds, and notes when it does not.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while !holds() {
            if start.elapsed() > PATIENCE {
                return self.expect(&format!("{what}, in time"), false, true);
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// A random number below `below`.
    pub(crate) fn dice(&self, below: usize) -> usize {
        self.random.borrow_mut().random_range(0..below)
    }

    /// Waits for a random time.
    pub(crate) async fn pause(&self, longest: Duration) {
        let wait = self.random.borrow_mut().random_range(Duration::ZERO..=longest);
        sleep(wait).await;
    }
}

/// The load, until it is ended.
pub(crate) struct Load {
    over: Rc<Cell<bool>>,
    tally: Rc<RefCell<Tally>>,
    actors: Vec<JoinHandle<()>>,
}

impl Load {
    /// Everybody begins.
    pub(crate) fn start(cast: &Cast) -> Self {
        let mut load = Self { over: Rc::default(), tally: Rc::default(), actors: Vec::new() };
        load.act(cast.some(0), async |actor, team| to_many(actor, team).await);
        for first in [3, 7] {
            load.act(cast.some(first), async |actor, four| messages(actor, four).await);
        }
        for first in [11, 13] {
            load.act(cast.some(first), async |actor, two| stored(actor, two).await);
        }
        load.act(cast.some(15), async |actor, two| sessions::large(actor, two).await);
        for first in [17, 19, 21] {
            load.act(cast.some(first), async |actor, two| sessions::of_two(actor, two).await);
        }
        for first in [23, 25] {
            load.act(cast.some(first), async |actor, two| sessions::at_focus(actor, two).await);
        }
        for first in [27, 31, 35] {
            load.act(cast.some(first), async |actor, four| sessions::of_many(actor, four).await);
        }
        for first in [39, 42, 45] {
            load.act(cast.some(first), async |actor, three| sessions::room(actor, three).await);
        }
        load
    }

    /// These users do this over and over.
    fn act<const COUNT: usize>(
        &mut self,
        users: [Ue; COUNT],
        once: impl AsyncFn(&Actor, &[Ue; COUNT]) + 'static,
    ) {
        let seed = u64::try_from(self.actors.len()).unwrap_or(0);
        let random = RefCell::new(StdRng::seed_from_u64(seed));
        let began = Instant::now();
        let (over, tally) = (Rc::clone(&self.over), Rc::clone(&self.tally));
        let actor = Actor { began, random, over, tally };
        let mut registered = began;
        self.actors.push(tokio::task::spawn_local(async move {
            while !actor.over.get() {
                once(&actor, &users).await;
                users.iter().for_each(Ue::forget);
                if registered.elapsed() > Duration::from_secs(200) {
                    registered = Instant::now();
                    for ue in &users {
                        actor.expect(
                            "a registration is refreshed",
                            ue.register().await.status,
                            200,
                        );
                    }
                }
            }
        }));
    }

    /// Everybody ends what he is at; what came of it all.
    pub(crate) async fn end(self) -> Tally {
        self.over.set(true);
        for actor in self.actors {
            actor.await.expect("nobody panics");
        }
        self.tally.take()
    }
}

/// One writes to another.
async fn messages(actor: &Actor, users: &[Ue; 4]) {
    let [from, to] = [0, 1].map(|step| actor.dice(2) + 2 * step);
    let before = users[to].texts().len();
    for number in 0..10 {
        let text = format!("message {number} {}", "x".repeat(actor.dice(900)));
        let answer = users[from].message(&users[to].identity(), &text).await;
        if actor.expect("a message", answer.status, 200) {
            actor.done("messages");
        }
        actor.pause(Duration::from_millis(200)).await;
    }
    let came = users[to].texts().len() - before;
    actor.expect("messages came", came, 10);
}

/// One is away, and gets what was kept when he is back.
async fn stored(actor: &Actor, [from, away]: &[Ue; 2]) {
    actor.expect("de-registration", away.deregister().await.status, 200);
    let told = Duration::from_millis(300);
    sleep(told).await;
    for number in 0..3 {
        let text = format!("for later {number}");
        let answer = from.message(&away.identity(), &text).await;
        actor.expect("a message to be kept", answer.status, 202);
    }
    let before = away.texts().len();
    actor.expect("registration", away.register().await.status, 200);
    let came = || away.texts().len() >= before + 3;
    if actor.until("what was kept comes", came).await {
        actor.done("stored messages");
    }
    // What would come twice has time to come.
    actor.pause(Duration::from_secs(2)).await;
    actor.expect("what was kept, once", away.texts().len(), before + 3);
}

/// One writes to a list, and to a group.
async fn to_many(actor: &Actor, team: &[Ue; 3]) {
    let [alice, bob, carol] = team;
    let entries: String =
        [bob, carol].iter().map(|ue| format!("<entry uri=\"{}\"/>", ue.identity())).collect();
    let body = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nto a list\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list>\
         </resource-lists>\r\n--b--\r\n"
    );
    let list = Draft::message(EXPLODER, "").header("Require", "recipient-list-message");
    let list = list.body("multipart/mixed;boundary=b", body.as_bytes());
    let before = bob.texts().len() + carol.texts().len();
    for draft in [list, Draft::message(TEAM, "to the team")] {
        actor.expect("a message to many", alice.send(draft).await.status, 202);
    }
    let came = || bob.texts().len() + carol.texts().len() >= before + 4;
    if actor.until("copies come", came).await {
        actor.done("messages to many");
    }
    actor.pause(Duration::from_secs(1)).await;
    actor.expect("copies, once", bob.texts().len() + carol.texts().len(), before + 4);
}
