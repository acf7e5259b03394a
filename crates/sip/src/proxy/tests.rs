use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

use super::*;
use crate::Timers;
use crate::test_epoch;
use Input::{Cancelled, Terminated, TimedOut, Timeout, TransportFailed};

fn forwarding(invite: bool, groups: &[u16], max_breadth: u8) -> Forwarding<'_> {
    Forwarding { invite, groups, max_breadth, timer_c: Timers::default().timer_c() }
}

fn render(output: Output) -> String {
    match output {
        Output::Start { branch, max_breadth } => format!("start{branch}/{max_breadth}"),
        Output::Forward => "forward".into(),
        Output::Cancel { branch } => format!("cancel{branch}"),
        Output::Best { branch } => format!("best{branch}"),
        Output::Generate { status } => status.to_string(),
        Output::Abandon => "abandon".into(),
        Output::Done => "done".into(),
    }
}

/// Feeds `inputs` as (seconds since start, input); renders what came out, `|` after each input.
#[track_caller]
fn check_with(forwarding: &Forwarding<'_>, inputs: Vec<(u64, Input)>, expect: &str) {
    let start = test_epoch();
    let mut context = ResponseContext::new(start, forwarding).unwrap();
    let mut seen = Vec::new();
    let drain = |context: &mut ResponseContext, seen: &mut Vec<String>| {
        let outputs = std::iter::from_fn(|| context.poll_output());
        seen.push(outputs.map(render).collect::<Vec<_>>().join(" "));
    };
    drain(&mut context, &mut seen);
    for (at, input) in inputs {
        context.handle_input(start + Duration::from_secs(at), input);
        drain(&mut context, &mut seen);
    }
    assert_eq!(seen.join("|"), expect);
}

/// An INVITE forked to that many targets at once.
#[track_caller]
fn check(targets: usize, inputs: Vec<Input>, expect: &str) {
    let groups = vec![0; targets];
    let inputs = inputs.into_iter().map(|input| (0, input)).collect();
    check_with(&forwarding(true, &groups, 60), inputs, expect);
}

fn rsp(branch: BranchIndex, status: u16) -> Input {
    Input::Response { branch, status }
}

fn over(branch: BranchIndex) -> Input {
    Terminated { branch }
}

#[test]
fn one_branch_is_passed_through() {
    check(
        1,
        vec![rsp(0, 100), rsp(0, 180), rsp(0, 200), rsp(0, 200), over(0)],
        "start0/60||forward|forward|forward|done",
    );
    check(1, vec![rsp(0, 486), over(0)], "start0/60|best0|done");
    check(1, vec![rsp(0, 486), rsp(0, 486), rsp(0, 180)], "start0/60|best0||");
}

#[test]
fn the_first_2xx_cancels_the_others_and_later_ones_are_forwarded_too() {
    check(
        3,
        vec![rsp(1, 486), rsp(2, 200), rsp(0, 200), over(0), over(1), over(2), over(2)],
        "start0/20 start1/20 start2/20||forward cancel0|forward|||done|",
    );
    check(
        2,
        vec![rsp(0, 180), rsp(1, 200), rsp(0, 183), rsp(0, 487)],
        "start0/30 start1/30|forward|forward cancel0||",
    );
}

#[test]
fn responses_of_no_branch_are_ignored() {
    check(1, vec![rsp(7, 200), rsp(7, 180), rsp(7, 404), over(7), rsp(0, 99)], "start0/60|||||");
    let groups = [0, 0];
    let inputs = vec![(0, rsp(0, 404)), (0, rsp(0, 200)), (0, rsp(1, 486))];
    check_with(&forwarding(false, &groups, 60), inputs, "start0/30 start1/30|||best0");
}

#[test]
fn a_6xx_waits_for_the_branches_it_cancels() {
    check(2, vec![rsp(0, 603), rsp(1, 487)], "start0/30 start1/30|cancel1|best0");
    check(2, vec![rsp(0, 603), rsp(1, 200)], "start0/30 start1/30|cancel1|forward");
}

