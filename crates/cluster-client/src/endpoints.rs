//! The text that names where each member listens: `id=host:port,id=host:port`.

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEndpoint {
    /// Which member.
    pub member_id: i32,
    /// Its address, as `host:port`.
    pub endpoint: String,
}

/// Why a text does not name endpoints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is not of the form id=host:port")]
pub struct EndpointsError {
    /// The part that cannot be read.
    pub part: String,
}

/// Reads the endpoints of members, in the order given.
///
/// # Errors
/// A part is not of the form `id=host:port`.
pub fn parse_endpoints(text: &str) -> Result<Vec<MemberEndpoint>, EndpointsError> {
    text.split(',').filter(|part| !part.is_empty()).map(parse_one).collect()
}

fn parse_one(part: &str) -> Result<MemberEndpoint, EndpointsError> {
    let wrong = || EndpointsError { part: part.to_string() };
    let (id, endpoint) = part.split_once('=').ok_or_else(wrong)?;
    let member_id = id.trim().parse().map_err(|_| wrong())?;
    let endpoint = endpoint.trim();
    // A `|` would end the parameter of the channel that the endpoint becomes part of.
    if endpoint.is_empty() || endpoint.contains('|') {
        return Err(wrong());
    }
    Ok(MemberEndpoint { member_id, endpoint: endpoint.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_in_order_and_a_wrong_part_is_named() {
        let found = parse_endpoints("0=localhost:9002, 2=[::1]:9202").unwrap();
        let names: Vec<_> = found.iter().map(|it| (it.member_id, it.endpoint.as_str())).collect();
        assert_eq!(names, [(0, "localhost:9002"), (2, "[::1]:9202")]);
        assert_eq!(parse_endpoints("").unwrap(), []);
        for part in ["localhost:9002", "x=h:1", "1=", "1=h:1|mtu=8k"] {
            let error = parse_endpoints(&format!("0=h:1,{part}")).unwrap_err();
            assert_eq!(error.part, part);
        }
    }
}
