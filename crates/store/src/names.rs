//! Which identity leads to which user: the rule, for every implementation.

use crate::{StoreError, UserId};

/// Who an identity belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) user: UserId,
    /// Claimed by a profile; else learnt from a registration.
    pub(crate) provisioned: bool,
}

/// Where the owners are kept.
pub(crate) trait Owners {
    /// The owner of `name`.
    fn owner(&self, name: &str) -> Result<Option<Owner>, StoreError>;
    /// Writes or, with `None`, removes the owner of `name`.
    fn set_owner(&mut self, name: &str, owner: Option<Owner>) -> Result<(), StoreError>;
}

/// A registration of `user` told `new` where an earlier one had told `old`.
pub(crate) fn learn(
    owners: &mut impl Owners,
    user: &UserId,
    old: &[String],
    new: &[String],
) -> Result<(), StoreError> {
    let learnt = Owner { user: user.clone(), provisioned: false };
    for name in old.iter().filter(|name| !new.contains(name)) {
        if owners.owner(name)?.as_ref() == Some(&learnt) {
            owners.set_owner(name, None)?;
        }
    }
    for name in new {
        let owner = owners.owner(name)?;
        if owner.as_ref() != Some(&learnt) && owner.is_none_or(|owner| !owner.provisioned) {
            owners.set_owner(name, Some(learnt.clone()))?;
        }
    }
    Ok(())
}

/// The profile of `user` claims `new` where it had claimed `old`; `learnt` is what its
/// registration told.
pub(crate) fn claim(
    owners: &mut impl Owners,
    user: &UserId,
    old: &[String],
    new: &[String],
    learnt: &[String],
) -> Result<(), StoreError> {
    let claimed = Owner { user: user.clone(), provisioned: true };
    for name in old.iter().filter(|name| !new.contains(name)) {
        if owners.owner(name)?.as_ref() == Some(&claimed) {
            let back = Owner { user: user.clone(), provisioned: false };
            owners.set_owner(name, learnt.contains(name).then_some(back))?;
        }
    }
    for name in new {
        if owners.owner(name)?.as_ref() != Some(&claimed) {
            owners.set_owner(name, Some(claimed.clone()))?;
        }
    }
    Ok(())
}

/// The user has a default profile: his own name is his, unless another profile claims it.
pub(crate) fn claim_own(owners: &mut impl Owners, user: &UserId) -> Result<(), StoreError> {
    let name = user.as_str();
    let taken = owners.owner(name)?.is_some_and(|owner| owner.provisioned);
    if taken {
        return Ok(());
    }
    owners.set_owner(name, Some(Owner { user: user.clone(), provisioned: true }))
}

/// The user is gone: none of `names` leads to him any more.
pub(crate) fn forget<'a>(
    owners: &mut impl Owners,
    user: &UserId,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), StoreError> {
    for name in names {
        if owners.owner(name)?.is_some_and(|owner| owner.user == *user) {
            owners.set_owner(name, None)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Owner, Owners, StoreError, claim, claim_own, forget, learn};

    impl Owners for HashMap<String, Owner> {
        fn owner(&self, name: &str) -> Result<Option<Owner>, StoreError> {
            Ok(self.get(name).cloned())
        }

        fn set_owner(&mut self, name: &str, owner: Option<Owner>) -> Result<(), StoreError> {
            match owner {
                Some(owner) => self.insert(name.to_owned(), owner),
                None => self.remove(name),
            };
            Ok(())
        }
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    // Covers: CORE-040
    #[test]
    fn provisioned_beats_learnt_and_later_beats_earlier() {
        let mut owners = HashMap::new();
        let (alice, bob) = ("alice".into(), "bob".into());
        let who = |owners: &HashMap<String, Owner>, name: &str| {
            owners.get(name).map(|owner| owner.user.to_string())
        };
        learn(&mut owners, &alice, &[], &list(&["+1", "+2"])).unwrap();
        learn(&mut owners, &bob, &[], &list(&["+2"])).unwrap();
        assert_eq!(who(&owners, "+1").as_deref(), Some("alice"));
        assert_eq!(who(&owners, "+2").as_deref(), Some("bob"), "the later registration");
        claim(&mut owners, &alice, &[], &list(&["alice", "+2"]), &[]).unwrap();
        learn(&mut owners, &bob, &[], &list(&["+2"])).unwrap();
        assert_eq!(who(&owners, "+2").as_deref(), Some("alice"), "the profile");
        claim_own(&mut owners, &"+2".into()).unwrap();
        assert_eq!(who(&owners, "+2").as_deref(), Some("alice"), "no default profile takes it");
        let learnt = list(&["+2"]);
        claim(&mut owners, &alice, &list(&["alice", "+2"]), &list(&["alice"]), &learnt).unwrap();
        assert!(!owners["+2"].provisioned, "what the registration told stays");
        learn(&mut owners, &alice, &learnt, &list(&["+1"])).unwrap();
        assert_eq!(who(&owners, "+2"), None, "left the implicit registration set");
        forget(&mut owners, &alice, ["alice", "+1"].into_iter()).unwrap();
        assert!(owners.is_empty(), "{owners:?}");
    }
}
