//! Reads a container's log: CRI lines, `TIME STREAM F|P TEXT`. Pure selection here; `serve.rs` follows the file.

use jiff::Timestamp;
use serde::Deserialize;

/// `PodLogOptions`, as the query carries them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Query {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<usize>,
    pub since_seconds: Option<i64>,
    pub since_time: Option<Timestamp>,
    pub limit_bytes: Option<usize>,
    /// `All` (default), `Stdout`, `Stderr`.
    pub stream: Option<String>,
}

/// Turns CRI lines into what the client sees, piece by piece.
#[derive(Debug)]
pub struct Reader {
    query: Query,
    since: Option<Timestamp>,
    /// A line that has no end yet.
    rest: Vec<u8>,
    /// The piece before was a part of a line: no timestamp now.
    inside: bool,
    left: usize,
}

impl Reader {
    pub fn new(query: Query, now: Timestamp) -> Self {
        let ago =
            query.since_seconds.and_then(|seconds| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).ok());
        let left = query.limit_bytes.unwrap_or(usize::MAX);
        Self { since: query.since_time.or(ago), query, rest: Vec::new(), inside: false, left }
    }

    /// The limit of bytes is reached.
    pub fn done(&self) -> bool {
        self.left == 0
    }

    pub fn tail_lines(&self) -> Option<usize> {
        self.query.tail_lines
    }

    /// What there is at first: `tailLines` counts here only.
    pub fn first(&mut self, bytes: &[u8]) -> Vec<u8> {
        let from = self.query.tail_lines.map_or(0, |lines| tail_start(bytes, lines));
        self.more(&bytes[from..])
    }

    /// What was written since.
    pub fn more(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let mut out = Vec::with_capacity(whole.len());
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            self.line(&line[..line.len() - 1], &mut out);
        }
        out.truncate(self.left);
        self.left -= out.len();
        out
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(stream), Some(tag)) = (parts.next(), parts.next(), parts.next()) else { return };
        let text = parts.next().unwrap_or_default();
        let time = std::str::from_utf8(time).unwrap_or_default();
        let wanted = match self.query.stream.as_deref() {
            Some("Stdout") => stream == b"stdout",
            Some("Stderr") => stream == b"stderr",
            _ => true,
        };
        let old = self.since.is_some_and(|since| time.parse::<Timestamp>().is_ok_and(|time| time < since));
        if !wanted || old {
            return;
        }
        if self.query.timestamps && !self.inside {
            out.extend_from_slice(time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(text);
        self.inside = tag == b"P";
        if !self.inside {
            out.push(b'\n');
        }
    }
}

/// Lines that end here; parts of one line count once.
pub fn whole_lines(bytes: &[u8]) -> usize {
    bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n") && is_end(line)).count()
}

fn is_end(line: &[u8]) -> bool {
    line.split(|byte| *byte == b' ').nth(2).is_some_and(|tag| tag.starts_with(b"F"))
}

/// Where the last so many whole lines begin; parts of one line count once.
fn tail_start(bytes: &[u8], lines: usize) -> usize {
    let mut starts = vec![0];
    starts.extend(bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
    starts.retain(|start| *start < bytes.len());
    let mut begins = Vec::new();
    let mut new_line = true;
    for start in starts {
        if new_line {
            begins.push(start);
        }
        new_line = is_end(&bytes[start..]);
    }
    match begins.len().checked_sub(lines) {
        Some(skip) => begins.get(skip).copied().unwrap_or(bytes.len()),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.000000000Z stdout F one\n2026-01-01T00:00:02.000000000Z stderr F two\n\
        2026-01-01T00:00:03.000000000Z stdout P thr\n2026-01-01T00:00:03.000000001Z stdout F ee\n2026-01-01T00:00:04.000000000Z stdout F \n";

    fn check(query: &str, expected: &str) {
        let query: Query = serde_json::from_str(query).unwrap();
        let mut reader = Reader::new(query, "2026-01-01T00:00:05Z".parse().unwrap());
        let shown = reader.first(LOG.as_bytes());
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }

    #[test]
    fn options_select_lines() {
        check("{}", "one\ntwo\nthree\n\n");
        check(r#"{"tailLines": 2}"#, "three\n\n");
        check(r#"{"tailLines": 0}"#, "");
        check(r#"{"tailLines": 99}"#, "one\ntwo\nthree\n\n");
        check(r#"{"stream": "Stderr"}"#, "two\n");
        check(r#"{"sinceSeconds": 2}"#, "three\n\n");
        check(r#"{"limitBytes": 6}"#, "one\ntw");
        check(
            r#"{"timestamps": true, "tailLines": 2}"#,
            "2026-01-01T00:00:03.000000000Z three\n2026-01-01T00:00:04.000000000Z \n",
        );
    }

    #[test]
    fn a_line_is_shown_when_it_is_whole() {
        let mut reader = Reader::new(Query::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(reader.first(b"2026-01-01T00:00:01Z stdout F he"), b"");
        assert_eq!(reader.more(b"llo\n2026"), b"hello\n");
    }
}
