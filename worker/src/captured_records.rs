//! What captured prebuilds must hold, by the word of the workers that captured them: for whoever takes one up at verify.
//!
//! The register has it, for every worker. This worker's own are remembered as well, because a capture does not wait for a broker
//! that is away.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use job::{CapturedPrebuild, Concern, PrebuildName, Target};

use crate::target_register::TargetRegister;

/// How many of its own a worker remembers; each is taken up, or forgotten, within minutes.
const REMEMBERED: usize = 64;

/// Records of captured prebuilds.
#[derive(Debug)]
pub(crate) struct CapturedRecords {
    register: TargetRegister,
    own: Mutex<VecDeque<CapturedPrebuild>>,
}

impl CapturedRecords {
    pub(crate) fn new(register: TargetRegister) -> Self {
        Self { register, own: Mutex::default() }
    }

    /// Records what is about to be captured.
    pub(crate) async fn record(&self, target: &Target, captured: CapturedPrebuild) {
        self.remember(captured.clone());
        if let Err(error) = self.register.note(target, Concern::Captured(captured)).await {
            tracing::warn!(
                error = error_chain::line(&error),
                "what is captured could not be recorded; no other worker can take it up"
            );
        }
    }

    fn remember(&self, captured: CapturedPrebuild) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() == REMEMBERED {
            own.pop_front();
        }
        own.push_back(captured);
    }

    /// What a captured prebuild must hold; none when no worker's word is known or it was withdrawn, and then it is nobody's to
    /// take up.
    pub(crate) fn find(&self, target: &Target, name: &PrebuildName) -> Option<CapturedPrebuild> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = own.iter().find(|captured| captured.name == *name).cloned();
        let state = self.register.get(target);
        let recorded = || state.as_ref()?.captured.clone().filter(|captured| captured.name == *name);
        let found = remembered.or_else(recorded)?;
        let is_revoked = state.as_ref().is_some_and(|state| state.is_revoked((&found).into()));
        (!is_revoked).then_some(found)
    }
}
