//! [`NodeOptions`]: what a node is told by a file, and by whoever overrides it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use node::settings::BASE_PORT;
use node::{Config, Idle, Members, Profile, Settings, SettingsError, Threads};
use runtime::config::Setting;
use runtime::files::{Files as _, read_exact_at};
use serde::de::{Deserialize, Deserializer, Error as _};
use toml::Spanned;

/// Longest file that is read, in bytes.
const LENGTH_MAX: u64 = 1 << 20;

/// Why options make no node.
#[derive(Debug, thiserror::Error)]
pub enum NodeOptionsError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line of the file that means nothing.
    #[error("{}:{line}: {cause}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// Something that has no default is not given.
    #[error("{0} must be given")]
    Missing(&'static str),
    /// Members are given in two ways.
    #[error("either members or hosts are given, not both")]
    Members,
    /// A property that is not in the form of one.
    #[error("{0}: not NAME=VALUE")]
    Property(String),
    /// See [`SettingsError`].
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The path of the node's directory cannot be made absolute.
    #[error("directory: {0}")]
    Directory(io::Error),
}

/// What a node is told: each field is a key of its file, in TOML, by the same name.
///
/// Described in docs/node.md.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NodeOptions {
    /// Where all of its files are.
    pub directory: Option<PathBuf>,
    /// Directory of its driver, if not chosen by the node.
    pub aeron_directory: Option<PathBuf>,
    /// The cluster, of those on one host.
    pub cluster_id: Option<i32>,
    /// This member.
    pub member_id: Option<i32>,
    /// `id,ingress,consensus,log,catchup,archive` of each member, joined by `|`.
    pub members: Option<String>,
    /// Instead: the hosts of members 0, 1, ...
    pub hosts: Option<Vec<String>>,
    /// First of the ports on those hosts.
    pub base_port: Option<u16>,
    /// How durable, and how fast.
    #[serde(deserialize_with = "word")]
    pub profile: Option<Profile>,
    /// How the parts are spread over threads.
    #[serde(deserialize_with = "word")]
    pub threads: Option<Threads>,
    /// What a thread does when there is nothing to do.
    #[serde(deserialize_with = "word")]
    pub idle: Option<Idle>,
    /// Length of all terms, such as 64k.
    #[serde(deserialize_with = "size")]
    pub term_length: Option<i32>,
    /// Its service: which one, for programs that have several, and the name that tools show.
    pub service: Option<String>,
    /// Options of any part, by property name.
    #[serde(deserialize_with = "properties")]
    pub properties: Vec<(String, String)>,
}

fn word<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i32>, D::Error> {
    let text = text_of(&toml::Value::deserialize(from)?).map_err(D::Error::custom)?;
    Setting::parse(&text).map(Some).map_err(D::Error::custom)
}

fn properties<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    let table: BTreeMap<String, toml::Value> = BTreeMap::deserialize(from)?;
    let rows = table.into_iter().map(|(name, value)| match text_of(&value) {
        Ok(text) => Ok((name, text)),
        Err(cause) => Err(D::Error::custom(format!("{name}: {cause}"))),
    });
    rows.collect()
}

/// A value as its text stands on a command line.
fn text_of(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(flag) => Ok(flag.to_string()),
        _ => Err("expected a text, a number, true or false".to_string()),
    }
}

/// Only where the properties stand in a file: for the line of one that is wrong.
#[derive(serde::Deserialize)]
struct Places {
    #[serde(default)]
    properties: BTreeMap<String, Spanned<toml::Value>>,
}

impl NodeOptions {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or has a key or a value that means nothing: with its line.
    pub fn read(path: &Path) -> Result<Self, NodeOptionsError> {
        let text = read_text(path);
        let text = text.map_err(|error| NodeOptionsError::Io { path: path.into(), error })?;
        Self::parse(&text, path)
    }

