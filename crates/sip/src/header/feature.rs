//! Feature parameters (RFC 3840 §5, §9) and how two of them match (RFC 3841 §7.2.4, RFC 2533).
//!
//! A feature parameter gives the set of values a tag may have: the union of what its terms allow.
//! Two sets match when they have a value in common; a tag that only one side names matches.

use super::params::{Params, Value};
use crate::grammar;

/// The tags that need no `+` before their name (RFC 3840 §9, `base-tags`).
const BASE_TAGS: [&str; 20] = [
    "audio",
    "automata",
    "class",
    "duplex",
    "data",
    "control",
    "mobility",
    "description",
    "events",
    "priority",
    "methods",
    "schemes",
    "application",
    "video",
    "language",
    "type",
    "isfocus",
    "actor",
    "text",
    "extensions",
];

/// Every IM service of OMA SIMPLE IM.
pub const SIP_IM: &str = "+g.oma.sip-im";
/// A session opened to carry one large message (OMA-TS-SIMPLE_IM).
pub const SIP_IM_LARGE_MESSAGE: &str = "+g.oma.sip-im.large-message";
/// A notice of the server (OMA-TS-SIMPLE_IM).
pub const SIP_IM_SYSTEM_MESSAGE: &str = "+g.oma.sip-im.system-message";

/// Most terms of one feature parameter that matching looks at: a local limit, RFC 3840 sets none.
/// What stands behind it never matches, so that two long lists never cost their product.
pub const TERMS_MAX: usize = 32;

/// The feature parameters among the parameters of a Contact, Accept-Contact or Reject-Contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features<'a> {
    params: Params<'a>,
}

impl<'a> Features<'a> {
    /// Looks at the parameters of a header.
    pub fn new(params: Params<'a>) -> Self {
        Self { params }
    }

    /// The feature parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Feature<'a>> + use<'a> {
        let features = self.params.iter().filter(|param| is_feature_tag(param.name));
        features.map(|param| Feature { tag: param.name, value: param.value })
    }

    /// Whether there are none: the contact is immune to caller preferences (RFC 3841 §7.2.1).
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The feature of this tag, whatever its case.
    pub fn first(&self, tag: &str) -> Option<Feature<'a>> {
        self.iter().find(|feature| feature.tag.eq_ignore_ascii_case(tag))
    }

    /// Whether the tag is named, whatever its value and case (CORE-035).
    pub fn has(&self, tag: &str) -> bool {
        self.first(tag).is_some()
    }

    /// Whether every tag that both sides name has a value in common.
    pub fn matches(&self, other: &Features<'_>) -> bool {
        self.iter().all(|ours| other.first(ours.tag).is_none_or(|theirs| ours.matches(&theirs)))
    }
}

/// One feature parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature<'a> {
    /// The tag as written, with its `+`.
    pub tag: &'a str,
    /// The value as written; `None` is TRUE.
    pub value: Option<Value<'a>>,
}

impl<'a> Feature<'a> {
    /// The terms of the value: a tag without a value is the term TRUE.
    pub fn terms(&self) -> impl Iterator<Item = Term<'a>> + use<'a> {
        let raw = self.value.map_or(&b"TRUE"[..], |value| value.raw());
        let inner = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")).unwrap_or(raw);
        let text = inner.strip_prefix(b"<").and_then(|inner| inner.strip_suffix(b">"));
        let list = if text.is_some() { None } else { Some(inner) };
        let terms = list.into_iter().flat_map(|list| list.split(|&octet| octet == b','));
        text.map(Term::Text).into_iter().chain(terms.map(Term::read))
    }

    /// Whether some value is allowed by both.
    pub fn matches(&self, other: &Feature<'_>) -> bool {
        self.terms()
            .take(TERMS_MAX)
            .any(|ours| other.terms().take(TERMS_MAX).any(|theirs| ours.meets(&theirs)))
    }
}

