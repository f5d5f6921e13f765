//! What a process that handles foreign code gives up before it sees any: files outside of a few directories, sockets,
//! programs, debugging, mounts. Both layers stay for the life of the process and all its threads.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that no guest's host function needs.
const DENIED: [libc::c_long; 32] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_bind,
    libc::SYS_connect,
];

/// What stays allowed.
#[derive(Default)]
pub(crate) struct Allowed {
    pub(crate) readable: Vec<String>,
    pub(crate) writable: Vec<String>,
    /// Address space; `None`: as much as there is.
    pub(crate) address_space_bytes: Option<u64>,
    pub(crate) cpu_seconds: Option<u64>,
}

/// Closes the sandbox around the calling thread and all that it will start.
///
/// # Errors
/// When a layer cannot be put on; the process must not go on then. A kernel without Landlock is no error.
pub(crate) fn enter(allowed: &Allowed) -> io::Result<()> {
    limit(Resource::Core, 0)?;
    if let Some(bytes) = allowed.address_space_bytes {
        limit(Resource::As, bytes)?;
    }
    if let Some(seconds) = allowed.cpu_seconds {
        limit(Resource::Cpu, seconds)?;
    }
    files(allowed).map_err(io::Error::other)?;
    let program = calls().map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

fn files(allowed: &Allowed) -> Result<(), landlock::RulesetError> {
    let abi = ABI::V5;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?
        .create()?;
    for (paths, access) in [
        (&allowed.readable, AccessFs::ReadFile | AccessFs::ReadDir),
        (&allowed.writable, AccessFs::from_all(abi) & !AccessFs::Execute),
    ] {
        for path in paths {
            match PathFd::new(path) {
                Ok(opened) => rules = rules.add_rule(PathBeneath::new(opened, access))?,
                Err(error) => tracing::debug!("{path} stays closed: {error}"),
            }
        }
    }
    rules.restrict_self().map(drop)
}

fn calls() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    // Pipes between threads are Unix sockets; every other family is a way out.
    let other_family =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(libc::AF_UNIX.unsigned_abs()))?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![other_family])?]);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        architecture,
    )?;
    Ok(filter.try_into()?)
}
