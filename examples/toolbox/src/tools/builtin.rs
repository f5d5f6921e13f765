//! What reads or changes the shell itself.

use crate::io::{Io, cause};
use crate::shell::{Outcome, Shell, Stop, Variable};

use super::{find, misused};

/// `sh -c script [name [argument…]]`, `sh file [argument…]`, `sh` for a script on stdin; `-e`, `-u` and `-x` before.
pub fn sh(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let mut inner = shell.clone();
    inner.functions.clear();
    inner.variables.retain(|_, variable| variable.exported);
    let flags = words.iter().take_while(|word| word.starts_with('-') && *word != "-").count();
    let (flags, rest) = words.split_at(flags);
    let letters: String = flags.iter().map(|flag| flag.trim_start_matches('-')).collect();
    for letter in letters.chars().filter(|letter| !"cl".contains(*letter)) {
        if !toggle(&mut inner, letter, true) {
            return misused(io, "sh", &format!("-{letter}: not an option of this shell"));
        }
    }
    let (script, rest) = match (letters.contains('c'), rest.split_first()) {
        (true, None) => return misused(io, "sh", "-c requires an argument"),
        (true, Some((script, rest))) => (script.clone(), rest),
        (false, Some((file, _))) => (read_text(shell, file)?, rest),
        (false, None) => {
            let mut script = String::new();
            let _ = io.input.borrow_mut().read_to_string(&mut script);
            (script, rest)
        }
    };
    if let Some((name, arguments)) = rest.split_first() {
        (inner.name, inner.arguments) = (name.clone(), arguments.to_vec());
    }
    match inner.subshell(|inner| inner.run(&script, io)) {
        Err(Stop::Refused(text)) => misused(io, "sh", &text),
        outcome => outcome,
    }
}

fn read_text(shell: &Shell, file: &str) -> Result<String, Stop> {
    let text = std::fs::read_to_string(shell.path(file));
    text.map_err(|error| Stop::Failed(format!("sh: can't open '{file}': {}", cause(&error))))
}

pub fn source(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some(file) = words.first() else { return misused(io, ".", "filename argument required") };
    let script = read_text(shell, file)?;
    match shell.nested(|shell| shell.run(&script, io)) {
        Err(Stop::Return(code)) => Ok(code),
        outcome => outcome,
    }
}

pub fn eval(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    shell.nested(|shell| shell.run(&words.join(" "), io))
}

pub fn exec(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    match words.split_first() {
        Some((name, arguments)) => Err(Stop::Exit(shell.call(name, arguments, io)?)),
        None => Err(Stop::Refused("exec: redirections of the shell itself are not in this shell".to_owned())),
    }
}

/// `command -v name` says where a tool is; `command name …` runs it.
pub fn command(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    match words {
        [flag, name, ..] if flag == "-v" => {
            let is_known = shell.functions.contains_key(name) || find(name).is_some();
            if is_known {
                io.say(&format!("{name}\n"));
            }
            Ok(if is_known { 0 } else { 127 })
        }
        [name, arguments @ ..] => shell.call(name, arguments, io),
        [] => Ok(0),
    }
}

fn code(shell: &Shell, words: &[String]) -> Result<i32, Stop> {
    let Some(word) = words.first() else { return Ok(shell.last) };
    word.parse().map_err(|_| Stop::Refused(format!("{word}: not a number")))
}

pub fn exit(shell: &mut Shell, words: &[String], _: &Io) -> Outcome {
    Err(Stop::Exit(code(shell, words)? & 0xff))
}

pub fn return_from(shell: &mut Shell, words: &[String], _: &Io) -> Outcome {
    Err(Stop::Return(code(shell, words)? & 0xff))
}

fn loops(words: &[String]) -> Result<u32, Stop> {
    let count = words.first().map_or(Ok(1), |word| word.parse());
    count.ok().filter(|count| *count > 0).ok_or_else(|| Stop::Refused("there are no such many loops".to_owned()))
}

pub fn break_loop(_: &mut Shell, words: &[String], _: &Io) -> Outcome {
    Err(Stop::Break(loops(words)?))
}

pub fn continue_loop(_: &mut Shell, words: &[String], _: &Io) -> Outcome {
    Err(Stop::Continue(loops(words)?))
}

pub fn shift(shell: &mut Shell, words: &[String], _: &Io) -> Outcome {
    let count: usize = words.first().and_then(|word| word.parse().ok()).unwrap_or(1);
    if count > shell.arguments.len() {
        return Err(Stop::Failed("sh: shift: can't shift that many".to_owned()));
    }
    shell.arguments.drain(..count);
    Ok(0)
}

fn toggle(shell: &mut Shell, letter: char, on: bool) -> bool {
    match letter {
        'e' => shell.options.errexit = on,
        'u' => shell.options.nounset = on,
        'x' => shell.options.xtrace = on,
        _ => return false,
    }
    true
}

