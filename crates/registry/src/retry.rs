//! What is tried again, and when.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::StatusCode;

/// How often and how fast a request is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Attempts altogether, the first included.
    pub attempts: usize,
    /// The wait before the second attempt; it grows threefold each time, with jitter.
    pub first_wait: Duration,
    /// No wait is longer; a registry that asks for more is not asked again.
    pub longest_wait: Duration,
}

impl Default for Retries {
    /// Four attempts over some ten seconds; a registry's `Retry-After` is obeyed up to two minutes, and what asks for
    /// more is told at once.
    fn default() -> Self {
        Self { attempts: 4, first_wait: Duration::from_millis(600), longest_wait: Duration::from_mins(2) }
    }
}

impl Retries {
    /// The waits between the attempts.
    pub(crate) fn schedule(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_factor(3.0)
            .with_max_times(self.attempts.saturating_sub(1))
            .with_jitter()
            .build()
    }

    /// Whether what a registry asks to wait is worth waiting for. An attempt before that would be refused as well.
    pub(crate) fn allow(&self, asked: Option<Duration>) -> bool {
        asked.is_none_or(|asked| asked <= self.longest_wait)
    }

    /// How long to wait: the schedule's next wait, or what the registry asked for if that is longer.
    pub(crate) fn wait(&self, scheduled: Duration, asked: Option<Duration>) -> Duration {
        asked.unwrap_or_default().max(scheduled).min(self.longest_wait)
    }
}

/// Whether an answer with this status may be another one next time: crane's list.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
}

/// Whether the cause of a failed exchange lies in the network, so that another attempt makes sense. A certificate that
/// is not trusted stays so, and a name or port that is not there is told at once.
pub(crate) fn is_network(error: &(dyn StdError + 'static)) -> bool {
    let mut causes = chain(error);
    causes.any(|cause| {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return is_broken(error.kind());
        }
        // Whatever ends an exchange on a connection that stood, unless it is the other side's bad HTTP or our own fault.
        cause.downcast_ref::<reqwest::Error>().is_some_and(|error| {
            let stood = !error.is_connect() && !error.is_builder();
            let bad = |cause: &hyper::Error| cause.is_parse() || cause.is_user();
            stood && !chain(error).filter_map(|cause| cause.downcast_ref()).any(bad)
        })
    })
}

/// Whether a connection ended where an answer should have begun, as one does that the other side had closed while it was
/// idle.
pub(crate) fn is_dropped(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return error.is_incomplete_message() || error.is_canceled() || error.is_closed();
        }
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe))
    })
}

fn is_broken(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::TimedOut
            | io::ErrorKind::UnexpectedEof
    )
}

/// An error and its causes, the outermost first.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_ask_for_patience() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let before = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (value, expected) in [("7", Some(7)), (date, Some(7)), ("-1", None), ("soon", None)] {
            assert_eq!(retry_after(value, before), expected.map(Duration::from_secs), "{value}");
        }
        let after = before + Duration::from_secs(100);
        assert_eq!(retry_after(date, after), Some(Duration::ZERO));
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        let retries = Retries { attempts: 4, ..Retries::default() };
        let waits: Vec<Duration> = retries.schedule().collect();
        assert_eq!(waits.len(), 3);
        assert!(waits.is_sorted(), "{waits:?}");
        let second = Duration::from_secs(1);
        assert_eq!(retries.wait(second, None), second);
        assert_eq!(retries.wait(second, Some(second * 9)), second * 9);
        assert!(retries.allow(None) && retries.allow(Some(second)) && !retries.allow(Some(second * 9999)));
    }

    #[test]
    fn what_passes_and_what_stays() {
        assert!(is_passing(StatusCode::TOO_MANY_REQUESTS));
        assert!(!is_passing(StatusCode::NOT_FOUND));
        assert!(is_network(&io::Error::from(io::ErrorKind::ConnectionReset)));
        assert!(!is_network(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
