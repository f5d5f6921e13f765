//! How soon a daemon that ended may be replaced: a second, then ever later, up to a quarter of an hour. Without it a set
//! would fight with a node that refuses its pods.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(15 * 60);

/// By set (uid and generation) and node.
pub type Key = (String, i64, String);

#[derive(Default)]
pub struct Backoff {
    known: Mutex<HashMap<Key, (Duration, Instant)>>,
}

impl Backoff {
    /// `Err`: not before this long. Otherwise the next time will be later.
    pub fn take(&self, key: Key, now: Instant) -> Result<(), Duration> {
        let mut known = self.known.lock();
        known.retain(|_, (_, since)| now.duration_since(*since) < 2 * MAX);
        let wait = match known.get(&key) {
            Some((wait, since)) if now.duration_since(*since) < *wait => {
                return Err(*wait - now.duration_since(*since));
            }
            Some((wait, _)) => (*wait * 2).min(MAX),
            None => FIRST,
        };
        known.insert(key, (wait, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_daemon_is_replaced_ever_later() {
        let backoff = Backoff::default();
        let key = || ("set".to_owned(), 1, "node".to_owned());
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(backoff.take(key(), at(0)), Ok(()));
        assert_eq!(backoff.take(key(), at(400)), Err(Duration::from_millis(600)));
        assert_eq!(backoff.take(key(), at(1000)), Ok(()));
        assert_eq!(backoff.take(key(), at(2500)), Err(Duration::from_millis(500)));
        assert_eq!(backoff.take(("set".to_owned(), 2, "node".to_owned()), at(2500)), Ok(()));
        assert_eq!(backoff.take(key(), at(3_000_000)), Ok(()));
        assert_eq!(backoff.take(key(), at(3_000_500)), Err(Duration::from_millis(500)));
    }
}
