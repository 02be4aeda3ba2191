//! Slow attacks by a program that was made for them (`slowhttptest`): whoever asks meanwhile is answered, each time.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::attacks::Victim;
use crate::faults::is_there;
use crate::program::{Program, within_reason};

const CONNECTIONS: usize = 200;

/// Each by its name, and how it is told.
const ATTACKS: &[(&str, &[&str])] = &[
    // A head that goes on and on, a field every second.
    ("slow heads", &["-H", "-i", "1", "-x", "24"]),
    // The large file, some bytes every second.
    ("slow reading", &["-X", "-w", "256", "-y", "512", "-n", "1", "-z", "32", "-k", "3"]),
    // Thousands of ranges that overlap.
    ("ranges", &["-R", "-a", "10", "-b", "3000"]),
];

fn attack(victim: &Victim, how: &[&str], time: Duration) -> Program {
    let mut command = Command::new("slowhttptest");
    let (count, seconds) = (CONNECTIONS.to_string(), time.as_secs().to_string());
    // As many each second as there are at once, and a verdict of its own that comes late.
    command.args(how).args(["-c", &count, "-r", &count, "-l", &seconds, "-p", "30", "-v", "1"]);
    command.args(["-t", "GET", "-u", &format!("http://{}/large", victim.address)]);
    // It would take its limit of descriptors to be too low for this, where it is low.
    Program::start_for(&mut command, 4 * time + Duration::from_secs(20))
}

/// Attacks all at once, and asks until they end.
fn is_answered_throughout(attacks: &[(&str, &[&str])], time: Duration) {
    if !is_there("slowhttptest", "-h") {
        return;
    }
    let victim = Victim::start(None);
    let before = victim.descriptors();
    let mut attackers: Vec<_> = attacks.iter().map(|(_, how)| attack(&victim, how, time)).collect();
    let (begun, mut asked, mut most) = (Instant::now(), 0, 0);
    while begun.elapsed() < time {
        victim.answers("meanwhile");
        asked += 1;
        most = most.max(victim.descriptors());
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("{attacks:?}: {asked} answers, {most} descriptors at most");
    assert!(most >= before + CONNECTIONS / 2, "{most} descriptors at most are no attack");
    for attacker in attackers.drain(..) {
        let (_, out, err) = attacker.end();
        let came = out.contains("Hit test time limit") || out.contains("No open connections left");
        assert!(came, "the attack was none: {out}{err}");
    }
    within_reason("nothing is left of it", || (victim.descriptors() <= before + 2).then_some(()));
    victim.answers("behind it");
}

#[test]
fn who_asks_while_slow_ones_attack_is_answered() {
    is_answered_throughout(ATTACKS, Duration::from_secs(5));
}

#[test]
#[ignore = "slow: a minute"]
fn who_asks_while_slow_ones_attack_for_long_is_answered() {
    // Those with ranges are soon gone, and no crowd by themselves.
    for attacks in [&ATTACKS[..1], &ATTACKS[1..2], &ATTACKS[1..], ATTACKS] {
        is_answered_throughout(attacks, Duration::from_secs(15));
    }
}
