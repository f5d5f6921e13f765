//! Links in HTML, turned as they pass: attributes that hold addresses are rewritten, everything else goes through byte
//! for byte. A page comes in pieces; what may be the beginning of a tag waits for its end.
//!
//! ```text
//!  text ─ < ─► tag ─ > ─► text          <script>, <style>, … ─► raw ─ </script ─► tag
//!   └─ <!-- ─► comment ─ --> ─► text
//! ```

/// A tag longer than this passes unread.
const TAG_BYTES_MAX: usize = 64 * 1024;
/// Elements whose content is no markup.
const RAW: [&str; 8] = ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"];
/// Which attributes of which elements are addresses.
const LINKS: [(&str, &[&str]); 26] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "formaction", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// A page on its way.
#[derive(Default)]
pub struct Page {
    /// Came in and is not told yet.
    held: Vec<u8>,
    /// The element whose raw content this is.
    raw: Option<&'static str>,
}

/// What a beginning of the held bytes is.
enum Next {
    /// So many bytes that are not looked into.
    Plain(usize),
    /// A tag of so many bytes.
    Tag(usize),
    /// More must come.
    Wait,
}

impl Page {
    /// The next piece; what can be told of it.
    pub fn push(&mut self, piece: &[u8], rewrite: &dyn Fn(&str) -> String) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let mut out = Vec::with_capacity(self.held.len());
        loop {
            match self.next() {
                Next::Wait => return out,
                Next::Plain(length) => out.extend(self.held.drain(..length)),
                Next::Tag(length) => {
                    let tag: Vec<u8> = self.held.drain(..length).collect();
                    self.tag(&tag, &mut out, rewrite);
                }
            }
        }
    }

    /// Nothing more comes.
    pub fn end(self) -> Vec<u8> {
        self.held
    }

    fn next(&self) -> Next {
        let held = self.held.as_slice();
        if held.is_empty() {
            return Next::Wait;
        }
        if let Some(element) = self.raw {
            let close = format!("</{element}");
            return match find(held, close.as_bytes()) {
                Some(0) => tag_end(held),
                Some(at) => Next::Plain(at),
                None if held.len() > close.len() => Next::Plain(held.len() - close.len()),
                None => Next::Wait,
            };
        }
        match held.iter().position(|byte| *byte == b'<') {
            None => Next::Plain(held.len()),
            Some(0) => opened(held),
            Some(at) => Next::Plain(at),
        }
    }

    fn tag(&mut self, tag: &[u8], out: &mut Vec<u8>, rewrite: &dyn Fn(&str) -> String) {
        let text = match std::str::from_utf8(tag) {
            Ok(text) => text,
            Err(_) => return out.extend_from_slice(tag),
        };
        if text.starts_with("</") {
            self.raw = None;
            return out.extend_from_slice(tag);
        }
        let name_end =
            text[1..].find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').map_or(text.len(), |at| at + 1);
        let name = text[1..name_end].to_ascii_lowercase();
        self.raw = RAW.into_iter().find(|raw| *raw == name);
        match LINKS.iter().find(|(element, _)| *element == name) {
            Some((_, links)) => out.extend(attributes(text, name_end, links, rewrite).into_bytes()),
            None => out.extend_from_slice(tag),
        }
    }
}

fn find(held: &[u8], word: &[u8]) -> Option<usize> {
    held.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))
}

/// `held` begins with `<`.
fn opened(held: &[u8]) -> Next {
    const COMMENT: &[u8] = b"<!--";
    let begins = &held[..held.len().min(COMMENT.len())];
    if COMMENT.starts_with(begins) {
        return match find(held, b"-->") {
            Some(at) if held.len() >= COMMENT.len() => Next::Plain(at + 3),
            _ if held.len() > TAG_BYTES_MAX => Next::Plain(held.len()),
            _ => Next::Wait,
        };
    }
    match held.get(1) {
        None => Next::Wait,
        Some(byte) if byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?') => tag_end(held),
        Some(_) => Next::Plain(1),
    }
}

