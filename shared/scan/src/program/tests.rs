use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use secrecy::SecretString;
use tempfile::TempDir;

use super::*;
use crate::form::forms_of;
use crate::report::{Report, UnsearchedReason};
use crate::search::{Limits, Search};

const SECRET: &str = "ghp_0123456789/abc+defghij";
const LIMITS: Limits = Limits { milliseconds: 60_000, bytes: 1 << 32, unpacked_bytes: 1 << 26 };

fn searched(folder: &TempDir, limits: Limits) -> (Report, Vec<String>) {
    let search = Search::new(&[SecretString::from(SECRET)]).unwrap();
    let mut request = search.request("/nowhere", limits);
    request.roots = vec![folder.path().to_str().unwrap().to_owned()];
    let report = run(&request);
    let root = format!("{}/", folder.path().display());
    let confirmed = search.confirm(&report);
    assert_eq!(confirmed.len(), report.hits.len(), "every match of an honest scanner is confirmed");
    let mut found: Vec<String> = confirmed.iter().map(|hit| hit.to_string().replace(&root, "")).collect();
    found.sort();
    (report, found)
}

fn found(make: impl FnOnce(&Path)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let (report, found) = searched(&folder, LIMITS);
    assert!(report.complete);
    assert_eq!(report.unsearched, [], "everything was searched");
    found
}

fn git(folder: &Path, arguments: &[&str]) {
    let isolated = Command::new("git")
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(isolated.status.success(), "{}", String::from_utf8_lossy(&isolated.stderr));
}

#[test]
fn every_form_is_found_in_a_plain_file_and_named() {
    for form in forms_of(SECRET) {
        let found = found(|root| fs::write(root.join("f"), [b"before ", form.exposed()].concat()).unwrap());
        assert!(found.contains(&format!("f ({}, at byte 7)", form.kind)), "{found:?}");
    }
}

#[test]
fn a_secret_across_two_pieces_is_found_once() {
    let before = (1 << 20) - 5;
    let found = found(|root| {
        let mut text = vec![b'x'; before];
        text.extend_from_slice(SECRET.as_bytes());
        text.extend_from_slice(&[b'y'; 4096]);
        fs::write(root.join("long"), text).unwrap();
    });
    assert_eq!(found, [format!("long (plain, at byte {before})")]);
}

#[test]
fn names_links_and_folders_of_any_name_are_searched() {
    let found = found(|root| {
        let name = root.join(format!("is-{SECRET}"));
        fs::create_dir_all(name.parent().unwrap()).unwrap();
        fs::write(&name, "").unwrap();
        fs::create_dir(root.join("harvest-run")).unwrap();
        fs::write(root.join("harvest-run/left"), SECRET).unwrap();
        symlink(format!("https://x:{SECRET}@host"), root.join("link")).unwrap();
    });
    assert_eq!(
        found,
        [
            "harvest-run/left (plain, at byte 0)".to_owned(),
            format!("is-{SECRET} (plain, in its name)"),
            "link (plain, in what the link points at)".to_owned(),
        ]
    );
}

#[test]
fn what_its_owner_closed_is_opened_read_and_closed_again() {
    let folder = tempfile::tempdir().unwrap();
    let (closed, file) = (folder.path().join("closed"), folder.path().join("closed/file"));
    fs::create_dir(&closed).unwrap();
    fs::write(&file, SECRET).unwrap();
    let inner = closed.join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), SECRET).unwrap();
    for path in [&file, &inner, &closed] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let (report, found) = searched(&folder, LIMITS);
    assert_eq!(found, ["closed/file (plain, at byte 0)", "closed/inner/file (plain, at byte 0)"]);
    assert_eq!(report.unsearched, []);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&closed), 0o000);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((mode(&inner), mode(&file)), (0o000, 0o000));
}

#[test]
fn each_inode_is_read_once_whatever_its_names_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let one = folder.path().join("one");
    fs::write(&one, SECRET).unwrap();
    fs::File::open(&one).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::hard_link(&one, folder.path().join("two")).unwrap();
    let (report, found) = searched(&folder, LIMITS);
    assert_eq!((report.files, found.len()), (1, 1));
}

#[test]
fn pipes_are_not_waited_on_and_holes_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), mode).unwrap();
    let mut sparse = fs::File::create(folder.path().join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all(SECRET.as_bytes()).unwrap();
    let (report, found) = searched(&folder, LIMITS);
    assert_eq!(found, ["sparse (plain, at byte 0)"]);
    assert!(report.complete && report.bytes < 1 << 30, "{}", report.bytes);
}

