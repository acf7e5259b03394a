//! Changes of a profile as an operator writes them: `key=value`.

use std::collections::BTreeSet;

use parlance_store::{Entry, Profile};
use serde_json::{Map, Value};

/// Keys that the store sets itself, or the user.
const FIXED: [&str; 4] = ["user", "revision", "created", "published"];

/// Keys that hold access lists, whose entries have a short form.
const ENTRIES: [&str; 5] =
    ["accept", "reject", "offline_storage", "auto_answer", "answer_override"];

/// Applies `changes` to `profile`, in order.
///
/// A change is `key=value`, or for a list `key+=value` and `key-=value`. A key is a field of the
/// profile, `rights.pager` for one inside another; a value is JSON, or a text as it is. An entry of
/// an access list is an identity, `domain:NAME`, `list:NAME` or `anonymous`; `lists.NAME` has the
/// identities and domains of a list, which comes with its first one.
///
/// # Errors
/// Every change that cannot be made, with the reason.
pub fn edit(profile: &Profile, changes: &[String]) -> Result<Profile, Vec<String>> {
    let mut wrong = Vec::new();
    let Ok(Value::Object(mut fields)) = serde_json::to_value(profile) else {
        return Err(vec!["the profile cannot be written as an object".to_owned()]);
    };
    let mut current = profile.clone();
    for change in changes {
        let before = fields.clone();
        let read = apply(&mut fields, change).and_then(|()| {
            let value = Value::Object(fields.clone());
            serde_json::from_value::<Profile>(value).map_err(|error| error.to_string())
        });
        match read {
            Ok(changed) => current = changed,
            Err(why) => {
                wrong.push(format!("{change}: {why}"));
                fields = before;
            }
        }
    }
    wrong.extend(missing_lists(&current));
    if wrong.is_empty() { Ok(current) } else { Err(wrong) }
}

/// What is wrong with entries that name a list which is not there: nobody could be found in it.
fn missing_lists(profile: &Profile) -> Vec<String> {
    let Profile { accept, reject, auto_answer, answer_override, offline_storage, .. } = profile;
    let entries = [accept, reject, auto_answer, answer_override].into_iter().chain(offline_storage);
    let named = entries.flatten().filter_map(|entry| match entry {
        Entry::List(name) => Some(name),
        _ => None,
    });
    let missing: BTreeSet<_> = named.filter(|name| !profile.lists.contains_key(*name)).collect();
    let what = |name| format!("list:{name}: there is no such list; lists.{name} makes it");
    missing.into_iter().map(what).collect()
}

/// The name of the list that a key is about.
fn list_of(key: &str) -> Option<&str> {
    key.strip_prefix("lists.")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Set,
    Add,
    Take,
}

fn apply(fields: &mut Map<String, Value>, change: &str) -> Result<(), String> {
    let (left, text) = change.split_once('=').ok_or("not key=value")?;
    let (key, operator) = match (left.strip_suffix('+'), left.strip_suffix('-')) {
        (Some(key), _) => (key, Operator::Add),
        (None, Some(key)) => (key, Operator::Take),
        (None, None) => (left, Operator::Set),
    };
    if FIXED.contains(&key) {
        return Err("cannot be changed".to_owned());
    }
    if let (Some(name), Some(lists)) = (list_of(key), fields.get_mut("lists")) {
        let lists = lists.as_object_mut().ok_or("lists has no parts")?;
        if operator != Operator::Set || text != "null" {
            lists.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        } else {
            return lists.remove(name).map(drop).ok_or_else(|| "there is no such list".to_owned());
        }
    }
    let place = place(fields, key)?;
    let value = value(key, operator, text)?;
    match operator {
        Operator::Set => *place = value,
        Operator::Add | Operator::Take => {
            if place.is_null() && ENTRIES.contains(&key) {
                *place = Value::Array(Vec::new());
            }
            let list = place.as_array_mut().ok_or("is no list")?;
            list.retain(|known| *known != value);
            if operator == Operator::Add {
                list.push(value);
            }
        }
    }
    Ok(())
}

fn place<'a>(fields: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Value, String> {
    let known = |fields: &Map<String, Value>| {
        let names = fields.keys().map(String::as_str).filter(|name| !FIXED.contains(name));
        names.collect::<Vec<_>>().join(", ")
    };
    let (first, rest) = key.split_once('.').map_or((key, None), |(a, b)| (a, Some(b)));
    let unknown = format!("unknown key; known are {}", known(fields));
    let outer = fields.get_mut(first).ok_or(unknown)?;
    let Some(rest) = rest else { return Ok(outer) };
    let inner = outer.as_object_mut().ok_or_else(|| format!("{first} has no parts"))?;
    let unknown = format!("unknown key; known in {first} are {}", known(inner));
    inner.get_mut(rest).ok_or(unknown)
}

fn value(key: &str, operator: Operator, text: &str) -> Result<Value, String> {
    let entry = |text: &str| serde_json::to_value(entry(text)?).map_err(|error| error.to_string());
    if ENTRIES.contains(&key) || list_of(key).is_some() {
        return match operator {
            Operator::Add | Operator::Take => entry(text),
            Operator::Set if text == "null" => Ok(Value::Null),
            Operator::Set => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                texts.map(entry).collect::<Result<_, _>>().map(Value::Array)
            }
        };
    }
    if key == "aliases" && operator != Operator::Set {
        return identity(text).map(Value::String);
    }
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
}

