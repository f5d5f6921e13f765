//! How deep an expression nests, counted before the parser is asked: parser, analysis and evaluation recurse, and a stack
//! that overflows takes the whole process with it. cel-go counts its own recursion in the same place.

/// Brackets in brackets, signs before signs, choices in choices.
const DEPTH_MAX: usize = 96;
/// Operators and members one after the other; each puts the ones before it one level deeper.
const CHAIN_MAX: usize = 250;
/// Conditions joined by `&&` and `||`.
const CLAUSES_MAX: usize = 500;

/// What was counted since the bracket that is open, or since the last comma in it.
#[derive(Default)]
struct Level {
    signs: usize,
    choices: usize,
    chain: usize,
    clauses: usize,
}

impl Level {
    fn is_too_deep(&self) -> bool {
        self.signs > DEPTH_MAX || self.choices > DEPTH_MAX || self.chain > CHAIN_MAX || self.clauses > CLAUSES_MAX
    }
}

/// # Errors
/// cel-go's words for an expression that it would not follow either.
pub fn check(source: &str) -> Result<(), String> {
    let too_deep = || format!("expression recursion limit exceeded: {CHAIN_MAX}");
    let mut levels = vec![Level::default()];
    let mut rest = source.as_bytes();
    while let Some(&byte) = rest.first() {
        let skipped = match byte {
            b'"' | b'\'' => string_length(rest),
            b'/' if rest.starts_with(b"//") => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            _ => 0,
        };
        let is_outermost = levels.len() == 1;
        let level = levels.last_mut().expect("the outermost level stays");
        if byte != b'-' && byte != b'!' && !byte.is_ascii_whitespace() {
            level.signs = 0;
        }
        match byte {
            _ if skipped > 0 => {}
            b'(' | b'[' | b'{' => {
                level.chain += 1;
                levels.push(Level::default());
            }
            b')' | b']' | b'}' if !is_outermost => drop(levels.pop()),
            b',' => *level = Level::default(),
            b'?' => level.choices += 1,
            b'&' | b'|' => {
                level.chain = 0;
                level.clauses += 1;
            }
            b'-' | b'!' => {
                level.signs += 1;
                level.chain += 1;
            }
            b'.' | b'+' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' => level.chain += 1,
            _ => {}
        }
        if levels.len() > DEPTH_MAX || levels.last().is_some_and(Level::is_too_deep) {
            return Err(too_deep());
        }
        rest = &rest[skipped.max(1)..];
    }
    Ok(())
}

/// Up to the end of the string that begins here; escapes are skipped, so a raw one may end late or early: the parser knows.
fn string_length(text: &[u8]) -> usize {
    let quote = text[0];
    let long = [quote; 3];
    let end: &[u8] = if text.starts_with(&long) { &long } else { &long[..1] };
    let mut at = end.len();
    while at < text.len() && !text[at..].starts_with(end) {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + end.len()).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_overflow_a_stack_is_refused() {
        for (part, rest) in
            [("-", "1"), ("!", "true"), ("[", ""), ("(", "1"), ("1+", "1"), ("a.", "b"), ("a?b:", "c"), ("{", "")]
        {
            let source = part.repeat(5_000) + rest;
            assert_eq!(check(&source), Err("expression recursion limit exceeded: 250".to_owned()), "{part}");
        }
        assert!(check(&("true||".repeat(5_000) + "true")).is_err());
        assert!(check(&("x".to_owned() + &"[0]".repeat(5_000))).is_err());
    }

    #[test]
    fn what_people_write_is_not() {
        let clause = "(object.spec.replicas <= 5 && !has(object.metadata.labels) || -1 < 2)";
        let long = vec![clause; 80].join(" || ");
        for source in [
            long.as_str(),
            "'[[[' + \"\"\"((( \" '''\"\"\" + r'\\d+' // ((((",
            "[1,2,3].map(x, x * 2)[0] > 1 ? 'a' : 'b'",
            ")))",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
        let list = format!("[{}]", "a.b, ".repeat(2_000));
        assert_eq!(check(&list), Ok(()));
        assert_eq!(check(&format!("'{}'", "[".repeat(5_000))), Ok(()));
    }
}
