//! How a row is written:
//!
//! ```text
//!  # 5 A manifest deletes what it made        a number of the feature table, or a word for a row beside it
//!  alone                                      it disturbs others (also: `missing: why` for a row that is not served yet)
//!
//!  $ kubectl apply -f web.yaml                run by sh once; `~` instead of `$`: again until it shows this
//!  > more of the command                      continued
//!  deployment.apps/web created                what it prints, both streams; `…` is any text, `...` any lines
//!  [1]                                        its exit code when that is not 0
//! ```
//!
//! Blanks are collapsed. A command with nothing below it must only succeed. Other lines between blank ones are prose.

#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub title: String,
    pub alone: bool,
    pub missing: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub struct Step {
    pub file: String,
    pub line: usize,
    pub command: String,
    pub until: bool,
    pub shows: Vec<String>,
    pub code: i32,
}

impl Row {
    pub fn number(&self) -> Option<usize> {
        self.name.parse().ok()
    }

    pub fn namespace(&self) -> String {
        format!("row-{}", self.name)
    }
}

pub fn rows(file: &str, text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut in_step = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(header) = line.strip_prefix("# ").filter(|_| !in_step) {
            let (name, title) = header.split_once(' ').unwrap_or_else(|| panic!("{file}:{}: no title", index + 1));
            let (name, title) = (name.to_owned(), title.trim().to_owned());
            rows.push(Row { name, title, alone: false, missing: None, steps: Vec::new() });
            in_step = false;
            continue;
        }
        let Some(row) = rows.last_mut() else { continue };
        let begun = line.strip_prefix("$ ").or_else(|| line.strip_prefix("~ "));
        if let Some(command) = begun {
            let until = line.starts_with('~');
            let (command, file) = (command.to_owned(), file.to_owned());
            row.steps.push(Step { file, line: index + 1, command, until, shows: Vec::new(), code: 0 });
            in_step = true;
        } else if line.trim().is_empty() {
            in_step = false;
        } else if let (true, Some(step)) = (in_step, row.steps.last_mut()) {
            extend(step, line);
        } else if line == "alone" {
            row.alone = true;
        } else if let Some(why) = line.strip_prefix("missing: ") {
            row.missing = Some(why.to_owned());
        }
    }
    for row in &rows {
        assert!(
            row.missing.is_some() == row.steps.is_empty(),
            "{file}: row {} must do something or say why not",
            row.name
        );
    }
    rows
}

fn extend(step: &mut Step, line: &str) {
    if let Some(more) = line.strip_prefix('>').filter(|_| step.shows.is_empty()) {
        step.command.push('\n');
        step.command.push_str(more.strip_prefix(' ').unwrap_or(more));
    } else if let Some(code) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.parse().ok()) {
        step.code = code;
    } else {
        step.shows.push(line.to_owned());
    }
}

#[test]
fn a_row_is_read_as_it_is_written() {
    let text = "# 5 Delete\nalone\n\nProse.\n\n$ cat <<E\n> a\n>  b\n> E\na\n…\n[1]\n\n~ true\n\n# x Later\nmissing: no time\n";
    let rows = rows("f", text);
    let [row, later] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.number(), row.alone, row.missing.as_deref()), (Some(5), true, None));
    let [first, second] = row.steps.as_slice() else { panic!("{row:?}") };
    assert_eq!((first.command.as_str(), first.code, first.line), ("cat <<E\na\n b\nE", 1, 6));
    assert_eq!(first.shows, ["a", "…"]);
    assert!(second.until && second.shows.is_empty());
    assert_eq!((later.number(), later.missing.as_deref()), (None, Some("no time")));
}
