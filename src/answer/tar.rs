//! The format of tar archives (POSIX.1-2017, pax Interchange Format): what stands before and behind the content of each
//! member. Pure: plain values in, bytes out.

use std::time::{SystemTime, UNIX_EPOCH};

/// Everything comes in blocks of so many bytes.
const BLOCK: usize = 512;
/// Two blocks of zeros are the end.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What fits into the field of the name. All of it, as readers differ in what they make of an end that is cut off.
const NAME: usize = 100;
/// The least number that does not fit into eleven octal digits: a length of 8 GiB, or a time in the year 2242.
const OCTAL: u64 = 1 << 33;

/// As many seconds as from 1970 to the year 10000.
const YEAR_10000: i64 = 253_402_300_800;

/// A file or a folder in an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// The path of a folder ends in a slash.
    pub(super) path: &'a [u8],
    /// Bytes; none if it is a folder.
    pub(super) length: Option<u64>,
    pub(super) modified: SystemTime,
}

/// Appends what stands before the content.
pub(super) fn header(out: &mut Vec<u8>, member: &Member<'_>) {
    let length = member.length.unwrap_or(0);
    let seconds = match member.modified.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs() as i64,
        // Rounded down, as the others are.
        Err(before) => -(before.duration().as_secs_f64().ceil() as i64),
    };
    // Programs that read archives have come to harm by years of more digits.
    let seconds = seconds.clamp(-YEAR_10000, YEAR_10000);
    let mut records = Vec::new();
    match std::str::from_utf8(member.path) {
        Ok(path) if path.is_ascii() && path.len() <= NAME => {}
        // Elsewhere it would be in whatever encoding the reader takes for usual.
        Ok(path) => record(&mut records, "path", path.as_bytes()),
        // It is in none, and says so where it has to be long.
        Err(_) if member.path.len() > NAME => {
            record(&mut records, "hdrcharset", b"BINARY");
            record(&mut records, "path", member.path);
        }
        Err(_) => {}
    }
    if length >= OCTAL {
        record(&mut records, "size", length.to_string().as_bytes());
    }
    let plain = u64::try_from(seconds).ok().filter(|seconds| *seconds < OCTAL);
    if plain.is_none() {
        record(&mut records, "mtime", seconds.to_string().as_bytes());
    }
    if !records.is_empty() {
        block(out, b"pax", b'x', 0o644, records.len() as u64, 0);
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(records.len() as u64), 0);
    }
    let (kind, mode) = if member.length.is_some() { (b'0', 0o644) } else { (b'5', 0o755) };
    block(out, member.path, kind, mode, if length < OCTAL { length } else { 0 }, plain.unwrap_or(0));
}

/// Bytes of zeros between so much content and the next header.
pub(super) fn padding(length: u64) -> usize {
    (length.wrapping_neg() % BLOCK as u64) as usize
}

/// The block of a header: names and numbers at their places, and a checksum over all of them. Owners and modes of the server
/// are nobody's business: everything belongs to user 0 and may be read by all.
fn block(out: &mut Vec<u8>, name: &[u8], kind: u8, mode: u64, length: u64, seconds: u64) {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        block.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = *byte);
    };
    put(0, name.get(..NAME).unwrap_or(name));
    for (at, digits, number) in [(100, 7, mode), (108, 7, 0), (116, 7, 0), (124, 11, length), (136, 11, seconds)] {
        put(at, format!("{number:0digits$o}").as_bytes());
    }
    // While the sum is made its field is blank.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0");
    block.iter_mut().skip(148).zip(sum.as_bytes()).for_each(|(place, byte)| *place = *byte);
    out.extend_from_slice(&block);
}

/// A record of an extended header, which begins with its own length in decimal digits.
fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest;
    // The digits count, too, and may make it one digit longer.
    while rest + length.to_string().len() > length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn header_of(path: &[u8], length: Option<u64>, modified: SystemTime) -> Vec<u8> {
        let mut out = Vec::new();
        header(&mut out, &Member { path, length, modified });
        assert_eq!(out.len() % BLOCK, 0);
        out
    }

    /// Text of a field until its end.
    fn field(block: &[u8], at: usize, length: usize) -> &str {
        std::str::from_utf8(&block[at..at + length]).unwrap().trim_end_matches('\0')
    }

    #[test]
    fn a_plain_file_is_one_block_as_the_standard_has_it() {
        let block = header_of(b"a/b.txt", Some(8), UNIX_EPOCH + Duration::from_millis(8_500));
        assert_eq!(block.len(), BLOCK);
        assert_eq!(
            [field(&block, 0, 100), field(&block, 100, 8), field(&block, 124, 12)],
            ["a/b.txt", "0000644", "00000000010"]
        );
        assert_eq!(
            [field(&block, 136, 12), field(&block, 156, 1), field(&block, 257, 8)],
            ["00000000010", "0", "ustar\x0000"]
        );
        let sum: u32 =
            block.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) }).sum();
        assert_eq!(&block[148..156], format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(header_of(b"a/", None, UNIX_EPOCH)[156], b'5');
    }

    #[test]
    fn what_does_not_fit_stands_in_records() {
        let long = "n".repeat(101);
        let before = UNIX_EPOCH - Duration::from_millis(1_500);
        let late = UNIX_EPOCH + Duration::from_secs(OCTAL);
        let rows: &[(&[u8], u64, SystemTime, &[u8])] = &[
            (&[b'n'; 100], OCTAL - 1, late - Duration::from_nanos(1), b""),
            (long.as_bytes(), 1, UNIX_EPOCH, &format!("111 path={long}\n").into_bytes()),
            ("sp\u{e4}".as_bytes(), 1, UNIX_EPOCH, "13 path=sp\u{e4}\n".as_bytes()),
            (b"\xff", 1, UNIX_EPOCH, b""),
            (b"a", OCTAL, UNIX_EPOCH, b"19 size=8589934592\n"),
            (b"a", 1, before, b"12 mtime=-2\n"),
            (b"a", 1, late, b"20 mtime=8589934592\n"),
            (b"a", 1, UNIX_EPOCH + Duration::from_secs(1 << 62), b"22 mtime=253402300800\n"),
        ];
        for (path, length, modified, records) in rows {
            let bytes = header_of(path, Some(*length), *modified);
            match records {
                [] => assert_eq!(bytes.len(), BLOCK, "{path:?}"),
                _ => {
                    assert_eq!((field(&bytes, 156, 1), bytes.len()), ("x", 3 * BLOCK), "{path:?}");
                    assert_eq!(&bytes[BLOCK..BLOCK + records.len()], *records, "{path:?}");
                    assert!(bytes[BLOCK + records.len()..2 * BLOCK].iter().all(|b| *b == 0));
                }
            }
        }
        let odd = header_of(&[0xff; 101], Some(1), UNIX_EPOCH);
        assert!(odd[BLOCK..].starts_with(b"21 hdrcharset=BINARY\n111 path=\xff"));
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for length in 1..1200 {
            let mut out = Vec::new();
            record(&mut out, "path", &vec![b'n'; length]);
            let said: usize = std::str::from_utf8(&out).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, out.len(), "{length}");
        }
    }
}
