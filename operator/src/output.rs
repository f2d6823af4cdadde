//! What a command prints: its answer, for people or for programs, and what it has to say beside it.
//!
//! An answer is a value that is made without printing; only here it becomes text or JSON.

use serde::Serialize;

use crate::error::CommandError;
use crate::terminal::{Answer, Reader, Terminal};

/// What can be printed both ways: as JSON by its fields, and for people.
pub(crate) trait View: Serialize {
    /// The text for people; it ends with a line break.
    fn text(&self) -> String;
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// As text, for people.
    Text,
    /// As JSON, for programs.
    Json,
}

/// Where a command prints, and in which format.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    terminal: &'a mut Terminal,
    format: Format,
}

impl<'a> Output<'a> {
    pub(crate) fn new(terminal: &'a mut Terminal, format: Format) -> Self {
        Self { terminal, format }
    }

    /// Whether every step of what is waited for is printed: for programs, and for a person who watches. The log of a cron job
    /// is long enough without.
    pub(crate) fn has_every_step(&self) -> bool {
        self.format == Format::Json || self.terminal.reader() == Reader::Person
    }

    /// Prints the answer; JSON as a document.
    pub(crate) fn print(&mut self, view: &impl View) -> Result<(), CommandError> {
        let text = match self.format {
            Format::Text => view.text(),
            Format::Json => encode(view, serde_json::to_string_pretty)?,
        };
        self.terminal.print(&text)
    }

    /// Prints one of several answers; JSON in a line.
    pub(crate) fn print_line(&mut self, view: &impl View) -> Result<(), CommandError> {
        let text = match self.format {
            Format::Text => view.text(),
            Format::Json => encode(view, serde_json::to_string)?,
        };
        self.terminal.print(&text)
    }

    /// Prints something beside the answer.
    pub(crate) fn print_note(&mut self, note: impl std::fmt::Display) -> Result<(), CommandError> {
        self.terminal.print_note(note)
    }

    /// Asks for a yes; an error where nobody can be asked.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<Answer, CommandError> {
        self.terminal.confirm(question)
    }
}

fn encode<V: Serialize>(
    view: &V,
    write: fn(&V) -> serde_json::Result<String>,
) -> Result<String, CommandError> {
    let mut text = write(view).map_err(anyhow::Error::new)?;
    text.push('\n');
    Ok(text)
}
