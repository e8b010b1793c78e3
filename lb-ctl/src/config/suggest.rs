//! The name that was probably meant.

/// Names longer than this are not compared: the distance costs their product.
const LONGEST: usize = 100;

/// ` (did you mean "web"?)` if one of the names is near, else nothing.
pub(super) fn did_you_mean<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    hint(nearest(wrong, names))
}

pub(super) fn hint(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |name| format!(" (did you mean \"{name}\"?)"))
}

/// The nearest name that at most a third of the letters tell apart; the first of equals.
pub(super) fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if wrong.len() > LONGEST {
        return None;
    }
    let folded = wrong.to_ascii_lowercase();
    let distance = |name: &'n str| {
        let near = (name.len().max(folded.len()) / 3).max(1);
        if name.len() > LONGEST || name.len().abs_diff(folded.len()) > near {
            return None;
        }
        let distance = strsim::osa_distance(&folded, &name.to_ascii_lowercase());
        (distance <= near).then_some((distance, name))
    };
    let near = names.into_iter().filter_map(distance);
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        assert_eq!(nearest("wbe", ["api", "web"]), Some("web"));
        assert_eq!(nearest("backendport", ["port", "backendPort"]), Some("backendPort"));
        assert_eq!(nearest("interval", ["timeout", "interfaces"]), None);
    }

    #[test]
    fn something_else_altogether_finds_nothing() {
        assert_eq!(nearest("database", ["web", "api"]), None);
        assert_eq!(nearest(&"w".repeat(1_000), ["web"]), None);
    }
}
