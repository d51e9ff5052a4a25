//! Work over a slice on all processors, results in order.

use rayon::prelude::*;

/// Cuts `items` into one stretch a thread, runs `work` on each, and joins what comes back. The
/// result does not depend on the number of threads, as long as `work` treats each item alone.
pub fn parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&[T]) -> anyhow::Result<Vec<R>> + Sync + Send,
) -> anyhow::Result<Vec<R>> {
    let stretch = items.len().div_ceil(rayon::current_num_threads()).max(1);
    let parts: Vec<Vec<R>> = items
        .par_chunks(stretch)
        .map(work)
        .collect::<anyhow::Result<_>>()?;
    Ok(parts.into_iter().flatten().collect())
}