// RFC 3261 §16.7 step 6, its example included.
#[test]
fn the_best_response_is_chosen() {
    #[rustfmt::skip]
    let table: [(&[u16], &str); 11] = [
        (&[503, 407, 501, 404], "best1"), // the example
        (&[404, 486],           "best0"), // of equals the first
        (&[500, 486],           "best1"),
        (&[486, 302],           "best1"),
        (&[302, 600],           "best1"),
        (&[486, 600, 302],      "best1"),
        (&[404, 484],           "best1"),
        (&[487, 404],           "best1"),
        (&[408, 487],           "best1"),
        (&[503, 503],           "500"),
        (&[503, 502],           "best1"),
    ];
    for (statuses, expect) in table {
        let groups = vec![0; statuses.len()];
        let now = test_epoch();
        let mut context = ResponseContext::new(now, &forwarding(true, &groups, 60)).unwrap();
        for (branch, status) in statuses.iter().enumerate() {
            context.handle_input(now, rsp(branch, *status));
        }
        let last = std::iter::from_fn(|| context.poll_output()).last().map(render);
        assert_eq!(last.as_deref(), Some(expect), "{statuses:?}");
        assert!(context.is_decided());
    }
}

#[test]
fn challenges_of_all_branches_are_collected() {
    let now = test_epoch();
    let mut context = ResponseContext::new(now, &forwarding(true, &[0; 4], 60)).unwrap();
    for (branch, status) in [(2, 401), (0, 404), (3, 407), (1, 486)] {
        context.handle_input(now, rsp(branch, status));
    }
    assert_eq!(context.challenging().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn silence_and_transport_errors_count_as_408_and_503() {
    check(1, vec![TimedOut { branch: 0 }, over(0)], "start0/60|408|done");
    check(1, vec![TransportFailed { branch: 0 }], "start0/60|500");
    check(1, vec![over(0)], "start0/60|408 done");
    check(2, vec![TimedOut { branch: 0 }, rsp(1, 480)], "start0/30 start1/30||best1");
}

// RFC 4320 §4.1, §4.2.
// Covers: CORE-061
#[test]
fn non_invite_requests_have_no_provisional_responses_no_408_and_no_cancel() {
    let check = |targets: usize, inputs: Vec<Input>, expect: &str| {
        let groups = vec![0; targets];
        let inputs = inputs.into_iter().map(|input| (0, input)).collect();
        check_with(&forwarding(false, &groups, 60), inputs, expect);
    };
    check(1, vec![rsp(0, 100), rsp(0, 183), TimedOut { branch: 0 }], "start0/60|||abandon");
    check(1, vec![rsp(0, 408)], "start0/60|abandon");
    check(2, vec![rsp(0, 408), rsp(1, 404)], "start0/30 start1/30||best1");
    check(2, vec![rsp(0, 200), rsp(1, 200)], "start0/30 start1/30|forward|");
    check(1, vec![Cancelled, rsp(0, 200)], "start0/60||forward");
}

#[test]
fn cancel_reaches_every_pending_branch_once() {
    check(
        3,
        vec![rsp(0, 404), rsp(1, 180), Cancelled, Cancelled, rsp(1, 487), rsp(2, 487)],
        "start0/20 start1/20 start2/20||forward|cancel1 cancel2|||best0",
    );
}

#[test]
fn groups_are_tried_one_after_another() {
    let serial = forwarding(true, &[1, 0, 1], 60);
    check_with(
        &serial,
        vec![(0, rsp(1, 486)), (1, rsp(0, 480)), (2, rsp(2, 404))],
        "start1/60|start0/30 start2/30||best1",
    );
    check_with(&serial, vec![(0, rsp(1, 200)), (1, over(1))], "start1/60|forward|done");
    check_with(&serial, vec![(0, rsp(1, 600)), (1, over(1))], "start1/60|best1|done");
    check_with(&serial, vec![(0, Cancelled), (1, rsp(1, 487))], "start1/60|cancel1|best1");
}

// RFC 5393 §5.3.3, §5.5.
// Covers: CORE-013
#[test]
fn max_breadth_limits_the_branches_at_a_time() {
    check_with(
        &forwarding(true, &[0; 4], 2),
        vec![(0, rsp(0, 404)), (0, rsp(1, 404)), (0, rsp(2, 404)), (0, rsp(3, 486))],
        "start0/1 start1/1|start2/1|start3/1||best0",
    );
    check_with(
        &forwarding(true, &[0; 2], 1),
        vec![(0, rsp(0, 404)), (0, rsp(1, 404))],
        "start0/1|start1/1|best0",
    );
    let refused = |groups: &[u16], breadth| {
        ResponseContext::new(test_epoch(), &forwarding(true, groups, breadth))
            .map(|_| ())
            .map_err(|refusal| refusal.status())
    };
    assert_eq!(refused(&[0], 0), Err(440));
    assert_eq!(refused(&[], 60), Err(480));
}

#[test]
fn surplus_targets_are_not_tried() {
    let mut groups = vec![5; TARGETS_MAX];
    groups.push(1);
    let now = test_epoch();
    let mut context = ResponseContext::new(now, &forwarding(true, &groups, 60)).unwrap();
    let mut started = Vec::new();
    while let Some(output) = context.poll_output() {
        if let Output::Start { branch, .. } = output {
            started.push(branch);
            context.handle_input(now, rsp(branch, 404));
        }
    }
    assert_eq!(started.len(), TARGETS_MAX);
    assert_eq!(started.first(), Some(&TARGETS_MAX), "the one of the first group");
    assert!(context.is_decided());
}

// RFC 3261 §16.8.
// Covers: CORE-004
#[test]
fn timer_c_ends_a_branch() {
    let one = forwarding(true, &[0], 60);
    check_with(
        &one,
        vec![(180, Timeout), (181, Timeout), (182, Timeout)],
        "start0/60||cancel0 408|",
    );
    check_with(
        &one,
        vec![(10, rsp(0, 100)), (181, Timeout), (182, rsp(0, 487))],
        "start0/60||cancel0|best0",
    );
    check_with(
        &one,
        vec![(10, rsp(0, 180)), (181, Timeout), (191, Timeout), (192, rsp(0, 183)), (400, Timeout)],
        "start0/60|forward||cancel0|forward|",
    );
    check_with(&forwarding(false, &[0], 60), vec![(999, Timeout)], "start0/60|");
}

#[test]
fn the_deadline_is_the_earliest_timer_c() {
    let start = test_epoch();
    let mut context = ResponseContext::new(start, &forwarding(true, &[0, 0], 60)).unwrap();
    let after = |secs| Some(start + Duration::from_secs(secs));
    assert_eq!(context.poll_timeout(), after(181));
    context.handle_input(start + Duration::from_secs(5), rsp(0, 180));
    assert_eq!(context.poll_timeout(), after(181));
    context.handle_input(start + Duration::from_secs(6), rsp(1, 404));
    assert_eq!(context.poll_timeout(), after(186));
    context.handle_input(start, rsp(0, 404));
    assert_eq!(context.poll_timeout(), None);
}

fn inputs() -> impl Strategy<Value = Input> {
    let branch = 0_usize..6;
    prop_oneof![
        (branch.clone(), any::<u16>()).prop_map(|(branch, status)| rsp(branch, status)),
        (branch.clone(), 100_u16..700).prop_map(|(branch, status)| rsp(branch, status)),
        branch.clone().prop_map(|branch| TimedOut { branch }),
        branch.clone().prop_map(|branch| TransportFailed { branch }),
        branch.prop_map(over),
        Just(Cancelled),
        Just(Timeout),
    ]
}

proptest! {
    // Covers: CORE-013
    #[test]
    fn it_decides_once_and_never_exceeds_max_breadth(
        invite: bool,
        groups in proptest::collection::vec(0_u16..3, 1..6),
        breadth in 1_u8..61,
        steps in proptest::collection::vec((0_u64..90, inputs()), 0..40),
    ) {
        let mut now = test_epoch();
        let mut context = ResponseContext::new(now, &forwarding(invite, &groups, breadth)).unwrap();
        let end = (0..36).map(|step| (0, over(step % 6)));
        let (mut finals, mut done) = (0, 0);
        for (secs, input) in steps.into_iter().chain(end) {
            now += Duration::from_secs(secs);
            let decided = context.is_decided();
            context.handle_input(now, input);
            let used: u32 = context.branches.iter().map(|slot| u32::from(slot.share())).sum();
            prop_assert!(used <= u32::from(breadth));
            while let Some(output) = context.poll_output() {
                match output {
                    Output::Best { .. } | Output::Generate { .. } | Output::Abandon => finals += 1,
                    Output::Forward if !decided && context.is_decided() => finals += 1,
                    Output::Done => done += 1,
                    Output::Start { .. } | Output::Forward | Output::Cancel { .. } => {}
                }
            }
        }
        prop_assert!(finals == 1 && done == 1);
        prop_assert!(context.poll_timeout().is_none());
    }
}
