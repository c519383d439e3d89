//! On which side of Istio's meaning a translation has to be where there is none that is exact.

use super::super::field::Field;
use super::super::report::Report;
use super::difference::Difference;

/// Where a translation may lie.
///
/// An ALLOW rule may take less than Istio's, a DENY rule more; in the lists that begin with `not` it is the other way
/// round. An AUDIT rule decides nothing, so that either will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// All that it takes Istio's takes too.
    Inner,
    /// It takes all that Istio's takes.
    Outer,
    /// Whichever there is, the wider one first.
    Near,
}

/// One side of Istio's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Within it.
    Inner,
    /// Around it.
    Outer,
}

impl Bound {
    /// For the lists that begin with `not`.
    pub(super) fn inverted(self) -> Self {
        match self {
            Self::Inner => Self::Outer,
            Self::Outer => Self::Inner,
            Self::Near => Self::Near,
        }
    }

    /// The first translation that there is on a side that will do; else why there is none.
    pub(super) fn first<T>(self, translate: impl Fn(Side) -> Result<T, Refusal>) -> Result<T, Refusal> {
        match self {
            Self::Inner => translate(Side::Inner),
            Self::Outer => translate(Side::Outer),
            Self::Near => translate(Side::Outer).or_else(|_| translate(Side::Inner)),
        }
    }
}

/// Why something can't be carried over, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Lowercase, without a full stop.
    pub(super) reason: String,
    /// What to do.
    pub(super) cure: String,
}

impl Refusal {
    /// One with these words.
    pub(super) fn new(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { reason: reason.into(), cure: cure.into() }
    }

    /// A value that Istio takes and that nothing ever is.
    pub(super) fn nothing_is(value: &str, why: &str, cure: &str) -> Self {
        Self::new(format!("MATCHES NOTHING: `{value}`: {why}"), cure)
    }

    /// Says it of a field.
    pub(super) fn at(self, field: &Field<'_>, report: &mut Report) {
        report.refuse(field, self.reason, self.cure);
    }
}

/// What a value becomes, and in what that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated<T> {
    /// What it becomes: any of these.
    pub(super) values: Vec<T>,
    /// In what it differs in this place, and how.
    pub(super) differences: Vec<(Difference, String)>,
}

impl<T> Translated<T> {
    /// Exactly the same.
    pub(super) fn exact(values: Vec<T>) -> Self {
        Self { values, differences: Vec::new() }
    }

    /// Not quite the same.
    pub(super) fn but(values: Vec<T>, difference: Difference, how: String) -> Self {
        Self { values, differences: vec![(difference, how)] }
    }
}

/// Translates a list of texts value by value, and says of each in what it differs. None where something is refused.
pub(super) fn translate_list<T>(
    list: &Field<'_>,
    bound: Bound,
    report: &mut Report,
    translate: impl Fn(&str, Side) -> Result<Translated<T>, Refusal>,
) -> Option<Vec<T>> {
    let mut values = Some(Vec::new());
    for (field, text) in texts(list, report)? {
        match bound.first(|side| translate(text, side)) {
            Ok(translated) => {
                for (difference, how) in translated.differences {
                    report.differs(&field, difference, how);
                }
                if let Some(values) = &mut values {
                    values.extend(translated.values);
                }
            }
            Err(refusal) => {
                refusal.at(&field, report);
                values = None;
            }
        }
    }
    values
}

/// The texts of a list. None where it is none, or where something in it is no text or empty.
pub(super) fn texts<'a>(list: &Field<'a>, report: &mut Report) -> Option<Vec<(Field<'a>, &'a str)>> {
    if !list.value.is_array() {
        report.refuse(list, format!("must be a list, found {}", list.value), "correct it: Istio refuses this");
        return None;
    }
    let mut found = Some(Vec::new());
    for item in list.items() {
        match item.text().filter(|text| !text.is_empty()) {
            Some(text) => {
                if let Some(found) = &mut found {
                    found.push((item, text));
                }
            }
            None => {
                let reason = format!("must be a text that is not empty, found {}", item.value);
                report.refuse(&item, reason, "put it in quotes, or take it out: Istio refuses this");
                found = None;
            }
        }
    }
    found
}

/// A list that has something in it: an empty one is to Istio as good as none.
pub(super) fn list<'a>(object: &Field<'a>, name: &str, report: &mut Report) -> Option<Field<'a>> {
    let list = object.get(name)?;
    if list.value.as_array().is_some_and(Vec::is_empty) {
        report.dropped(&list, "an empty list is no condition");
        return None;
    }
    Some(list)
}
