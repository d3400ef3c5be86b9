//! A whole cluster in one program: a node of one member runs an order book; a client places orders
//! and prints what becomes of them, each executed exactly once.
//!
//! ```text
//! cargo run -p coracle-examples --bin order_book
//! ```

#![allow(clippy::print_stdout)] // It is what it is for.

use std::error::Error;

use coracle::cluster_client::{
    self, ClusterClient, ExactlyOnce, ExactlyOnceOptions, NoCredentials,
};
use coracle::node::{Members, Settings};
use coracle::runtime::Nanos;
use coracle::{Client, Node, client, os};
use order_book::OrderBookService;
use order_book::book::Side;
use order_book::command::{COMMAND_LENGTH_MAX, Command, Report};

/// The first of five ports; another one may be given.
const PORT: u16 = 20_500;

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(PORT), |port| port.parse())?;
    let directory = std::env::temp_dir().join(format!("coracle-order-book-{}", std::process::id()));
    let members = Members::Hosts { hosts: vec!["127.0.0.1".to_string()], base_port: port };
    let term_length = Some(64 << 10);
    let settings = Settings { term_length, ..Settings::new(&directory, 0, members) };
    let node = Node::launch(settings.config()?, vec![Box::<OrderBookService>::default()])?;

    // The client shares the node's driver here; from another host it would have its own.
    let aeron =
        client::Config { directory: node.directory().to_path_buf(), ..client::Config::default() };
    let aeron = Client::connect(aeron)?;
    let config = cluster_client::Config {
        ingress_endpoints: format!("0=127.0.0.1:{}", port + 2),
        egress_channel: "aeron:udp?endpoint=127.0.0.1:0".to_string(),
        ..cluster_client::Config::default()
    };
    let credentials = Box::new(NoCredentials);
    let cluster = ClusterClient::connect(config, credentials, aeron.clone(), os::clock::now());
    let name = i64::from(std::process::id());
    let mut client = ExactlyOnce::new(cluster, ExactlyOnceOptions::new(name));

    let orders = [
        Command::Place { id: 1, side: Side::Sell, price: 101, amount: 5 },
        Command::Place { id: 2, side: Side::Sell, price: 100, amount: 5 },
        Command::Place { id: 3, side: Side::Buy, price: 101, amount: 7 },
        Command::Cancel { id: 1 },
        Command::Cancel { id: 9 },
    ];
    for order in &orders {
        let mut buffer = [0; COMMAND_LENGTH_MAX];
        client.submit(order.encode(&mut buffer))?;
    }

    let mut answered = 0;
    while answered < orders.len() {
        let now = os::clock::now();
        let work = client.do_work(now)?;
        let mut failure = None;
        client.poll(10, now, |number, answer| {
            answered += 1;
            match Report::decode(answer) {
                Some(report) => println!("{number}: {report:?}"),
                None => failure = Some("an answer that is no report"),
            }
        })?;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        if work.done == 0 {
            os::thread::sleep(Nanos::from_micros(100));
        }
    }

    let _ = aeron.close();
    node.close()?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
