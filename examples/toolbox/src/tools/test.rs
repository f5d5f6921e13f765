//! Conditions (`test`, `[`) and `expr`.

use crate::io::Io;
use crate::shell::{Outcome, Shell, Stop};

use super::misused;

pub fn bracket(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    match words.split_last() {
        Some((last, words)) if last == "]" => test(shell, words, io),
        _ => misused(io, "sh: [", "missing ]"),
    }
}

pub fn test(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match holds(shell, &words) {
        Ok(holds) => Ok(i32::from(!holds)),
        Err(why) => misused(io, "sh: test", &why),
    }
}

fn holds(shell: &Shell, words: &[&str]) -> Result<bool, String> {
    match words {
        [] => Ok(false),
        [text] => Ok(!text.is_empty()),
        [left, operator, right] if !matches!(*operator, "-a" | "-o") => match compare(shell, left, operator, right) {
            Some(result) => result,
            None => nested(shell, words),
        },
        ["!", rest @ ..] if rest.len() < 4 => Ok(!holds(shell, rest)?),
        [operator, text] => unary(shell, operator, text),
        _ => nested(shell, words),
    }
}

/// `-o` binds less than `-a`, that less than `!`, that less than brackets.
fn nested(shell: &Shell, words: &[&str]) -> Result<bool, String> {
    for operator in ["-o", "-a"] {
        let mut depth = 0;
        for (at, word) in words.iter().enumerate() {
            match *word {
                "(" => depth += 1,
                ")" => depth -= 1,
                word if word == operator && depth == 0 && at > 0 => {
                    let (left, right) = (holds(shell, &words[..at])?, holds(shell, &words[at + 1..])?);
                    return Ok(if operator == "-o" { left || right } else { left && right });
                }
                _ => {}
            }
        }
    }
    match words {
        ["!", rest @ ..] => Ok(!holds(shell, rest)?),
        ["(", inner @ .., ")"] => holds(shell, inner),
        _ => Err(format!("{}: unknown operand", words.get(1).unwrap_or(&""))),
    }
}

fn unary(shell: &Shell, operator: &str, text: &str) -> Result<bool, String> {
    let data = || std::fs::metadata(shell.path(text));
    match operator {
        "-n" => Ok(!text.is_empty()),
        "-z" => Ok(text.is_empty()),
        "-e" | "-r" | "-w" => Ok(data().is_ok() || text == "/dev/null"),
        "-f" => Ok(data().is_ok_and(|data| data.is_file())),
        "-d" => Ok(data().is_ok_and(|data| data.is_dir())),
        "-s" => Ok(data().is_ok_and(|data| data.len() > 0)),
        "-x" => Ok(data().is_ok_and(|data| data.is_dir())),
        "-t" => Ok(false),
        _ => Err(format!("{operator}: unknown operand")),
    }
}

/// None when it is no comparison.
fn compare(shell: &Shell, left: &str, operator: &str, right: &str) -> Option<Result<bool, String>> {
    match operator {
        "=" | "==" => return Some(Ok(left == right)),
        "!=" => return Some(Ok(left != right)),
        "-nt" => {
            let time = |name| std::fs::metadata(shell.path(name)).and_then(|data| data.modified()).ok();
            return Some(Ok(time(left) > time(right)));
        }
        _ => {}
    }
    let fits: fn(&i64, &i64) -> bool = match operator {
        "-eq" => i64::eq,
        "-ne" => i64::ne,
        "-lt" => i64::lt,
        "-le" => i64::le,
        "-gt" => i64::gt,
        "-ge" => i64::ge,
        _ => return None,
    };
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text}: bad number"));
    Some(number(left).and_then(|left| Ok(fits(&left, &number(right)?))))
}

/// Arithmetic and comparisons of numbers; `=` and `!=` of texts too. The code is 1 when what it prints is 0 or nothing.
pub fn expr(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let text = match words {
        [left, operator, right] if operator == "=" => i64::from(left == right).to_string(),
        [left, operator, right] if operator == "!=" => i64::from(left != right).to_string(),
        [only] => only.clone(),
        [] => return misused(io, "expr", "missing operand"),
        words => match shell.arithmetic(&words.join(" ")) {
            Ok(value) => value.to_string(),
            Err(Stop::Refused(why)) => return misused(io, "expr", &why),
            Err(stop) => return Err(stop),
        },
    };
    io.say(&format!("{text}\n"));
    Ok(i32::from(text.is_empty() || text == "0"))
}
