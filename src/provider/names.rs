//! Names under which copies are kept: the id of the instance, in letters that mean nothing in a path.

use holdfast_core::id::InstanceId;

/// The longest name, with room for what is added to it.
const LONGEST: usize = 200;

/// Returns the name of an instance's copy; `None` if its id makes none. Letters, digits, `-` and `_` stand for themselves, other bytes are
/// written as `~XX`.
pub(super) fn name_of(id: &InstanceId) -> Option<String> {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(id.as_str().len());
    for byte in id.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            let _infallible = write!(name, "~{byte:02X}");
        }
    }
    (!name.is_empty() && name.len() <= LONGEST).then_some(name)
}

/// Returns whose name it is; `None` if it is nobody's.
pub(super) fn id_of(name: &str) -> Option<InstanceId> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'~' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let id = InstanceId::new(String::from_utf8(bytes).ok()?);
    // One name for each id, and no other.
    (name_of(&id)? == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_has_a_name_of_its_own_that_is_no_path() {
        for id in
            ["3f2a-1", "Shop_1", "../../etc/passwd", "a.b", "a~2Eb", "a%2Eb", "añ", ".hidden", "a/b", "..", "a?b#c"]
        {
            let id = InstanceId::new(id);
            let name = name_of(&id).unwrap();
            assert!(!name.contains(['/', '.', '%', '?', '#']), "{name}");
            assert_eq!(id_of(&name), Some(id), "{name}");
        }
        assert_eq!(name_of(&InstanceId::new("3f2a-1")).unwrap(), "3f2a-1");
        assert!(name_of(&InstanceId::new("")).is_none());
        assert!(name_of(&InstanceId::new("x".repeat(300))).is_none());
        for name in ["", "a.b", "~", "~zz", "~41", "a~2eb"] {
            assert_eq!(id_of(name), None, "{name}");
        }
    }
}
