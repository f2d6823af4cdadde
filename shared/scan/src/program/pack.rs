//! The objects of a git pack, each undone from its deltas: a secret that was split between a base and a delta is whole again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gix_pack::cache::lru::MemoryCappedHashmap;
use gix_pack::data::decode::entry::ResolvedBase;

/// Bytes of objects that are kept because others are made from them.
const CACHE: usize = 64 << 20;
/// The unit in which a file's room on the disk is counted.
const BLOCK: u64 = 512;
/// An id and where it lies: what an index has of each object, whatever its version.
const LEAST_OF_AN_ENTRY: u64 = 24;
const HASH: gix_hash::Kind = gix_hash::Kind::Sha1;

/// Why a pack was not read to its end.
#[derive(Debug)]
pub(super) enum PackEnd<E> {
    /// It, or one of its objects, cannot be read; every other was.
    Damaged(io::Error),
    /// Whoever took the objects took no more.
    Stopped(E),
}

/// Unpacks the pack at `path` by the index beside it: each object's id and content, of at most `most` bytes.
pub(super) fn unpack<E>(
    path: &Path,
    most: u64,
    mut take: impl FnMut(String, &[u8]) -> Result<(), E>,
) -> Result<(), PackEnd<E>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let pack = gix_pack::data::File::at(path, HASH)
        .map_err(|error| unreadable(&error))?
        .with_alloc_limit_bytes(Some(most));
    let index = open_index(&path.with_extension("idx"))?;
    let mut cache = MemoryCappedHashmap::new(CACHE);
    let mut inflate = gix_zlib::Inflate::default();
    let mut object = Vec::new();
    let mut damaged = None;
    let mut entries: Vec<_> = index.iter().map(|entry| (entry.pack_offset, entry.oid)).collect();
    // In the order in which they lie: bases come before what is made from them.
    entries.sort_unstable_by_key(|(offset, _)| *offset);
    for (offset, id) in entries {
        let in_pack = |base: &gix_hash::oid, _: &mut Vec<u8>| {
            let Some(at) = index.lookup(base) else { return Ok(None) };
            pack.entry(index.pack_offset_at_index(at)).map(|entry| Some(ResolvedBase::InPack(entry)))
        };
        let decoded = pack
            .entry(offset)
            .and_then(|entry| pack.decode_entry(entry, &mut object, &mut inflate, &in_pack, &mut cache));
        match decoded {
            Ok(_) => take(id.to_string(), &object).map_err(PackEnd::Stopped)?,
            Err(error) => {
                damaged = Some(unreadable(&error));
                // Nothing of it: but damaged objects without end take time as well.
                take(id.to_string(), &[]).map_err(PackEnd::Stopped)?;
            }
        }
    }
    damaged.map_or(Ok(()), Err)
}

/// The index at `path`: a file, not a pipe, and one that has room on the disk for what it says that it lists.
fn open_index<E>(path: &Path) -> Result<gix_pack::index::File, PackEnd<E>> {
    let found = fs::symlink_metadata(path).map_err(PackEnd::Damaged)?;
    if !found.is_file() {
        return Err(unreadable(&"its index is no file"));
    }
    let index = gix_pack::index::File::at(path, HASH).map_err(|error| unreadable(&error))?;
    let room = found.blocks().saturating_mul(BLOCK);
    if u64::from(index.num_objects()).saturating_mul(LEAST_OF_AN_ENTRY) > room {
        return Err(unreadable(&"its index is a hole"));
    }
    Ok(index)
}

fn unreadable<E>(error: &impl std::fmt::Display) -> PackEnd<E> {
    PackEnd::Damaged(io::Error::other(error.to_string()))
}
