//! `harvest-scan REQUEST`: searches as the request says and prints a report. Started by absolute path with an empty environment.
//!
//! Exit codes: 0 a report was printed; 2 wrong use, or a request that cannot be read.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        return complain("usage: harvest-scan REQUEST");
    };
    let request = match scan::program::take_request(Path::new(&path)) {
        Ok(request) => request,
        Err(error) => return complain(&format!("the request cannot be used: {error}")),
    };
    let report = scan::program::run(&request);
    match serde_json::to_vec(&report).map(|text| std::io::stdout().write_all(&text)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) | Err(_) => complain("the report cannot be written"),
    }
}

fn complain(what: &str) -> ExitCode {
    // Without a stderr there is nobody to tell.
    writeln!(std::io::stderr(), "harvest-scan: {what}").ok();
    ExitCode::from(WRONG_USE)
}
