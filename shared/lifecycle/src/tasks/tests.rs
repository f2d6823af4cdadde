use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::Drain;

async fn end_of_one<F>(task: F) -> (Shutdown, String)
where
    F: Future + Send + 'static,
    F::Output: TaskOutput,
{
    let shutdown = Shutdown::new();
    let mut tasks = TaskGroup::new(shutdown.clone());
    let waiting = shutdown.clone();
    tasks.spawn("steady", async move { waiting.draining().cancelled().await });
    tasks.spawn("odd", task);
    let error = tasks.join_all().await.expect_err("the odd one is reported");
    assert_eq!(error.0.len(), 1, "the steady one ended in order: {error}");
    (shutdown, error.to_string())
}

/// Not a constant, so that the task is a future of `()` to the compiler.
fn alive() -> bool {
    std::hint::black_box(false)
}

#[tokio::test]
async fn a_panic_drains_the_program_and_is_reported() {
    let (shutdown, report) = end_of_one(async { assert!(alive(), "index {} of {}", 3, 2) }).await;
    assert!(shutdown.draining().is_cancelled());
    assert_eq!(report, "task `odd` panicked: index 3 of 2");
}

#[tokio::test]
async fn an_early_end_drains_the_program_and_is_reported() {
    let (shutdown, report) = end_of_one(async {}).await;
    assert!(shutdown.draining().is_cancelled());
    assert_eq!(report, "task `odd` ended though nothing asked it to");
}

#[tokio::test]
async fn an_error_drains_the_program_and_is_reported() {
    let (shutdown, report) = end_of_one(async { Err(io::Error::other("no broker")) }).await;
    assert!(shutdown.draining().is_cancelled());
    assert_eq!(report, "task `odd` failed: no broker");
}

#[tokio::test]
async fn tasks_that_end_in_the_drain_are_fine() {
    let shutdown = Shutdown::new();
    let mut tasks = TaskGroup::new(shutdown.clone());
    for name in ["consume", "beat"] {
        let shutdown = shutdown.clone();
        tasks.spawn(name, async move {
            shutdown.draining().cancelled().await;
            Ok::<(), io::Error>(())
        });
    }
    assert_eq!(tasks.len(), 2);
    shutdown.drain();
    tasks.join_all().await.expect("both in order");
}

#[tokio::test(start_paused = true)]
async fn a_passed_deadline_leaves_no_task_behind() {
    let shutdown = Shutdown::new();
    let mut tasks = TaskGroup::new(shutdown.clone());
    let (held, mut released) = tokio::sync::oneshot::channel::<()>();
    let alive = Arc::new(());
    let held_by_task = (held, Arc::clone(&alive));
    tasks.spawn("stuck", async move {
        pending::<()>().await;
        drop(held_by_task);
    });
    let drain = shutdown.drain_within(Duration::from_mins(1), tasks.join_all()).await;
    assert!(matches!(drain, Drain::DeadlinePassed));
    // The sender goes away with the aborted task.
    assert!((&mut released).await.is_err());
    assert_eq!(Arc::strong_count(&alive), 1);
}
