//! What reads lines and writes lines.

use std::time::Duration;

use crate::io::{Io, cause};
use crate::shell::{Outcome, Shell};

use super::{misused, options};

/// The bytes of a file, or of the input for none or `-`; what is missing is complained about.
fn content(tool: &str, shell: &Shell, name: Option<&String>, io: &Io) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match name.map(String::as_str) {
        None | Some("-") => io.input.borrow_mut().read_to_end(&mut bytes).map(|_| bytes),
        Some("/dev/null") => Ok(bytes),
        Some(name) => std::fs::read(shell.path(name)),
    };
    let complain = |error: &std::io::Error| {
        let name = name.map(String::as_str).unwrap_or("-");
        io.complain(&format!("{tool}: can't open '{name}': {}", cause(error)));
    };
    read.inspect_err(complain).ok()
}

/// Calls this with each file's name and lines, the input's when none is named.
fn lines(tool: &str, shell: &Shell, names: &[String], io: &Io, mut act: impl FnMut(&str, &[&str])) -> i32 {
    let inputs: Vec<_> = if names.is_empty() { vec![None] } else { names.iter().map(Some).collect() };
    let mut code = 0;
    for name in inputs {
        let Some(bytes) = content(tool, shell, name, io) else {
            code = 1;
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        act(name.map(String::as_str).unwrap_or_default(), &text.split_inclusive('\n').collect::<Vec<_>>());
    }
    code
}

pub fn cat(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let inputs: Vec<_> = if words.is_empty() { vec![None] } else { words.iter().map(Some).collect() };
    let mut code = 0;
    for name in inputs {
        match content("cat", shell, name, io) {
            Some(bytes) => io.write(&bytes),
            None => code = 1,
        }
    }
    Ok(code)
}

/// `-n 3`, `-n3`, `-3`; what else is named. `-f` comes as a `true`.
fn count(words: &[String]) -> Option<(usize, bool, Vec<String>)> {
    let (mut count, mut follows, mut names) = (10, false, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" => count = words.next()?.parse().ok()?,
            "-f" | "-F" => follows = true,
            word if word.starts_with('-') && word.len() > 1 => {
                count = word[1..].trim_start_matches('n').parse().ok()?
            }
            word => names.push(word.to_owned()),
        }
    }
    Some((count, follows, names))
}

pub fn head(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((count, false, names)) = count(words) else { return misused(io, "head", "the toolbox knows -n") };
    Ok(lines("head", shell, &names, io, |_, lines| io.say(&lines[..count.min(lines.len())].concat())))
}

pub fn tail(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((count, follows, names)) = count(words) else { return misused(io, "tail", "the toolbox knows -n and -f") };
    let mut seen = 0;
    let code = lines("tail", shell, &names, io, |_, lines| {
        seen = lines.concat().len();
        io.say(&lines[lines.len().saturating_sub(count)..].concat());
    });
    let Some(name) = names.first().filter(|_| follows && code == 0) else { return Ok(code) };
    if name == "/dev/null" {
        (shell.pause)(crate::FOREVER);
        return Ok(0);
    }
    loop {
        (shell.pause)(Duration::from_secs(1));
        let Some(bytes) = content("tail", shell, Some(name), io) else { return Ok(1) };
        io.write(&bytes[seen.min(bytes.len())..]);
        seen = bytes.len();
    }
}

pub fn wc(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((letters, names)) = options(words, "lwc") else {
        return misused(io, "wc", "the toolbox knows -l, -w and -c");
    };
    let letters = if letters.is_empty() { "lwc".to_owned() } else { letters };
    Ok(lines("wc", shell, names, io, |name, lines| {
        let text = lines.concat();
        let counts = [('l', text.matches('\n').count()), ('w', text.split_whitespace().count()), ('c', text.len())];
        let shown = counts.iter().filter(|(letter, _)| letters.contains(*letter)).map(|(_, count)| count.to_string());
        let shown: Vec<String> = shown.chain((!name.is_empty()).then(|| name.to_owned())).collect();
        io.say(&format!("{}\n", shown.join(" ")));
    }))
}

