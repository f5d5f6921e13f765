//! What prints its arguments, and what does nothing.

use crate::io::Io;
use crate::shell::{Outcome, Shell};

use super::misused;

pub fn yes(_: &mut Shell, _: &[String], _: &Io) -> Outcome {
    Ok(0)
}

pub fn no(_: &mut Shell, _: &[String], _: &Io) -> Outcome {
    Ok(1)
}

/// `-n`: no new line; `-e`: backslashes mean something.
pub fn echo(_: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let is_option =
        |word: &&String| word.len() > 1 && word.starts_with('-') && word[1..].chars().all(|c| "neE".contains(c));
    let (options, words) = words.split_at(words.iter().take_while(is_option).count());
    let letters = options.concat();
    let mut text = words.join(" ");
    let mut ended = letters.contains('n');
    if letters.contains('e') {
        let (unescaped, stops) = unescaped(&text);
        (text, ended) = (unescaped, ended || stops);
    }
    if !ended {
        text.push('\n');
    }
    io.say(&text);
    Ok(0)
}

/// Backslash sequences replaced, and whether `\c` ended the text.
pub fn unescaped(text: &str) -> (String, bool) {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut characters = after.chars();
        let known = match characters.next() {
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('e') => '\x1b',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some('c') => return (out, true),
            Some(quote @ ('\\' | '\'' | '"')) => quote,
            Some('0'..='7') => {
                let digits = after.chars().take(4).take_while(|digit| digit.is_digit(8)).count();
                out.push(char::from(u8::from_str_radix(&after[..digits], 8).unwrap_or_default()));
                rest = &after[digits..];
                continue;
            }
            _ => {
                out.push('\\');
                rest = after;
                continue;
            }
        };
        out.push(known);
        rest = characters.as_str();
    }
    out.push_str(rest);
    (out, false)
}

/// The format is used again until the arguments are used up.
pub fn printf(_: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let Some((format, arguments)) = words.split_first() else { return misused(io, "printf", "missing format") };
    let mut rest = arguments.iter();
    loop {
        let before = rest.len();
        let text = match formatted(format, &mut rest) {
            Ok(text) => text,
            Err(why) => return misused(io, "printf", &why),
        };
        io.say(&text);
        if rest.len() == 0 || rest.len() == before {
            return Ok(0);
        }
    }
}

fn formatted(format: &str, arguments: &mut std::slice::Iter<'_, String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), format);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(&unescaped(before).0);
        let length = after.find(|character: char| !"-+ 0123456789.".contains(character));
        let length = length.ok_or("%: a letter is missing")?;
        let (flags, letter) = (&after[..length], after[length..].chars().next().unwrap_or('%'));
        rest = &after[length + letter.len_utf8()..];
        if letter == '%' {
            out.push('%');
            continue;
        }
        let argument = arguments.next().map(String::as_str).unwrap_or_default();
        let number = || match argument {
            "" => Ok(0),
            text => text.parse::<i64>().map_err(|_| format!("invalid number '{text}'")),
        };
        let text = match letter {
            's' => argument.to_owned(),
            'b' => unescaped(argument).0,
            'c' => argument.chars().take(1).collect(),
            'd' | 'i' | 'u' => number()?.to_string(),
            'x' => format!("{:x}", number()?),
            'X' => format!("{:X}", number()?),
            'o' => format!("{:o}", number()?),
            other => return Err(format!("%{other}: not a format of this toolbox")),
        };
        out.push_str(&padded(text, flags, letter));
    }
    out.push_str(&unescaped(rest).0);
    Ok(out)
}

fn padded(mut text: String, flags: &str, letter: char) -> String {
    let (width, precision) = flags.split_once('.').unwrap_or((flags, ""));
    if let (Ok(most), 's' | 'b') = (precision.parse(), letter) {
        text = text.chars().take(most).collect();
    }
    let left = width.contains('-');
    let width = width.trim_start_matches(['-', '+', ' ']);
    let zeros = width.starts_with('0') && !left && !"sbc".contains(letter);
    let missing = width.parse().unwrap_or(0_usize).saturating_sub(text.chars().count());
    match (left, zeros) {
        (true, _) => text + &" ".repeat(missing),
        (_, true) => match text.strip_prefix('-') {
            Some(digits) => format!("-{}{digits}", "0".repeat(missing)),
            None => "0".repeat(missing) + &text,
        },
        _ => " ".repeat(missing) + &text,
    }
}

pub fn hostname(shell: &mut Shell, _: &[String], io: &Io) -> Outcome {
    let file = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = shell.variable("HOSTNAME").unwrap_or(file.trim());
    io.say(&format!("{}\n", if name.is_empty() { "localhost" } else { name }));
    Ok(0)
}
