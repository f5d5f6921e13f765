//! The tools, in one list. Each takes the words behind its name and gives its exit code.

mod builtin;
mod files;
mod print;
mod test;
mod text;
mod time;

use crate::io::Io;
use crate::shell::{Outcome, Shell};

pub use print::unescaped;

pub type Tool = fn(&mut Shell, &[String], &Io) -> Outcome;

/// Sorted. What changes the shell itself stands in `builtin`.
const TOOLS: &[(&str, Tool)] = &[
    (".", builtin::source),
    (":", print::yes),
    ("[", test::bracket),
    ("ash", builtin::sh),
    ("basename", text::basename),
    ("bash", builtin::sh),
    ("break", builtin::break_loop),
    ("cat", text::cat),
    ("cd", builtin::cd),
    ("command", builtin::command),
    ("continue", builtin::continue_loop),
    ("cp", files::cp),
    ("date", time::date),
    ("dirname", text::dirname),
    ("echo", print::echo),
    ("env", builtin::env),
    ("eval", builtin::eval),
    ("exec", builtin::exec),
    ("exit", builtin::exit),
    ("export", builtin::export),
    ("expr", test::expr),
    ("false", print::no),
    ("grep", text::grep),
    ("head", text::head),
    ("hostname", print::hostname),
    ("local", builtin::local),
    ("ls", files::ls),
    ("mkdir", files::mkdir),
    ("mv", files::mv),
    ("printenv", builtin::printenv),
    ("printf", print::printf),
    ("pwd", builtin::pwd),
    ("read", builtin::read),
    ("return", builtin::return_from),
    ("rm", files::rm),
    ("seq", text::seq),
    ("set", builtin::set),
    ("sh", builtin::sh),
    ("shift", builtin::shift),
    ("sleep", time::sleep),
    ("sort", text::sort),
    ("tail", text::tail),
    ("tee", text::tee),
    ("test", test::test),
    ("touch", files::touch),
    ("true", print::yes),
    ("unset", builtin::unset),
    ("wc", text::wc),
];

/// By name, or by the path where Linux images have it.
pub fn find(name: &str) -> Option<Tool> {
    let folders = ["/bin/", "/usr/bin/", "/usr/local/bin/"];
    let name = folders.iter().find_map(|folder| name.strip_prefix(folder)).unwrap_or(name);
    TOOLS.iter().find(|(known, _)| *known == name).map(|(_, tool)| *tool)
}

pub fn names() -> Vec<&'static str> {
    TOOLS.iter().map(|(name, _)| *name).collect()
}

/// Letters of leading options (`-la`, `-p`) and what follows them; none when a letter is not among the known.
fn options<'a>(words: &'a [String], known: &str) -> Option<(String, &'a [String])> {
    let mut letters = String::new();
    for (index, word) in words.iter().enumerate() {
        match word.strip_prefix('-') {
            Some("-") => return Some((letters, &words[index + 1..])),
            Some(more) if !more.is_empty() => letters.push_str(more),
            _ => return letters.chars().all(|letter| known.contains(letter)).then_some((letters, &words[index..])),
        }
    }
    letters.chars().all(|letter| known.contains(letter)).then_some((letters, &[]))
}

/// Complains about how a tool was called.
fn misused(io: &Io, tool: &str, why: &str) -> Outcome {
    io.complain(&format!("{tool}: {why}"));
    Ok(2)
}
