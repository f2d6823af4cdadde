//! The objects of a git pack, each undone from its deltas: a secret that was split between a base and a delta is whole again.

use std::io;
use std::path::Path;

use gix_pack::cache::lru::MemoryCappedHashmap;
use gix_pack::data::decode::entry::ResolvedBase;

use super::content::{Scan, StreamEnd};
use crate::report::Place;

/// Bytes of objects that are kept because others are made from them.
const CACHE: usize = 64 << 20;
const HASH: gix_hash::Kind = gix_hash::Kind::Sha1;

/// Searches the pack at `path` by the index beside it.
pub(super) fn search(scan: &mut Scan<'_>, path: &Path) -> Result<(), StreamEnd> {
    let most = usize::try_from(scan.unpacked_of_one()).unwrap_or(usize::MAX);
    let pack = gix_pack::data::File::at(path, HASH)
        .map_err(|error| unreadable(&error))?
        .with_alloc_limit_bytes(Some(most));
    let index =
        gix_pack::index::File::at(path.with_extension("idx"), HASH).map_err(|error| unreadable(&error))?;
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
            Ok(_) => scan.unpacked(path, &object, &Place::GitObject(id.to_string()))?,
            Err(error) => damaged = Some(unreadable(&error)),
        }
    }
    damaged.map_or(Ok(()), Err)
}

fn unreadable(error: &impl std::fmt::Display) -> StreamEnd {
    StreamEnd::Unreadable(io::Error::other(error.to_string()))
}
