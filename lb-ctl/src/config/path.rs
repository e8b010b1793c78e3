//! The way from the top of a file to a value, as messages print it: `rules[2].access[0].allow`.

use std::fmt;

#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(super) fn key(&'p self, name: &'p str) -> Self {
        Path::Key(self, name)
    }

    pub(super) fn index(&'p self, index: usize) -> Self {
        Path::Index(self, index)
    }

    /// Number of steps from the top.
    pub(super) fn depth(&self) -> usize {
        match self {
            Path::Root => 0,
            Path::Key(parent, _) | Path::Index(parent, _) => parent.depth() + 1,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Keys longer than this are somebody's joke.
        const LONGEST: usize = 60;
        match self {
            Path::Root => Ok(()),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, name) => {
                if !matches!(parent, Path::Root) {
                    write!(f, "{parent}.")?;
                }
                name.chars().take(LONGEST).try_for_each(|c| write!(f, "{}", c.escape_debug()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn reads_like_an_expression() {
        let rules = Path::Root.key("rules");
        let rule = rules.index(2);
        let access = rule.key("access");
        let first = access.index(0);
        let allow = first.key("allow");
        assert_eq!(allow.to_string(), "rules[2].access[0].allow");
        assert_eq!(allow.depth(), 5);
        assert_eq!(Path::Root.to_string(), "");
    }
}
