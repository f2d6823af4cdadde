//! Reads git's packet lines from an answer as it arrives, dropping what was read.
//!
//! A ref advertisement can be tens of megabytes; what is held is one line and one chunk.

use gix_packetline::PacketLineRef;
use gix_packetline::decode::{Stream, streaming};

/// One packet line, without its length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Data(Vec<u8>),
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Why there is no further line.
#[derive(Debug)]
pub(crate) enum Broken {
    Connection(reqwest::Error),
    Garbled,
    TooLarge(usize),
}

/// The lines of one answer.
pub(crate) struct Lines {
    response: reqwest::Response,
    buffer: Vec<u8>,
    used: usize,
    read: usize,
    limit: usize,
}

impl Lines {
    /// Of an answer of which at most `limit` bytes are read.
    pub(crate) fn new(response: reqwest::Response, limit: usize) -> Self {
        Self { response, buffer: vec![], used: 0, read: 0, limit }
    }

    /// Reads further than allowed so far.
    pub(crate) fn allow(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next line; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>, Broken> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(Some(line));
            }
            let Some(chunk) = self.response.chunk().await.map_err(Broken::Connection)? else {
                return if self.used == self.buffer.len() { Ok(None) } else { Err(Broken::Garbled) };
            };
            self.read += chunk.len();
            if self.read > self.limit {
                return Err(Broken::TooLarge(self.limit));
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    fn take_line(&mut self) -> Result<Option<Line>, Broken> {
        match streaming(&self.buffer[self.used..]).map_err(|_| Broken::Garbled)? {
            Stream::Incomplete { .. } => Ok(None),
            Stream::Complete { line, bytes_consumed } => {
                let line = match line {
                    PacketLineRef::Data(bytes) => Line::Data(bytes.to_vec()),
                    PacketLineRef::Flush => Line::Flush,
                    PacketLineRef::Delimiter => Line::Delimiter,
                    PacketLineRef::ResponseEnd => Line::ResponseEnd,
                };
                self.used += bytes_consumed;
                Ok(Some(line))
            }
        }
    }
}
