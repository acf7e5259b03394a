//! One table for each section: a field's comment, type, default, range and example stand together,
//! and the reader, the checks and the documented file are made from them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::{Deref, RangeInclusive};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Mistakes, Secret};

/// A value that can stand behind a key.
pub(crate) trait Setting: Sized {
    /// Reads it. What is wrong goes to `mistakes` under `key`; then there is no value.
    fn read(key: &str, value: Value, mistakes: &mut Mistakes) -> Option<Self>;

    /// The value as the file has it; `None` for one that is not set, and for secrets.
    fn write(&self) -> Option<Value>;

    /// The fields of each table, when the key stands for tables.
    fn tables() -> Option<Documented> {
        None
    }
}

/// A section of the configuration, or one table of an array. Made by [`section!`].
pub(crate) trait Section: Default {
    /// What is documented.
    fn documented() -> Documented;

    /// Reads every key of `reader`.
    fn read(reader: &mut Reader<'_>) -> Self;

    /// The keys whose values differ in `other`.
    fn changed(&self, other: &Self) -> Vec<&'static str>;
}

/// A section as it is documented.
#[derive(Debug)]
pub(crate) struct Documented {
    /// What the section is for, line by line.
    pub(crate) about: Vec<&'static str>,
    /// Its keys.
    pub(crate) fields: Vec<Field>,
}

/// A key as it is documented.
#[derive(Debug)]
pub(crate) struct Field {
    /// The key.
    pub(crate) name: &'static str,
    /// Unit, default when it is not a value, effect, section; line by line.
    pub(crate) about: Vec<&'static str>,
    /// The default, or for a key without one an example.
    pub(crate) value: Option<Value>,
    /// Whether `value` is the default.
    pub(crate) is_default: bool,
    /// The values allowed, as text.
    pub(crate) range: Option<String>,
    /// The fields of each table, when the key stands for tables.
    pub(crate) tables: Option<Documented>,
}

/// Gives out the keys of one table and remembers what is left.
pub(crate) struct Reader<'a> {
    path: String,
    table: Table,
    environment: &'a mut BTreeMap<String, Variable>,
    known: Vec<&'static str>,
    /// What is wrong so far.
    pub(crate) mistakes: &'a mut Mistakes,
}

/// A variable of the environment that sets a key.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Its name, for mistakes.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

impl<'a> Reader<'a> {
    /// A reader for the table at `path`; `environment` maps `section.key` to variables.
    pub(crate) fn new(
        path: String,
        table: Table,
        environment: &'a mut BTreeMap<String, Variable>,
        mistakes: &'a mut Mistakes,
    ) -> Self {
        Self { path, table, environment, known: Vec::new(), mistakes }
    }

    /// The value of `name`: from the environment, else from the file, else the default.
    pub(crate) fn take<T: Setting>(&mut self, name: &'static str, default: T) -> T {
        self.known.push(name);
        let key = format!("{}.{name}", self.path);
        let in_file = self.table.remove(name);
        let read = match self.environment.remove(&key) {
            Some(variable) => read_variable(&key, &variable, self.mistakes),
            None => in_file.and_then(|value| T::read(&key, value, self.mistakes)),
        };
        read.unwrap_or(default)
    }

    /// Notes a value out of range.
    pub(crate) fn check<T: PartialOrd + Display>(
        &mut self,
        name: &str,
        value: &T,
        range: &RangeInclusive<T>,
    ) {
        if !range.contains(value) {
            let (first, last) = (range.start(), range.end());
            let key = format!("{}.{name}", self.path);
            self.mistakes.add(&key, format!("{value} is not in {first} to {last}"));
        }
    }

    /// Notes the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for name in self.table.keys() {
            let known = self.known.join(", ");
            let key = format!("{}.{name}", self.path);
            self.mistakes.add(&key, format!("unknown key; known are {known}"));
        }
    }
}

/// A variable holds TOML or, where that does not fit, a plain text.
fn read_variable<T: Setting>(key: &str, variable: &Variable, mistakes: &mut Mistakes) -> Option<T> {
    let shown = format!("{key} ({})", variable.name);
    let parsed = format!("value = {}", variable.text).parse::<Table>().ok();
    let mut wrong = Mistakes::default();
    let as_toml = parsed
        .and_then(|mut table| table.remove("value"))
        .and_then(|value| T::read(&shown, value, &mut wrong));
    if as_toml.is_some() {
        return as_toml;
    }
    let mut wrong_text = Mistakes::default();
    let as_text = T::read(&shown, Value::String(variable.text.clone()), &mut wrong_text);
    if as_text.is_none() {
        mistakes.append(if wrong.is_empty() { wrong_text } else { wrong });
    }
    as_text
}