/// A `>` in quotes is not the end.
fn tag_end(held: &[u8]) -> Next {
    let mut quote = None;
    for (at, byte) in held.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Next::Tag(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    if held.len() > TAG_BYTES_MAX { Next::Plain(held.len()) } else { Next::Wait }
}

/// The tag with its links rewritten; `at` is behind its name.
fn attributes(tag: &str, at: usize, links: &[&str], rewrite: &dyn Fn(&str) -> String) -> String {
    let mut out = tag[..at].to_owned();
    let mut rest = &tag[at..];
    while !rest.is_empty() {
        let gap = rest.find(|c: char| !c.is_ascii_whitespace() && c != '/').unwrap_or(rest.len());
        let (blank, after) = rest.split_at(gap);
        out.push_str(blank);
        let end = after.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(after.len());
        let (name, after) = after.split_at(end.max(usize::from(!after.is_empty() && end == 0)));
        out.push_str(name);
        let trimmed = after.trim_start();
        let Some(value) = trimmed.strip_prefix('=').filter(|_| !matches!(name, ">" | "=")) else {
            rest = after;
            continue;
        };
        out.push_str(&after[..after.len() - trimmed.len()]);
        out.push('=');
        let bare = value.trim_start();
        out.push_str(&value[..value.len() - bare.len()]);
        let is_link = links.iter().any(|link| name.eq_ignore_ascii_case(link));
        let (quote, inner, tail) = quoted(bare);
        let shown = if is_link { escaped(&rewrite(&unescaped(inner))) } else { inner.to_owned() };
        out.push_str(quote);
        out.push_str(&shown);
        out.push_str(quote);
        rest = tail;
    }
    out
}

/// The quotation mark, the value, and what is behind it.
fn quoted(text: &str) -> (&str, &str, &str) {
    for quote in ["\"", "'"] {
        if let Some(inner) = text.strip_prefix(quote) {
            return match inner.split_once(quote) {
                Some((value, tail)) => (&text[..1], value, tail),
                None => ("", text, ""),
            };
        }
    }
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(text.len());
    ("", &text[..end], &text[end..])
}

fn unescaped(value: &str) -> String {
    value.replace("&quot;", "\"").replace("&#34;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

fn escaped(value: &str) -> String {
    value.replace('&', "&amp;").replace('"', "&#34;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the pieces are, the page is the same.
    fn check(page: &str, expected: &str) {
        let rewrite = |url: &str| if url.starts_with('/') { format!("/p{url}") } else { url.to_owned() };
        for size in [1, 2, 3, 7, 1000] {
            let mut passing = Page::default();
            let mut out = Vec::new();
            for piece in page.as_bytes().chunks(size) {
                out.extend(passing.push(piece, &rewrite));
            }
            out.extend(passing.end());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn links_lead_through_the_proxy() {
        check(r#"<a href="/x?a=1&amp;b">y</a>"#, r#"<a href="/p/x?a=1&amp;b">y</a>"#);
        check("<a class=b HREF='/x'>", "<a class=b HREF='/p/x'>");
        check("<img src=/x.png alt=a><br/>", "<img src=/p/x.png alt=a><br/>");
        check(r#"<a href="rel">1 < 2</a>"#, r#"<a href="rel">1 < 2</a>"#);
        check(r#"<link rel="x" href = "/x" />"#, r#"<link rel="x" href = "/p/x" />"#);
        check(
            r#"<video src="/a" poster="/b" controls></video>"#,
            r#"<video src="/p/a" poster="/p/b" controls></video>"#,
        );
        check("<p href=\"/x\">", "<p href=\"/x\">");
    }

    #[test]
    fn what_is_no_link_stays() {
        check("<!-- <a href=\"/x\"> --><b>", "<!-- <a href=\"/x\"> --><b>");
        check(
            "<script src=\"/s\">if (a<b) '<a href=\"/x\">'</script><a href=\"/y\">",
            "<script src=\"/p/s\">if (a<b) '<a href=\"/x\">'</script><a href=\"/p/y\">",
        );
        check("<!DOCTYPE html><html><body>é <", "<!DOCTYPE html><html><body>é <");
        check("<a href=\"/x", "<a href=\"/x");
    }
}