/// One term of a feature value (RFC 3840 §9, `tag-value` and `string-value`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term<'a> {
    /// TRUE or FALSE; a negation is resolved.
    Boolean(bool),
    /// This token, or with `negated` any other; compared whatever its case.
    Token {
        /// The token.
        text: &'a [u8],
        /// Whether `!` stands before it.
        negated: bool,
    },
    /// These numbers, or with `negated` all others.
    Number {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Whether `!` stands before it.
        negated: bool,
    },
    /// A string, compared octet by octet.
    Text(&'a [u8]),
}

impl<'a> Term<'a> {
    fn read(text: &'a [u8]) -> Self {
        let text = grammar::trim(text);
        let (text, negated) = match text.strip_prefix(b"!") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if let Some((low, high)) = text.strip_prefix(b"#").and_then(range) {
            return Self::Number { low, high, negated };
        }
        for truth in [true, false] {
            if text.eq_ignore_ascii_case(if truth { b"TRUE" } else { b"FALSE" }) {
                return Self::Boolean(truth != negated);
            }
        }
        Self::Token { text, negated }
    }

    /// Whether some value is allowed by both terms. Terms of two kinds have none in common.
    fn meets(&self, other: &Term<'_>) -> bool {
        match (*self, *other) {
            (Self::Boolean(one), Term::Boolean(two)) => one == two,
            (Self::Text(one), Term::Text(two)) => one == two,
            (
                Self::Token { text: one, negated: not_one },
                Term::Token { text: two, negated: not_two },
            ) => match (not_one, not_two) {
                (true, true) => true,
                (false, false) => one.eq_ignore_ascii_case(two),
                (true, false) | (false, true) => !one.eq_ignore_ascii_case(two),
            },
            (
                Self::Number { low, high, negated },
                Term::Number { low: other_low, high: other_high, negated: other_negated },
            ) => ranges_meet((low, high, negated), (other_low, other_high, other_negated)),
            (Self::Boolean(_) | Self::Text(_) | Self::Token { .. } | Self::Number { .. }, _) => {
                false
            }
        }
    }
}

fn is_feature_tag(name: &str) -> bool {
    name.starts_with('+') || BASE_TAGS.iter().any(|tag| name.eq_ignore_ascii_case(tag))
}

/// `>=n`, `<=n`, `=n`, `n:m`.
fn range(text: &[u8]) -> Option<(f64, f64)> {
    if let Some(least) = text.strip_prefix(b">=") {
        return Some((number(least)?, f64::INFINITY));
    }
    if let Some(most) = text.strip_prefix(b"<=") {
        return Some((f64::NEG_INFINITY, number(most)?));
    }
    if let Some(exact) = text.strip_prefix(b"=") {
        return number(exact).map(|exact| (exact, exact));
    }
    let text = std::str::from_utf8(text).ok()?;
    let (low, high) = text.split_once(':')?;
    Some((number(low.as_bytes())?, number(high.as_bytes())?))
}