pub fn set(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let mut words = words;
    while let Some((word, rest)) = words.split_first() {
        let (on, letters) = match (word.strip_prefix('-'), word.strip_prefix('+')) {
            (Some("-"), _) => {
                shell.arguments = rest.to_vec();
                return Ok(0);
            }
            (Some(letters), _) => (true, letters),
            (_, Some(letters)) => (false, letters),
            _ => {
                shell.arguments = words.to_vec();
                return Ok(0);
            }
        };
        words = rest;
        for letter in letters.chars() {
            let known = match (letter, rest.first().map(String::as_str)) {
                ('o', Some("pipefail")) => {
                    shell.options.pipefail = on;
                    words = &rest[1..];
                    true
                }
                (letter, _) => toggle(shell, letter, on),
            };
            if !known {
                return misused(io, "sh: set", &format!("-{letter}: not an option of this shell"));
            }
        }
    }
    Ok(0)
}

fn declared(word: &str) -> (String, Option<String>) {
    match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    }
}

pub fn export(shell: &mut Shell, words: &[String], _: &Io) -> Outcome {
    for (name, value) in words.iter().filter(|word| *word != "-p").map(|word| declared(word)) {
        let variable = shell.variables.entry(name).or_default();
        variable.exported = true;
        if let Some(value) = value {
            variable.value = value;
        }
    }
    Ok(0)
}

pub fn local(shell: &mut Shell, words: &[String], _: &Io) -> Outcome {
    for (name, value) in words.iter().map(|word| declared(word)) {
        let Some(hidden) = shell.hidden.last_mut() else {
            return Err(Stop::Refused("local: not in a function".to_owned()));
        };
        let variable = Variable { value: value.unwrap_or_default(), exported: false };
        hidden.push((name.clone(), shell.variables.insert(name, variable)));
    }
    Ok(0)
}

pub fn unset(shell: &mut Shell, words: &[String], _: &Io) -> Outcome {
    for name in words.iter().filter(|word| !word.starts_with('-')) {
        if shell.variables.remove(name).is_none() {
            shell.functions.remove(name);
        }
    }
    Ok(0)
}

/// `env`, `env NAME=value… command…`
pub fn env(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let assigned = words.iter().take_while(|word| word.contains('=')).count();
    let (assigned, command) = words.split_at(assigned);
    shell.subshell(|shell| {
        export(shell, assigned, io)?;
        match command.split_first() {
            Some((name, arguments)) => shell.call(name, arguments, io),
            None => printenv(shell, &[], io),
        }
    })
}

pub fn printenv(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let exported: Vec<_> = shell.variables.iter().filter(|(_, variable)| variable.exported).collect();
    if words.is_empty() {
        io.say(&exported.iter().map(|(name, variable)| format!("{name}={}\n", variable.value)).collect::<String>());
        return Ok(0);
    }
    let mut code = 0;
    for word in words {
        match exported.iter().find(|(name, _)| *name == word) {
            Some((_, variable)) => io.say(&format!("{}\n", variable.value)),
            None => code = 1,
        }
    }
    Ok(code)
}

pub fn cd(shell: &mut Shell, words: &[String], _: &Io) -> Outcome {
    let home = shell.variable("HOME").unwrap_or("/").to_owned();
    let name = words.first().unwrap_or(&home);
    let mut folder = std::path::PathBuf::new();
    for part in shell.path(name).components() {
        match part {
            std::path::Component::ParentDir => _ = folder.pop(),
            std::path::Component::CurDir => {}
            part => folder.push(part),
        }
    }
    if folder.as_os_str() != "/" && !folder.is_dir() {
        return Err(Stop::Failed(format!("sh: cd: can't cd to {name}: No such file or directory")));
    }
    shell.folder = folder;
    Ok(0)
}

pub fn pwd(shell: &mut Shell, _: &[String], io: &Io) -> Outcome {
    io.say(&format!("{}\n", shell.folder.display()));
    Ok(0)
}

/// One line into variables, the last of which takes the rest; 1 at the end.
pub fn read(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let mut line = String::new();
    let _ = io.input.borrow_mut().read_line(&mut line);
    let ended = !line.ends_with('\n');
    let names: Vec<&String> = words.iter().filter(|word| *word != "-r").collect();
    let separators = shell.variable("IFS").unwrap_or(" \t\n").to_owned();
    let is_separator = |character: char| separators.contains(character);
    let mut rest = line.trim_end_matches('\n').trim_matches(is_separator);
    for (index, name) in names.iter().enumerate() {
        let (value, more) = match rest.split_once(is_separator) {
            Some(parts) if index + 1 < names.len() => parts,
            _ => (rest, ""),
        };
        shell.assign(name, value.to_owned());
        rest = more.trim_start_matches(is_separator);
    }
    Ok(i32::from(ended))
}
