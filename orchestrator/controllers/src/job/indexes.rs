//! Sets of completion indexes as a Job's status writes them: `1,3-5`. Runs that grow and never touch.

use std::fmt;

/// Whole runs, first and last included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(usize, usize)>);

impl Indexes {
    /// Reads what was written, as far as it lies below `completions`; what is no number is passed by.
    pub fn parse(text: &str, completions: usize) -> Self {
        let mut indexes = Self::default();
        for run in text.split(',') {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (Ok(first), Ok(last)) = (first.parse(), last.parse::<usize>()) else { continue };
            if first >= completions {
                break;
            }
            indexes.append((first, last.min(completions - 1)));
        }
        indexes
    }

    /// These and those, in any order.
    pub fn with(&self, more: impl IntoIterator<Item = usize>) -> Self {
        self.merge(&Self(more.into_iter().map(|index| (index, index)).collect()))
    }

    pub fn merge(&self, other: &Self) -> Self {
        let mut runs = [self.0.as_slice(), other.0.as_slice()].concat();
        runs.sort_unstable();
        let mut merged = Self::default();
        runs.into_iter().for_each(|run| merged.append(run));
        merged
    }

    /// `run` must not begin before the last one.
    fn append(&mut self, run: (usize, usize)) {
        match self.0.last_mut() {
            Some(last) if run.0 <= last.1.saturating_add(1) => last.1 = last.1.max(run.1),
            _ => self.0.push(run),
        }
    }

    pub fn total(&self) -> usize {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, index: usize) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many are in both; as long as both lists of runs, not as the indexes.
    pub fn shared(&self, other: &Self) -> usize {
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut count = 0;
        while let (Some((a, b)), Some((c, d))) = (mine.peek(), theirs.peek()) {
            count += (b.min(d) + 1).saturating_sub(*a.max(c));
            let ended = if b < d { &mut mine } else { &mut theirs };
            ended.next();
        }
        count
    }

    /// The first `count` indexes below `completions` that are not in here.
    pub fn missing(&self, count: usize, completions: usize) -> Vec<usize> {
        let mut missing = Vec::new();
        let mut next = 0;
        for (first, last) in self.0.iter().copied().chain([(completions, completions)]) {
            missing.extend((next..first.min(completions)).take(count - missing.len()));
            next = last + 1;
        }
        missing
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = |(first, last): &(usize, usize)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        };
        f.write_str(&self.0.iter().map(run).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_written_as_upstream_does() {
        for (added, written) in
            [(vec![], ""), (vec![0], "0"), (vec![0, 1], "0,1"), (vec![4, 2, 3, 0], "0,2-4"), (vec![9, 1, 1], "1,9")]
        {
            assert_eq!(Indexes::default().with(added).to_string(), written);
        }
    }

    #[test]
    fn what_lies_beyond_the_completions_is_cut() {
        for (text, completions, read) in
            [("", 5, ""), ("0-9", 5, "0-4"), ("1,7", 5, "1"), ("x,2", 5, "2"), ("1,2,3-4", 9, "1-4"), ("5", 5, "")]
        {
            assert_eq!(Indexes::parse(text, completions).to_string(), read, "{text}");
        }
    }

    #[test]
    fn sets_are_compared() {
        let check = |a: &str, b: &str| Indexes::parse(a, 100).shared(&Indexes::parse(b, 100));
        assert_eq!(check("0-9", "2,5-20"), 6);
        assert_eq!(check("1,3,5", "0,2,4"), 0);
        assert_eq!(check("0-2,7", "0-9"), 4);
        let some = Indexes::parse("0-2,7", 100);
        let held: Vec<usize> = (0..9).filter(|index| some.has(*index)).collect();
        assert_eq!(held, [0, 1, 2, 7]);
        assert_eq!((some.total(), some.merge(&Indexes::parse("3-6", 100)).to_string()), (4, "0-7".to_owned()));
    }

    #[test]
    fn the_first_gaps_are_found() {
        let check = |text: &str, count, completions| Indexes::parse(text, 100).missing(count, completions);
        assert_eq!(check("", 2, 5), [0, 1]);
        assert_eq!(check("0,2,4", 9, 6), [1, 3, 5]);
        assert_eq!(check("0-5", 9, 6), [0; 0]);
        assert_eq!(check("1,8", 3, 4), [0, 2, 3]);
    }
}
