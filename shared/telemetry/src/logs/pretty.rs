//! Short lines for people: time, level, message, fields, and the start of the trace id (enough to search for).

use std::fmt::Write;

use serde_json::Value;
use tracing::Level;

use super::Line;
use crate::visible::{is_hidden, visible};

/// Whether escape codes colour the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    On,
    Off,
}

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
/// Characters of the trace id that are shown.
const TRACE_ID_SHOWN: usize = 8;

pub(super) fn render(line: &Line<'_>, colours: Colours) -> String {
    let (level, dim, reset) = match colours {
        Colours::On => (colour(line.level), DIM, RESET),
        Colours::Off => ("", "", ""),
    };
    let time = line.at.format("%H:%M:%S%.3f");
    let mut text = format!("{dim}{time}{reset} {level}{:>5}{reset} {}", line.level, printable(&line.message));
    // Writing to a String cannot fail.
    for (name, value) in line.fields.iter() {
        write!(text, " {dim}{name}={reset}{}", shown(value)).ok();
    }
    if let Some(start) = line.trace_id.as_deref().and_then(|id| id.get(..TRACE_ID_SHOWN)) {
        write!(text, " {dim}trace={start}{reset}").ok();
    }
    write!(text, " {dim}[{}]{reset}", line.module).ok();
    text.push('\n');
    text
}

/// Words stay bare; whatever has spaces or hidden characters is quoted and escaped.
fn shown(value: &Value) -> String {
    let quoted = || visible(&value.to_string()).into_owned();
    value.as_str().filter(|text| is_word(text)).map_or_else(quoted, str::to_owned)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || is_hidden(c) || c == '"')
}

/// A message stays on its line and cannot speak to the terminal.
fn printable(message: &str) -> String {
    let on_one_line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible(&on_one_line).into_owned()
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}
