//! What the worker put into a sandbox, as it was before anything of the repository ran: kept outside, put back before the
//! capture, and compared in what was captured.
//!
//! Git's own files beside objects, and what of the home steers git, shells and agents, are packed and put back as they were. The
//! toolchain is too large for that: its files are written down, and one that was changed fails the attempt. Files that were added
//! beside them stay, since installing a tool for everyone is no crime.

mod listing;

use std::collections::BTreeMap;

use job::{Failure, FailureKind, Stage, Tail};
use sha2::{Digest, Sha256};

use self::listing::Listing;
use crate::sandbox::{Environment, SHORT, Sandbox};

const PACK: &str = concat!(
    include_str!("baseline/areas.sh"),
    include_str!("baseline/pack.sh"),
    include_str!("baseline/tools.sh")
);
const LIST: &str = concat!(include_str!("baseline/areas.sh"), include_str!("baseline/list.sh"));
const PUT_BACK: &str = concat!(include_str!("baseline/areas.sh"), include_str!("baseline/put_back.sh"));
const CHECK: &str = concat!(include_str!("baseline/areas.sh"), include_str!("baseline/check.sh"));

const PACKED: &str = "/workspace/.harvest/kept/all.tar.gz";
const PACKED_SUMS: &str = "/workspace/.harvest/kept/tools.sha256";
const PACKED_LINKS: &str = "/workspace/.harvest/kept/tools.links";
const BACK: &str = "/workspace/.harvest/kept.tar.gz";
/// In the prebuild, for whoever holds its toolchain against it.
const SUMS: &str = "/workspace/.harvest/tools.sha256";
const LINKS: &str = "/workspace/.harvest/tools.links";

/// Bytes of each that are kept at most: a repository's index grows with its files, of which a million are about 100 MB.
const LIMIT: usize = 128 << 20;
/// The script's exit code when something that it works on is not there any more.
const CANNOT_PUT_BACK: i32 = 60;
/// The script's exit code when the toolchain is another.
const OTHER_TOOLS: i32 = 61;

/// What was there before anything of the repository ran.
#[derive(Debug)]
pub struct Baseline {
    packed: Vec<u8>,
    listing: Listing,
    sums: Vec<u8>,
    links: Vec<u8>,
}

impl Baseline {
    /// Takes it, of the checkout at `path`.
    pub async fn take(sandbox: &Sandbox, path: &str) -> Result<Self, Failure> {
        let stage = Stage::Toolchain;
        let executed = sandbox.short(stage, PACK, &at(path), SHORT).await?;
        if executed.exit_code != 0 {
            return Err(not_taken(&executed.result));
        }
        let mut kept = Vec::new();
        for file in [PACKED, PACKED_SUMS, PACKED_LINKS] {
            let content = sandbox.download(stage, file, LIMIT).await?;
            kept.push(content.ok_or_else(|| not_taken(&format!("{file} is missing")))?);
        }
        let [packed, sums, links] =
            <[Vec<u8>; 3]>::try_from(kept).map_err(|_| not_taken("a file is missing"))?;
        let listing = list(sandbox, stage, path).await?;
        let listing = listing.ok_or_else(|| not_taken("what is there could not be listed"))?;
        Ok(Self { packed, listing, sums, links })
    }

    /// What the manifest says of it.
    pub fn digests(&self) -> job::Baseline {
        let tools = Sha256::new().chain_update(&self.sums).chain_update(&self.links).finalize();
        job::Baseline { put_back: self.listing.digest(), tools: hex::encode(tools) }
    }

    /// What the base had in the home of it: the SHA-256 of each file, by its path there.
    pub fn home(&self) -> BTreeMap<String, String> {
        self.listing.files_of_the_home().map(|(name, sum)| (name.to_owned(), sum.to_owned())).collect()
    }

