//! Where harvestctl reads and writes. Handles are arguments, so that tests read what people would.
//!
//! Everything written passes `visible`: no command escapes by itself, and none can forget to.

use std::io::{BufRead, IsTerminal, Write};

use telemetry::visible;

use crate::error::CommandError;

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A person at a terminal, who likes to see that something happens.
    Person,
    /// A file or another program.
    Program,
}

/// What a person answered to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
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
    /// The process's own standard streams.
    pub fn of_process() -> Self {
        let stdin = std::io::stdin();
        let can_ask = stdin.is_terminal() && std::io::stderr().is_terminal();
        Self {
            keyboard: can_ask.then(|| Box::new(std::io::BufReader::new(stdin)) as Box<dyn BufRead + Send>),
            reader: if std::io::stdout().is_terminal() { Reader::Person } else { Reader::Program },
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
        }
    }

    /// These streams; without a keyboard nothing can be asked.
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

    /// Writes a part of the result to standard output.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), CommandError> {
        self.out.write_all(visible(text).as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Writes a line beside the result, to standard error.
    pub(crate) fn print_note(&mut self, note: impl std::fmt::Display) -> Result<(), CommandError> {
        writeln!(self.err, "{}", visible(&note.to_string()))?;
        Ok(self.err.flush()?)
    }

    /// Writes why harvestctl failed. Nobody may be reading, and that is no other failure.
    pub fn print_error(&mut self, sentence: &str) {
        let written = writeln!(self.err, "harvestctl: {}", visible(sentence)).and_then(|()| self.err.flush());
        drop(written);
    }

    /// Asks for a yes; an error where nobody can be asked.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<Answer, CommandError> {
        let Some(keyboard) = &mut self.keyboard else {
            return Err(CommandError::usage(format!(
                "{question} There is no terminal to ask at: give --yes to go on without asking"
            )));
        };
        write!(self.err, "{} [y/N] ", visible(question))?;
        self.err.flush()?;
        let mut line = String::new();
        keyboard.read_line(&mut line)?;
        Ok(if matches!(line.trim(), "y" | "Y" | "yes" | "Yes") { Answer::Yes } else { Answer::No })
    }
}
