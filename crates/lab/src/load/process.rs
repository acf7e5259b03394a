//! What the server under test costs, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// The processes under test, found once.
#[derive(Debug)]
pub(crate) struct Processes {
    pids: BTreeSet<i32>,
    ticks_per_second: u64,
    page_bytes: u64,
}

/// What they have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    /// The system's part of it.
    pub(crate) system: Duration,
    /// Resident memory; pages that processes share count once for each.
    pub(crate) rss_bytes: u64,
}

/// Memory they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident; pages that processes share count once for each.
    pub(crate) rss_bytes: u64,
    /// Resident and mapped by no other process.
    pub(crate) private_bytes: u64,
}

/// The fields of `/proc/PID/stat` that matter here (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: i32,
    parent: i32,
    group: i32,
    /// Of user and system time.
    ticks: u64,
    system_ticks: u64,
    rss_pages: u64,
}

impl Processes {
    /// `pids` with their descendants, and the process group `group`.
    pub(crate) fn find(pids: &[i32], group: Option<i32>) -> Self {
        let named = fs::read_dir("/proc").into_iter().flatten().flatten();
        let all = named.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?));
        let pids = family(&all.collect::<Vec<_>>(), pids, group);
        let limit = |name, or| {
            let value = sysconf(name).ok().flatten();
            value.and_then(|value| u64::try_from(value).ok()).unwrap_or(or)
        };
        Self {
            pids,
            ticks_per_second: limit(SysconfVar::CLK_TCK, 100),
            page_bytes: limit(SysconfVar::PAGE_SIZE, 4096),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.pids.len()
    }

    /// What they have used until now; one that has ended counts nothing.
    pub(crate) fn usage(&self) -> Usage {
        let time = |ticks| Duration::from_micros(ticks * 1_000_000 / self.ticks_per_second.max(1));
        let stats = self.pids.iter().filter_map(|pid| stat(*pid));
        stats.fold(Usage::default(), |all, stat| Usage {
            cpu: all.cpu + time(stat.ticks),
            system: all.system + time(stat.system_ticks),
            rss_bytes: all.rss_bytes + stat.rss_pages * self.page_bytes,
        })
    }

    /// What memory they hold now; one that has ended counts nothing.
    pub(crate) fn memory(&self) -> Memory {
        let rollup = |pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
        let each = self.pids.iter().filter_map(|pid| rollup(*pid)).map(|text| memory(&text));
        each.fold(Memory::default(), |all, one| Memory {
            rss_bytes: all.rss_bytes + one.rss_bytes,
            private_bytes: all.private_bytes + one.private_bytes,
        })
    }
}

