//! A JSON Schema as a page of tables, one for each object, named by where it stands.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Between a place and the field by which one of several objects there is told from the others.
const WITH: &str = " with ";

/// An object's schema, and where it stands.
struct Section<'a> {
    /// The first place: `rules[].limits[]`; empty for the root.
    path: String,
    /// The others.
    also: Vec<String>,
    schema: &'a Value,
}

/// The page of the filter `name`.
pub(super) fn page(name: &str, schema: &Value) -> String {
    let page = Page::of(schema);
    let mut text = format!(
        "# {name}: reference\n\n\
         <!-- Written by `make reference` from the types that the parser fills: edit their comments, not this. -->\n\n\
         Every field of its `pluginConfig`. [Configuration](../configuration.md#{name}) has examples and says how it all \
         works. `tollgate schema {name}` prints the JSON Schema.\n"
    );
    for section in &page.sections {
        page.section(section, &mut text);
    }
    text
}

struct Page<'a> {
    definitions: Option<&'a Map<String, Value>>,
    sections: Vec<Section<'a>>,
    /// The place of each definition that has a section.
    places: BTreeMap<&'a str, String>,
}

impl<'a> Page<'a> {
    fn of(root: &'a Value) -> Self {
        let definitions = root.get("$defs").and_then(Value::as_object);
        let mut page = Self { definitions, sections: Vec::new(), places: BTreeMap::new() };
        let mut waiting = vec![(String::new(), None, root)];
        while let Some((path, name, schema)) = waiting.pop() {
            if let Some(name) = name {
                if let Some(first) = page.places.get(name) {
                    if let Some(section) = page.sections.iter_mut().find(|section| section.path == *first) {
                        section.also.push(path);
                    }
                    continue;
                }
                page.places.insert(name, path.clone());
            }
            page.sections.push(Section { path: path.clone(), also: Vec::new(), schema });
            let base = path.split(WITH).next().unwrap_or_default();
            let mut below = Vec::new();
            for (field, property) in fields_of(schema) {
                let path = if base.is_empty() { field.clone() } else { format!("{base}.{field}") };
                page.find_objects(property, path, &mut |name, path, object| below.push((path, Some(name), object)));
            }
            waiting.extend(below.into_iter().rev());
        }
        page
    }

    fn find_objects(&self, schema: &'a Value, path: String, found: &mut dyn FnMut(&'a str, String, &'a Value)) {
        if let Some((name, object)) = self.definition(schema) {
            if object_form(object).is_some() {
                found(name, path, object);
            }
            return;
        }
        if let Some(items) = schema.get("items") {
            self.find_objects(items, format!("{path}[]"), found);
        }
        let objects = |form: &&Value| self.definition(form).is_some_and(|(_, schema)| object_form(schema).is_some());
        let several = forms(schema).filter(objects).count() > 1;
        for form in forms(schema) {
            let told_by = self.definition(form).and_then(|(_, schema)| first_required(schema)).filter(|_| several);
            let path = told_by.map_or_else(|| path.clone(), |field| format!("{path}{WITH}{field}"));
            self.find_objects(form, path, found);
        }
    }

    fn definition(&self, schema: &Value) -> Option<(&'a str, &'a Value)> {
        let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
        self.definitions?.get_key_value(name).map(|(name, schema)| (name.as_str(), schema))
    }

    fn section(&self, section: &Section<'a>, text: &mut String) {
        if section.path.is_empty() {
            text.push_str("\n## pluginConfig\n\n");
        } else {
            let heading = section.path.replace(WITH, &format!("`{WITH}`"));
            text.push_str(&format!("\n## `{heading}`\n\n"));
        }
        if let Some(description) = description(section.schema) {
            text.push_str(&format!("{description}\n\n"));
        }
        if !section.also.is_empty() {
            let also: Vec<String> = section.also.iter().map(|path| format!("`{path}`")).collect();
            text.push_str(&format!("The same as {}.\n\n", listed(&also, "and")));
        }
        text.push_str("| field | type | |\n|---|---|---|\n");
        let object = object_form(section.schema).unwrap_or(section.schema);
        let required = object.get("required").and_then(Value::as_array);
        for (field, property) in fields_of(section.schema) {
            let required = required.is_some_and(|required| required.iter().any(|name| name == field));
            let mark = if required { " (required)" } else { "" };
            let row = format!("| `{field}`{mark} | {} | {} |\n", self.type_of(property), self.about(property));
            text.push_str(&row);
        }
    }

