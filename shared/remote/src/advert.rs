//! What the lines of a git server mean. Pure: takes lines, returns values.

use crate::CommitId;

/// The first thing a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeting<'a> {
    /// `# service=…`, before the protocol proper.
    Service,
    /// Protocol 2: capabilities follow.
    VersionTwo,
    /// Protocol 1: refs follow, as in version 0.
    VersionOne,
    /// Protocol 0: this is the first ref already.
    Ref(&'a [u8]),
    /// The server refuses, in these words.
    Refused(&'a [u8]),
}

pub(crate) fn greeting(line: &[u8]) -> Greeting<'_> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    match line {
        b"version 2" => Greeting::VersionTwo,
        b"version 1" => Greeting::VersionOne,
        _ if line.starts_with(b"# service=") => Greeting::Service,
        _ => refusal(line).map_or(Greeting::Ref(line), Greeting::Refused),
    }
}

/// The words of an `ERR` line.
pub(crate) fn refusal(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"ERR ")
}

/// What a line says of the wanted ref.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RefLine {
    Wanted(CommitId),
    Other,
    /// The wanted ref, pointing at what is no commit id.
    Garbled,
}

/// Reads `<id> <ref>`, with `\0capabilities` (version 0) or ` attributes` (version 2) behind.
pub(crate) fn ref_line(line: &[u8], wanted: &str) -> RefLine {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let Some(space) = line.iter().position(|byte| *byte == b' ') else { return RefLine::Other };
    let (id, rest) = (&line[..space], &line[space + 1..]);
    let name = rest.split(|byte| matches!(byte, 0 | b' ')).next().unwrap_or_default();
    if name != wanted.as_bytes() {
        return RefLine::Other;
    }
    let id = std::str::from_utf8(id).ok().and_then(CommitId::parse);
    id.map_or(RefLine::Garbled, RefLine::Wanted)
}

/// What of a version 2 server's capabilities matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) ls_refs: bool,
    pub(crate) object_format: Option<Vec<u8>>,
}

impl Capabilities {
    pub(crate) fn learn(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line == b"ls-refs" || line.starts_with(b"ls-refs=") {
            self.ls_refs = true;
        } else if let Some(format @ (b"sha1" | b"sha256")) = line.strip_prefix(b"object-format=") {
            self.object_format = Some(format.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "1111111111222222222233333333334444444444";

    #[test]
    fn greetings_of_all_versions_are_distinguished() {
        assert_eq!(greeting(b"# service=git-upload-pack\n"), Greeting::Service);
        assert_eq!(greeting(b"version 2\n"), Greeting::VersionTwo);
        assert_eq!(greeting(b"version 1\n"), Greeting::VersionOne);
        assert_eq!(greeting(b"ERR access denied\n"), Greeting::Refused(b"access denied"));
        assert_eq!(greeting(b"1111 HEAD\0x"), Greeting::Ref(b"1111 HEAD\0x"));
    }

    #[test]
    fn only_exactly_the_wanted_ref_counts() {
        let sha256 = SHA1.repeat(2)[..64].to_owned();
        let wanted = |id: &str| RefLine::Wanted(CommitId::parse(id).unwrap());
        for (line, expected) in [
            (format!("{SHA1} refs/heads/main\n"), wanted(SHA1)),
            (format!("{sha256} refs/heads/main\n"), wanted(&sha256)),
            (format!("{SHA1} refs/heads/main\0multi_ack symref=HEAD:refs/heads/main\n"), wanted(SHA1)),
            (format!("{SHA1} refs/heads/main symref-target:refs/heads/x\n"), wanted(SHA1)),
            (format!("{SHA1} refs/heads/main2\n"), RefLine::Other),
            (format!("{SHA1} refs/remotes/x/refs/heads/main\n"), RefLine::Other),
            ("unborn refs/heads/main\n".to_owned(), RefLine::Garbled),
            (format!("{} capabilities^{{}}\0x", "0".repeat(40)), RefLine::Other),
            (String::new(), RefLine::Other),
        ] {
            assert_eq!(ref_line(line.as_bytes(), "refs/heads/main"), expected, "{line:?}");
        }
    }

    #[test]
    fn capabilities_are_learnt() {
        let mut known = Capabilities::default();
        for line in ["agent=git/2.39\n", "ls-refs=unborn\n", "object-format=sha256\n", "fetch=shallow\n"] {
            known.learn(line.as_bytes());
        }
        assert_eq!(known, Capabilities { ls_refs: true, object_format: Some(b"sha256".to_vec()) });
    }
}
