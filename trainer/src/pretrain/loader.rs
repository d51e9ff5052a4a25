//! Batches made ahead of time, on a thread of their own, so that training does not wait for data.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::pretext::Prepared;

/// Batches that may be ready before they are needed.
const AHEAD: usize = 2;

/// The batches of steps, in their order.
pub struct Loader {
    ready: Receiver<Vec<Prepared>>,
}

impl Loader {
    /// Makes the batches of `steps` with `prepare`, one after the other. The thread ends when the
    /// loader is dropped.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        steps: std::ops::Range<u64>,
        prepare: impl Fn(u64) -> Vec<Prepared> + Send + Sync + 'scope,
    ) -> anyhow::Result<Loader> {
        let (done, ready) = sync_channel(AHEAD);
        // One thread, whatever it calls: the others compute gradients.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .context("could not start the thread that loads data")?;
        std::thread::Builder::new()
            .name("loader".into())
            .spawn_scoped(scope, move || {
                for step in steps {
                    if done.send(pool.install(|| prepare(step))).is_err() {
                        return;
                    }
                }
            })
            .context("could not start the thread that loads data")?;
        Ok(Loader { ready })
    }

    /// The next step's batch, and how long it had to be waited for.
    ///
    /// # Errors
    /// The thread has failed.
    pub fn next(&self) -> anyhow::Result<(Vec<Prepared>, Duration)> {
        let clock = Instant::now();
        let batch = self.ready.recv();
        let batch = batch.map_err(|_| anyhow!("the thread that loads data has failed"))?;
        Ok((batch, clock.elapsed()))
    }
}
