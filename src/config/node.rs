//! A JSON document as a tree, and how types are read from it: every error knows its path.

use core::{fmt, ops::RangeInclusive};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::ConfigError;
use crate::logfmt::Quoted;

/// A JSON value. Keys keep their order and their duplicates.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number that is whole and not negative.
    Unsigned(u64),
    /// A number that is whole and negative.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object.
    Object(Vec<(String, Node)>),
}

/// A type that a configuration can hold.
pub trait FromNode: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// Says what is wrong and where below `node`.
    fn from_node(node: &Node) -> Result<Self, ConfigError>;
}

impl Node {
    /// The string that this is.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self) -> Result<&str, ConfigError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.refuse("a string")),
        }
    }

    /// The whole number in `range` that this is. `100.0` counts: a `pluginConfig` goes through protobuf's `Struct`, whose
    /// numbers are all floating-point.
    ///
    /// # Errors
    /// It is none.
    pub fn whole(&self, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let (least, most) = (*range.start(), *range.end());
        let number = match self {
            Self::Unsigned(number) => *number,
            // What is beyond the range of u64 saturates, and is refused as well.
            Self::Float(number) if number.fract() == 0.0 && *number >= 0.0 => *number as u64,
            Self::Float(number) if number.fract() == 0.0 => return Err(too_small(least, *number as i64)),
            Self::Signed(number) => return Err(too_small(least, *number)),
            other => return Err(other.refuse(&format!("a whole number from {least} to {most}"))),
        };
        match number {
            number if number > most => Err(ConfigError::here(format!("must be at most {most}, found {number}"))),
            number if number < least => Err(too_small(least, number)),
            number => Ok(number),
        }
    }

    /// The elements of the list that this is.
    ///
    /// # Errors
    /// It is none, or empty: that could mean all or nothing.
    pub fn list(&self) -> Result<&[Self], ConfigError> {
        match self {
            Self::List(nodes) if nodes.is_empty() => {
                Err(ConfigError::here("must not be empty: leave it out instead".to_owned()))
            }
            Self::List(nodes) => Ok(nodes),
            other => Err(other.refuse("a list")),
        }
    }

    /// The value that `names` has for the string that this is.
    ///
    /// # Errors
    /// It is none of the names.
    pub fn one_of<T: Copy>(&self, names: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text()?;
        match names.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
                Err(ConfigError::here(unknown("value", text, &names)))
            }
        }
    }

    /// The fields of the object that this is, all of which are among `names`.
    ///
    /// # Errors
    /// It is no object, or has another field, or one of them twice.
    pub fn fields(&self, names: &[&str]) -> Result<Fields<'_>, ConfigError> {
        let Self::Object(entries) = self else { return Err(self.refuse("an object")) };
        for (index, (name, _)) in entries.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                return Err(ConfigError::here(unknown("field", name, names)).under(name));
            }
            if entries.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(ConfigError::here(format!("duplicate field `{name}`")));
            }
        }
        Ok(Fields { entries })
    }

    /// Fills `slots`, each under its name, from the fields of the object that this is. Those that are `required` are
    /// filled when this returns.
    ///
    /// # Errors
    /// It is no object, or has another field, or one of them twice, or lacks one, or one is not as it should be.
    pub fn fill(&self, required: &[bool], names: &[&str], slots: &mut [&mut dyn Slot]) -> Result<(), ConfigError> {
        let fields = self.fields(names)?;
        for ((name, slot), required) in names.iter().zip(slots).zip(required) {
            match fields.node(name) {
                Some(node) => slot.fill(node).map_err(|error| error.under(name))?,
                None if *required => return Err(ConfigError::missing(name)),
                None => {}
            }
        }
        Ok(())
    }

    /// Whether this is an object with the field `name`: what `{header: x-api-key}` is told by.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        matches!(self, Self::Object(entries) if entries.iter().any(|(key, _)| key == name))
    }

    /// An error that says what was expected here and what was found.
    #[must_use]
    pub fn refuse(&self, expected: &str) -> ConfigError {
        let found = match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Unsigned(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::Float(_) => "a fraction".to_owned(),
            Self::Text(text) => Quoted(text).to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        };
        ConfigError::here(format!("must be {expected}, found {found}"))
    }
}

fn too_small(least: u64, found: impl fmt::Display) -> ConfigError {
    ConfigError::here(match least {
        0 => format!("must not be negative, found {found}"),
        1 => format!("must be greater than zero, found {found}"),
        least => format!("must be at least {least}, found {found}"),
    })
}