    /// What a field takes, in a few words.
    fn type_of(&self, schema: &Value) -> String {
        if let Some((name, definition)) = self.definition(schema) {
            return match self.places.get(name) {
                Some(place) => {
                    let with = place.split_once(WITH).map(|(_, field)| format!("{WITH}`{field}`")).unwrap_or_default();
                    format!("[{}{with}](#{})", form_of_object(definition), anchor(place))
                }
                None => self.type_of(definition),
            };
        }
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let number = |key: &str| schema.get(key).and_then(Value::as_u64);
        if let Some(value) = schema.get("const") {
            return format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if let Some(title) = text("title") {
            return title.to_owned();
        }
        let several: Vec<String> = forms(schema).map(|form| self.type_of(form)).collect();
        if !several.is_empty() {
            return listed(&several, "or");
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let values: Vec<String> =
                values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
            return listed(&values, "or");
        }
        match text("type") {
            Some("array") => {
                let items = schema.get("items").map(|items| self.type_of(items)).unwrap_or_default();
                format!("list of {}", plural(&items))
            }
            Some("integer") => match (number("minimum"), number("maximum")) {
                (Some(least), Some(most)) => format!("whole number, {least} to {most}"),
                _ => "whole number".to_owned(),
            },
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("object") if number("maxProperties") == Some(0) => "`{}`".to_owned(),
            Some("object") => match schema.get("additionalProperties").filter(|values| values.is_object()) {
                Some(values) => format!("object of names and {}", plural(&self.type_of(values))),
                None => "object".to_owned(),
            },
            Some("string") => "text".to_owned(),
            _ => "anything".to_owned(),
        }
    }

    /// What a field does, and what each of its values means.
    fn about(&self, schema: &Value) -> String {
        let mut about = description(schema).unwrap_or_default();
        let mut add = |text: String| {
            about.push_str(if about.is_empty() { "" } else { "<br>" });
            about.push_str(&text);
        };
        if let Some(each) = schema.get("items").filter(|items| items.get("$ref").is_none()).and_then(description) {
            add(format!("Each: {each}."));
        }
        let definition = self.definition(schema).map(|(_, definition)| definition).unwrap_or(schema);
        for value in forms(definition) {
            if let (Some(name), Some(meaning)) = (value.get("const").and_then(Value::as_str), description(value)) {
                add(format!("`{name}`: {meaning}"));
            }
        }
        about.replace('|', "\\|")
    }
}

fn forms(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten()
}

/// The form of it that has fields.
fn object_form(schema: &Value) -> Option<&Value> {
    if schema.get("properties").is_some() {
        return Some(schema);
    }
    forms(schema).find(|form| form.get("properties").is_some())
}

/// Its fields: what must be there first, then what all is about, then by name.
fn fields_of(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let object = object_form(schema);
    let required = object.and_then(|object| object.get("required")?.as_array());
    let properties = object.and_then(|object| object.get("properties")?.as_object());
    let mut fields: Vec<_> = properties.into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| {
        let is_required = required.is_some_and(|required| required.iter().any(|other| other == *name));
        (!is_required, !matches!(name.as_str(), "name" | "rules" | "routes" | "match"))
    });
    fields.into_iter()
}

fn first_required(schema: &Value) -> Option<&str> {
    object_form(schema)?.get("required")?.as_array()?.first()?.as_str()
}

fn form_of_object(schema: &Value) -> &'static str {
    if schema.get("properties").is_some() { "object" } else { "name or object" }
}

fn description(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// As GitHub makes it of a heading.
fn anchor(path: &str) -> String {
    if path.is_empty() {
        return "pluginconfig".to_owned();
    }
    let kept = |c: &char| c.is_ascii_alphanumeric() || *c == ' ';
    path.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn plural(noun: &str) -> String {
    if let Some((linked, rest)) = noun.strip_prefix('[').and_then(|noun| noun.split_once("](")) {
        return format!("[{}]({rest}", plural(linked).replace("name or", "names or"));
    }
    if noun.ends_with('s') { format!("{noun}es") } else { format!("{noun}s") }
}

fn listed(items: &[String], conjunction: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}
