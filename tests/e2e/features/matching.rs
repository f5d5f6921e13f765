//! Whether what was printed is what was to be: line by line, `…` for any text in a line, `...` for any lines.

/// Blanks are collapsed on both sides and empty lines do not count.
pub fn fits(wanted: &[String], shown: &str) -> bool {
    let wanted: Vec<String> = wanted.iter().map(|line| collapsed(line)).collect();
    let shown: Vec<String> = shown.lines().map(collapsed).filter(|line| !line.is_empty()).collect();
    lines(&wanted, &shown)
}

fn collapsed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines(wanted: &[String], shown: &[String]) -> bool {
    match wanted {
        [] => shown.is_empty(),
        [any, rest @ ..] if any == "..." => (0..=shown.len()).any(|skipped| lines(rest, &shown[skipped..])),
        [first, rest @ ..] => shown.split_first().is_some_and(|(line, more)| text(first, line) && lines(rest, more)),
    }
}

fn text(wanted: &str, shown: &str) -> bool {
    let Some((before, after)) = wanted.split_once('…') else { return wanted == shown };
    let Some(rest) = shown.strip_prefix(before) else { return false };
    let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.into_iter().any(|at| text(after, &rest[at..]))
}

#[test]
fn wildcards_stand_for_text_and_for_lines() {
    let check = |wanted: &str, shown: &str| fits(&wanted.lines().map(str::to_owned).collect::<Vec<_>>(), shown);
    assert!(check("a  b", "a b\n\n"));
    assert!(!check("a", "a\nb"));
    assert!(check("a … c", "a b b c"));
    assert!(!check("a … c", "a b d"));
    assert!(check("...\nx\n...", "a\nb\nx"));
    assert!(!check("...\nx", "a\nx\nb"));
    assert!(!check("…", "\n"));
}
