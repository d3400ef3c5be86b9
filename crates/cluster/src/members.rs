//! Who the members are and where they listen, as the configuration says.

use std::fmt;

use consensus::MemberId;

/// One member: `id,ingress,consensus,log,catchup,archive[,archive response[,egress response]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMember {
    /// Unique in the cluster.
    pub id: MemberId,
    /// Where clients send to.
    pub ingress: String,
    /// Where other members send to.
    pub consensus: String,
    /// Where the live log arrives.
    pub log: String,
    /// Where a replay from the leader arrives; with port 0 it is found at run time.
    pub catchup: String,
    /// Where its archive listens.
    pub archive: String,
    /// Control address for responses of its archive, if they take their own way.
    pub archive_response: Option<String>,
    /// The same for egress.
    pub egress_response: Option<String>,
}

/// Why a list of members is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// Too few or too many fields.
    #[error("member '{0}' has {1} fields, not 6 to 8")]
    Fields(String, usize),
    /// The first field is not a number.
    #[error("member '{0}' does not begin with a member id")]
    Id(String),
    /// A field that must not be.
    #[error("member '{0}' has an empty endpoint")]
    Empty(String),
    /// Two members with one id.
    #[error("two members have the id {0}")]
    Duplicate(i32),
    /// Two members, or two purposes, with one endpoint.
    #[error("the endpoint {0} is given twice")]
    EndpointTwice(String),
}

/// Parses members joined by `|`, and orders them by id.
///
/// # Errors
/// See [`MembersError`].
pub fn parse(text: &str) -> Result<Vec<ClusterMember>, MembersError> {
    let mut members =
        text.split('|').map(ClusterMember::parse).collect::<Result<Vec<_>, MembersError>>()?;
    members.sort_by_key(|member| member.id);
    if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(MembersError::Duplicate(pair[0].id.0));
    }
    let mut endpoints: Vec<&str> = members
        .iter()
        .flat_map(|member| [&member.ingress, &member.consensus, &member.log, &member.archive])
        .map(String::as_str)
        .filter(|endpoint| !endpoint.ends_with(":0"))
        .collect();
    endpoints.sort_unstable();
    match endpoints.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(MembersError::EndpointTwice(pair[0].to_string())),
        None => Ok(members),
    }
}

/// `id=endpoint,...`: where clients find each member.
#[must_use]
pub fn ingress_endpoints(members: &[ClusterMember]) -> String {
    let endpoints: Vec<String> =
        members.iter().map(|member| format!("{}={}", member.id.0, member.ingress)).collect();
    endpoints.join(",")
}

/// The list as [`parse`] reads it.
#[must_use]
pub fn to_text(members: &[ClusterMember]) -> String {
    members.iter().map(ClusterMember::to_string).collect::<Vec<_>>().join("|")
}

impl ClusterMember {
    fn parse(text: &str) -> Result<Self, MembersError> {
        let fields: Vec<&str> = text.trim().split(',').map(str::trim).collect();
        if !(6..=8).contains(&fields.len()) {
            return Err(MembersError::Fields(text.to_string(), fields.len()));
        }
        let id = fields[0].parse().map_err(|_| MembersError::Id(text.to_string()))?;
        if fields[1..6].iter().any(|field| field.is_empty()) {
            return Err(MembersError::Empty(text.to_string()));
        }
        let optional =
            |index: usize| fields.get(index).filter(|f| !f.is_empty()).map(ToString::to_string);
        Ok(Self {
            id: MemberId(id),
            ingress: fields[1].to_string(),
            consensus: fields[2].to_string(),
            log: fields[3].to_string(),
            catchup: fields[4].to_string(),
            archive: fields[5].to_string(),
            archive_response: optional(6),
            egress_response: optional(7),
        })
    }
}

impl fmt::Display for ClusterMember {
    fn fmt(&self, target: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, ingress, consensus, log, catchup, archive, .. } = self;
        write!(target, "{},{ingress},{consensus},{log},{catchup},{archive}", id.0)?;
        match (&self.archive_response, &self.egress_response) {
            (None, None) => Ok(()),
            (archive, None) => write!(target, ",{}", archive.as_deref().unwrap_or_default()),
            (archive, Some(egress)) => {
                write!(target, ",{},{egress}", archive.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "1,b:1,b:2,b:3,b:0,b:5|0,a:1,a:2,a:3,a:0,a:5,a:6";

    #[test]
    fn members_are_ordered_by_id_and_written_as_they_were_read() {
        let members = parse(TWO).unwrap();
        assert_eq!(members[0].id, MemberId(0));
        assert_eq!(members[0].archive_response.as_deref(), Some("a:6"));
        assert_eq!(to_text(&members), "0,a:1,a:2,a:3,a:0,a:5,a:6|1,b:1,b:2,b:3,b:0,b:5");
        assert_eq!(ingress_endpoints(&members), "0=a:1,1=b:1");
        assert_eq!(parse(&to_text(&members)), Ok(members));
    }

    #[test]
    fn a_bad_list_is_refused_with_the_member_and_the_cause() {
        assert_eq!(parse("0,a:1,a:2"), Err(MembersError::Fields("0,a:1,a:2".into(), 3)));
        assert!(matches!(parse("x,a:1,a:2,a:3,a:4,a:5"), Err(MembersError::Id(_))));
        assert!(matches!(parse("0,a:1,,a:3,a:4,a:5"), Err(MembersError::Empty(_))));
        let twice = "0,a:1,a:2,a:3,a:0,a:5|0,b:1,b:2,b:3,b:0,b:5";
        assert_eq!(parse(twice), Err(MembersError::Duplicate(0)));
        let clash = "0,a:1,a:2,a:3,a:0,a:5|1,a:1,b:2,b:3,b:0,b:5";
        assert_eq!(parse(clash), Err(MembersError::EndpointTwice("a:1".into())));
    }
}
