//! Opens a session with a cluster, sends each argument as a message, and prints what comes back.
//!
//! ```text
//! cargo run -p coracle-examples --bin client -- 0=127.0.0.1:20002,1=127.0.0.1:20102 hello world
//! ```

#![allow(clippy::print_stdout)] // It is what it is for.

use std::error::Error;
use std::path::PathBuf;

use coracle::prelude::*;
use coracle::runtime::Nanos;
use coracle::{ClusterSession, client, cluster_client, driver};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoints = arguments.next().ok_or("give the members: 0=host:port,1=host:port")?;

    // A driver of its own, in a place of its own. A program beside others would share theirs.
    let name = format!("coracle-client-{}", std::process::id());
    let directory = PathBuf::from("/dev/shm").join(name);
    let driver = Driver::launch(driver::Config::at(directory.clone()))?;

    let config = cluster_client::Config {
        ingress_endpoints: endpoints,
        egress_channel: "aeron:udp?endpoint=127.0.0.1:0".to_string(),
        ..cluster_client::Config::default()
    };
    let aeron = client::Config { directory: directory.clone(), ..client::Config::default() };
    let mut session = ClusterSession::connect(config, aeron)?;
    println!("session {:?}, leader {:?}", session.session_id(), session.leader_member_id());

    for message in arguments {
        session.send(message.as_bytes())?;
        match session.receive(Nanos::from_secs(5))? {
            Some(answer) => println!("{}", String::from_utf8_lossy(&answer)),
            None => return Err(format!("no answer to '{message}'").into()),
        }
    }

    session.close();
    driver.close()?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