/// `[ "+" / "-" ] 1*DIGIT [ "." *DIGIT ]`.
fn number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, decimals) = plain.split_once('.').unwrap_or((plain, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    (!whole.is_empty() && digits(whole) && digits(decimals)).then(|| text.parse().ok()).flatten()
}

fn ranges_meet(one: (f64, f64, bool), two: (f64, f64, bool)) -> bool {
    let (low, high, negated) = one;
    let (other_low, other_high, other_negated) = two;
    let exists = |low: f64, high: f64| low <= high;
    match (negated, other_negated) {
        (false, false) => exists(low.max(other_low), high.min(other_high)),
        // A value of the plain range that lies below or above the excluded one.
        (false, true) => exists(low, high) && (low < other_low || high > other_high),
        (true, false) => ranges_meet(two, one),
        // Outside both: something is left unless the two exclude the whole line.
        (true, true) => {
            low.min(other_low) > f64::NEG_INFINITY
                || high.max(other_high) < f64::INFINITY
                || high.min(other_high) < low.max(other_low)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn features(text: &str) -> Features<'_> {
        Features::new(Params::parse(text.as_bytes()).unwrap())
    }

    fn matches(one: &str, two: &str) -> bool {
        let (one, two) = (features(one), features(two));
        assert_eq!(one.matches(&two), two.matches(&one), "matching is symmetric");
        one.matches(&two)
    }

    // Covers: CORE-033
    #[test]
    fn feature_sets_match() {
        #[rustfmt::skip]
        let table = [
            (";audio", ";audio", true),
            (";audio", ";audio=\"TRUE\"", true),
            (";audio", ";AUDIO=\"false\"", false),
            (";audio", ";audio=\"!FALSE\"", true),
            (";audio", ";video", true), // a tag only one side names
            (";methods=\"INVITE,BYE\"", ";methods=\"BYE\"", true),
            (";methods=\"INVITE\"", ";methods=\"BYE\"", false),
            (";methods=\"!INVITE\"", ";methods=\"invite\"", false),
            (";methods=\"!INVITE\"", ";methods=\"BYE\"", true),
            (";methods=\"!INVITE\"", ";methods=\"!BYE\"", true),
            (";+sip.foo=\"<value>\"", ";+sip.foo=\"<value>\"", true), // RFC 3841 §7.2.4
            (";+sip.foo=\"<value>\"", ";+sip.foo=\"<Value>\"", false),
            (";+sip.foo=\"<a,b>\"", ";+sip.foo=\"<b>\"", false),
            (";+sip.bar=\"val\"", ";+sip.bar=\"VAL\"", true),
            (";+sip.bar=\"val\"", ";+sip.bar=\"<val>\"", false),
            (";+n=\"#>=4\"", ";+n=\"#=4\"", true),
            (";+n=\"#>=4\"", ";+n=\"#<=3.9\"", false),
            (";+n=\"#1:5\"", ";+n=\"#5:7\"", true),
            (";+n=\"#1:5\"", ";+n=\"#+6:7\"", false),
            (";+n=\"#-1\"", ";+n=\"#=-1\"", false), // "#-1" is no numeric, so it is a token
            (";+n=\"!#=4\"", ";+n=\"#=4\"", false),
            (";+n=\"!#=4\"", ";+n=\"#4:5\"", true),
            (";+n=\"!#>=4\"", ";+n=\"!#<=4\"", false),
            (";+n=\"!#>=5\"", ";+n=\"!#<=4\"", true),
            (";+n=\"!#1:2\"", ";+n=\"!#3:4\"", true),
            (";+n=\"a,#=1\"", ";+n=\"#=1,b\"", true),
            (";q=0.1;expires=5", ";q=0.2;expires=6", true), // no feature parameters
            (";+g.oma.sip-im", ";+G.OMA.sip-im", true),
            (";+a;+b=\"x\"", ";+b=\"y\";+a", false),
        ];
        for (one, two, expect) in table {
            assert_eq!(matches(one, two), expect, "{one} {two}");
        }
    }

    #[test]
    fn terms_behind_the_limit_never_match() {
        let list = |last: &str| format!(";+n=\"{}{last}\"", "x,".repeat(TERMS_MAX - 1));
        assert!(matches(&list("y"), ";+n=\"y\""));
        assert!(!matches(&list("x,y"), ";+n=\"y\""));
    }

    // Covers: CORE-035
    #[test]
    fn tags_are_found_whatever_their_case() {
        let params =
            Params::parse(b";+G.Oma.Sip-Im;+g.oma.sip-im.large-message;expires=1").unwrap();
        let features = Features::new(params);
        assert!(features.has(SIP_IM) && features.has(SIP_IM_LARGE_MESSAGE));
        assert!(!features.has(SIP_IM_SYSTEM_MESSAGE) && !features.has("expires"));
        assert!(!features.is_empty() && Features::default().is_empty());
    }

    proptest! {
        #[test]
        fn a_feature_that_allows_something_matches_itself(
            value in "[a-z]{1,3}(,!?[a-z]{1,3}){0,3}|#[0-9]:9|!#=[0-9]",
        ) {
            let text = format!(";+x=\"{value}\"");
            prop_assert!(matches(&text, &text));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let term = Term::read(&text);
            let _ = (term.meets(&term), range(&text), number(&text));
        }
    }
}
