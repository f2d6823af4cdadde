//! Text as it may reach a terminal. Failure messages, flags and log tails hold what repositories wrote: control characters
//! in them would clear the screen, set the clipboard or turn the line around. Logs and everything harvestctl says pass here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every control and direction character written out as `\uXXXX`, which JSON reads back as the same character.
/// Line ends and tabs stay; of `\r\n` the line end stays.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.replace("\r\n", "\n").chars() {
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").unwrap_or_else(|_| unreachable!("a String takes every write"));
            }
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Control characters of both sets, and those that change direction, join, or are never seen (Unicode Standard Annex 9 and
/// general category Cf as far as terminals act on it).
pub(crate) fn is_hidden(character: char) -> bool {
    (character.is_control() && !matches!(character, '\n' | '\t'))
        || matches!(
            character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_written_out() {
        assert_eq!(visible("a\u{1b}]52;c;aGk=\u{7}b"), "a\\u001b]52;c;aGk=\\u0007b");
        assert_eq!(visible("\u{9b}2J\u{202e}gpj.exe"), "\\u009b2J\\u202egpj.exe");
        assert_eq!(visible("over\rwritten\u{8}"), "over\\u000dwritten\\u0008");
        assert_eq!(visible("tag\u{e0041}"), "tag\\udb40\\udc41");
    }

    #[test]
    fn lines_tabs_and_letters_of_any_language_stay() {
        let text = "one\n\ttwo é 日本 עברית 🦀";
        assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        assert_eq!(visible("line\r\n\u{0}"), "line\n\\u0000");
    }

    #[test]
    fn json_reads_back_what_was_written_out() {
        let value = serde_json::json!({ "message": "a\u{202e}b\u{9b}c\u{e0041}" });
        let shown = visible(&value.to_string()).into_owned();
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
