//! The bytes of one file: as they are, and as they unpack, one level deep.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::matcher::Matcher;
use super::meter::{Exhausted, Meter, shown};
use super::pack::{self, PackEnd};
use crate::report::{Hit, Place, Report, UnsearchedReason};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// One search while it runs.
pub(super) struct Scan<'a> {
    matcher: &'a Matcher,
    meter: Meter,
    piece: Vec<u8>,
    complete: bool,
}

/// Why a stream was not searched to its end.
#[derive(Debug)]
pub(super) enum StreamEnd {
    Exhausted(Exhausted),
    /// The archive is larger than is searched of one.
    TooLarge,
    Unreadable(io::Error),
}

impl From<Exhausted> for StreamEnd {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

/// Whose bytes a stream has.
#[derive(Clone, Copy)]
enum Source {
    File,
    Unpacked,
}

impl<'a> Scan<'a> {
    pub(super) fn new(matcher: &'a Matcher, meter: Meter) -> Self {
        Self { matcher, meter, piece: vec![0; PIECE + matcher.longest()], complete: true }
    }

    pub(super) fn into_report(self) -> Report {
        self.meter.into_report(self.complete)
    }

    pub(super) fn give_up(&mut self) {
        self.complete = false;
    }

    pub(super) fn check_time(&self) -> Result<(), Exhausted> {
        self.meter.check_time()
    }

    pub(super) fn unsearched(&mut self, path: &Path, reason: UnsearchedReason) {
        self.meter.unsearched(path.as_os_str().as_bytes(), reason);
    }

    /// The name of an entry. A secret with a slash in it spans folders, so the whole path counts, but only once: where it
    /// ends in this entry's own name.
    pub(super) fn name(&mut self, path: &Path) -> Result<(), Exhausted> {
        let bytes = path.as_os_str().as_bytes();
        let own = path.file_name().map_or(0, OsStr::len);
        self.search(path, bytes, bytes.len() - own, |_| Place::Name);
        self.meter.use_bytes(own)
    }

    /// A short text that belongs to a file.
    pub(super) fn text(&mut self, path: &Path, text: &[u8], place: &Place) -> Result<(), Exhausted> {
        self.search(path, text, 0, |_| place.clone());
        self.meter.use_bytes(text.len())
    }

    fn search(&mut self, path: &Path, bytes: &[u8], from: usize, place: impl Fn(usize) -> Place) {
        let meter = &mut self.meter;
        self.matcher.matches(bytes, from, |found| {
            let path = shown(path.as_os_str().as_bytes());
            meter.hit(Hit { path, place: place(found.start), pattern: found.pattern, digest: found.digest });
        });
    }

    /// The content of a regular file, as it is and as it unpacks.
    pub(super) fn file(&mut self, path: &Path, mut file: File) -> Result<(), Exhausted> {
        self.meter.count_file();
        let mut start = [0; 8];
        let Ok(known) = read_start(&mut file, &mut start) else {
            self.unsearched(path, UnsearchedReason::Unreadable);
            return Ok(());
        };
        match self.extents(path, &mut file) {
            Ok(()) => {}
            Err(StreamEnd::Exhausted(exhausted)) => return Err(exhausted),
            Err(StreamEnd::TooLarge | StreamEnd::Unreadable(_)) => {
                self.unsearched(path, UnsearchedReason::Unreadable);
                return Ok(());
            }
        }
        let ended = match Packed::of(&start[..known], path) {
            None => return Ok(()),
            Some(Packed::Gzip) => self.rewound(path, &mut file, |file| Box::new(MultiGzDecoder::new(file))),
            Some(Packed::Zlib) => self.rewound(path, &mut file, |file| Box::new(ZlibDecoder::new(file))),
            Some(Packed::Zip) => self.zip(path, file),
            Some(Packed::GitPack) => self.pack(path),
        };
        match ended {
            Ok(()) => Ok(()),
            Err(StreamEnd::Exhausted(exhausted)) => Err(exhausted),
            Err(StreamEnd::TooLarge) => {
                self.unsearched(path, UnsearchedReason::TooLarge);
                Ok(())
            }
            Err(StreamEnd::Unreadable(_)) => {
                self.unsearched(path, UnsearchedReason::Damaged);
                Ok(())
            }
        }
    }

    /// The parts of a file that are no holes: a file of a terabyte may hold nothing at all.
    fn extents(&mut self, path: &Path, file: &mut File) -> Result<(), StreamEnd> {
        let length = file.metadata().map_err(StreamEnd::Unreadable)?.len();
        let mut at = 0;
        while at < length {
            let (begin, end) = match rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(at)) {
                Ok(begin) => {
                    let end = rustix::fs::seek(&*file, rustix::fs::SeekFrom::Hole(begin));
                    (begin, end.unwrap_or(length))
                }
                // Nothing but a hole until the end.
                Err(rustix::io::Errno::NXIO) => return Ok(()),
                // A file system that knows no holes.
                Err(_) => (at, length),
            };
            file.seek(SeekFrom::Start(begin)).map_err(StreamEnd::Unreadable)?;
            let reader = (&mut *file).take(end.saturating_sub(begin));
            self.stream(path, reader, Source::File, |offset| Place::Content(begin + offset))?;
            at = end.max(at + 1);
        }
        Ok(())
    }

