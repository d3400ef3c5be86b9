//! The network interfaces of the host.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use runtime::network::Interface;

use crate::check;

/// Every address of every interface that is up, ordered by name and address.
///
/// # Errors
/// The system cannot list them.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut head: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the pointer is valid for a write of a pointer.
    check(unsafe { libc::getifaddrs(&raw mut head) })?;
    let mut list = Vec::new();
    let mut next = head;
    // SAFETY: `next` is null or an element of the list, which lives until it is freed below.
    while let Some(element) = unsafe { next.as_ref() } {
        list.extend(interface_of(element));
        next = element.ifa_next;
    }
    // SAFETY: the list came from `getifaddrs`; nothing refers to it any more.
    unsafe { libc::freeifaddrs(head) };
    list.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
    Ok(list)
}

/// The kernel's number of the interface that has `address`; 0 stands for none in particular.
///
/// # Errors
/// No interface has it.
pub(crate) fn index_of(address: Ipv6Addr) -> io::Result<u32> {
    if address.is_unspecified() {
        return Ok(0);
    }
    let found = interfaces()?.into_iter().find(|interface| interface.address == address);
    let Some(found) = found else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
    let name = std::ffi::CString::new(found.name)?;
    // SAFETY: the name ends with a zero byte.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

fn interface_of(element: &libc::ifaddrs) -> Option<Interface> {
    let has = |flag: libc::c_int| element.ifa_flags & flag.cast_unsigned() != 0;
    if !has(libc::IFF_UP) {
        return None;
    }
    let address = address_of(element.ifa_addr)?;
    // SAFETY: the kernel's name ends with a zero byte and lives as long as the list.
    let name = unsafe { CStr::from_ptr(element.ifa_name) };
    Some(Interface {
        name: name.to_str().ok()?.to_owned(),
        address,
        prefix_length: address_of(element.ifa_netmask).map_or(0, prefix_length),
        is_loopback: has(libc::IFF_LOOPBACK),
        // Loopback carries multicast within the host although Linux does not flag it.
        is_multicast: has(libc::IFF_MULTICAST) || has(libc::IFF_LOOPBACK),
    })
}

fn prefix_length(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(u8::MAX)
}

/// The IP address that a pointer from the list leads to, if it is one.
fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null, or a socket address of the list, which lives until it is freed.
    let family = i32::from(unsafe { address.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that it is this kind; the list aligns its addresses.
            let address = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_listed_with_its_prefix() {
        let list = interfaces().unwrap();
        let loopback = list.iter().find(|one| one.address == Ipv4Addr::LOCALHOST).unwrap();
        assert!(loopback.is_loopback && loopback.is_multicast);
        assert_eq!(loopback.prefix_length, 8);
    }
}