fn entry(text: &str) -> Result<Entry, String> {
    if text == "anonymous" {
        return Ok(Entry::Anonymous);
    }
    if let Some(name) = text.strip_prefix("domain:") {
        return Ok(Entry::Domain(name.to_ascii_lowercase()));
    }
    if let Some(name) = text.strip_prefix("list:") {
        return Ok(Entry::List(name.to_owned()));
    }
    identity(text).map(Entry::Identity)
}

fn identity(text: &str) -> Result<String, String> {
    let parsed = text.parse::<parlance_sip::uri::Aor>();
    parsed.map(|identity| identity.as_str().to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use parlance_store::{Deferral, Entry, Millis, Profile, RejectAnswer};

    use super::edit;

    fn alice() -> Profile {
        Profile::new("sip:alice@ims.test".into(), Millis(7))
    }

    fn edited(changes: &[&str]) -> Result<Profile, Vec<String>> {
        edit(&alice(), &changes.iter().map(|change| (*change).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_json_or_text() {
        let changed = edited(&[
            "barred=true",
            "rights.large=false",
            "message_octets_max=1300",
            "deferral=push-message",
            "reject_answer=silent",
            "blocked_content+=image/*",
            "aliases+=tel:+1-555-0001",
        ]);
        let expected = Profile {
            barred: true,
            rights: parlance_store::Rights { large: false, ..Default::default() },
            message_octets_max: Some(1300),
            deferral: Deferral::PushMessage,
            reject_answer: RejectAnswer::Silent,
            blocked_content: vec!["image/*".to_owned()],
            aliases: vec!["tel:+15550001".to_owned()],
            ..alice()
        };
        assert_eq!(changed, Ok(expected));
    }

    #[test]
    fn lists_of_people_have_a_short_form() {
        let changed = edited(&[
            "reject=sip:eve@IMS.test;x=y, domain:Spam.test, anonymous",
            "reject-=domain:spam.test",
            "accept+=list:friends",
            "lists.friends+=sip:carol@IMS.test",
            "lists.friends+=domain:Friends.test",
            "lists.friends+=sip:dave@ims.test",
            "lists.friends-=sip:dave@ims.test",
            "offline_storage+=sip:bob@ims.test",
            "auto_answer=anonymous",
            "answer_override+=sip:boss@ims.test",
        ]);
        let friends = vec![
            Entry::Identity("sip:carol@ims.test".to_owned()),
            Entry::Domain("friends.test".to_owned()),
        ];
        let expected = Profile {
            reject: vec![Entry::Identity("sip:eve@ims.test".to_owned()), Entry::Anonymous],
            accept: vec![Entry::List("friends".to_owned())],
            lists: [("friends".to_owned(), friends)].into(),
            offline_storage: Some(vec![Entry::Identity("sip:bob@ims.test".to_owned())]),
            auto_answer: vec![Entry::Anonymous],
            answer_override: vec![Entry::Identity("sip:boss@ims.test".to_owned())],
            ..alice()
        };
        assert_eq!(changed, Ok(expected.clone()));
        let changes = ["offline_storage=null".to_owned(), "reject=".to_owned()];
        let emptied = edit(&expected, &changes).unwrap();
        assert_eq!((emptied.offline_storage, emptied.reject.len()), (None, 0));
    }

    // Covers: PF-081
    #[test]
    fn a_list_that_is_named_is_there() {
        let listed =
            edited(&["lists.friends=sip:b@ims.test, domain:x.test", "reject+=list:friends"]);
        let listed = listed.unwrap();
        assert_eq!(listed.lists["friends"].len(), 2);
        let [said] = &edited(&["reject+=list:foes"]).unwrap_err()[..] else { panic!() };
        assert!(said.starts_with("list:foes: there is no such list"), "{said}");
        // Nor can it go while it is named.
        let gone = |changes: &[&str]| {
            let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
            edit(&listed, &changes)
        };
        assert!(gone(&["lists.friends=null"]).is_err());
        let gone = gone(&["reject=", "lists.friends=null"]).unwrap();
        assert!(gone.lists.is_empty());
        assert!(edited(&["lists.foes=null"]).is_err());
    }

    #[test]
    fn every_change_that_cannot_be_made_is_named() {
        #[rustfmt::skip]
        let table = [
            ("barred", "not key=value"),
            ("user=sip:eve@ims.test", "cannot be changed"),
            ("revision=0", "cannot be changed"),
            ("published=null", "cannot be changed"),
            ("colour=red", "unknown key; known are "),
            ("rights.fly=true", "unknown key; known in rights are "),
            ("barred.x=1", "barred has no parts"),
            ("barred+=true", "is no list"),
            ("barred=maybe", "invalid type"),
            ("deferral=pigeon", "unknown variant"),
            ("reject+=nobody", "URI"),
        ];
        for (change, why) in table {
            let [said] = &edited(&[change]).unwrap_err()[..] else { panic!("{change}") };
            assert!(said.starts_with(change) && said.contains(why), "{said}");
        }
        let both = edited(&["barred=1", "provisioned=true", "x=2"]).unwrap_err();
        assert_eq!(both.len(), 2, "{both:?}");
    }
}
