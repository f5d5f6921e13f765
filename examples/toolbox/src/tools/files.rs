//! Files and folders.

use std::fs;
use std::path::Path;

use crate::io::{Io, cause};
use crate::shell::{Outcome, Shell};

use super::{misused, options};

/// Does this with each; complains about those with which it failed.
fn each(tool: &str, words: &[String], io: &Io, act: impl Fn(&str) -> std::io::Result<()>) -> Outcome {
    let mut code = 0;
    for word in words {
        if let Err(error) = act(word) {
            io.complain(&format!("{tool}: {word}: {}", cause(&error)));
            code = 1;
        }
    }
    Ok(code)
}

/// `-l` shows what it is and how long, `-a` hidden ones too; always one a line.
pub fn ls(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((letters, words)) = options(words, "1alhA") else {
        return misused(io, "ls", "the toolbox knows -1, -a, -A, -h and -l");
    };
    let here = [".".to_owned()];
    let words = if words.is_empty() { &here } else { words };
    each("ls", words, io, |word| {
        let path = shell.path(word);
        if !fs::metadata(&path)?.is_dir() {
            io.say(&line(&path, word, &letters));
            return Ok(());
        }
        if words.len() > 1 {
            io.say(&format!("{word}:\n"));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !name.starts_with('.') || letters.contains(['a', 'A']));
        names.sort();
        io.say(&names.iter().map(|name| line(&path.join(name), name, &letters)).collect::<String>());
        Ok(())
    })
}

fn line(path: &Path, name: &str, letters: &str) -> String {
    if !letters.contains('l') {
        return format!("{name}\n");
    }
    let (kind, length) = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => ('d', data.len()),
        Ok(data) if data.is_symlink() => ('l', data.len()),
        Ok(data) => ('-', data.len()),
        Err(_) => ('?', 0),
    };
    format!("{kind} {length:>10} {name}\n")
}

pub fn touch(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    each("touch", words, io, |word| {
        let file = fs::OpenOptions::new().create(true).append(true).open(shell.path(word))?;
        // Folders of some hosts keep no times; that the file is there counts.
        let _ = file.set_modified(std::time::SystemTime::UNIX_EPOCH + (shell.clock)());
        Ok(())
    })
}

pub fn mkdir(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((letters, words)) = options(words, "p") else { return misused(io, "mkdir", "the toolbox knows -p") };
    let parents = letters.contains('p');
    each("mkdir", words, io, |word| match parents {
        true => fs::create_dir_all(shell.path(word)),
        false => fs::create_dir(shell.path(word)),
    })
}

pub fn rm(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((letters, words)) = options(words, "rRf") else { return misused(io, "rm", "the toolbox knows -r and -f") };
    let (recursive, forced) = (letters.contains(['r', 'R']), letters.contains('f'));
    each("rm", words, io, |word| {
        let path = shell.path(word);
        match fs::symlink_metadata(&path) {
            Ok(data) if data.is_dir() && recursive => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) if forced => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// Into a folder each, or one onto another name.
fn onto(tool: &str, shell: &Shell, words: &[String], io: &Io, act: fn(&Path, &Path) -> std::io::Result<()>) -> Outcome {
    let Some((_, words)) = options(words, "f") else {
        return misused(io, tool, "the toolbox knows files, not folders");
    };
    let Some((target, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return misused(io, tool, "missing file operand");
    };
    let target = shell.path(target);
    if sources.len() > 1 && !target.is_dir() {
        return misused(io, tool, &format!("'{}' is not a directory", target.display()));
    }
    each(tool, sources, io, |word| {
        let source = shell.path(word);
        let named = source.file_name().filter(|_| target.is_dir()).map(|name| target.join(name));
        act(&source, &named.unwrap_or_else(|| target.clone()))
    })
}

pub fn cp(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    onto("cp", shell, words, io, |from, to| fs::copy(from, to).map(|_| ()))
}

pub fn mv(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    onto("mv", shell, words, io, |from, to| fs::rename(from, to))
}