fn unknown(what: &str, found: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!("unknown {what} `{found}`, expected none");
    }
    let mut expected = String::new();
    for (index, name) in names.iter().enumerate() {
        expected.push_str(match index {
            0 => "",
            1 if names.len() == 2 => " or ",
            _ => ", ",
        });
        expected.push('`');
        expected.push_str(name);
        expected.push('`');
    }
    let one_of = if names.len() > 2 { "one of " } else { "" };
    format!("unknown {what} `{found}`, expected {one_of}{expected}")
}

/// The fields of an object. `null` is as good as absent.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    entries: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    /// The field's value, if it is there.
    #[must_use]
    #[inline(never)]
    pub fn node(&self, name: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|(key, _)| key == name);
        entry.map(|(_, node)| node).filter(|node| !matches!(node, Node::Null))
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// It is not, or not as it should be.
    pub fn required<T: FromNode>(&self, name: &str) -> Result<T, ConfigError> {
        self.optional(name)?.ok_or_else(|| ConfigError::missing(name))
    }

    /// A field that may be absent.
    ///
    /// # Errors
    /// It is not as it should be.
    pub fn optional<T: FromNode>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        self.node(name).map(|node| T::from_node(node).map_err(|error| error.under(name))).transpose()
    }

    /// A field that may be absent and then has its default.
    ///
    /// # Errors
    /// It is not as it should be.
    pub fn or_default<T: FromNode + Default>(&self, name: &str) -> Result<T, ConfigError> {
        self.optional(name).map(Option::unwrap_or_default)
    }
}

/// Where a field's value goes. One function fills the fields of all types, which makes the modules smaller than one for
/// each type would.
pub trait Slot {
    /// Reads the value.
    ///
    /// # Errors
    /// It is not as it should be.
    fn fill(&mut self, node: &Node) -> Result<(), ConfigError>;
}

impl<T: FromNode> Slot for Option<T> {
    fn fill(&mut self, node: &Node) -> Result<(), ConfigError> {
        *self = Some(T::from_node(node)?);
        Ok(())
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let nodes = node.list()?;
        let mut values = Self::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            values.push(T::from_node(node).map_err(|error| error.under_index(index))?);
        }
        Ok(values)
    }
}

impl FromNode for String {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        node.text().map(Self::from)
    }
}

impl FromNode for bool {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        match node {
            Node::Bool(value) => Ok(*value),
            other => Err(other.refuse("true or false")),
        }
    }
}

/// Defines an object of the configuration: its type, how it is read, and its schema.
///
/// After each field stands how it is read (`required`, `optional` into an `Option`, or `or_default`), and its name there.
#[macro_export]
macro_rules! config_struct {
    (@slot optional $type:ty) => { <$type>::None };
    (@slot $how:ident $type:ty) => { ::core::option::Option::<$type>::None };
    (@required required) => { true };
    (@required $how:ident) => { false };
    (@value required $name:literal $field:ident) => {
        match $field {
            Some(value) => value,
            None => return Err($crate::config::ConfigError::missing($name)),
        }
    };
    (@value optional $name:literal $field:ident) => { $field };
    (@value or_default $name:literal $field:ident) => { $field.unwrap_or_default() };
    ($(#[$meta:meta])* $vis:vis struct $type:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $field_type:ty = $how:ident($name:literal)),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(
            deny_unknown_fields,
            transform = $type::correct_schema,
        ))]
        $vis struct $type {
            $($(#[$field_meta])* #[cfg_attr(feature = "schema", schemars(rename = $name))] $field_vis $field: $field_type),+
        }

        #[cfg(feature = "schema")]
        impl $type {
            fn correct_schema(schema: &mut schemars::Schema) {
                $crate::config::schema::correct(schema, &[$(($name, stringify!($how))),+]);
            }
        }

        impl $crate::config::FromNode for $type {
            fn from_node(node: &$crate::config::Node) -> ::core::result::Result<Self, $crate::config::ConfigError> {
                $(let mut $field = $crate::config_struct!(@slot $how $field_type);)+
                let required = [$($crate::config_struct!(@required $how)),+];
                node.fill(&required, &[$($name),+], &mut [$(&mut $field),+])?;
                Ok(Self { $($field: $crate::config_struct!(@value $how $name $field)),+ })
            }
        }
    };
}

/// Defines a choice of names of the configuration: its type, how it is read, and its schema.
#[macro_export]
macro_rules! config_enum {
    ($(#[$meta:meta])* $vis:vis enum $type:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $name:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $vis enum $type {
            $($(#[$variant_meta])* #[cfg_attr(feature = "schema", schemars(rename = $name))] $variant),+
        }

        impl $crate::config::FromNode for $type {
            fn from_node(node: &$crate::config::Node) -> ::core::result::Result<Self, $crate::config::ConfigError> {
                node.one_of(&[$(($name, Self::$variant)),+])
            }
        }
    };
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Unsigned(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Signed(number))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
                Ok(Node::Float(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = seq.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Object(entries))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}
