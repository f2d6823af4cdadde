//! How a run stands, as `poll.sh` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

use job::Tail;

use crate::sandbox::Redactor;

/// Whether a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its supervisor has not spoken yet.
    Starting,
    /// Its supervisor is there, and it has not ended.
    Running,
    /// It ended with this code.
    Ended { code: i32 },
    /// Its supervisor is gone and left no code.
    Vanished,
}

/// The facts of one poll, and the end of the output so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunStatus {
    pub(super) state: State,
    pub(super) elapsed: Duration,
    pub(super) output_bytes: u64,
    pub(super) free_bytes: Option<u64>,
    pub(super) killed_for_memory: bool,
    pub(super) tail: Tail,
}

/// Reads what `poll.sh` printed; none when it is something else.
pub(super) fn parse(text: &str, redactor: &Redactor) -> Option<RunStatus> {
    let (facts, output) = text.split_once("\n\n").or_else(|| Some((text.strip_suffix('\n')?, "")))?;
    let facts: BTreeMap<&str, &str> =
        facts.split_whitespace().filter_map(|fact| fact.split_once('=')).collect();
    let number = |name: &str| facts.get(name).and_then(|value| value.parse::<u64>().ok());
    let state = match *facts.get("state")? {
        "starting" => State::Starting,
        "running" => State::Running,
        "ended" => State::Ended { code: facts.get("code")?.parse().ok()? },
        "vanished" => State::Vanished,
        _ => return None,
    };
    let kills = facts.get("kills").and_then(|kills| kills.split_once('/'));
    let kills =
        kills.and_then(|(before, after)| Some((before.parse::<u64>().ok()?, after.parse::<u64>().ok()?)));
    let output_bytes = number("output").unwrap_or_default();
    let cut = number("shown").is_some_and(|shown| output_bytes > shown);
    Some(RunStatus {
        state,
        elapsed: Duration::from_secs(number("elapsed").unwrap_or_default()),
        output_bytes,
        free_bytes: number("free_kib").map(|kib| kib.saturating_mul(1024)),
        killed_for_memory: kills.is_some_and(|(before, after)| after > before),
        tail: tail(output, cut, redactor),
    })
}

/// A text cut at its front may begin within a secret, so what could be the rest of one is dropped with the broken line.
fn tail(output: &str, cut: bool, redactor: &Redactor) -> Tail {
    let whole = if cut {
        match output.split_once('\n') {
            Some((_, whole)) => whole,
            None => &output[output.ceil_char_boundary(redactor.longest().min(output.len()))..],
        }
    } else {
        output
    };
    Tail::of(&without_terminal_codes(&redactor.scrub(whole)))
}

/// The text without what only a terminal understands: colours, cursor movements, progress bars drawn over themselves.
fn without_terminal_codes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                Some('[') => drop(characters.by_ref().find(|c| ('@'..='~').contains(c))),
                Some(']') => drop(characters.by_ref().find(|c| matches!(c, '\u{7}' | '\u{1b}'))),
                Some(_) | None => {}
            },
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => plain.push('\n'),
            '\n' | '\t' => plain.push(character),
            control if control.is_control() => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::of([&SecretString::from("s3cret-value")])
    }

    #[test]
    fn a_status_is_read_with_its_output() {
        let text = "state=ended code=3 elapsed=12 output=900000 shown=131072 kills=0/1 free_kib=2048\n\n3cret-value\nsaid s3cret-value\n\nend\n";
        let status = parse(text, &redactor()).unwrap();
        assert_eq!(status.state, State::Ended { code: 3 });
        assert_eq!(
            (status.elapsed.as_secs(), status.output_bytes, status.free_bytes),
            (12, 900_000, Some(2 << 20))
        );
        assert!(status.killed_for_memory);
        assert_eq!(status.tail.as_str(), "said [redacted]\n\nend\n");
    }

    #[test]
    fn a_single_cut_line_loses_what_could_be_half_a_secret() {
        let text = "state=running code= elapsed=1 output=900000 shown=4096 kills=/ free_kib=\n\ncret-valueABCDEFGHIJ";
        let status = parse(text, &redactor()).unwrap();
        assert!(!status.tail.as_str().contains("cret-value"), "{status:?}");
        assert!(status.tail.as_str().ends_with("HIJ") || status.tail.is_empty(), "{status:?}");
    }

    #[test]
    fn what_is_no_status_is_none() {
        for text in ["", "bash: command not found\n", "state=ended code=x\n\n", "state=odd\n\n"] {
            assert_eq!(parse(text, &redactor()), None, "{text}");
        }
        assert_eq!(parse("state=vanished\n\n", &redactor()).unwrap().state, State::Vanished);
    }

    #[test]
    fn what_only_a_terminal_understands_is_left_out() {
        assert_eq!(
            without_terminal_codes("\u{1b}[31mred\u{1b}[0m\r\n10%\r20%\u{8}\u{1b}]0;title\u{7}end"),
            "red\n10%\n20%end"
        );
    }
}
