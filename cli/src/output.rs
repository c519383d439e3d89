//! What people see: problems and notices on standard error, in colour only where that is a terminal.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};

use crate::problem::{Notice, Problem, Severity};

/// Red and bold.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Yellow.
pub const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// Green.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Bold.
pub const STRONG: Style = Style::new().bold();
/// Dimmed.
pub const FAINT: Style = Style::new().dimmed();

/// Text in a style.
pub fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes to standard output. Nobody reading on is no error: `tollgate ... | head`.
pub fn write(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Writes a line to standard output.
pub fn line(text: impl std::fmt::Display) {
    write(&format!("{text}\n"));
}

/// Writes a line to standard error.
pub fn aside(text: impl std::fmt::Display) {
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Each problem with its cure.
pub fn problems<'a>(problems: impl IntoIterator<Item = &'a Problem>) {
    for problem in problems {
        aside(format!("{} {problem}", styled(BAD, "error:")));
    }
}

/// Each notice once.
pub fn notices<'a>(notices: impl IntoIterator<Item = &'a Notice>) {
    for notice in notices {
        let tag = match notice.severity {
            Severity::Warning => styled(DOUBTFUL, "warning:"),
            Severity::Note => styled(FAINT, "note:"),
        };
        aside(format!("{tag} {}", notice.text));
    }
}

/// A table whose columns are as wide as they must be.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible(cell));
        }
    }
    let render = |cells: &[String], style: Option<Style>| {
        let mut text = String::from(" ");
        for (cell, width) in cells.iter().zip(&widths) {
            let padding = width.saturating_sub(visible(cell));
            let cell = style.map_or_else(|| cell.clone(), |style| styled(style, cell));
            text.push_str(&format!(" {cell}{} ", " ".repeat(padding)));
        }
        text.trim_end().to_owned()
    };
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let mut lines = vec![render(&header, Some(STRONG))];
    lines.extend(rows.iter().map(|row| render(row, None)));
    lines.join("\n")
}

/// Columns that a text takes on the screen, without its colours.
fn visible(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let rows = [vec![styled(GOOD, "ok"), "1".into()], vec!["not ok".into(), "22".into()]];
        let text = anstream::adapter::strip_str(&table(&["state", "n"], &rows)).to_string();
        assert_eq!(text, "  state   n\n  ok      1\n  not ok  22");
    }
}
