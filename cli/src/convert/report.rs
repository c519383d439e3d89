//! What became of every field: carried over, dropped, or in need of a look; and what could not be carried over at all.

use std::collections::BTreeSet;

use serde::Serialize;

use super::field::Field;
use crate::output;
use crate::problem::{Origin, Problem, Problems};

/// What became of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The file as the user named it.
    pub file: String,
    /// Line at which its document starts.
    pub line: Option<u64>,
    /// Kind and name.
    pub resource: String,
    /// Path into the resource; empty for the whole of it.
    pub path: String,
    /// What it is in the new resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub became: Option<String>,
    /// Nothing stands for it in the new resource.
    #[serde(skip_serializing_if = "is_false")]
    pub dropped: bool,
    /// Somebody should look at it before the new resource replaces the old one.
    pub attention: bool,
    /// Why, and what differs; may be empty where something is carried over as it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Notes and problems of all resources, in the order in which they came up.
#[derive(Debug, Default)]
pub struct Report {
    /// What became of the fields.
    pub notes: Vec<Note>,
    /// What can't be carried over.
    pub problems: Problems,
    origin: Origin,
}

impl Report {
    /// From here on, notes and problems are about the resource at `origin`.
    pub(super) fn turn_to(&mut self, origin: &Origin) {
        self.origin = origin.clone();
    }

    /// It is carried over as `what`.
    pub(super) fn became(&mut self, field: &Field<'_>, what: impl Into<String>) {
        self.add(&field.path, Some(what.into()), false, String::new());
    }

    /// It is carried over as `what`, and something about that is worth knowing.
    pub(super) fn became_so(&mut self, field: &Field<'_>, what: impl Into<String>, reason: impl Into<String>) {
        self.add(&field.path, Some(what.into()), false, reason.into());
    }

    /// It is carried over as `what`, which is not quite the same.
    pub(super) fn became_but(&mut self, field: &Field<'_>, what: impl Into<String>, reason: impl Into<String>) {
        self.add(&field.path, Some(what.into()), true, reason.into());
    }

    /// Nothing stands for it, and nothing is lost by that.
    pub(super) fn dropped(&mut self, field: &Field<'_>, reason: impl Into<String>) {
        self.add(&field.path, None, false, reason.into());
    }

    /// Nothing stands for it, and somebody may miss it.
    pub(super) fn lost(&mut self, field: &Field<'_>, reason: impl Into<String>) {
        self.add(&field.path, None, true, reason.into());
    }

    /// It can't be carried over, so nothing of its resource is.
    pub(super) fn refuse(&mut self, field: &Field<'_>, reason: impl Into<String>, cure: impl Into<String>) {
        let problem = Problem::at(&self.origin, field.path.clone(), reason).cure(cure);
        // What is for both directions is read twice, and said once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Takes back what was said of the members of a field that came to nothing as a whole.
    pub(super) fn forget_below(&mut self, field: &Field<'_>) {
        let below = format!("{}.", field.path);
        let (resource, file, line) = (&self.origin.resource, &self.origin.file, self.origin.line);
        let is_of = |note: &Note| (&note.resource, &note.file, note.line) == (resource, file, line);
        self.notes.retain(|note| !(is_of(note) && note.path.starts_with(&below)));
    }

    fn add(&mut self, path: &str, became: Option<String>, attention: bool, reason: String) {
        let Origin { file, line, resource } = self.origin.clone();
        let dropped = became.is_none();
        let note = Note { file, line, resource, path: path.to_owned(), became, dropped, attention, reason };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Prints it for people: a heading for each resource and each patch of one, and a line for each field.
    pub(super) fn print(&self) {
        let mut notes: Vec<&Note> = self.notes.iter().collect();
        let first = |note: &Note| self.notes.iter().position(|other| other.is_of(note));
        notes.sort_by_key(|note| (first(note), note.part().0));
        let mut heading: Option<&Note> = None;
        let mut said = BTreeSet::new();
        for note in notes {
            if !heading.is_some_and(|heading| heading.is_of(note)) {
                let origin = Origin { file: note.file.clone(), line: note.line, resource: note.resource.clone() };
                output::aside(output::styled(output::STRONG, origin));
                said.clear();
            }
            let (part, path) = note.part();
            if let Some(part) = part.filter(|_| heading.is_none_or(|heading| heading.part().0 != part)) {
                output::aside(format!("  {PATCHES}[{part}]"));
            }
            heading = Some(note);
            // What holds of several fields is said once for a resource, unless somebody should look at each.
            output::aside(line(note, &path, said.insert(note.reason.as_str()) || note.attention));
        }
        output::problems(&self.problems);
    }
}

/// The list in which most fields are.
const PATCHES: &str = "spec.configPatches";

impl Note {
    fn is_of(&self, other: &Self) -> bool {
        (&self.file, self.line, &self.resource) == (&other.file, other.line, &other.resource)
    }

    /// The patch that it is about, and the path from there on, without what is the same in every patch.
    fn part(&self) -> (Option<u64>, String) {
        let inside = self.path.strip_prefix(PATCHES).and_then(|rest| rest.strip_prefix('[')?.split_once(']'));
        let Some((index, rest)) = inside else { return (None, self.path.clone()) };
        let rest = rest.trim_start_matches('.');
        let message = ["patch.value.typed_config", "patch.value.typed_per_filter_config"];
        let short = message.iter().find_map(|prefix| rest.strip_prefix(prefix)).map(|rest| {
            let rest = rest.split_once(']').filter(|_| rest.starts_with('[')).map_or(rest, |(_, rest)| rest);
            let rest =
                rest.strip_prefix(".value").filter(|rest| !rest.starts_with(char::is_alphanumeric)).unwrap_or(rest);
            format!("LocalRateLimit{rest}")
        });
        (index.parse().ok(), short.unwrap_or_else(|| rest.to_owned()))
    }
}

fn line(note: &Note, path: &str, with_reason: bool) -> String {
    let tag = match (note.attention, note.dropped) {
        (true, _) => output::styled(output::DOUBTFUL, "look at"),
        (false, true) => output::styled(output::FAINT, "dropped"),
        (false, false) => output::styled(output::GOOD, "became "),
    };
    let indent = if note.path.starts_with(PATCHES) { "    " } else { "  " };
    let mut text = format!("{indent}{tag} {}", if path.is_empty() { "the whole of it" } else { path });
    match &note.became {
        Some(became) => text.push_str(&format!(" -> {became}")),
        None if note.attention => text.push_str(" is dropped"),
        None => {}
    }
    if with_reason && !note.reason.is_empty() {
        text.push_str(&format!(": {}", note.reason));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_from_the_patch_and_the_message_on() {
        let part = |path: &str| {
            let note = Note {
                file: String::new(),
                line: None,
                resource: String::new(),
                path: path.to_owned(),
                became: None,
                dropped: true,
                attention: false,
                reason: String::new(),
            };
            note.part()
        };
        let plain = "spec.configPatches[3].patch.value.typed_config.value.stage";
        assert_eq!(part(plain), (Some(3), "LocalRateLimit.stage".into()));
        let route = "spec.configPatches[0].patch.value.typed_per_filter_config[a.b].status.code";
        assert_eq!(part(route), (Some(0), "LocalRateLimit.status.code".into()));
        assert_eq!(part("spec.configPatches[1].match.context"), (Some(1), "match.context".into()));
        assert_eq!(part("spec.priority"), (None, "spec.priority".into()));
    }
}
