//! Each reason has its line in `docs/drop-reasons.md`.

use proc_macro2::{TokenStream, TokenTree};

use super::{File, Finding};

const CODE: &str = "lb-common/src/reason.rs";
const DOCS: &str = "docs/drop-reasons.md";

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map_or("", |file| file.text.as_str())
    };
    let reasons = names(text(CODE));
    if reasons.is_empty() {
        let what = "has no list `reasons! { number Name Action \"text\" ... }`".to_owned();
        return vec![Finding::in_file(CODE, what)];
    }
    let docs = text(DOCS);
    reasons
        .into_iter()
        .filter(|name| !docs.contains(&format!("`{name}`")))
        .map(|name| Finding::in_file(DOCS, format!("has no line for `{name}`")))
        .collect()
}

/// The names in the call of the macro `reasons!`: the first of two words after each number.
fn names(code: &str) -> Vec<String> {
    let tokens: Vec<TokenTree> = code.parse::<TokenStream>().into_iter().flatten().collect();
    let list = tokens.windows(3).find_map(|three| match three {
        [TokenTree::Ident(name), TokenTree::Punct(mark), TokenTree::Group(list)]
            if name == "reasons" && mark.as_char() == '!' =>
        {
            Some(list.stream())
        }
        _ => None,
    });
    let list: Vec<TokenTree> = list.into_iter().flatten().collect();
    list.windows(2)
        .filter_map(|two| match two {
            [TokenTree::Literal(number), TokenTree::Ident(name)] => {
                let numbered = number.to_string().parse::<u8>().is_ok();
                numbered.then(|| name.to_string())
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASONS: &str = r#"
        macro_rules! reasons { ($($number:literal $name:ident)*) => { enum Reason {} }; }
        reasons! {
            0 ToMember Forward "Sent."
            12 NotOurs Pass "Not 7 Ours."
        }"#;

    fn findings(docs: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = [file(CODE, REASONS), file(DOCS, docs)];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_reason_without_its_line_is_found() {
        let found = findings("| 0 | `ToMember` | ... |\n");
        assert_eq!(found, ["docs/drop-reasons.md: has no line for `NotOurs`"]);
    }

    #[test]
    fn all_lines_are_there() {
        assert!(findings("`ToMember` `NotOurs`").is_empty());
    }
}
