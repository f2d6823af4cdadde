//! The test harness: real RabbitMQ nodes, a real git server, the real programs as processes, and the checks that a
//! run left nothing behind. The tests themselves are under `it/`.
//!
//! Invariant: whatever a harness value starts ends with it, and at the latest with the test process, however that ends.

pub mod eventually;
pub mod guard;
pub mod rabbit;

pub use eventually::eventually;
