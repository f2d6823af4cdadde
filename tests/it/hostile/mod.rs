//! Hostile repositories, each with what it tries and what must come of it: all in one fleet, with planted secrets and a
//! listener that every one of them can tell what it sees. What a session starts from is tried as well, with tokens of its own.
//!
//! `HARVEST_HOSTILE` narrows it to the rows whose names begin so: `HARVEST_HOSTILE=search,git-hooks`.

#![expect(
    clippy::print_stdout,
    reason = "how long it took and how each ended is what a run is looked at for"
)]

mod blame;
mod ear;
mod git;
mod home;
mod hosts;
mod messages;
mod processes;
mod row;
mod scene;
mod search;
mod secrets;
mod session;
mod verdict;

use std::time::Instant;

use futures::StreamExt as _;

use self::row::Row;
use self::scene::Yard;

/// Repositories that are made, and sessions that are started, at once.
const AT_ONCE: usize = 4;

fn rows() -> Vec<Row> {
    let wanted = std::env::var_os("HARVEST_HOSTILE").unwrap_or_default().into_string().unwrap();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    // What takes longest begins first.
    let themes = [
        blame::rows(),
        search::rows(),
        processes::rows(),
        git::rows(),
        home::rows(),
        verdict::rows(),
        secrets::rows(),
    ];
    let chosen = |row: &Row| {
        wanted.is_empty() || row.is_control() || wanted.iter().any(|name| row.name.starts_with(name))
    };
    themes.into_iter().flatten().filter(chosen).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_repository_gains_nothing() {
    let began = Instant::now();
    let rows = rows();
    let yard = Yard::start().await;
    let jobs: Vec<_> =
        futures::stream::iter(&rows).map(|row| yard.submit(row)).buffered(AT_ONCE).collect().await;
    yard.publish_too_much().await;
    let tried = futures::stream::iter(rows.iter().zip(&jobs)).map(|(row, job)| yard.try_row(row, job));
    let mut complaints: Vec<String> = tried.buffer_unordered(rows.len().max(1)).concat().await;
    complaints.extend(yard.look_at_what_was_heard(&rows));
    complaints.extend(yard.compare_sessions());
    complaints.extend(yard.look_for_too_much().await);
    complaints.extend(yard.look_at_the_terminal(&rows).await);
    complaints.extend(yard.end().await);
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("{} hostile repositories in {minutes:.1} min", rows.len());
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}