#[test]
fn compressed_files_and_archives_are_searched_one_level_deep() {
    let found = found(|root| {
        let file = fs::File::create(root.join("log.gz")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        gzip.write_all(SECRET.as_bytes()).unwrap();
        gzip.finish().unwrap();
        let mut zip = zip::ZipWriter::new(fs::File::create(root.join("a.zip")).unwrap());
        let method = zip::write::SimpleFileOptions::default();
        for (name, method) in
            [("stored", zip::CompressionMethod::Stored), ("deflated", zip::CompressionMethod::Deflated)]
                .map(|(name, kind)| (name, method.compression_method(kind)))
        {
            zip.start_file(name, method).unwrap();
            zip.write_all(SECRET.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    });
    assert!(found.contains(&"a.zip (plain, in its member deflated)".to_owned()), "{found:?}");
    assert!(found.contains(&"a.zip (plain, in its member stored)".to_owned()), "{found:?}");
    assert!(found.contains(&"log.gz (plain, in what it unpacks to)".to_owned()), "{found:?}");
}

#[test]
fn git_objects_are_searched_loose_and_packed_with_deltas() {
    let lines: Vec<String> = (0..2000).map(|line| format!("line {line} of a file that is long\n")).collect();
    let with_secret = [&lines[..1000].concat(), SECRET, "\n", &lines[1000..].concat()].concat();
    let loose = found(|root| {
        git(root, &["init", "--quiet"]);
        fs::write(root.join("f"), &with_secret).unwrap();
        git(root, &["add", "f"]);
        fs::remove_file(root.join("f")).unwrap();
    });
    assert_eq!(loose.len(), 1, "{loose:?}");
    assert!(loose[0].starts_with(".git/objects/") && loose[0].ends_with("(plain, in what it unpacks to)"));
    let packed = found(|root| {
        git(root, &["init", "--quiet"]);
        for text in [lines.concat(), with_secret.clone(), lines[1..].concat()] {
            fs::write(root.join("f"), text).unwrap();
            git(root, &["add", "f"]);
            git(root, &["commit", "--quiet", "--message", "m"]);
        }
        git(root, &["gc", "--quiet", "--aggressive", "--prune=now"]);
    });
    assert_eq!(packed.len(), 1, "{packed:?}");
    assert!(packed[0].contains("(plain, in the git object "), "{packed:?}");
}

#[test]
fn damaged_and_huge_archives_are_said_and_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![0; 1 << 24]).unwrap();
    fs::write(folder.path().join("bomb.gz"), gzip.finish().unwrap()).unwrap();
    fs::write(folder.path().join("broken.gz"), [0x1f, 0x8b, 8, 0, 1, 2, 3]).unwrap();
    fs::write(folder.path().join("broken.zip"), b"PK\x03\x04nonsense").unwrap();
    fs::write(folder.path().join("pack-1.pack"), b"PACK\x00\x00\x00\x02nonsense").unwrap();
    fs::write(folder.path().join("plain"), SECRET).unwrap();
    let (report, found) = searched(&folder, Limits { unpacked_bytes: 1 << 20, ..LIMITS });
    assert_eq!(found, ["plain (plain, at byte 0)"]);
    let mut said: Vec<_> =
        report.unsearched.iter().map(|one| (one.path.rsplit('/').next().unwrap(), one.reason)).collect();
    said.sort_by_key(|(name, _)| *name);
    assert_eq!(
        said,
        [
            ("bomb.gz", UnsearchedReason::TooLarge),
            ("broken.gz", UnsearchedReason::Damaged),
            ("broken.zip", UnsearchedReason::Damaged),
            ("pack-1.pack", UnsearchedReason::Damaged),
        ]
    );
}

#[test]
fn an_index_that_is_a_pipe_or_a_hole_stops_nothing() {
    let folder = TempDir::new().unwrap();
    let pack = b"PACK\x00\x00\x00\x02\x00\x00\x00\x00";
    for name in ["pipe.pack", "hole.pack"] {
        fs::write(folder.path().join(name), pack).unwrap();
    }
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe.idx"), mode).unwrap();
    // An index of the second version that says that it lists 200 million objects, on one block of the disk.
    let objects: u32 = 200_000_000;
    let mut start = b"\xfftOc\x00\x00\x00\x02".to_vec();
    start.extend(std::iter::repeat_n(objects.to_be_bytes(), 256).flatten());
    let hole = folder.path().join("hole.idx");
    fs::write(&hole, start).unwrap();
    fs::File::options()
        .write(true)
        .open(&hole)
        .unwrap()
        .set_len(1032 + u64::from(objects) * 28 + 40)
        .unwrap();
    let (report, _) = searched(&folder, LIMITS);
    assert!(report.complete, "{report:?}");
    let unsearched: BTreeSet<&str> =
        report.unsearched.iter().map(|unsearched| unsearched.path.as_str()).collect();
    for name in ["pipe.pack", "hole.pack"] {
        assert!(unsearched.iter().any(|path| path.ends_with(name)), "{name}: {unsearched:?}");
    }
}

#[test]
fn a_search_out_of_bytes_or_time_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), vec![b'x'; 4096]).unwrap();
    assert!(!searched(&folder, Limits { bytes: 1000, ..LIMITS }).0.complete);
    assert!(searched(&folder, LIMITS).0.complete);
}

#[test]
fn a_tree_deeper_than_a_stack_is_walked() {
    let folder = tempfile::tempdir().unwrap();
    let mut deep = folder.path().to_owned();
    for _ in 0..1000 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), SECRET).unwrap();
    let (report, found) = searched(&folder, LIMITS);
    assert!(report.complete);
    assert_eq!(found.len(), 1);
}

#[test]
fn a_request_is_gone_once_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("request");
    let search = Search::new(&[SecretString::from(SECRET)]).unwrap();
    fs::write(&path, serde_json::to_vec(&search.request("/nowhere", LIMITS)).unwrap()).unwrap();
    assert_eq!(take_request(&path).unwrap().patterns.len(), forms_of(SECRET).len());
    assert!(!path.exists());
    fs::write(&path, "nonsense").unwrap();
    assert!(take_request(&path).is_err() && !path.exists());
}
