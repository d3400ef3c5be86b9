//! Which member of a cluster is meant, and where its files are.

use std::path::{Path, PathBuf};

use coracle::NodeOptions;
use coracle::cluster::mark_file::LINK_FILE_NAME;
use coracle::node::Settings;
use coracle::os::files::OsFiles;
use coracle::runtime::files::{Files as _, read_exact_at};
use coracle::wire::cluster::mark::{ERROR_LOG_OFFSET, MARK_FILE_NAME, MarkFileHeader};
use coracle::wire::cnc;
use coracle::wire::message::Message as _;

use crate::Failure;

/// Longest file that leads to another, in bytes.
const LINK_LENGTH_MAX: u64 = 4096;

/// Which member.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// The node's directory, its cluster directory, its driver's, or its file of options (.toml).
    #[arg(value_name = "PLACE")]
    place: PathBuf,
    /// The cluster, of those on the driver; known already unless PLACE is a driver's directory.
    #[arg(long, value_name = "ID")]
    cluster_id: Option<i32>,
}

/// What is known of a member.
pub(crate) struct Member {
    pub(crate) cluster_id: i32,
    pub(crate) aeron_directory: PathBuf,
    /// Unless only its driver's directory is known.
    pub(crate) cluster_directory: Option<PathBuf>,
    pub(crate) mark: Option<Mark>,
    /// Unless its file of options was not given.
    pub(crate) settings: Option<Settings>,
}

/// What a mark file says.
pub(crate) struct Mark {
    pub(crate) member_id: i32,
    pub(crate) process_id: i64,
    /// Milliseconds; -1 after an orderly end.
    pub(crate) activity_ms: i64,
    pub(crate) start_ms: i64,
    cluster_id: i32,
    aeron_directory: PathBuf,
}

impl Place {
    /// Looks for the member.
    pub(crate) fn find(&self) -> Result<Member, Failure> {
        let path = &self.place;
        if path.extension().is_some_and(|extension| extension == "toml") {
            let settings = NodeOptions::read(path)?.settings()?;
            let config = settings.config()?;
            let mut member = self.at_cluster(&config.cluster.member.directory)?;
            member.settings = Some(settings);
            return Ok(member);
        }
        let candidates = [path.join("cluster"), path.clone()];
        let has = |directory: &Path, name| {
            OsFiles.entry(&directory.join(name)).is_ok_and(|entry| entry.is_some())
        };
        let is_cluster =
            |directory: &&PathBuf| has(directory, MARK_FILE_NAME) || has(directory, LINK_FILE_NAME);
        if let Some(directory) = candidates.iter().find(is_cluster) {
            return self.at_cluster(directory);
        }
        if has(path, cnc::FILE_NAME) {
            return Ok(Member {
                cluster_id: self.cluster_id.unwrap_or(0),
                aeron_directory: path.clone(),
                cluster_directory: None,
                mark: None,
                settings: None,
            });
        }
        let looked_for = format!("no {MARK_FILE_NAME}, no {}", cnc::FILE_NAME);
        Err(format!("{}: neither a member nor a driver: {looked_for}", path.display()).into())
    }

    fn at_cluster(&self, directory: &Path) -> Result<Member, Failure> {
        let mark = read_mark(directory)
            .map_err(|error| format!("{}: {error}", directory.join(MARK_FILE_NAME).display()))?;
        Ok(Member {
            cluster_id: self.cluster_id.unwrap_or(mark.cluster_id),
            aeron_directory: mark.aeron_directory.clone(),
            cluster_directory: Some(directory.to_path_buf()),
            mark: Some(mark),
            settings: None,
        })
    }
}

fn read_mark(cluster: &Path) -> Result<Mark, Failure> {
    let link = cluster.join(LINK_FILE_NAME);
    let directory = match OsFiles.entry(&link)? {
        Some(entry) if entry.length > LINK_LENGTH_MAX => return Err("a link too long".into()),
        Some(_) => PathBuf::from(String::from_utf8(read(&link)?)?),
        None => cluster.to_path_buf(),
    };
    let file = OsFiles.open(&directory.join(MARK_FILE_NAME))?;
    let mut bytes = vec![0; ERROR_LOG_OFFSET];
    read_exact_at(&*file, &mut bytes, 0)?;
    let header = MarkFileHeader::decode(&bytes).map_err(|error| error.to_string())?;
    if header.version <= 0 {
        return Err("not ready, or its module did not start".into());
    }
    Ok(Mark {
        member_id: header.member_id,
        process_id: header.pid,
        activity_ms: header.activity_timestamp,
        start_ms: header.start_timestamp,
        cluster_id: header.cluster_id,
        aeron_directory: PathBuf::from(String::from_utf8(header.aeron_directory.to_vec())?),
    })
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = OsFiles.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.length()?)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}
