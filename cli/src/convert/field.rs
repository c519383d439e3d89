//! A value of a resource together with the path to it, read as protobuf's JSON form is: names in snake_case or
//! lowerCamelCase, whole numbers as numbers or strings, `null` as nothing.

use serde_json::Value;

use super::report::Report;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

impl<'a> Field<'a> {
    /// The value at `path`.
    pub(super) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    /// A member, by its name in snake_case.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        self.members()
            .into_iter()
            .find(|(key, member)| snake_case(key) == snake_case(name) && !member.value.is_null())
            .map(|(_, member)| member)
    }

    /// A member of a member.
    pub(super) fn find(&self, names: &[&str]) -> Option<Self> {
        names.iter().try_fold(self.clone(), |field, name| field.get(name))
    }

    /// All members with their names; none when it is no object.
    pub(super) fn members(&self) -> Vec<(&'a str, Self)> {
        let object = self.value.as_object();
        let member = |(key, value): (&'a String, &'a Value)| {
            let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let path = match (self.path.is_empty(), plain) {
                (true, _) => key.clone(),
                (false, true) => format!("{}.{key}", self.path),
                (false, false) => format!("{}[{key}]", self.path),
            };
            (key.as_str(), Field::new(value, path))
        };
        object.map(|object| object.iter().map(member).collect()).unwrap_or_default()
    }

    /// All entries; none when it is no list.
    pub(super) fn items(&self) -> Vec<Self> {
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(|(index, value)| Field::new(value, format!("{}[{index}]", self.path))).collect()
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The text of a member, empty when it is not there.
    pub(super) fn text_of(&self, name: &str) -> &'a str {
        self.get(name).and_then(|field| field.text()).unwrap_or_default()
    }

    /// A whole number, if it is one.
    pub(super) fn number(&self) -> Option<u64> {
        match self.value {
            Value::String(text) => text.parse().ok(),
            value => value
                .as_u64()
                .or_else(|| value.as_f64().filter(|n| n.fract() == 0.0).map(|n| format!("{n:.0}").parse().ok())?),
        }
    }

    /// A whole number, or a problem.
    pub(super) fn need_number(&self, report: &mut Report) -> Option<u64> {
        let number = self.number();
        if number.is_none() {
            report.refuse(
                self,
                format!("must be a whole number, found {}", self.value),
                "correct it: Envoy refuses this",
            );
        }
        number
    }

    /// True or false, or a problem.
    pub(super) fn need_flag(&self, report: &mut Report) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            report.refuse(
                self,
                format!("must be true or false, found {}", self.value),
                "correct it: Envoy refuses this",
            );
        }
        flag
    }

    /// Refuses the members that are not among these.
    pub(super) fn only(&self, known: &[&str], what: &str, report: &mut Report) {
        if !self.value.is_object() {
            report.refuse(self, format!("must be an object, found {}", self.value), "correct it: Istio refuses this");
        }
        for (key, member) in self.members() {
            if !known.iter().any(|known| snake_case(key) == snake_case(known)) {
                let cure = "mend its spelling, or take it out";
                report.refuse(&member, format!("is not a field of {what} that is known here"), cure);
            }
        }
    }
}

/// `fillInterval` as `fill_interval`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_in_either_spelling_and_keep_theirs_in_the_path() {
        let value = json!({"tokenBucket": {"max_tokens": "7", "fill_interval": null}, "a.b": {"c": [1]}});
        let root = Field::new(&value, "spec");
        let tokens = root.find(&["token_bucket", "max_tokens"]).unwrap();
        assert_eq!((tokens.path.as_str(), tokens.number()), ("spec.tokenBucket.max_tokens", Some(7)));
        assert!(root.find(&["token_bucket", "fill_interval"]).is_none());
        assert_eq!(root.find(&["a.b", "c"]).unwrap().items()[0].path, "spec[a.b].c[0]");
    }

    #[test]
    fn only_whole_numbers_are_numbers() {
        for (value, number) in [(json!(3), Some(3)), (json!(3.0), Some(3)), (json!(0.5), None), (json!(-1), None)] {
            assert_eq!(Field::new(&value, "").number(), number, "{value}");
        }
    }
}
