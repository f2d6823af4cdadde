//! The test harness: real RabbitMQ nodes, a real git server, the real programs as processes, and the checks that a
//! run left nothing behind. The tests themselves are under `it/`.
//!
//! Invariant: whatever a harness value starts ends with it, and at the latest with the test process, however that ends.

pub mod eventually;
pub mod fixtures;
pub mod fleet;
pub mod git_server;
pub mod guard;
pub mod image_tools;
pub mod leaks;
pub mod npm_registry;
pub mod ports;
pub mod processes;
pub mod programs;
pub mod rabbit;
pub mod started;

pub use eventually::eventually;