    /// Puts it back, and holds the toolchain against what it was. Nothing of the repository runs any more, and the folder of
    /// the manifest is new.
    pub async fn put_back(&self, sandbox: &Sandbox, path: &str) -> Result<(), Failure> {
        let stage = Stage::Scrub;
        sandbox.upload(stage, BACK, self.packed.clone()).await?;
        let executed = sandbox.short(stage, PUT_BACK, &at(path), SHORT).await?;
        match executed.exit_code {
            0 => {}
            CANNOT_PUT_BACK => return Err(tampered(executed.result.trim(), &executed.result)),
            code => {
                let text =
                    format!("what steers git and shells could not be put back: {}", executed.result.trim());
                let failure = Failure::new(FailureKind::ScrubFailed, text);
                return Err(failure.with_output(Some(code), Tail::of(&executed.result)));
            }
        }
        match list(sandbox, stage, path).await? {
            Some(listing) => {
                if let Some(name) = self.listing.first_difference(&listing) {
                    return Err(tampered(&name, ""));
                }
            }
            None => return Err(tampered("git's own files", "")),
        }
        sandbox.upload(stage, SUMS, self.sums.clone()).await?;
        sandbox.upload(stage, LINKS, self.links.clone()).await?;
        match check_tools(sandbox, stage).await? {
            Tools::Same { .. } => Ok(()),
            Tools::Other(names) => Err(tampered(names.lines().next().unwrap_or("the toolchain"), &names)),
            Tools::Unknown(why) => Err(tampered("the toolchain", &why)),
        }
    }
}

/// Whether what was captured is what the manifest says of it; else what is not.
pub async fn find_difference(
    sandbox: &Sandbox,
    path: &str,
    wanted: &job::Baseline,
) -> Result<Option<String>, Failure> {
    let stage = Stage::Verify;
    let listing = list(sandbox, stage, path).await?;
    if listing.is_none_or(|listing| listing.digest() != wanted.put_back) {
        return Ok(Some("what steers git and shells is not as it was put back".to_owned()));
    }
    Ok(match check_tools(sandbox, stage).await? {
        Tools::Same { digest } if digest == wanted.tools => None,
        Tools::Same { .. } => Some("what was written down of the toolchain is another".to_owned()),
        Tools::Other(names) => Some(format!("the toolchain is another: {}", names.trim())),
        Tools::Unknown(why) => Some(format!("the toolchain cannot be compared: {}", why.trim())),
    })
}

/// The toolchain, held against the files that say what it was.
enum Tools {
    /// Every file is as they say, and this is their digest.
    Same { digest: String },
    /// These files are not.
    Other(String),
    /// They could not be read.
    Unknown(String),
}

async fn check_tools(sandbox: &Sandbox, stage: Stage) -> Result<Tools, Failure> {
    let executed = sandbox.short(stage, CHECK, &Environment::new(), SHORT).await?;
    let (first, names) = executed.result.split_once('\n').unwrap_or((&executed.result, ""));
    Ok(match (executed.exit_code, first.strip_prefix("tools=")) {
        (0, Some(digest)) => Tools::Same { digest: digest.to_owned() },
        (OTHER_TOOLS, Some(_)) => Tools::Other(names.to_owned()),
        (_, Some(_) | None) => Tools::Unknown(executed.result),
    })
}

async fn list(sandbox: &Sandbox, stage: Stage, path: &str) -> Result<Option<Listing>, Failure> {
    let executed = sandbox.short(stage, LIST, &at(path), SHORT).await?;
    Ok(if executed.exit_code == 0 { Listing::parse(&executed.result) } else { None })
}

fn at(path: &str) -> Environment {
    Environment::new().with("HARVEST_PATH", path)
}

/// SHA-256 of how a baseline is listed and compared.
pub(crate) fn method() -> String {
    hex::encode(Sha256::new().chain_update(LIST).chain_update(CHECK).finalize())
}

fn not_taken(why: &str) -> Failure {
    let text = format!("what the worker put into the sandbox could not be written down: {}", why.trim());
    Failure::new(FailureKind::Internal, text).at(Stage::Toolchain)
}

fn tampered(what: &str, output: &str) -> Failure {
    let text = format!(
        "install or build changed {}, which was put there before them and is not theirs; nothing was captured",
        without_control(what)
    );
    Failure::new(FailureKind::ScrubTampered, text).with_output(None, Tail::of(&without_control(output)))
}

fn without_control(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() && character != '\n' { '?' } else { character })
        .collect()
}