/// Reads the text of `/proc/PID/smaps_rollup` (proc_pid_smaps(5)).
fn memory(text: &str) -> Memory {
    let kib = |name: &str| {
        let mut rows = text.lines().filter_map(|line| line.strip_prefix(name));
        let value = rows.next().and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
        value.unwrap_or(0_u64)
    };
    let private = kib("Private_Clean:") + kib("Private_Dirty:") + kib("Private_Hugetlb:");
    Memory { rss_bytes: kib("Rss:") << 10, private_bytes: private << 10 }
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads one line of `/proc/PID/stat`. The name in parentheses may itself hold blanks and
/// parentheses, so the fields are counted from the last one.
fn parse(line: &str) -> Option<Stat> {
    let (pid, rest) = line.split_once(' ')?;
    let (_, rest) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field 3, the state, is the first after the name.
    let field = |number: usize| fields.get(number - 3);
    let system_ticks = field(15)?.parse().ok()?;
    Some(Stat {
        pid: pid.parse().ok()?,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        ticks: field(14)?.parse::<u64>().ok()? + system_ticks,
        system_ticks,
        rss_pages: field(24)?.parse().ok()?,
    })
}

fn family(all: &[Stat], pids: &[i32], group: Option<i32>) -> BTreeSet<i32> {
    let in_group = all.iter().filter(|stat| Some(stat.group) == group).map(|stat| stat.pid);
    let mut found: BTreeSet<i32> = pids.iter().copied().chain(in_group).collect();
    loop {
        let before = found.len();
        let children = all.iter().filter(|stat| found.contains(&stat.parent));
        let children: Vec<i32> = children.map(|stat| stat.pid).collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

/// Datagrams the kernel has dropped at the sockets bound to `address` because their receive
/// buffer was full; `None` when there is no such socket, or for IPv6.
pub(crate) fn udp_drops(address: SocketAddr) -> Option<u64> {
    drops_in(&fs::read_to_string("/proc/net/udp").ok()?, address)
}

/// Looks `address` up in the text of `/proc/net/udp` (proc_net(5)).
fn drops_in(table: &str, address: SocketAddr) -> Option<u64> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    // The kernel prints the address as a number in its own byte order.
    let host = format!("{:08X}", u32::from_ne_bytes(address.ip().octets()));
    let port = format!("{:04X}", address.port());
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (local_host, local_port) = fields.nth(1)?.split_once(':')?;
        let ours = local_port == port && (local_host == host || local_host == "00000000");
        let drops = fields.next_back()?.parse::<u64>().ok()?;
        ours.then_some(drops)
    });
    rows.fold(None, |sum, drops| Some(sum.unwrap_or(0) + drops))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let line = "812 (kama (1) io) S 811 800 800 0 -1 4194560 9 0 0 0 \
                    150 50 7 7 20 0 1 0 1000 223 345 18446744073709551615 1 1";
        let (ticks, system_ticks, rss_pages) = (200, 50, 345);
        let expect = Stat { pid: 812, parent: 811, group: 800, ticks, system_ticks, rss_pages };
        assert_eq!(parse(line), Some(expect));
        for broken in ["", "812", "812 (x", "812 (x) S 1", "x (y) S 811 800"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn descendants_belong() {
        let stat = |pid, parent, group| Stat {
            pid,
            parent,
            group,
            ticks: 0,
            system_ticks: 0,
            rss_pages: 0,
        };
        let all = [stat(9, 5, 1), stat(5, 2, 1), stat(2, 1, 1), stat(7, 1, 7), stat(8, 7, 7)];
        assert_eq!(family(&all, &[2], None), BTreeSet::from([2, 5, 9]));
        assert_eq!(family(&all, &[], Some(7)), BTreeSet::from([7, 8]));
        assert_eq!(family(&all, &[5], Some(7)), BTreeSet::from([5, 7, 8, 9]));
        assert_eq!(family(&all, &[], None), BTreeSet::new());
    }

    #[test]
    fn this_process_uses_something() {
        let own = i32::try_from(std::process::id()).unwrap();
        let processes = Processes::find(&[own], None);
        assert!(processes.count() >= 1);
        assert!(processes.usage().rss_bytes > 100_000);
        let memory = processes.memory();
        assert!(memory.private_bytes > 50_000 && memory.private_bytes <= memory.rss_bytes);
        let gone = Processes { pids: BTreeSet::from([i32::MAX]), ..processes };
        assert_eq!(gone.usage(), Usage::default());
    }

    #[test]
    fn drops_are_found_by_address() {
        let row = |local: &str, drops: u32| {
            format!(
                "  1: {local} 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 \
                 {drops}\n"
            )
        };
        let [a, b, c, d] = [127, 0, 0, 20].map(|octet: u8| octet);
        let host = format!("{:08X}", u32::from_ne_bytes([a, b, c, d]));
        let table = String::from("  sl  local_address ...\n")
            + &row(&format!("{host}:13D8"), 7)
            + &row("00000000:13D8", 2)
            + &row(&format!("{host}:13D9"), 100);
        let drops = |address: &str| drops_in(&table, address.parse().unwrap());
        assert_eq!(drops("127.0.0.20:5080"), Some(9));
        assert_eq!(drops("127.0.0.20:5081"), Some(100));
        assert_eq!(drops("127.0.0.21:5081"), None);
        assert_eq!(drops("[::1]:5080"), None);
    }
}
