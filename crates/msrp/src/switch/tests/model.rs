//! A room against a model of it: whatever happens in whatever order and pieces, everybody gets the
//! octets of the messages that are meant for it, all of them, and no others.

use proptest::prelude::*;

use super::*;
use crate::Continuation;

const PEOPLE_MAX: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Join,
    Leave(usize),
    /// From whom, to whom or all, how long.
    Whole(usize, Option<usize>, usize),
    Begin(usize, Option<usize>, usize, usize),
    /// The latest message of that one goes on by so many octets.
    Continue(usize, usize),
    Abort(usize),
    /// Everybody reads what there is.
    Read,
    /// The chunks of that one come in pieces of this size.
    Pieces(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE_MAX;
    let to = || prop::option::weighted(0.3, 0..PEOPLE_MAX);
    prop_oneof![
        2 => Just(Step::Join),
        1 => who.clone().prop_map(Step::Leave),
        6 => (who.clone(), to(), 0_usize..6000).prop_map(|(w, t, n)| Step::Whole(w, t, n)),
        4 => (who.clone(), to(), 0_usize..20_000, 0_usize..5000)
            .prop_map(|(w, t, n, first)| Step::Begin(w, t, n, first)),
        8 => (who.clone(), 0_usize..6000).prop_map(|(w, n)| Step::Continue(w, n)),
        1 => who.clone().prop_map(Step::Abort),
        2 => Just(Step::Read),
        2 => (who, prop_oneof![1_usize..60, 60_usize..5000]).prop_map(|(w, n)| Step::Pieces(w, n)),
    ]
}

struct Sending {
    id: String,
    octets: Vec<u8>,
    content: usize,
    at: usize,
    to: Option<usize>,
    /// Who gets it, when that is known.
    recipients: Option<Vec<usize>>,
}

#[derive(Default)]
struct Model {
    /// Who is there, in the order they came.
    present: Vec<usize>,
    pieces: std::collections::BTreeMap<usize, usize>,
    open: std::collections::BTreeMap<usize, Sending>,
    /// What each one has to get, in the order of the ends.
    expect: std::collections::BTreeMap<usize, Vec<(Vec<u8>, Continuation)>>,
    got: std::collections::BTreeMap<usize, Vec<u8>>,
    number: usize,
    /// How many messages each one has begun.
    begun: std::collections::BTreeMap<usize, usize>,
}

impl Model {
    fn message(&mut self, who: usize, to: Option<usize>, length: usize) -> Sending {
        self.number += 1;
        let number = self.number;
        let recipient = to.map_or(ROOM.to_owned(), uri);
        let head =
            cpim(&uri(who), &recipient, "").replace("To:", &format!("Subject: {number}\r\nTo:"));
        let text = (0..length).map(|at| (at * 31 + number * 7) as u8);
        let octets = head.bytes().chain(text).collect();
        // Everybody counts from 1, so that names collide.
        let begun = self.begun.entry(who).or_default();
        *begun += 1;
        let id = format!("m{begun}");
        Sending { id, octets, content: head.len(), at: 0, to, recipients: None }
    }

    /// Sends the next `count` octets of a message, the last ones with `flag`. Whether it was taken.
    fn send(
        &mut self,
        world: &mut World,
        who: usize,
        sending: &mut Sending,
        count: usize,
        flag: char,
    ) -> bool {
        let (from, to) = (sending.at, (sending.at + count).min(sending.octets.len()));
        let range = format!("{}-*/{}", from + 1, sending.octets.len());
        let body = sending.octets[from..to].to_vec();
        let sent = Sent { range: &range, flag, ..Sent::whole(&sending.id, &body) };
        let octets = world.written(who, &sent);
        let pieces = self.pieces.get(&who).copied().unwrap_or(octets.len());
        for piece in octets.chunks(pieces) {
            world.put(who, piece);
        }
        sending.at = to;
        let known = to >= sending.content || (flag == '$' && to == sending.octets.len());
        if sending.recipients.is_none() && known {
            let there = self.present.iter().copied().filter(|other| *other != who);
            let recipients: Vec<_> = match sending.to {
                None => there.collect(),
                Some(to) => there.filter(|other| *other == to).collect(),
            };
            let found = sending.to.is_none_or(|to| self.present.contains(&to));
            sending.recipients = Some(recipients);
            return found;
        }
        true
    }