pub fn grep(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((letters, words)) = options(words, "EFiqvcno") else {
        return misused(io, "grep", "the toolbox knows -E, -F, -c, -i, -n, -o, -q and -v");
    };
    let Some((pattern, names)) = words.split_first() else { return misused(io, "grep", "missing pattern") };
    let has = |letter: char| letters.contains(letter);
    let pattern = match (has('F'), has('E')) {
        (true, _) => regex_lite::escape(pattern),
        (_, true) => pattern.clone(),
        _ => basic(pattern),
    };
    let pattern = match regex_lite::RegexBuilder::new(&pattern).case_insensitive(has('i')).build() {
        Ok(pattern) => pattern,
        Err(error) => return misused(io, "grep", &error.to_string()),
    };
    let (mut found, mut shown) = (0, String::new());
    let code = lines("grep", shell, names, io, |name, lines| {
        for (index, line) in lines.iter().map(|line| line.trim_end_matches('\n')).enumerate() {
            if pattern.is_match(line) == has('v') {
                continue;
            }
            found += 1;
            let file = if names.len() > 1 { format!("{name}:") } else { String::new() };
            let number = if has('n') { format!("{}:", index + 1) } else { String::new() };
            let whole = vec![line];
            let parts = if has('o') { pattern.find_iter(line).map(|part| part.as_str()).collect() } else { whole };
            for part in parts {
                shown.push_str(&format!("{file}{number}{part}\n"));
            }
        }
    });
    match (has('q'), has('c')) {
        (true, _) => {}
        (_, true) => io.say(&format!("{found}\n")),
        _ => io.say(&shown),
    }
    Ok(if code != 0 { 2 } else { i32::from(found == 0) })
}

/// A basic expression as an extended one: there, what is special here is so only behind a backslash.
fn basic(pattern: &str) -> String {
    let mut out = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(special @ ('+' | '?' | '|' | '(' | ')' | '{' | '}')) => out.push(special),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '+' | '?' | '|' | '(' | ')' | '{' | '}' => out.extend(['\\', character]),
            other => out.push(other),
        }
    }
    out
}

pub fn sort(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((letters, names)) = options(words, "nru") else {
        return misused(io, "sort", "the toolbox knows -n, -r and -u");
    };
    let mut all: Vec<String> = Vec::new();
    let code = lines("sort", shell, names, io, |_, lines| {
        all.extend(lines.iter().map(|line| line.trim_end_matches('\n').to_owned()));
    });
    all.sort();
    if letters.contains('n') {
        all.sort_by_key(|line| line.trim().parse::<i64>().unwrap_or_default());
    }
    if letters.contains('r') {
        all.reverse();
    }
    if letters.contains('u') {
        all.dedup();
    }
    io.say(&all.iter().map(|line| format!("{line}\n")).collect::<String>());
    Ok(code)
}

pub fn tee(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((letters, names)) = options(words, "a") else { return misused(io, "tee", "the toolbox knows -a") };
    let Some(bytes) = content("tee", shell, None, io) else { return Ok(1) };
    io.write(&bytes);
    let mut code = 0;
    for name in names {
        let appends = letters.contains('a');
        let file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .append(appends)
            .truncate(!appends)
            .open(shell.path(name));
        if let Err(error) = file.and_then(|mut file| std::io::Write::write_all(&mut file, &bytes)) {
            io.complain(&format!("tee: {name}: {}", cause(&error)));
            code = 1;
        }
    }
    Ok(code)
}

/// `seq last`, `seq first last`, `seq first step last`
pub fn seq(_: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let numbers: Option<Vec<i64>> = words.iter().map(|word| word.parse().ok()).collect();
    let (mut at, step, last) = match numbers.as_deref() {
        Some(&[last]) => (1, 1, last),
        Some(&[first, last]) => (first, 1, last),
        Some(&[first, step, last]) if step != 0 => (first, step, last),
        _ => return misused(io, "seq", "takes one to three whole numbers"),
    };
    while (step > 0 && at <= last) || (step < 0 && at >= last) {
        io.say(&format!("{at}\n"));
        at = at.saturating_add(step);
    }
    Ok(0)
}

pub fn basename(_: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some(path) = words.first() else { return misused(io, "basename", "missing operand") };
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let suffix = words.get(1).map(String::as_str).unwrap_or_default();
    io.say(&format!("{}\n", name.strip_suffix(suffix).filter(|rest| !rest.is_empty()).unwrap_or(name)));
    Ok(0)
}

pub fn dirname(_: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some(path) = words.first() else { return misused(io, "dirname", "missing operand") };
    let folder = match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    };
    io.say(&format!("{folder}\n"));
    Ok(0)
}
