//! Header maps as the ABI serialises them: a count, then two lengths for each pair, then names and values, each with a
//! zero byte behind it. All numbers are 32 bits, little-endian.

/// All pairs of a serialised map, or `None` when it does not hold what its lengths say.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut pairs = Pairs::of(bytes)?;
    let decoded: Vec<_> = pairs.by_ref().collect();
    (pairs.left == 0 && pairs.data.is_empty()).then_some(decoded)
}

/// The first value under `name`, of what can be read of a serialised map.
#[must_use]
pub fn first<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Pairs::of(bytes)?.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The bytes of all names and values, without what the serialisation adds.
#[must_use]
pub fn bytes(bytes: &[u8]) -> usize {
    let pairs = Pairs::of(bytes).into_iter().flatten();
    pairs.fold(0, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()))
}

/// One pair after the other, up to the first that is not whole.
struct Pairs<'a> {
    left: usize,
    lengths: &'a [u8],
    data: &'a [u8],
}

impl<'a> Pairs<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut lengths = bytes;
        let left = take_u32(&mut lengths)?;
        let data = lengths.get(left.checked_mul(8)?..)?;
        Some(Self { left, lengths, data })
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left.checked_sub(1)?;
        let (name, value) = (take_u32(&mut self.lengths)?, take_u32(&mut self.lengths)?);
        let pair = (take_terminated(&mut self.data, name)?, take_terminated(&mut self.data, value)?);
        self.left = left;
        Some(pair)
    }
}

/// Serialises `pairs`. `None` when a length does not fit into 32 bits.
#[must_use]
pub fn encode(pairs: &[(String, String)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend(u32::try_from(pairs.len()).ok()?.to_le_bytes());
    for (name, value) in pairs {
        bytes.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend(u32::try_from(value.len()).ok()?.to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    Some(bytes)
}

fn take_u32(bytes: &mut &[u8]) -> Option<usize> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

fn take_terminated<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest.strip_prefix(&[0])?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        let pairs = [("retry-after".to_owned(), "7".to_owned()), ("x".to_owned(), String::new())];
        let bytes = encode(&pairs).unwrap();
        assert_eq!(decode(&bytes), Some(vec![(&b"retry-after"[..], &b"7"[..]), (b"x", b"")]));
        assert_eq!(decode(b""), Some(vec![]));
    }

    #[test]
    fn values_need_not_be_text() {
        let bytes = [1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'a', 0, 0xff, 0xfe, 0];
        assert_eq!(decode(&bytes), Some(vec![(&b"a"[..], &b"\xff\xfe"[..])]));
    }

    #[test]
    fn finds_the_first_value_and_counts_what_is_there() {
        let pairs = [("a", "1"), ("bc", "22"), ("a", "333")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let map = encode(&pairs).unwrap();
        assert_eq!(
            (first(&map, b"a"), first(&map, b"bc"), first(&map, b"b")),
            (Some(&b"1"[..]), Some(&b"22"[..]), None)
        );
        assert_eq!((bytes(&map), bytes(b""), bytes(&map[..9])), (10, 0, 0));
        assert_eq!(first(b"", b"a"), None);
    }

    #[test]
    fn refuses_lengths_that_do_not_fit() {
        let good = encode(&[("a".to_owned(), "b".to_owned())]).unwrap();
        for cut in 1..good.len() {
            assert_eq!(decode(&good[..cut]), None, "{cut}");
        }
        assert_eq!(decode(&[0xff; 64]), None);
        assert_eq!(decode(&[&good[..], &[0]].concat()), None);
    }
}
