//! The paths that a source file names, `use` groups spread out, tests left out.
//!
//! It reads tokens, not text: comments, strings and line breaks cannot mislead it, and paths within
//! macro calls are seen too.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path like `crate::config::model`, and the line of its first word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// The inline modules around it.
    pub(crate) within: Vec<String>,
}

/// Nothing for a file that is not Rust; the compiler will say so better.
pub(crate) fn of(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    if let Ok(stream) = text.parse::<TokenStream>() {
        walk(stream, &[], &mut found);
    }
    found
}

fn walk(stream: TokenStream, within: &[String], found: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' && is_cfg_test(tokens.get(at + 1)) => {
                at = after_item(&tokens, at + 2);
                continue;
            }
            TokenTree::Group(group) => walk(group.stream(), &inside(&tokens, at, within), found),
            TokenTree::Ident(_) => at = path(&tokens, at, &[], within, found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

/// Takes the path that begins at `at`, and all that a group at its end makes of it; says where its
/// last token is.
fn path(
    tokens: &[TokenTree],
    mut at: usize,
    before: &[String],
    within: &[String],
    found: &mut Vec<Named>,
) -> usize {
    let mut path = before.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.span().start().line);
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                branches(&inner, &path, within, found);
                return at;
            }
            Some(TokenTree::Punct(mark)) if mark.as_char() == '*' => path.push("*".to_owned()),
            Some(_) | None => {}
        }
        if !is_colons(tokens, at + 1) {
            break;
        }
        at += 3;
    }
    let within = within.to_vec();
    found.push(Named { path, line, within });
    at.min(tokens.len())
}

/// `{a::b, c}` of a `use`.
fn branches(tokens: &[TokenTree], before: &[String], within: &[String], found: &mut Vec<Named>) {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
    for branch in tokens.split(is_comma).filter(|branch| !branch.is_empty()) {
        path(branch, 0, before, within, found);
    }
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon =
        |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

/// The module path within a group: one longer when it is the body of `mod name`.
fn inside(tokens: &[TokenTree], at: usize, within: &[String]) -> Vec<String> {
    let mut path = within.to_vec();
    if let [TokenTree::Ident(word), TokenTree::Ident(name)] = &tokens[at.saturating_sub(2)..at]
        && word == "mod"
    {
        path.push(name.to_string());
    }
    path
}

/// Whether an attribute leaves its item out of what is delivered.
fn is_cfg_test(attribute: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(attribute)) = attribute else {
        return false;
    };
    let text: String = attribute.to_string().split_whitespace().collect();
    matches!(
        text.as_str(),
        "[cfg(test)]" | "[cfg(feature=\"testkit\")]" | "[cfg(any(test,feature=\"testkit\"))]"
    )
}

/// Behind the item that begins at `at`: its body, or its semicolon.
fn after_item(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let rest = tokens.get(at..).unwrap_or_default();
    at + rest.iter().position(ends).map_or(rest.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let long = of(text).into_iter().filter(|named| named.path.len() > 1);
        long.map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn groups_are_spread_out() {
        assert_eq!(
            paths("use crate::{config::{model, raw::Raw}, plan};\nuse std::fmt as text;"),
            ["crate::config::model", "crate::config::raw::Raw", "crate::plan", "std::fmt"]
        );
    }

    #[test]
    fn paths_in_bodies_and_macros_are_seen() {
        assert_eq!(
            paths("fn a() -> crate::b::C { println!(\"{}\", crate::d::e()); }"),
            ["crate::b::C", "crate::d::e"]
        );
    }

    #[test]
    fn tests_comments_and_strings_are_not() {
        let text = "// crate::a::b\n/// crate::c::d\nfn e() { \"crate::f::g\"; }\n\
            #[cfg(test)]\nmod tests { use crate::h::i; }\n#[cfg(test)] mod more;\nuse crate::j;";
        assert_eq!(paths(text), ["crate::j"]);
    }

    #[test]
    fn line_and_inline_module_are_told() {
        let found = of("\nmod a {\n    use super::b;\n}");
        let named = found.iter().find(|named| named.path.len() > 1).unwrap();
        assert_eq!((named.line, named.within.as_slice()), (3, &["a".to_owned()][..]));
    }

    #[test]
    fn a_star_ends_a_path() {
        assert_eq!(paths("use super::*;"), ["super::*"]);
    }
}
