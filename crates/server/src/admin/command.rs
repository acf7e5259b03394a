//! A command, and its form as an HTTP request.

use std::fmt;

use serde_json::{Value, json};

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The profiles after a user, in order.
    List {
        /// The user before the first one.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// Profile, registration and size of the inbox of a user.
    Show {
        /// One of his identities.
        user: String,
    },
    /// A new profile.
    Add {
        /// The identity that names him.
        user: String,
        /// Changes to the default profile, see [`crate::admin::edit`].
        changes: Vec<String>,
    },
    /// A change of a profile.
    Set {
        /// One of his identities.
        user: String,
        /// The changes.
        changes: Vec<String>,
    },
    /// The end of everything kept about a user.
    Remove {
        /// One of his identities.
        user: String,
    },
    /// The stored messages of a user, without content.
    Inbox {
        /// One of his identities.
        user: String,
        /// The number before the first one.
        after: u64,
        /// At most so many.
        limit: usize,
    },
    /// A stored message with its content.
    Content {
        /// One of his identities.
        user: String,
        /// Its number.
        seq: u64,
        /// Why, for the audit trail.
        reason: String,
    },
    /// The end of a stored message.
    Discard {
        /// One of his identities.
        user: String,
        /// Its number.
        seq: u64,
        /// Why, for the audit trail.
        reason: String,
    },
    /// The audit trail, newest first.
    Audit {
        /// So many are left out.
        skip: usize,
        /// At most so many.
        limit: usize,
    },
}

/// The HTTP methods of the administration interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Adds.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// The token of the request line.
    pub fn token(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl Command {
    /// The request that carries it: method, path with query, body.
    pub fn request(&self) -> (Method, String, Option<Value>) {
        let user_path = |user: &str| format!("/admin/users/{}", encode(user));
        let changes = |changes: &[String]| Some(json!({ "changes": changes }));
        let item = |user: &str, seq: &u64, reason: &str| {
            format!("{}/inbox/{seq}?reason={}", user_path(user), encode(reason))
        };
        match self {
            Self::List { after, limit } => {
                let after = after.as_ref().map(|user| format!("&after={}", encode(user)));
                let path = format!("/admin/users?limit={limit}{}", after.unwrap_or_default());
                (Method::Get, path, None)
            }
            Self::Show { user } => (Method::Get, user_path(user), None),
            Self::Add { user, changes: list } => (Method::Put, user_path(user), changes(list)),
            Self::Set { user, changes: list } => (Method::Patch, user_path(user), changes(list)),
            Self::Remove { user } => (Method::Delete, user_path(user), None),
            Self::Inbox { user, after, limit } => {
                let path = format!("{}/inbox?after={after}&limit={limit}", user_path(user));
                (Method::Get, path, None)
            }
            Self::Content { user, seq, reason } => (Method::Get, item(user, seq, reason), None),
            Self::Discard { user, seq, reason } => (Method::Delete, item(user, seq, reason), None),
            Self::Audit { skip, limit } => {
                (Method::Get, format!("/admin/audit?skip={skip}&limit={limit}"), None)
            }
        }
    }
}

/// Percent-encodes what may not stand in a path segment or query value (RFC 3986 §2.3).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(octet));
            }
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

/// Who gives a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// How he proved that he may: `token`, or `store` for who can open the file.
    pub proof: &'static str,
    /// The name he goes by; only `proof` is proven. Empty for none.
    pub name: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => f.write_str(self.proof),
            name => write!(f, "{} ({name})", self.proof),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, encode};

    #[test]
    fn reserved_characters_are_escaped() {
        #[rustfmt::skip]
        let table = [
            ("sip:alice@ims.test", "sip%3Aalice%40ims.test"),
            ("tel:+1555", "tel%3A%2B1555"),
            ("a/b?c#d&e=f g%", "a%2Fb%3Fc%23d%26e%3Df%20g%25"),
            ("é-._~", "%C3%A9-._~"),
        ];
        for (text, expected) in table {
            assert_eq!(encode(text), expected);
        }
    }

    #[test]
    fn an_account_says_how_it_is_proven() {
        let account = |name: &str| Account { proof: "token", name: name.to_owned() }.to_string();
        assert_eq!((account("root").as_str(), account("").as_str()), ("token (root)", "token"));
    }
}
