//! What the end of a request of ours means for what it carried (DF-065, DF-081).

use std::time::Duration;

use parlance_isc::Outcome;
use parlance_sip::Response;
use parlance_sip::header::RetryAfter;

/// What becomes of a message after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The client has it.
    Delivered,
    /// Not now; the other side may have asked for a time to wait.
    Later(Option<Duration>),
    /// The user does not want to be disturbed, or his client takes no MESSAGE: not before his next
    /// registration.
    Declined,
    /// This message is not taken, whenever it is sent.
    Refused,
}

impl Verdict {
    /// Reads an outcome.
    pub(crate) fn of(outcome: &Outcome) -> Verdict {
        match outcome {
            Outcome::Final(response) | Outcome::Relayed(response) => {
                Self::of_status(response.status(), retry_after(response))
            }
            Outcome::Timeout | Outcome::Unreachable | Outcome::Cancelled => Verdict::Later(None),
        }
    }

    /// Codes that are not named wait: a message that was promised is given up only for a reason
    /// that lies in it.
    fn of_status(status: u16, retry_after: Option<Duration>) -> Verdict {
        match status {
            200..=299 => Verdict::Delivered,
            // 405 and 501: this client knows no MESSAGE, the next one may.
            405 | 486 | 501 | 600 | 603 => Verdict::Declined,
            // What is wrong is the message: its syntax, its sender, its size, its content.
            400 | 402 | 403 | 406 | 412 | 413 | 415 | 416 | 420 | 421 | 428 | 433 | 470 | 488
            | 493 | 513 | 606 => Verdict::Refused,
            _ => Verdict::Later(retry_after),
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let asked = response.header::<RetryAfter<'_>>().ok()??;
    Some(Duration::from_secs(u64::from(asked.seconds)))
}

#[cfg(test)]
mod tests {
    use super::{Duration, Outcome, Verdict};

    // Covers: DF-065, DF-081, DF-085
    #[test]
    fn every_status_has_a_verdict() {
        #[rustfmt::skip]
        let table = [
            (&[200, 202, 204][..],                        Verdict::Delivered),
            (&[408, 480, 404, 430, 410, 401, 407, 302, 500, 503, 504, 580, 604, 482, 483, 484],
                                                          Verdict::Later(None)),
            (&[486, 600, 603, 405, 501],                  Verdict::Declined),
            (&[400, 403, 413, 415, 488, 406, 420, 513, 606], Verdict::Refused),
        ];
        for (codes, verdict) in table {
            for code in codes {
                assert_eq!(Verdict::of_status(*code, None), verdict, "{code}");
            }
        }
        let asked = Some(Duration::from_secs(90));
        assert_eq!(Verdict::of_status(480, asked), Verdict::Later(asked));
        assert_eq!(Verdict::of_status(200, asked), Verdict::Delivered);
        assert_eq!(Verdict::of(&Outcome::Timeout), Verdict::Later(None));
        assert_eq!(Verdict::of(&Outcome::Unreachable), Verdict::Later(None));
    }
}
