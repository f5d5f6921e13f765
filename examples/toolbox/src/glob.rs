//! Shell patterns: `*`, `?`, `[a-z]`, `[!a]`; a backslash takes the next character as it is.

use std::path::Path;

pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // The last star and where it was tried: going back to it is enough.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(next) = one(&pattern, p, text[t]) {
            p = next;
            t += 1;
        } else if let Some((at, tried)) = star {
            star = Some((at, tried + 1));
            (p, t) = (at + 1, tried + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// Where the pattern goes on when it takes this character.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (*pattern.get(at + 1)? == character).then_some(at + 2),
        '[' => match set(&pattern[at + 1..], character) {
            Some((length, taken)) => taken.then_some(at + 1 + length),
            None => (character == '[').then_some(at + 1),
        },
        literal => (*literal == character).then_some(at + 1),
    }
}

/// How long the set is with its bracket, and whether the character is in it; none when nothing closes it.
fn set(pattern: &[char], character: char) -> Option<(usize, bool)> {
    let negated = matches!(pattern.first(), Some('!' | '^'));
    let first = usize::from(negated);
    let end = first + 1 + pattern.get(first + 1..)?.iter().position(|member| *member == ']')?;
    let (mut at, mut found) = (first, false);
    while at < end {
        at += usize::from(pattern[at] == '\\' && at + 1 < end);
        if at + 2 < end && pattern[at + 1] == '-' {
            found |= (pattern[at]..=pattern[at + 2]).contains(&character);
            at += 3;
        } else {
            found |= pattern[at] == character;
            at += 1;
        }
    }
    Some((end + 1, found != negated))
}

pub fn is_pattern(pattern: &str) -> bool {
    let mut escaped = false;
    pattern.chars().any(|character| {
        let special = !escaped && matches!(character, '*' | '?' | '[');
        escaped = character == '\\' && !escaped;
        special
    })
}

/// Names of files that a pattern stands for, sorted; seen from this folder.
pub fn paths(pattern: &str, folder: &Path) -> Vec<String> {
    let mut found = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for base in &found {
            let joined = |name: &str| match base.as_str() {
                "" => name.to_owned(),
                base if base.ends_with('/') => format!("{base}{name}"),
                base => format!("{base}/{name}"),
            };
            if !is_pattern(part) {
                let path = joined(&part.replace('\\', ""));
                next.extend(folder.join(&path).exists().then_some(path));
                continue;
            }
            let entries = std::fs::read_dir(folder.join(base)).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let names = names.filter(|name| matches(part, name) && (part.starts_with('.') || !name.starts_with('.')));
            next.extend(names.map(|name| joined(&name)));
        }
        found = next;
    }
    found.sort();
    found
}