/// Values that serde reads and writes by itself.
macro_rules! leaf {
    ($($type:ty),* $(,)?) => {$(
        impl Setting for $type {
            fn read(key: &str, value: Value, mistakes: &mut Mistakes) -> Option<Self> {
                read_leaf(key, value, mistakes)
            }

            fn write(&self) -> Option<Value> {
                Value::try_from(self).ok()
            }
        }
    )*};
}
pub(super) use leaf;

leaf!(bool, u16, u32, u64, String, PathBuf, SocketAddr, Vec<String>, Vec<SocketAddr>);
leaf!(Vec<ipnet::IpNet>);

/// Reads a value with serde.
pub(super) fn read_leaf<T: DeserializeOwned>(
    key: &str,
    value: Value,
    mistakes: &mut Mistakes,
) -> Option<T> {
    T::deserialize(value).map_err(|error| mistakes.add(key, error.message().trim().to_owned())).ok()
}

impl Setting for Secret {
    fn read(key: &str, value: Value, mistakes: &mut Mistakes) -> Option<Self> {
        // Not by serde: its message would quote what was found.
        match value {
            Value::String(text) => Some(Self::from(text)),
            _ => {
                mistakes.add(key, "must be a text in quotes".to_owned());
                None
            }
        }
    }

    fn write(&self) -> Option<Value> {
        None
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(key: &str, value: Value, mistakes: &mut Mistakes) -> Option<Self> {
        T::read(key, value, mistakes).map(Some)
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(T::write)
    }
}

/// The tables of an array, `[[section.key]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables<T>(pub Vec<T>);

impl<T> Deref for Tables<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Section> Setting for Tables<T> {
    fn read(key: &str, value: Value, mistakes: &mut Mistakes) -> Option<Self> {
        let Value::Array(values) = value else {
            mistakes.add(key, format!("must be tables, [[{key}]]"));
            return None;
        };
        let mut tables = Vec::with_capacity(values.len());
        for (position, value) in values.into_iter().enumerate() {
            let path = format!("{key}[{position}]");
            let Value::Table(table) = value else {
                mistakes.add(&path, "must be a table".to_owned());
                continue;
            };
            let mut environment = BTreeMap::new();
            let mut reader = Reader::new(path, table, &mut environment, mistakes);
            tables.push(T::read(&mut reader));
            reader.finish();
        }
        Some(Self(tables))
    }

    fn write(&self) -> Option<Value> {
        None
    }

    fn tables() -> Option<Documented> {
        Some(T::documented())
    }
}

/// Defines a section: its struct, its defaults, its reader and its documentation.
///
/// `name: type = default;`, with `in first..=last` for the values allowed and `example "TOML"` for
/// a key that has no default.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub struct $section:ident {
            $(
                $(#[doc = $field_about:literal])*
                pub $field:ident: $type:ty = $default:expr
                    $(, in $range:expr)? $(, example $example:literal)?;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $section {
            $($(#[doc = $field_about])* pub $field: $type,)*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::section::Section for $section {
            fn documented() -> $crate::config::section::Documented {
                $crate::config::section::Documented {
                    about: vec![$($about),*],
                    fields: vec![$({
                        let default: $type = $default;
                        let range: Option<String> = None$(.or(Some({
                            let range: ::std::ops::RangeInclusive<$type> = $range;
                            format!("{} to {}", range.start(), range.end())
                        })))?;
                        let example: Option<&'static str> = None$(.or(Some($example)))?;
                        $crate::config::section::documented_field::<$type>(
                            stringify!($field),
                            vec![$($field_about),*],
                            &default,
                            range,
                            example,
                        )
                    }),*],
                }
            }

            fn read(reader: &mut $crate::config::section::Reader<'_>) -> Self {
                Self {
                    $($field: {
                        let value: $type = reader.take(stringify!($field), $default);
                        $(reader.check(stringify!($field), &value, &$range);)?
                        value
                    },)*
                }
            }

            fn changed(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field != other.$field {
                    names.push(stringify!($field));
                })*
                names
            }
        }
    };
}
pub(super) use section;

/// What is documented of one key.
pub(super) fn documented_field<T: Setting>(
    name: &'static str,
    about: Vec<&'static str>,
    default: &T,
    range: Option<String>,
    example: Option<&'static str>,
) -> Field {
    let written = default.write();
    let is_default = written.is_some();
    let example = example.and_then(|text| {
        format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"))
    });
    Field { name, about, value: written.or(example), is_default, range, tables: T::tables() }
}
