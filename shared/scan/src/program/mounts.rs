//! Where file systems are mounted, as the kernel says.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// The mount points that this process sees; none when the kernel does not say.
pub(super) fn points() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.split(|byte| *byte == b'\n').filter_map(|line| point(line).map(PathBuf::from)).collect()
}

/// The fifth field, in which white space and backslashes are three octal digits: proc_pid_mountinfo(5).
fn point(line: &[u8]) -> Option<OsString> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                name.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                name.push(*first);
                rest = after;
            }
        }
    }
    Some(OsString::from_vec(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_read_with_its_white_space() {
        let line = b"36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(point(line).unwrap(), "/mnt 2\\x");
        assert_eq!(point(b""), None);
        assert!(points().contains(&PathBuf::from("/")));
    }
}
