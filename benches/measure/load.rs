//! As many requests as a server answers. The program `wrk` makes them.

use std::net::SocketAddr;
use std::process::Command;

use super::Result;

/// What is asked for, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The size of the file in bytes.
    pub(crate) size: u64,
    pub(crate) connections: usize,
    /// A connection for each request.
    pub(crate) close: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Score {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Milliseconds within which 99 of 100 were answered.
    pub(crate) slow: f64,
    /// Answers that did not come, or not with a file.
    pub(crate) errors: u64,
}

/// Asks for the file with this name for so many seconds.
pub(crate) fn load(case: Case, address: SocketAddr, file: &str, seconds: u64) -> Result<Score> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--latency", &format!("-c{}", case.connections), &format!("-d{seconds}s")]);
    if case.close {
        wrk.args(["-H", "Connection: close"]);
    }
    let output = wrk.arg(format!("http://{address}/{file}")).output();
    let output = output.map_err(|error| format!("wrk, which makes the requests, cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| format!("wrk says: {text}{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn parse(text: &str) -> Option<Score> {
    let behind = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::trim);
    let (requests, rest) = text.lines().find_map(|line| line.trim().split_once(" requests in "))?;
    let seconds = time(rest.split(',').next()?)? / 1000.0;
    let numbers = |text: &str| text.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let errors = ["Socket errors:", "Non-2xx or 3xx responses:"].map(|mark| behind(mark).map_or(0, numbers));
    Some(Score {
        requests: requests.parse().ok()?,
        seconds,
        slow: behind("99%").and_then(time)?,
        errors: errors.iter().sum(),
    })
}

/// Milliseconds.
fn time(text: &str) -> Option<f64> {
    // The longer unit first: `ms` ends in `s`, too.
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    units.iter().find_map(|(unit, factor)| Some(text.trim().strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let text = "Running 2s test @ http://127.0.0.1:1/a
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   261.59us  401.66us   9.21ms   97.62%
    Req/Sec   133.11k    15.77k  157.67k    75.00%
  Latency Distribution
     50%  209.00us
     99%    1.59ms
  264831 requests in 2.00s, 317.96MB read
  Socket errors: connect 1, read 20, write 0, timeout 3
  Non-2xx or 3xx responses: 100
Requests/sec: 132412.87
Transfer/sec:    158.98MB
";
        assert_eq!(parse(text), Some(Score { requests: 264_831, seconds: 2.0, slow: 1.59, errors: 124 }));
        let good: String =
            text.lines().filter(|line| !line.contains(": ")).map(|line| line.to_owned() + "\n").collect();
        assert_eq!(parse(&good).map(|score| score.errors), Some(0));
        assert_eq!(parse("unable to connect"), None);
        let times = ["12.00us", "1.50s", "2.00m", "3"].map(time);
        assert_eq!(times, [Some(0.012), Some(1500.0), Some(120_000.0), None]);
    }
}
