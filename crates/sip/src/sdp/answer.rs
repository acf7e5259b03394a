//! What an offer, its answer and the next offer say of each other (RFC 3264 §6, §8).

use super::{MediaLine, MsrpProto, Sdp, Setup};

/// Why a description does not answer an offer. Positions of media lines count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not as many media lines as the offer (RFC 3264 §6).
    #[error("answer has another number of media lines")]
    LineCount,
    /// A line is of another kind or protocol (RFC 3264 §6).
    #[error("media line {0} of the answer is of another kind or protocol")]
    Kind(usize),
    /// A line that the offer had refused is taken (RFC 3264 §8.2).
    #[error("media line {0} of the answer was not offered")]
    NotOffered(usize),
    /// A line flows another way than the offer permits (RFC 3264 §6.1).
    #[error("media line {0} of the answer flows another way than offered")]
    Direction(usize),
    /// The connection would be opened by nobody or by both (RFC 4145 §4.1).
    #[error("media line {0} of the answer has a setup that was not offered")]
    Setup(usize),
}

/// How a description relates to the one the same side sent before (RFC 3264 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// The same version: nothing changed, a session timer is refreshed (RFC 4975 §8.4).
    Unchanged,
    /// A later version of the same session.
    Changed,
    /// An earlier version of the same session: the peer is wrong.
    Earlier,
    /// Another session: the peer was replaced, all media begins anew.
    OtherSession,
}

impl Sdp {
    /// Checks that `answer` answers this offer. What MSRP needs besides is
    /// [`MediaLine::message`]'s.
    pub fn check_answer(&self, answer: &Self) -> Result<(), AnswerError> {
        if self.media().len() != answer.media().len() {
            return Err(AnswerError::LineCount);
        }
        for (index, (offered, answered)) in self.media().zip(answer.media()).enumerate() {
            check_line(index, &offered, &answered)?;
        }
        Ok(())
    }

    /// How this description relates to `previous`, which the same side sent before.
    pub fn revision_of(&self, previous: &Self) -> Revision {
        let (now, before) = (self.origin(), previous.origin());
        let same_session = now.username == before.username
            && now.session_id == before.session_id
            && now.address == before.address;
        if !same_session {
            return Revision::OtherSession;
        }
        match now.version.cmp(&before.version) {
            std::cmp::Ordering::Equal => Revision::Unchanged,
            std::cmp::Ordering::Greater => Revision::Changed,
            std::cmp::Ordering::Less => Revision::Earlier,
        }
    }
}

fn check_line(
    index: usize,
    offered: &MediaLine<'_>,
    answered: &MediaLine<'_>,
) -> Result<(), AnswerError> {
    // Behind a relay an answerer has TLS whatever was offered (RFC 4976 §11).
    let is_msrp = |line: &MediaLine<'_>| MsrpProto::from_name(line.proto()).is_some();
    let same_proto = offered.proto().eq_ignore_ascii_case(answered.proto())
        || (is_msrp(offered) && is_msrp(answered));
    if !offered.kind().eq_ignore_ascii_case(answered.kind()) || !same_proto {
        return Err(AnswerError::Kind(index));
    }
    if answered.is_refused() {
        return Ok(());
    }
    if offered.is_refused() {
        return Err(AnswerError::NotOffered(index));
    }
    if !offered.direction().permits(answered.direction()) {
        return Err(AnswerError::Direction(index));
    }
    // One side may know RFC 4145 and the other not: then the offerer connects (RFC 4975 §8.5).
    let setup = |line: &MediaLine<'_>| {
        // RFC 6135 §4.2.1 has MSRP ignore it.
        let ignored = |setup: &Setup| *setup == Setup::HoldConn && is_msrp(line);
        line.setup().map(|setup| setup.filter(|setup| !ignored(setup)))
    };
    match (setup(offered), setup(answered)) {
        (Ok(Some(offer)), Ok(Some(answer))) if !offer.permits(answer) => {
            Err(AnswerError::Setup(index))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(media: &str) -> Sdp {
        let text = format!("v=0\r\no=a 1 5 IN IP4 h\r\ns=-\r\nt=0 0\r\n{media}");
        Sdp::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn answers_are_checked() {
        const M: &str = "m=message 5 TCP/MSRP *\r\n";
        const NO: &str = "m=message 0 TCP/MSRP *\r\n";
        const AUDIO: &str = "m=audio 5 RTP/AVP 0\r\n";
        let with = |attribute: &str| format!("{M}a={attribute}\r\n");
        #[rustfmt::skip]
        let table = [
            (M.to_owned(),           M.to_owned(),                  Ok(())),
            (format!("{AUDIO}{M}"),  format!("{AUDIO}{M}"),         Ok(())),
            (M.to_owned(),           NO.to_owned(),                 Ok(())),
            (M.to_owned(),           String::new(),                 Err(AnswerError::LineCount)),
            (M.to_owned(),           format!("{M}{M}"),             Err(AnswerError::LineCount)),
            (format!("{AUDIO}{M}"),  format!("{M}{AUDIO}"),         Err(AnswerError::Kind(0))),
            (M.to_owned(),           M.replace("TCP/", "TCP/TLS/"), Ok(())), // RFC 4976 §11
            (AUDIO.to_owned(),       AUDIO.replace("AVP", "SAVP"),  Err(AnswerError::Kind(0))),
            (NO.to_owned(),          M.to_owned(),        Err(AnswerError::NotOffered(0))),
            (with("sendonly"),       with("recvonly"),              Ok(())),
            (with("sendonly"),       M.to_owned(),                  Err(AnswerError::Direction(0))),
            (with("setup:actpass"),  with("setup:active"),          Ok(())),
            (with("setup:actpass"),  M.to_owned(),                  Ok(())),
            (with("setup:active"),   with("setup:active"),          Err(AnswerError::Setup(0))),
            (with("setup:holdconn"), with("setup:passive"),         Ok(())), // RFC 6135 §4.2.1
            (format!("{AUDIO}a=setup:holdconn\r\n"), format!("{AUDIO}a=setup:passive\r\n"),
             Err(AnswerError::Setup(0))),
        ];
        for (offer, answer, expect) in table {
            assert_eq!(sdp(&offer).check_answer(&sdp(&answer)), expect, "{offer}{answer}");
        }
    }

    #[test]
    fn revisions_are_told_by_the_origin() {
        let before = sdp("");
        #[rustfmt::skip]
        let table = [
            ("a 1 5 IN IP4 h", Revision::Unchanged),
            ("a 1 6 IN IP4 h", Revision::Changed),
            ("a 1 4 IN IP4 h", Revision::Earlier),
            ("b 1 5 IN IP4 h", Revision::OtherSession),
            ("a 2 5 IN IP4 h", Revision::OtherSession),
            ("a 1 5 IN IP4 i", Revision::OtherSession),
        ];
        for (origin, expect) in table {
            let now = Sdp::parse(format!("v=0\r\no={origin}\r\n").as_bytes()).unwrap();
            assert_eq!(now.revision_of(&before), expect, "{origin}");
        }
    }
}