    fn end(&mut self, sending: &Sending, flag: Continuation) {
        for recipient in sending.recipients.iter().flatten() {
            if self.present.contains(recipient) {
                let octets = sending.octets[..sending.at].to_vec();
                self.expect.entry(*recipient).or_default().push((octets, flag));
            }
        }
    }

    fn read(&mut self, world: &mut World) {
        for who in self.present.clone() {
            let octets = world.octets(who);
            self.got.entry(who).or_default().extend(octets);
        }
    }

    fn check(&self, who: usize) -> Result<(), TestCaseError> {
        let got = self.got.get(&who).map(Vec::as_slice).unwrap_or_default();
        let whole = reassemble(&world::frames(got));
        let ended: Vec<_> =
            whole.into_iter().filter_map(|one| Some((one.octets, one.end?))).collect();
        let expect = self.expect.get(&who).cloned().unwrap_or_default();
        prop_assert_eq!(ended.len(), expect.len(), "participant {}", who);
        for (number, (got, expect)) in ended.iter().zip(&expect).enumerate() {
            prop_assert!(got == expect, "participant {} message {}", who, number);
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::of(3);
    let mut model = Model { present: vec![0, 1, 2], ..Model::default() };
    for step in steps {
        match step {
            Step::Join if model.present.len() < PEOPLE_MAX => {
                let number = world.join(&LegConfig::new(&uri(world_size(&model))));
                model.present.push(number);
            }
            Step::Join => {}
            Step::Leave(who) if model.present.contains(&who) && model.present.len() > 1 => {
                model.read(&mut world);
                world.node.remove_leg(world.now, world.person(who).session);
                if let Some(sending) = model.open.remove(&who)
                    && sending.at > 0
                {
                    model.end(&sending, Continuation::Abort);
                }
                model.present.retain(|other| *other != who);
                model.check(who)?;
            }
            Step::Whole(who, to, length) if model.present.contains(&who) => {
                let mut sending = model.message(who, to, length);
                let count = sending.octets.len();
                if model.send(&mut world, who, &mut sending, count, '$') {
                    model.end(&sending, Continuation::Last);
                }
            }
            Step::Begin(who, to, length, first)
                if model.present.contains(&who) && !model.open.contains_key(&who) =>
            {
                let mut sending = model.message(who, to, length);
                if model.send(&mut world, who, &mut sending, first, '+') {
                    model.open.insert(who, sending);
                }
            }
            Step::Continue(who, count) => {
                let Some(mut sending) = model.open.remove(&who) else { continue };
                let last = sending.at + count >= sending.octets.len();
                let flag = if last { '$' } else { '+' };
                if !model.send(&mut world, who, &mut sending, count, flag) {
                    continue;
                }
                if last {
                    model.end(&sending, Continuation::Last);
                } else {
                    model.open.insert(who, sending);
                }
            }
            Step::Abort(who) => {
                let Some(mut sending) = model.open.remove(&who) else { continue };
                let opened = sending.recipients.is_some();
                model.send(&mut world, who, &mut sending, 0, '#');
                if opened {
                    model.end(&sending, Continuation::Abort);
                }
            }
            Step::Read => model.read(&mut world),
            Step::Pieces(who, size) => {
                model.pieces.insert(who, size);
            }
            Step::Leave(_) | Step::Whole(..) | Step::Begin(..) => {}
        }
    }
    model.read(&mut world);
    for who in model.present.clone() {
        model.check(who)?;
    }
    let switch = &world.node.roles.switch;
    let open: usize = switch.legs.iter().map(|(_, leg)| leg.open.len()).sum();
    prop_assert_eq!(open, model.open.len());
    prop_assert_eq!(switch.legs.len(), model.present.len());
    Ok(())
}

/// How many ever came: the number of the next one.
fn world_size(model: &Model) -> usize {
    model.got.keys().chain(&model.present).max().map_or(0, |last| last + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    // Covers: MSRP-060, MSRP-062, MSRP-066, MSRP-074
    #[test]
    fn everybody_gets_what_is_meant_for_it(steps in prop::collection::vec(step(), 0..60)) {
        run(steps)?;
    }
}
