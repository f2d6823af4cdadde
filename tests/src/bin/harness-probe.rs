//! Ends like a test process, in the way its argument says, after its shared node was started by a thread that is gone:
//! the harness' own tests then look for what was left behind.

use std::io::Write as _;

use fleet_tests::rabbit::shared_node;
use tokio::runtime::Builder;

fn main() -> anyhow::Result<()> {
    let ending = std::env::args().nth(1);
    // Each test has a thread and a runtime of its own, which end long before the process does.
    let starting =
        std::thread::spawn(|| Builder::new_current_thread().enable_all().build()?.block_on(start()));
    match starting.join() {
        Ok(started) => started?,
        Err(_panicked) => anyhow::bail!("the node did not start"),
    }
    std::io::stdin().read_line(&mut String::new())?;
    match ending.as_deref() {
        Some("panic") => panic!("as asked"),
        Some(_) | None => Ok(()),
    }
}

/// Starts the node and prints where it is.
async fn start() -> anyhow::Result<()> {
    let node = shared_node().await;
    Ok(writeln!(std::io::stdout(), "{}", node.access().directory().display())?)
}
