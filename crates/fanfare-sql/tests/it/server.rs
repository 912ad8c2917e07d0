//! A PostgreSQL server of a test's own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// Holds the path of the workspace's `xtask`, which knows how to start a server.
const VARIABLE: &str = "FANFARE_XTASK";

/// With it, a test whose need is missing fails instead of being skipped.
const REQUIRE: &str = "FANFARE_REQUIRE";

/// A running server, ended with its files when dropped.
pub(crate) struct Server {
    xtask: Child,
    url: String,
}

impl Server {
    pub(crate) fn start() -> Option<Server> {
        let Some(program) = std::env::var_os(VARIABLE) else {
            let missing = "a PostgreSQL of the test's own is needed: run `cargo xtask test`";
            assert!(std::env::var_os(REQUIRE).is_none(), "{missing}");
            eprintln!("skipped: {missing}");
            return None;
        };
        let mut xtask =
            Command::new(program).arg("postgres").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(xtask.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut urls =
            lines.filter_map(|line| Some(line.split_once("DATABASE_URL=")?.1.to_string()));
        let url = urls.next().expect("`xtask postgres` says where its server is");
        Some(Server { xtask, url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = self.xtask.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.xtask.wait();
    }
}
