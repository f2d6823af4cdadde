//! Where a command reads and writes. Handles are arguments, so that tests read what people would.

use std::io::{BufRead, IsTerminal, Write};

use serde::Serialize;

use crate::error::CommandError;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What can be printed both ways: as JSON by its fields, and for people.
pub(crate) trait View: Serialize {
    /// For people; ends with a line break.
    fn text(&self) -> String;
}

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A person at a terminal, who likes to see that something happens.
    Person,
    /// A file or another program.
    Program,
}

/// Standard output, standard error, and a keyboard where there is one.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    keyboard: Option<Box<dyn BufRead + Send>>,
    reader: Reader,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Terminal {
    /// The process's own.
    pub fn of_process() -> Self {
        let stdin = std::io::stdin();
        let asked = stdin.is_terminal() && std::io::stderr().is_terminal();
        Self {
            keyboard: asked.then(|| Box::new(std::io::BufReader::new(stdin)) as Box<dyn BufRead + Send>),
            reader: if std::io::stdout().is_terminal() { Reader::Person } else { Reader::Program },
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
        }
    }

    /// These; without a keyboard nothing can be asked.
    pub fn new(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
        keyboard: Option<Box<dyn BufRead + Send>>,
        reader: Reader,
    ) -> Self {
        Self { out: Box::new(out), err: Box::new(err), keyboard, reader }
    }

    pub(crate) fn reader(&self) -> Reader {
        self.reader
    }

    /// Prints a result.
    pub(crate) fn show(&mut self, view: &impl View, format: Format) -> Result<(), CommandError> {
        let text = match format {
            Format::Text => view.text(),
            Format::Json => json(view, serde_json::to_string_pretty)?,
        };
        self.print(&text)
    }

    /// Prints one of several results, a line of JSON each.
    pub(crate) fn show_line(&mut self, view: &impl View, format: Format) -> Result<(), CommandError> {
        let text = match format {
            Format::Text => view.text(),
            Format::Json => json(view, serde_json::to_string)?,
        };
        self.print(&text)
    }

    fn print(&mut self, text: &str) -> Result<(), CommandError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Says something beside the result.
    pub(crate) fn say(&mut self, message: impl std::fmt::Display) -> Result<(), CommandError> {
        writeln!(self.err, "{message}")?;
        Ok(self.err.flush()?)
    }

    /// Says why the command failed. Nobody may be listening, and that is no other failure.
    pub fn complain(&mut self, sentence: &str) {
        let said = writeln!(self.err, "harvestctl: {sentence}").and_then(|()| self.err.flush());
        drop(said);
    }

    /// Asks for a yes; an error where nobody can be asked.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<Answer, CommandError> {
        let Some(keyboard) = &mut self.keyboard else {
            return Err(CommandError::usage(format!(
                "{question} There is no terminal to ask at: give --yes to go on without asking"
            )));
        };
        write!(self.err, "{question} [y/N] ")?;
        self.err.flush()?;
        let mut line = String::new();
        keyboard.read_line(&mut line)?;
        Ok(if matches!(line.trim(), "y" | "Y" | "yes" | "Yes") { Answer::Yes } else { Answer::No })
    }
}

/// What a person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Go on.
    Yes,
    /// Leave it.
    No,
}

fn json<V: Serialize>(view: &V, write: fn(&V) -> serde_json::Result<String>) -> Result<String, CommandError> {
    let mut text = write(view).map_err(anyhow::Error::new)?;
    text.push('\n');
    Ok(text)
}

/// Lines of `label   value`, values aligned, several lines of a value indented below each other.
pub(crate) fn labelled<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (label, value) in rows {
        for (number, line) in value.lines().enumerate() {
            let label = if number == 0 { label } else { "" };
            text.push_str(format!("{label:width$}  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

/// A table without borders: what people can also cut and grep.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
