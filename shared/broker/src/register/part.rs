//! The parts of a checkpoint: lines, of which the first tells checkpoint and number, compressed.

use std::io::{BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Lines of a part before they are compressed: a fraction of what every broker takes as one message.
const PART_BYTES: usize = 1024 * 1024;
/// Far more than a part ever has: whoever can write to the broker could send anything.
const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The first line of a part.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    checkpoint: Uuid,
    number: u32,
}

/// A part of a checkpoint, decoded.
pub(super) struct Part {
    pub(super) checkpoint: Uuid,
    pub(super) number: u32,
    pub(super) lines: Vec<Vec<u8>>,
}

impl Part {
    pub(super) fn decode(body: &[u8]) -> std::io::Result<Self> {
        let mut lines = BufReader::new(GzDecoder::new(body).take(PART_BYTES_MAX)).split(b'\n');
        let header = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
        let Header { checkpoint, number } = serde_json::from_slice(&header)?;
        Ok(Self { checkpoint, number, lines: lines.collect::<Result<_, _>>()? })
    }
}

/// These lines as the parts of one checkpoint.
pub(super) fn encode(
    checkpoint: Uuid,
    lines: impl Iterator<Item = serde_json::Result<Vec<u8>>>,
) -> std::io::Result<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for line in lines {
        part.extend(line?);
        part.push(b'\n');
        if part.len() >= PART_BYTES {
            parts.push(compress(checkpoint, parts.len(), &std::mem::take(&mut part))?);
        }
    }
    if !part.is_empty() {
        parts.push(compress(checkpoint, parts.len(), &part)?);
    }
    Ok(parts)
}

pub(super) fn compress(checkpoint: Uuid, number: usize, lines: &[u8]) -> std::io::Result<Vec<u8>> {
    let number = u32::try_from(number).map_err(std::io::Error::other)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&serde_json::to_vec(&Header { checkpoint, number })?)?;
    encoder.write_all(b"\n")?;
    encoder.write_all(lines)?;
    encoder.finish()
}

/// Whether a line that cannot be read may be an entry that a newer program wrote.
pub(super) fn may_be_an_entry(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "kind")]
        _kind: String,
    }
    !line.contains(&b'\n') && serde_json::from_slice::<Kind>(line).is_ok()
}
