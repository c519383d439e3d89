//! What became of every field: carried over, dropped, or in need of a look; and what could not be carried over at all.

use std::collections::BTreeSet;

use serde::Serialize;

use super::authorization::Difference;
use super::field::Field;
use crate::output;
use crate::problem::{Origin, Problem, Problems};

/// What became of one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// In what the new resource deliberately differs from the old one: a code that stays the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
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

    /// What comes out differs in this way, wherever the resource has something of this kind. Said once for a resource.
    pub(super) fn announce(&mut self, field: &Field<'_>, difference: Difference) {
        let is_said = |note: &Note| self.is_of_origin(note) && note.difference == Some(difference);
        if !self.notes.iter().any(is_said) {
            let reason = difference.reason().to_owned();
            self.push(Note { difference: Some(difference), reason, ..self.note(&field.path) });
        }
    }

    /// What comes out differs in this way here: `how` says what it is in this place, and what to do about it.
    pub(super) fn differs(&mut self, field: &Field<'_>, difference: Difference, how: impl Into<String>) {
        let note = self.note(&field.path);
        self.push(Note { difference: Some(difference), attention: true, reason: how.into(), ..note });
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
        let origin = self.origin.clone();
        self.notes.retain(|note| !(note.is_at(&origin) && note.path.starts_with(&below)));
    }

    fn add(&mut self, path: &str, became: Option<String>, attention: bool, reason: String) {
        let dropped = became.is_none();
        self.push(Note { became, dropped, attention, reason, ..self.note(path) });
    }

    fn push(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// One that says nothing yet.
    fn note(&self, path: &str) -> Note {
        let Origin { file, line, resource } = self.origin.clone();
        Note { file, line, resource, path: path.to_owned(), ..Note::default() }
    }

    fn is_of_origin(&self, note: &Note) -> bool {
        note.is_at(&self.origin)
    }

    /// Prints it for people: a heading for each resource and each patch or rule of one, and a line for each field. In what
    /// many resources differ alike is explained once.
    pub(super) fn print(&self) {
        let mut notes: Vec<&Note> = self.notes.iter().collect();
        let first = |note: &Note| self.notes.iter().position(|other| other.is_of(note));
        notes.sort_by_key(|note| (first(note), note.part().0));
        let mut heading: Option<&Note> = None;
        let mut said = BTreeSet::new();
        let mut explained = BTreeSet::new();
        for note in &notes {
            if !heading.is_some_and(|heading| heading.is_of(note)) {
                let origin = Origin { file: note.file.clone(), line: note.line, resource: note.resource.clone() };
                output::aside(output::styled(output::STRONG, origin));
                said.clear();
                let announced = notes.iter().filter(|other| other.is_of(note)).filter_map(|other| other.announced());
                let again: Vec<_> = announced.filter(|difference| !explained.insert(*difference)).collect();
                if !again.is_empty() {
                    let codes: Vec<_> = again.iter().map(|difference| difference.code()).collect();
                    output::aside(format!("  {} as said above: {}", Note::differs(), codes.join(", ")));
                }
                said.extend(again.iter().map(|difference| difference.reason()));
            }
            if note.announced().is_some_and(|difference| said.contains(difference.reason())) {
                continue;
            }
            let (part, path) = note.part();
            if let Some(part) = part.filter(|_| heading.is_none_or(|heading| heading.part().0 != part)) {
                output::aside(format!("  {part}"));
            }
            heading = Some(note);
            // What holds of several fields is said once for a resource, unless somebody should look at each.
            output::aside(line(note, &path, said.insert(note.reason.as_str()) || note.attention));
        }
        output::problems(&self.problems);
    }
}

/// The lists in which most fields are.
const LISTS: [&str; 2] = ["spec.configPatches", "spec.rules"];

impl Note {
    fn is_of(&self, other: &Self) -> bool {
        (&self.file, self.line, &self.resource) == (&other.file, other.line, &other.resource)
    }

    /// The difference that it says of the resource as a whole.
    fn announced(&self) -> Option<Difference> {
        self.difference.filter(|_| !self.attention)
    }

    fn differs() -> String {
        output::styled(output::DOUBTFUL, "differs")
    }

    fn is_at(&self, origin: &Origin) -> bool {
        (&self.file, self.line, &self.resource) == (&origin.file, origin.line, &origin.resource)
    }

    /// The patch or rule that it is about, and the path from there on, without what is the same in every patch.
    fn part(&self) -> (Option<Part>, String) {
        let inside = LISTS.iter().find_map(|list| {
            let (index, rest) = self.path.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
            Some((Part { index: index.parse().ok()?, list }, rest.trim_start_matches('.')))
        });
        let Some((part, rest)) = inside else { return (None, self.path.clone()) };
        let message = ["patch.value.typed_config", "patch.value.typed_per_filter_config"];
        let short = message.iter().find_map(|prefix| rest.strip_prefix(prefix)).map(|rest| {
            let rest = rest.split_once(']').filter(|_| rest.starts_with('[')).map_or(rest, |(_, rest)| rest);
            let rest =
                rest.strip_prefix(".value").filter(|rest| !rest.starts_with(char::is_alphanumeric)).unwrap_or(rest);
            format!("LocalRateLimit{rest}")
        });
        (Some(part), short.unwrap_or_else(|| rest.to_owned()))
    }
}

/// An entry of one of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    index: u64,
    list: &'static str,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.list, self.index)
    }
}

fn line(note: &Note, path: &str, with_reason: bool) -> String {
    let tag = match (note.attention, note.dropped, note.difference) {
        (true, ..) => output::styled(output::DOUBTFUL, "look at"),
        (false, _, Some(_)) => Note::differs(),
        (false, true, None) => output::styled(output::FAINT, "dropped"),
        (false, false, None) => output::styled(output::GOOD, "became "),
    };
    let indent = if note.part().0.is_some() { "    " } else { "  " };
    let mut text = format!("{indent}{tag} {}", if path.is_empty() { "the whole of it" } else { path });
    match &note.became {
        Some(became) => text.push_str(&format!(" -> {became}")),
        None if note.attention && note.dropped => text.push_str(" is dropped"),
        None => {}
    }
    if with_reason && !note.reason.is_empty() {
        text.push_str(&format!(": {}", note.reason));
    }
    if let Some(difference) = note.difference {
        text.push_str(&format!(" ({})", difference.code()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_from_the_patch_and_the_message_on() {
        let part = |path: &str| {
            let (part, path) = Note { path: path.to_owned(), ..Note::default() }.part();
            (part.map(|part| part.to_string()), path)
        };
        let plain = "spec.configPatches[3].patch.value.typed_config.value.stage";
        assert_eq!(part(plain), (Some("spec.configPatches[3]".into()), "LocalRateLimit.stage".into()));
        let route = "spec.configPatches[0].patch.value.typed_per_filter_config[a.b].status.code";
        assert_eq!(part(route), (Some("spec.configPatches[0]".into()), "LocalRateLimit.status.code".into()));
        let plain = ("spec.configPatches[1]", "spec.configPatches[1].match.context", "match.context");
        let rule = ("spec.rules[0]", "spec.rules[0].to[1].operation.paths", "to[1].operation.paths");
        for (of, path, rest) in [plain, rule] {
            assert_eq!(part(path), (Some(of.into()), rest.into()));
        }
        assert_eq!(part("spec.priority"), (None, "spec.priority".into()));
    }
}
