//! Networks of IP addresses: those that are named, and what counts as one client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network of IP addresses, or a single address, for [`Rules::allow`](crate::Rules::allow).
///
/// It is parsed from the notation of RFC 4632 section 3.1 and RFC 4291 section 2.3. An IPv4-mapped IPv6 address
/// (`::ffff:192.0.2.1`) counts as the IPv4 address.
///
/// ```
/// use brooklet::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains([10, 1, 2, 3].into()));
/// assert!("10.1.2.3/8".parse::<Network>().is_err()); // a slip: the network is 10.0.0.0/8
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the network has this address in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        // Of two that are alike in all bits, all bits of the difference are zero.
        let alike = match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        alike >= self.bits.into()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = String;

    /// Parses `address/bits`, or an address alone.
    ///
    /// # Errors
    /// In one line: it is no such notation, or has bits set behind the first `bits`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "not a network such as 10.0.0.0/8 or 2001:db8::/32, nor an address".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = width(address);
        let bits = match bits {
            None => most,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > most {
            return Err(format!("not a network: its first {bits} bits, of {most}"));
        }
        let begin = truncated(address, bits);
        if begin != address {
            return Err(format!("not a network: it begins at {begin}/{bits}; the address alone is {address}"));
        }
        Ok(match address.to_canonical() {
            // 96 bits stand before an IPv4 address in an IPv6 one.
            v4 @ IpAddr::V4(_) if most == 128 && bits >= 96 => Self { address: v4, bits: bits - 96 },
            _ => Self { address, bits },
        })
    }
}

/// The bits of an address of this kind.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with nothing behind its first bits.
fn truncated(address: IpAddr, bits: u8) -> IpAddr {
    let behind = u32::from(width(address).saturating_sub(bits));
    match address {
        IpAddr::V4(address) => {
            Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one household or host has.
pub(crate) fn of_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v6 @ IpAddr::V6(_) => truncated(v6, 64),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let network = |address: &str| of_client(address.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_network_has_those_who_begin_alike() {
        for (network, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["9.255.255.255", "11.0.0.0", "::1"][..],
            ),
            ("192.0.2.1", &["192.0.2.1", "::ffff:192.0.2.1"], &["192.0.2.0", "192.0.2.2"]),
            ("192.0.2.2/31", &["192.0.2.2", "192.0.2.3"], &["192.0.2.1", "192.0.2.4"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "2001:db8::1"]),
            ("::1", &["::1"], &["::2", "127.0.0.1", "::"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "2001:db7:ffff::"]),
            ("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::"]),
            ("::/0", &["::", "2001:db8::1"], &["192.0.2.1", "::ffff:192.0.2.1"]),
            ("::ffff:192.0.2.0/120", &["192.0.2.9", "::ffff:192.0.2.9"], &["192.0.3.9"]),
            ("::ffff:0:0/96", &["192.0.2.9"], &["::1"]),
            ("::ffff:192.0.2.1", &["192.0.2.1"], &["192.0.2.2"]),
        ] {
            let known: Network = network.parse().unwrap();
            for (addresses, expected) in [(inside, true), (outside, false)] {
                for address in addresses {
                    assert_eq!(known.contains(address.parse().unwrap()), expected, "{address} in {network}");
                }
            }
            assert_eq!(known.to_string().parse(), Ok(known));
        }
    }

    #[test]
    fn what_is_no_network_is_refused_and_a_slip_is_shown() {
        for (text, word) in [
            ("", "10.0.0.0/8"),
            ("localhost", "10.0.0.0/8"),
            ("10.0.0.0/", "10.0.0.0/8"),
            ("10.0.0.0/+8", "10.0.0.0/8"),
            ("10.0.0.0/8/8", "10.0.0.0/8"),
            ("10.0.0.0/999", "10.0.0.0/8"),
            ("10.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
            ("10.0.0.0/33", "32"),
            ("::/129", "128"),
            ("fe80::1%eth0", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.1/0", "0.0.0.0/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
