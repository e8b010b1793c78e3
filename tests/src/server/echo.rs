//! The line server, made for thousands of connections on one thread.

use std::{io, time::Duration};

use anyhow::Result;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::door::{Door, Visitor};

/// No line is longer: a client that never ends one must not fill the memory.
const LONGEST_LINE: u64 = 512;

pub(super) async fn serve(mut door: Door, name: &str) -> Result<()> {
    loop {
        let (visitor, _) = door.next().await;
        let name = name.to_owned();
        tokio::spawn(async move {
            // The client sees how its connection ends, and the tests look there.
            let _ = converse(visitor, &name).await;
        });
    }
}

async fn converse(visitor: Visitor, name: &str) -> io::Result<()> {
    use tokio::io::AsyncReadExt as _;

    let mut stream = BufReader::new(visitor);
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut stream).take(LONGEST_LINE).read_line(&mut line).await? == 0 || line == "quit\n" {
            return stream.shutdown().await;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["download", lines, milliseconds] = words[..] {
            let bad = |_| io::Error::from(io::ErrorKind::InvalidInput);
            let (lines, pause) = (lines.parse().map_err(bad)?, milliseconds.parse().map_err(bad)?);
            download(&mut stream, name, lines, Duration::from_millis(pause)).await?;
            return stream.shutdown().await;
        }
        stream.write_all(format!("{name} {line}").as_bytes()).await?;
        stream.flush().await?;
    }
}

async fn download(
    stream: &mut BufReader<Visitor>,
    name: &str,
    lines: u32,
    pause: Duration,
) -> io::Result<()> {
    for number in 0..lines {
        stream.write_all(format!("{name} {number}\n").as_bytes()).await?;
        stream.flush().await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
