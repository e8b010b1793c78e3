//! `lbctl`: the daemon and its client.

fn main() -> std::process::ExitCode {
    lb_ctl::cli::run()
}