    /// The same of a text; `path` is for errors.
    ///
    /// # Errors
    /// As [`NodeOptions::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, NodeOptionsError> {
        let at = |offset: usize, cause: String| {
            let line = text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1;
            NodeOptionsError::Line { path: path.into(), line, cause }
        };
        let wrong = |error: toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            at(offset, error.message().replace('\n', "; "))
        };
        let options: Self = toml::from_str(text).map_err(wrong)?;
        let places: Places = toml::from_str(text).map_err(wrong)?;
        // Tried here already, where the line is known.
        let mut config = Config::default();
        for (name, text) in &options.properties {
            let offset = places.properties.get(name).map_or(0, |value| value.span().start);
            config.set(name, text).map_err(|error| at(offset, error.to_string()))?;
        }
        Ok(options)
    }

    /// Takes over what another says: for command lines, which count more than files. Properties of
    /// both count, the other's more.
    pub fn override_with(&mut self, other: Self) {
        if other.members.is_some() || other.hosts.is_some() {
            self.members = None;
            self.hosts = None;
        }
        let Self {
            directory,
            aeron_directory,
            cluster_id,
            member_id,
            members,
            hosts,
            base_port,
            profile,
            threads,
            idle,
            term_length,
            service,
            properties,
        } = other;
        fn take<T>(target: &mut Option<T>, source: Option<T>) {
            if source.is_some() {
                *target = source;
            }
        }
        take(&mut self.directory, directory);
        take(&mut self.aeron_directory, aeron_directory);
        take(&mut self.cluster_id, cluster_id);
        take(&mut self.member_id, member_id);
        take(&mut self.members, members);
        take(&mut self.hosts, hosts);
        take(&mut self.base_port, base_port);
        take(&mut self.profile, profile);
        take(&mut self.threads, threads);
        take(&mut self.idle, idle);
        take(&mut self.term_length, term_length);
        take(&mut self.service, service);
        self.properties.extend(properties);
    }

    /// Adds an option of any part, as `name=value`.
    ///
    /// # Errors
    /// It has not that form.
    pub fn add_property(&mut self, property: &str) -> Result<(), NodeOptionsError> {
        let parts = property.split_once('=');
        let (name, value) =
            parts.ok_or_else(|| NodeOptionsError::Property(property.to_string()))?;
        self.properties.push((name.trim().to_string(), value.trim().to_string()));
        Ok(())
    }

    /// Every option of every part of the node, and a remark when its driver has to be on disk
    /// because there is too little shared memory.
    ///
    /// # Errors
    /// As [`NodeOptions::settings`], and whatever contradicts in them.
    pub fn config(&self) -> Result<(Config, Option<String>), NodeOptionsError> {
        let mut settings = self.settings()?;
        let config = settings.config()?;
        let is_named = self.properties.iter().any(|(name, _)| name == "aeron.dir");
        if is_named || settings.aeron_directory.is_some() {
            return Ok((config, None));
        }
        let bytes = config.shared_memory();
        let place = node::place::place(&os::files::OsFiles, &settings.directory, bytes);
        let place = place.map_err(NodeOptionsError::Directory)?;
        settings.aeron_directory = Some(place.directory);
        Ok((settings.config()?, place.remark))
    }

    /// The settings of the node. A relative directory is one below that of the process.
    ///
    /// # Errors
    /// Something is missing, or given twice.
    pub fn settings(&self) -> Result<Settings, NodeOptionsError> {
        let directory = self.directory.as_deref().ok_or(NodeOptionsError::Missing("directory"))?;
        let directory = std::path::absolute(directory).map_err(NodeOptionsError::Directory)?;
        let members = match (&self.members, &self.hosts) {
            (Some(_), Some(_)) => return Err(NodeOptionsError::Members),
            (Some(members), None) => Members::Listed(members.clone()),
            (None, Some(hosts)) => {
                let base_port = self.base_port.unwrap_or(BASE_PORT);
                Members::Hosts { hosts: hosts.clone(), base_port }
            }
            (None, None) => return Err(NodeOptionsError::Missing("members or hosts")),
        };
        let member_id = self.member_id.ok_or(NodeOptionsError::Missing("member_id"))?;
        let defaults = Settings::new(directory, member_id, members);
        Ok(Settings {
            aeron_directory: self.aeron_directory.clone(),
            cluster_id: self.cluster_id.unwrap_or(defaults.cluster_id),
            profile: self.profile.unwrap_or_default(),
            threads: self.threads.unwrap_or_default(),
            idle: self.idle.unwrap_or_default(),
            term_length: self.term_length,
            services: vec![self.service.clone().unwrap_or_default()],
            properties: self.properties.clone(),
            ..defaults
        })
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let file = os::files::OsFiles.open(path)?;
    let length = file.length()?;
    if length > LENGTH_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    read_exact_at(&*file, &mut bytes, 0)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        directory = "/var/lib/orders"
        aeron_directory = "/dev/shm/orders"
        cluster_id = 2
        member_id = 1
        hosts = ["a", "b", "c"]
        base_port = 20000
        profile = "reference"
        threads = "dedicated"
        idle = "spin"
        term_length = "1m"
        service = "orders"

        [properties]
        "aeron.cluster.session.timeout" = "5s"
        "aeron.cluster.max.sessions" = 50
    "#;

    fn parse(text: &str) -> Result<NodeOptions, NodeOptionsError> {
        NodeOptions::parse(text, Path::new("node.toml"))
    }

    #[test]
    fn a_file_says_everything() {
        let settings = parse(WHOLE).unwrap().settings().unwrap();
        assert_eq!(settings.directory, Path::new("/var/lib/orders"));
        assert_eq!(settings.aeron_directory.as_deref(), Some(Path::new("/dev/shm/orders")));
        assert_eq!((settings.cluster_id, settings.member_id), (2, 1));
        let hosts = ["a", "b", "c"].map(str::to_string).to_vec();
        assert_eq!(settings.members, Members::Hosts { hosts, base_port: 20_000 });
        assert_eq!(settings.profile, Profile::Reference);
        assert_eq!((settings.threads, settings.idle), (Threads::Dedicated, Idle::Spin));
        assert_eq!(settings.term_length, Some(1 << 20));
        assert_eq!(settings.services, ["orders"]);
        let config = settings.config().unwrap();
        assert_eq!(config.cluster.limits.max_sessions, 50);
    }

    #[test]
    fn what_means_nothing_is_refused_with_file_line_and_cause() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        let unknown = refused("member_id = 1\nmember = 2\n");
        assert!(unknown.starts_with("node.toml:2: unknown field `member`"), "{unknown}");
        let word = refused("\n\nprofile = \"fast\"\n");
        assert_eq!(word, "node.toml:3: fast is not one of safe, reference");
        let kind = refused("cluster_id = \"x\"");
        assert!(kind.starts_with("node.toml:1: invalid type: string"), "{kind}");
        assert!(refused("directory = ").starts_with("node.toml:1: "));
        let property = refused("[properties]\n\"aeron.mtu.length\" = 1408\n\"aeron.no.such\" = 1");
        assert_eq!(property, "node.toml:3: no option is called aeron.no.such");
        let value = refused("[properties]\n\"aeron.mtu.length\" = \"long\"");
        assert!(value.starts_with("node.toml:2: aeron.mtu.length=long: expected"), "{value}");
        let table = refused("[properties]\naeron.mtu.length = 1408");
        assert!(table.contains("aeron: expected a text, a number"), "{table}");
    }

    #[test]
    fn a_command_line_counts_more_than_a_file() {
        let mut options = parse(WHOLE).unwrap();
        let mut line = NodeOptions {
            member_id: Some(2),
            members: Some("2,h:1,h:2,h:3,h:0,h:5".to_string()),
            ..NodeOptions::default()
        };
        line.add_property("aeron.cluster.max.sessions = 60").unwrap();
        options.override_with(line);
        let settings = options.settings().unwrap();
        assert_eq!(settings.member_id, 2);
        assert!(matches!(settings.members, Members::Listed(_)));
        let config = settings.config().unwrap();
        assert_eq!(config.cluster.limits.max_sessions, 60);
        assert!(options.add_property("x").is_err());
    }

    #[test]
    fn what_is_missing_or_given_twice_is_named() {
        let error = |text: &str| parse(text).unwrap().settings().unwrap_err().to_string();
        assert_eq!(error(""), "directory must be given");
        assert_eq!(error("directory = \"x\""), "members or hosts must be given");
        assert_eq!(error("directory = \"x\"\nhosts = [\"a\"]"), "member_id must be given");
        let both = "directory = \"x\"\nmember_id = 0\nhosts = [\"a\"]\nmembers = \"\"";
        assert_eq!(error(both), "either members or hosts are given, not both");
        let missing = NodeOptions::read(Path::new("/no/such/node.toml")).unwrap_err();
        assert!(missing.to_string().starts_with("/no/such/node.toml: "));
    }
}
