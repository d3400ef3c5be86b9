//! `coracle node`: a node of a cluster in the foreground.

use std::path::PathBuf;
use std::str::FromStr;

use coracle::cluster_service::ClusteredService;
use coracle::node::config::Config;
use coracle::node::{EchoService, Idle, Profile, Threads};
use coracle::runtime::config::Setting as _;
use coracle::{Node, NodeOptions};
use order_book::OrderBookService;

use crate::{Failure, properties};

/// What is given here counts more than the file. Sizes are such as 64k or 16m.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// File of options, in TOML; see docs/node.md.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where all of the node's files are.
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// Directory of its driver [default: in shared memory if there is enough].
    #[arg(long, value_name = "DIRECTORY")]
    aeron_directory: Option<PathBuf>,
    /// The cluster, of those on one host [default: 0].
    #[arg(long, value_name = "ID")]
    cluster_id: Option<i32>,
    /// This member.
    #[arg(long, value_name = "ID")]
    member_id: Option<i32>,
    /// All members: id,ingress,consensus,log,catchup,archive|...
    #[arg(long, conflicts_with = "hosts")]
    members: Option<String>,
    /// Instead: the hosts of members 0, 1, ..., separated by commas.
    #[arg(long, value_delimiter = ',')]
    hosts: Vec<String>,
    /// First of the ports on those hosts; each member has a hundred [default: 9000].
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// How durable, and how fast: safe or reference [default: safe].
    #[arg(long, value_parser = Profile::from_str)]
    profile: Option<Profile>,
    /// One thread for all, or several: shared or dedicated [default: shared].
    #[arg(long, value_parser = Threads::from_str)]
    threads: Option<Threads>,
    /// What idle threads do: wait, backoff, yield or spin [default: wait].
    #[arg(long, value_parser = Idle::from_str)]
    idle: Option<Idle>,
    /// Length of all terms.
    #[arg(long, value_name = "SIZE", value_parser = i32::parse)]
    term_length: Option<i32>,
    /// What it runs: echo or order-book [default: echo].
    #[arg(long)]
    service: Option<String>,
    /// Set an option of any part, such as aeron.cluster.session.timeout=5s.
    #[arg(long = "property", short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// List every option of every part with its default, and end.
    #[arg(long)]
    options: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.options {
        properties::list(&Config::options());
        return Ok(());
    }
    let options = options(arguments)?;
    let name = options.service.clone().unwrap_or_else(|| "echo".to_string());
    let service = service(&name)?;
    let (config, remark) = options.config()?;
    if let Some(remark) = remark {
        println!("driver on disk: {remark}");
    }
    let (member, member_id) = (config.cluster.member.clone(), config.cluster.member.member_id);
    let stop = coracle::os::signal::termination()?;
    let node = Node::launch(config, vec![service])?;
    println!(
        "member {member_id} of cluster {} runs {name} in {}, driver in {}",
        member.cluster_id,
        member.directory.display(),
        node.directory().display()
    );
    node.wait_unless(&stop)?;
    println!("member {member_id} closed");
    Ok(())
}

fn options(arguments: &Arguments) -> Result<NodeOptions, Failure> {
    let mut options = match &arguments.config {
        Some(path) => NodeOptions::read(path)?,
        None => NodeOptions::default(),
    };
    let mut given = NodeOptions::default();
    given.directory.clone_from(&arguments.directory);
    given.aeron_directory.clone_from(&arguments.aeron_directory);
    given.cluster_id = arguments.cluster_id;
    given.member_id = arguments.member_id;
    given.members.clone_from(&arguments.members);
    given.hosts = Some(arguments.hosts.clone()).filter(|hosts| !hosts.is_empty());
    given.base_port = arguments.base_port;
    given.profile = arguments.profile;
    given.threads = arguments.threads;
    given.idle = arguments.idle;
    given.term_length = arguments.term_length;
    given.service.clone_from(&arguments.service);
    for property in &arguments.properties {
        given.add_property(property)?;
    }
    options.override_with(given);
    Ok(options)
}

fn service(name: &str) -> Result<Box<dyn ClusteredService>, Failure> {
    match name {
        "echo" => Ok(Box::new(EchoService::default())),
        "order-book" => Ok(Box::new(OrderBookService::default())),
        _ => Err(format!("there is no service {name}: one of echo, order-book").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(line: &[&str]) -> NodeOptions {
        let line = ["node"].iter().chain(line);
        options(&Line::try_parse_from(line).unwrap().arguments).unwrap()
    }

    #[test]
    fn flags_alone_make_a_node() {
        let options = parsed(&[
            "--directory=/node",
            "--member-id=1",
            "--hosts=a,b,c",
            "--term-length=64k",
            "--threads=dedicated",
            "-Daeron.cluster.max.sessions=7",
        ]);
        let settings = options.settings().unwrap();
        assert_eq!((settings.member_id, settings.term_length), (1, Some(65_536)));
        assert_eq!(settings.threads, Threads::Dedicated);
        let config = settings.config().unwrap();
        assert_eq!(config.cluster.limits.max_sessions, 7);
        assert_eq!(config.archive.control.channel, "aeron:udp?endpoint=b:9101");
    }

    #[test]
    fn words_and_services_that_there_are_not_are_refused() {
        assert!(Line::try_parse_from(["node", "--profile=fast"]).is_err());
        assert!(Line::try_parse_from(["node", "--hosts=a", "--members=x"]).is_err());
        let error = service("book").err().unwrap().to_string();
        assert_eq!(error, "there is no service book: one of echo, order-book");
        assert!(service("order-book").is_ok());
    }
}
