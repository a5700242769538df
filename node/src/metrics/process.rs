//! The process's own numbers, under the names that every Prometheus client uses. Where the system has no `/proc`, memory and files are 0.

use std::fs;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::time::{ClockId, clock_gettime};

#[derive(Debug)]
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    files: Gauge,
    started: Gauge<f64, AtomicU64>,
}

impl Default for Process {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let started = Gauge::default();
        started.set(now.unwrap_or_default().as_secs_f64());
        Self {
            cpu: Counter::default(),
            memory: Gauge::default(),
            files: Gauge::default(),
            started,
        }
    }
}

impl Process {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "process_cpu",
            "Processor time of all threads",
            Unit::Seconds,
            self.cpu.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory",
            Unit::Bytes,
            self.memory.clone(),
        );
        registry.register(
            "process_open_fds",
            "Open files and sockets",
            self.files.clone(),
        );
        registry.register_with_unit(
            "process_start_time",
            "Start of the node, since 1970",
            Unit::Seconds,
            self.started.clone(),
        );
    }

    pub(super) fn set(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        self.memory.set(resident_bytes());
        self.files.set(open_files());
    }
}

fn resident_bytes() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

fn open_files() -> i64 {
    let entries = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // one of them is the folder's own
    i64::try_from(entries.saturating_sub(1)).unwrap_or(i64::MAX)
}
