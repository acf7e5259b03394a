//! A response as a refusal table gives it, before it is written.

use std::borrow::Cow;

use parlance_sip::{HeaderName, ResponseBuilder, message::reason_phrase};

/// What is answered instead of a service: status, reason phrase and the headers that go with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 300 to 699, or 200 and 202 for what is answered on somebody's behalf.
    pub status: u16,
    /// The reason phrase.
    pub reason: Cow<'static, str>,
    /// Further header fields, in order.
    pub headers: Vec<(HeaderName, String)>,
    /// Behind them those whose name [`HeaderName`] does not know.
    pub others: Vec<(&'static str, String)>,
}

impl Reply {
    /// A response with the usual reason phrase and no further headers.
    pub fn new(status: u16) -> Self {
        let (headers, others) = (Vec::new(), Vec::new());
        Self { status, reason: Cow::Borrowed(reason_phrase(status)), headers, others }
    }

    /// The same with another header field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// The same with a header field of another name.
    #[must_use]
    pub fn with_other(mut self, name: &'static str, value: impl ToString) -> Self {
        self.others.push((name, value.to_string()));
        self
    }

    /// Adds the header fields to a response.
    pub(crate) fn add_headers(&self, response: ResponseBuilder) -> ResponseBuilder {
        let add = |response: ResponseBuilder, (name, value): &(HeaderName, String)| {
            response.header(*name, value)
        };
        let response = self.headers.iter().fold(response, add);
        self.others.iter().fold(response, |response, (name, value)| {
            response.octets(name.as_bytes(), value.as_bytes())
        })
    }
}
