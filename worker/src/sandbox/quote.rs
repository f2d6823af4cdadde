//! The only place where text becomes part of a command line.

/// `text` as one word of any POSIX shell, whatever it holds.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_shell_reads_back_exactly_what_was_quoted() {
        for text in [
            "",
            "plain",
            "it's",
            "''",
            "a b\tc",
            "$(id) `id` ${HOME}",
            "\\",
            "new\nline",
            "!bang",
            "ünï-😀",
            "*?[",
            "-n",
            "a;b&c|d>e<f",
            "\"double\"",
        ] {
            for shell in ["bash", "sh"] {
                let output = std::process::Command::new(shell)
                    .args(["-c", &format!("printf %s {}", quote(text))])
                    .output()
                    .unwrap();
                assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
            }
        }
    }
}
