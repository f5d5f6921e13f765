//! Where in its source an expression is wrong. The engine's tree keeps no offsets, so the first place that the complaint
//! can mean is told; texts in quotes are no such place.

/// `ERROR: <input>:1:12: why`, the line, and a mark below the place, as cel-go prints it.
pub fn error_text(source: &str, why: &str) -> String {
    if why.starts_with("ERROR") {
        return why.replace("\n| ", "\n | ");
    }
    let at = find(source, why).unwrap_or(0);
    let start = source[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = source[start..].lines().next().unwrap_or_default();
    let (row, column) = (source[..start].matches('\n').count() + 1, source[start..at].chars().count());
    format!("ERROR: <input>:{row}:{}: {why}\n | {line}\n | {}^", column + 1, ".".repeat(column))
}

/// A byte of the source.
fn find(source: &str, why: &str) -> Option<usize> {
    let symbol = why.split('\'').nth(1)?;
    let bare = without_texts(source);
    if why.starts_with("undefined field") {
        return words(&bare, symbol).find_map(|at| bare[..at].trim_end_matches('?').strip_suffix('.').map(str::len));
    }
    if why.starts_with("undeclared reference") {
        let at = words(&bare, symbol).find(|at| !bare[..*at].ends_with('.')).or_else(|| words(&bare, symbol).next())?;
        let rest = &bare[at + symbol.len()..];
        let is_call = rest.trim_start().starts_with('(');
        return Some(if is_call { at + symbol.len() + rest.find('(')? } else { at });
    }
    bare.find(symbol.trim_matches('_'))
}

/// Where the name stands as a word of its own.
fn words<'s>(source: &'s str, name: &'s str) -> impl Iterator<Item = usize> + 's {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    source
        .match_indices(name)
        .map(|(at, _)| at)
        .filter(move |at| !source[..*at].ends_with(is_part) && !source[at + name.len()..].starts_with(is_part))
}

/// The source with blanks for what stands in quotes.
fn without_texts(source: &str) -> String {
    let mut quote = None;
    let mut escaped = false;
    let blank = |c: char| " ".repeat(c.len_utf8());
    let bare = source.chars().map(|c| match quote {
        Some(open) => {
            if c == open && !escaped {
                quote = None;
            }
            escaped = c == '\\' && !escaped;
            blank(c)
        }
        None if c == '"' || c == '\'' => {
            quote = Some(c);
            blank(c)
        }
        None => c.to_string(),
    });
    bare.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_point_at_their_place() {
        for (source, why, expected) in [
            ("object.spec.replcas <= 5", "undefined field 'replcas'", "1:12"),
            ("has(object.spec.?replcas)", "undefined field 'replcas'", "1:16"),
            ("'replcas' == object.replcas", "undefined field 'replcas'", "1:20"),
            ("a.b &&\n  nobody.x", "undeclared reference to 'nobody' (in container '')", "2:3"),
            ("unheard('x')", "undeclared reference to 'unheard' (in container '')", "1:8"),
            ("é + object.x", "found no matching overload for '_+_' applied to '(string, int)'", "1:3"),
            ("", "undefined field 'x'", "1:1"),
            ("x", "expression recursion limit exceeded: 250", "1:1"),
        ] {
            let text = error_text(source, why);
            assert!(text.starts_with(&format!("ERROR: <input>:{expected}: {why}\n | ")), "{text}");
        }
        assert_eq!(
            error_text("a.b.c", "undefined field 'c'"),
            "ERROR: <input>:1:4: undefined field 'c'\n | a.b.c\n | ...^"
        );
        assert_eq!(error_text("a.", "ERROR: <input>:1:3: why\n| a.\n| ..^"), "ERROR: <input>:1:3: why\n | a.\n | ..^");
    }
}
