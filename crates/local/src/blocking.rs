//! Work on threads that may wait for the disk.

use store::Error as StoreError;
use tokio::task::spawn_blocking;

use crate::error::Error;

/// Does something there; `doing` is what messages say of it.
pub(crate) async fn run<T: Send + 'static>(
    doing: String,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, StoreError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        .map_err(|error| error.doing(doing))
}

/// Does something with a place there.
pub(crate) async fn with<P: Clone + Send + 'static, T: Send + 'static>(
    place: &P,
    doing: String,
    work: impl FnOnce(&P) -> Result<T, Error> + Send + 'static,
) -> Result<T, StoreError> {
    let place = place.clone();
    run(doing, move || work(&place)).await
}
