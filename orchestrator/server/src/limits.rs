//! How much is served at once: in all, and for one user. Watches and streams are not counted, see `route.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests in flight in all.
pub const REQUESTS_MAX: usize = 4_096;
/// Requests in flight for one user; `system:masters` are not limited.
pub const REQUESTS_PER_USER_MAX: usize = 1_024;
/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Replies longer than this are compressed when the client can read it.
pub const COMPRESS_BYTES_MIN: u64 = 128 * 1024;
/// Attempts of a write that meets other writers before the client hears of it.
pub const WRITE_ATTEMPTS_MAX: usize = 32;
/// Attempts to find a free generated name.
pub const NAME_ATTEMPTS_MAX: usize = 8;
/// Seconds a request waits for a revision from the future.
pub const FUTURE_WAIT_SECONDS: u64 = 3;

/// Counts what is in flight.
pub struct Limits {
    all: Arc<Semaphore>,
    users: Arc<Mutex<HashMap<String, usize>>>,
    per_user: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(REQUESTS_MAX, REQUESTS_PER_USER_MAX)
    }
}

impl Limits {
    /// So many requests in all, so many of one user.
    pub fn new(all: usize, per_user: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), users: Arc::default(), per_user }
    }

    /// `None`: too many; try again soon.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.all.clone().try_acquire_owned().ok()
    }

    pub fn enter_user(&self, user: &str) -> Option<UserPermit> {
        let mut users = self.users.lock();
        match users.get_mut(user) {
            Some(count) if *count >= self.per_user => return None,
            Some(count) => *count += 1,
            None if self.per_user == 0 => return None,
            None => drop(users.insert(user.to_owned(), 1)),
        }
        Some(UserPermit { users: self.users.clone(), user: user.to_owned() })
    }
}

/// One request of one user, as long as it lives.
pub struct UserPermit {
    users: Arc<Mutex<HashMap<String, usize>>>,
    user: String,
}

impl Drop for UserPermit {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        if let Some(count) = users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_others() {
        let limits = Limits::new(10, 2);
        let held = (limits.enter_user("a"), limits.enter_user("a"));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(limits.enter_user("a").is_none());
        assert!(limits.enter_user("b").is_some());
        drop(held.0);
        assert!(limits.enter_user("a").is_some());
    }
}