    fn rewound<'f>(
        &mut self,
        path: &Path,
        file: &'f mut File,
        unpack: impl FnOnce(BufReader<&'f mut File>) -> Box<dyn Read + 'f>,
    ) -> Result<(), StreamEnd> {
        file.rewind().map_err(StreamEnd::Unreadable)?;
        self.stream(path, unpack(BufReader::new(file)), Source::Unpacked, |_| Place::Compressed)
    }

    fn zip(&mut self, path: &Path, file: File) -> Result<(), StreamEnd> {
        let unreadable = |error: zip::result::ZipError| StreamEnd::Unreadable(io::Error::other(error));
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
        let mut damaged = None;
        for number in 0..archive.len() {
            // An encrypted member, or one of another method, does not keep the others from being searched.
            let member = match archive.by_index(number) {
                Ok(member) => member,
                Err(error) => {
                    damaged = Some(unreadable(error));
                    self.meter.check_time().map_err(StreamEnd::Exhausted)?;
                    continue;
                }
            };
            let place = Place::Member(shown(member.name_raw()));
            self.search(path, member.name_raw(), 0, |_| place.clone());
            match self.stream(path, member, Source::Unpacked, |_| place.clone()) {
                Err(StreamEnd::Unreadable(error)) => damaged = Some(StreamEnd::Unreadable(error)),
                other => other?,
            }
        }
        damaged.map_or(Ok(()), Err)
    }

    fn pack(&mut self, path: &Path) -> Result<(), StreamEnd> {
        let most = self.meter.unpacked_of_one();
        let unpacked = pack::unpack(path, most, |id, object| {
            let place = Place::GitObject(id);
            self.search(path, object, 0, |_| place.clone());
            self.meter.use_unpacked(object.len())
        });
        unpacked.map_err(|end| match end {
            PackEnd::Stopped(exhausted) => StreamEnd::Exhausted(exhausted),
            PackEnd::Damaged(error) => StreamEnd::Unreadable(error),
        })
    }

    /// Reads to the end, with as much of each piece seen again with the next as the longest pattern needs.
    fn stream(
        &mut self,
        path: &Path,
        mut reader: impl Read,
        source: Source,
        place: impl Fn(u64) -> Place,
    ) -> Result<(), StreamEnd> {
        let again = self.matcher.longest();
        let mut piece = std::mem::take(&mut self.piece);
        let (mut kept, mut before, mut total) = (0, 0_u64, 0_u64);
        let ended = loop {
            let read = match reader.read(&mut piece[kept..]) {
                Ok(0) => break Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(StreamEnd::Unreadable(error)),
            };
            let known = kept + read;
            self.search(path, &piece[..known], kept, |start| place(before + start as u64));
            total += read as u64;
            let used = match source {
                Source::File => self.meter.use_bytes(read),
                Source::Unpacked => self.meter.use_unpacked(read),
            };
            if let Err(exhausted) = used {
                break Err(exhausted.into());
            }
            if matches!(source, Source::Unpacked) && total > self.meter.unpacked_of_one() {
                break Err(StreamEnd::TooLarge);
            }
            let keep = again.min(known);
            piece.copy_within(known - keep..known, 0);
            before += (known - keep) as u64;
            kept = keep;
        };
        self.piece = piece;
        ended
    }
}

/// What a file unpacks as, by how it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    Gzip,
    Zip,
    /// A loose object of git.
    Zlib,
    GitPack,
}

impl Packed {
    fn of(start: &[u8], path: &Path) -> Option<Self> {
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            [b'P', b'A', b'C', b'K', 0, 0, 0, _] => Some(Self::GitPack),
            // Two bytes are a weak sign: only where git keeps its objects.
            [0x78, flags, ..] if (0x7800 | u16::from(*flags)) % 31 == 0 && is_loose_object(path) => {
                Some(Self::Zlib)
            }
            _ => None,
        }
    }
}

/// Whether its name is that of one: `.../objects/ab/cdef...`
fn is_loose_object(path: &Path) -> bool {
    let hex = |name: Option<&OsStr>, at_least: usize| {
        name.is_some_and(|name| name.len() >= at_least && name.as_bytes().iter().all(u8::is_ascii_hexdigit))
    };
    let folder = path.parent();
    hex(path.file_name(), 38) && hex(folder.and_then(Path::file_name), 2)
}

fn read_start(file: &mut File, start: &mut [u8]) -> io::Result<usize> {
    let mut known = 0;
    while known < start.len() {
        match file.read(&mut start[known..])? {
            0 => break,
            read => known += read,
        }
    }
    Ok(known)
}
