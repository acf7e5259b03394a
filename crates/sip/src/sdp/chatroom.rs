//! The value of `chatroom` (RFC 7701 §8).

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::grammar::is_token;

/// What the writer does of chat rooms, and its policy allows: a declaration, not an offer.
///
/// Without any token: messages are exchanged as in a chat room, no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chatroom {
    /// `nickname`: NICKNAME requests are understood and allowed (RFC 7701 §7).
    pub nickname: bool,
    /// `private-messages`: a message for one participant may be sent (RFC 7701 §6.2).
    pub private_messages: bool,
    /// Tokens that are not known, each once, as written.
    pub others: Vec<String>,
}

const NICKNAME: &str = "nickname";
const PRIVATE_MESSAGES: &str = "private-messages";

impl FromStr for Chatroom {
    type Err = Infallible;

    /// Reads every value: a token that comes again says nothing new, and what is no token is an
    /// extension nobody knows.
    fn from_str(value: &str) -> Result<Self, Infallible> {
        let mut read = Self::default();
        for token in value.split(' ').filter(|token| !token.is_empty()) {
            if token.eq_ignore_ascii_case(NICKNAME) {
                read.nickname = true;
            } else if token.eq_ignore_ascii_case(PRIVATE_MESSAGES) {
                read.private_messages = true;
            } else if token.bytes().all(is_token) && !read.others.iter().any(|t| t == token) {
                read.others.push(token.to_owned());
            }
        }
        Ok(read)
    }
}

impl fmt::Display for Chatroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [(self.nickname, NICKNAME), (self.private_messages, PRIVATE_MESSAGES)];
        let known = known.into_iter().filter_map(|(is_set, token)| is_set.then_some(token));
        let tokens: Vec<&str> = known.chain(self.others.iter().map(String::as_str)).collect();
        f.write_str(&tokens.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads() {
        #[rustfmt::skip]
        let table = [
            ("nickname private-messages",   true,  true,  &[][..],     "nickname private-messages"), // RFC 7701 §8
            ("",                            false, false, &[],         ""),                          // RFC 7701 §8
            ("nickname private-messages com.example.chat.foo", true, true, &["com.example.chat.foo"],
             "nickname private-messages com.example.chat.foo"),                                      // RFC 7701 §8
            ("odd private-messages",        false, true,  &["odd"],    "private-messages odd"),
            ("Nickname  NICKNAME nickname", true,  false, &[],         "nickname"),
            ("odd odd Odd",                 false, false, &["odd", "Odd"], "odd Odd"),
            ("n@t:a/token \"",              false, false, &[],         ""),
        ];
        for (value, nickname, private_messages, others, written) in table {
            let others = others.iter().map(|&token| token.to_owned()).collect();
            let chatroom = Chatroom { nickname, private_messages, others };
            assert_eq!(value.parse(), Ok(chatroom.clone()), "{value}");
            assert_eq!(chatroom.to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            nickname: bool, private_messages: bool,
            others in prop::collection::btree_set("x[a-z.]{0,5}", 0..4),
        ) {
            let others = others.into_iter().collect();
            let chatroom = Chatroom { nickname, private_messages, others };
            prop_assert_eq!(chatroom.to_string().parse(), Ok(chatroom));
        }

        #[test]
        fn no_token_is_written_twice(value in "(nickname|private-messages|a|b| ){0,12}") {
            let Ok(read) = value.parse::<Chatroom>();
            let written = read.to_string();
            let mut tokens: Vec<&str> = written.split_whitespace().collect();
            let all = tokens.len();
            tokens.sort_unstable();
            tokens.dedup();
            prop_assert_eq!(tokens.len(), all);
        }

        #[test]
        fn never_panics(value: String) {
            let Ok(_) = value.parse::<Chatroom>();
        }
    }
}
