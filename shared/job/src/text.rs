//! Bounded text: nothing that a build prints may grow a message, a header or a log line without limit.

use serde::{Deserialize, Serialize};

/// The first `max` bytes of `text`, cut at a character boundary, with a mark where it was cut.
pub fn truncate(text: &str, max: usize) -> String {
    const MARK: &str = " … (cut)";
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max.saturating_sub(MARK.len()));
    format!("{}{MARK}", &text[..end])
}

/// The end of a log: at most a number of lines and bytes, the newest kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tail(String);

impl Tail {
    /// Lines kept of a command's output.
    pub const MAX_LINES: usize = 200;
    /// Bytes kept of a command's output (64 KiB).
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Bytes of it that fit in a dead letter's headers beside everything else (8 KiB).
    pub const HEADER_BYTES: usize = 8 * 1024;

    /// The tail of `text` within the limits of this type.
    pub fn of(text: &str) -> Self {
        let mut start = text.len();
        for (lines, line) in text.split_inclusive('\n').rev().enumerate() {
            let next = start - line.len();
            if lines == Self::MAX_LINES || text.len() - next > Self::MAX_BYTES {
                break;
            }
            start = next;
        }
        // Not even the last line fits: the end of it is kept.
        if start == text.len() && !text.is_empty() {
            start = text.ceil_char_boundary(text.len().saturating_sub(Self::MAX_BYTES));
        }
        Self(text[start..].to_owned())
    }

    /// The last `max` bytes, cut at a character boundary.
    #[must_use]
    pub fn last_bytes(&self, max: usize) -> Self {
        let start = self.0.ceil_char_boundary(self.0.len().saturating_sub(max));
        Self(self.0[start..].to_owned())
    }

    /// The text that was kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_newest_lines_within_both_limits() {
        let lines: Vec<String> = (0..500).map(|n| format!("line {n}")).collect();
        let many = lines.join("\n") + "\n";
        let tail = Tail::of(&many);
        assert_eq!(tail.as_str().lines().count(), Tail::MAX_LINES);
        assert!(tail.as_str().ends_with("line 499\n"));

        let one_huge_line = "é".repeat(Tail::MAX_BYTES);
        let tail = Tail::of(&one_huge_line);
        assert!(!tail.is_empty() && tail.as_str().len() <= Tail::MAX_BYTES);
        assert!(tail.last_bytes(101).as_str().len() <= 101);
        assert!(Tail::of("").is_empty());
    }

    #[test]
    fn bounded_text_cuts_at_a_character_and_says_so() {
        assert_eq!(truncate("short", 100), "short");
        let cut = truncate(&"é".repeat(100), 51);
        assert!(cut.len() <= 51 && cut.ends_with("(cut)"), "{cut}");
    }
}
