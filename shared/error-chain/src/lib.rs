//! An error and everything that caused it, in one line: for a log field, a dead letter, a table.
//!
//! An error's own text does not repeat its source, so the causes have to be put after it by whoever shows it. How
//! errors are classified or worded does not belong here.

#![warn(missing_docs)]

use std::error::Error;

/// The error's text, then each cause's after a colon and a space, the root of it last.
///
/// A cause that the line so far already ends with is left out: libraries often write it into their own text too.
pub fn line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Step(&'static str, Option<Box<Step>>);

    impl fmt::Display for Step {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl Error for Step {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    /// Texts from what was being done to the root, as an error with its sources.
    fn error(texts: &[&'static str]) -> Step {
        let (first, rest) = texts.split_first().unwrap();
        Step(first, (!rest.is_empty()).then(|| Box::new(error(rest))))
    }

    #[test]
    fn causes_follow_in_order_and_none_is_said_twice() {
        let table: [(&[&str], &str); 7] = [
            (&["no disk"], "no disk"),
            (&["cannot save", "cannot write", "no disk"], "cannot save: cannot write: no disk"),
            // The first already has the text of all that follow.
            (
                &["cannot save: cannot write: no disk", "cannot write: no disk", "no disk"],
                "cannot save: cannot write: no disk",
            ),
            (&["cannot save: no disk", "no disk"], "cannot save: no disk"),
            // An error that hands its source's text on as its own.
            (&["cannot save", "no disk", "no disk"], "cannot save: no disk"),
            // A word of the text is not the cause: it stands in the middle and says something else there.
            (&["no disk was found by the probe", "no disk"], "no disk was found by the probe: no disk"),
            (&["cannot save", ""], "cannot save"),
        ];
        for (texts, expected) in table {
            assert_eq!(line(&error(texts)), expected);
        }
    }
}
