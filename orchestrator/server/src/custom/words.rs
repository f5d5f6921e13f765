//! The names of custom kinds, kept for the life of the program: built-in kinds name themselves in static texts, and so
//! that both are one [`Kind`](crate::kinds::Kind), each distinct name that a definition brings is made static once.

use std::collections::HashSet;
use std::sync::LazyLock;

use parking_lot::Mutex;

static WORDS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
static LISTS: LazyLock<Mutex<HashSet<&'static [&'static str]>>> = LazyLock::new(Mutex::default);

/// The one static copy of a name.
pub(super) fn word(text: &str) -> &'static str {
    let mut words = WORDS.lock();
    if let Some(known) = words.get(text) {
        return known;
    }
    let made: &'static str = Box::leak(text.to_owned().into_boxed_str());
    words.insert(made);
    made
}

pub(super) fn words<'t>(texts: impl Iterator<Item = &'t str>) -> &'static [&'static str] {
    let list: Vec<&'static str> = texts.map(word).collect();
    let mut lists = LISTS.lock();
    if let Some(known) = lists.get(list.as_slice()) {
        return known;
    }
    let made: &'static [&'static str] = Box::leak(list.into_boxed_slice());
    lists.insert(made);
    made
}
