//! The operator's static tokens, in upstream's file format: `token,user,uid,"group1,group2"` on each line. The uid may be
//! empty, but its place must be there.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::seams::Identity;

/// Tokens by their SHA-256, so that a look-up tells nothing by its time.
#[derive(Debug, Default, Clone)]
pub struct StaticTokens(HashMap<[u8; 32], Identity>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the token file: {problem}")]
pub struct TokenFileError {
    pub line: usize,
    pub problem: &'static str,
}

impl StaticTokens {
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let failed = |problem| TokenFileError { line: index + 1, problem };
                let (token, identity) = parse_line(line).map_err(failed)?;
                tokens.insert(token, identity);
            }
        }
        Ok(tokens)
    }

    pub fn insert(&mut self, token: &str, identity: Identity) {
        self.0.insert(Sha256::digest(token).into(), identity);
    }

    pub fn find(&self, token: &str) -> Option<Identity> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        self.0.get(&hash).cloned()
    }
}

fn parse_line(line: &str) -> Result<(&str, Identity), &'static str> {
    let mut fields = line.splitn(4, ',').map(str::trim);
    let mut field = |missing| fields.next().filter(|field| !field.is_empty()).ok_or(missing);
    let (token, user) = (field("the token is missing")?, field("the user is missing")?);
    let uid = fields.next().ok_or("the uid is missing")?;
    let uid = (!uid.is_empty()).then(|| uid.to_owned());
    let groups = fields.next().unwrap_or_default().trim_matches('"').split(',').map(str::trim);
    let groups = groups.filter(|group| !group.is_empty()).map(str::to_owned).collect();
    Ok((token, Identity { user: user.to_owned(), groups, uid, ..Identity::default() }))
}
