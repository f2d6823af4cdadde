//! What an error means for an attempt: the failure's id, whose fault it is, and what else it touches.
//!
//! One file per source of errors, each with its table: Daytona's API, the toolbox of a sandbox, git hosts, and what programs
//! print before they end; and what is believed of a sandbox once the repository's code has run in it. The tables are printed
//! side by side by the test, so that a difference between two is one that somebody has read.

mod daytona;
mod git_host;
mod loss;
mod program_output;
mod run;
mod suspect;
mod toolbox;

#[cfg(test)]
mod tests;

pub(crate) use self::daytona::{
    from_base, from_call, from_capture, from_delete, from_read, from_restart, from_start,
};
pub(crate) use self::git_host::from_head;
pub(crate) use self::loss::{Others, from_loss};
pub(crate) use self::program_output::{from_build, from_git, from_install, from_toolchain};
pub(crate) use self::run::{BrokenRun, from_broken_run};
pub(crate) use self::suspect::{ApiAnswer, believe, is_claim, is_proxys_trouble, is_there, proxys_trouble};
pub(crate) use self::toolbox::{
    Speaker, call_may_pass, from_execute, from_toolbox, may_pass, speaker_of, speaker_of_execute,
};
