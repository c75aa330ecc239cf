"""Run inside a unit: tries what a daemon that was taken over would try, and prints as JSON what came of each."""

# ruff: noqa: PTH101, PTH116, PTH123, PTH208
import ctypes
import json
import mmap
import os
import resource
import socket
import subprocess

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    if getattr(libc, name)(*args) == -1:
        raise OSError(ctypes.get_errno(), name)


def write(path):
    with open(path, "w") as file:
        file.write("x")
    return path


def write_and_execute():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def make_setuid():
    home = os.environ.get("STATE_DIRECTORY", "/srv/open")
    path = write(home + "/setuid")
    os.chmod(path, 0o4755)


def become_root():
    """By a setuid program that everybody may run."""
    if subprocess.run(["/srv/open/root-id", "-u"], capture_output=True, text=True, check=True).stdout != "0\n":
        raise PermissionError(1, "still nobody")


def trace():
    pid = os.fork()
    if pid == 0:
        try:
            call("ptrace", 0, 0, 0, 0)  # PTRACE_TRACEME
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise PermissionError(1, "ptrace")


def see(path):
    os.stat(path)


TRIED = {
    "write where everybody may": lambda: write("/srv/open/file"),
    "read another's home": lambda: os.listdir("/home/somebody"),
    "see what others keep in /tmp": lambda: see("/tmp/of-others"),
    "memory that is writable and executable": write_and_execute,
    "namespaces of its own": lambda: call("unshare", 0x10000000),  # CLONE_NEWUSER
    "a setuid file": make_setuid,
    "root by a setuid program": become_root,
    "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "another personality": lambda: call("personality", 0x0040000),  # ADDR_NO_RANDOMIZE
    "another priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "tracing a process": trace,
    "seeing processes of others": lambda: see("/proc/1/cmdline"),
    "reading of the machine": lambda: see("/proc/cpuinfo"),
}


def result_of(attempt):
    """What came of it, in a process of its own: one that has got into another namespace is of no use for the next."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except OSError as error:
            os.write(writes, type(error).__name__.encode())
        else:
            os.write(writes, b"done")
        os._exit(0)
    os.close(writes)
    os.waitpid(pid, 0)
    with open(reads, "rb") as pipe:
        return pipe.read().decode() or "killed"


def works():
    """What the daemon does need."""
    import asyncpg  # noqa: F401
    import orjson  # noqa: F401
    import pydantic  # noqa: F401
    import uvloop
    import yaml
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    import syncd.daemon  # noqa: F401

    AESGCM(bytes(32)).encrypt(bytes(12), b"x", None)
    yaml.load("a: 1", Loader=yaml.CSafeLoader)
    write(os.environ["STATE_DIRECTORY"] + "/file")
    write(os.environ["RUNTIME_DIRECTORY"] + "/file")
    write("/tmp/file")

    async def serve():
        import asyncio

        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        await asyncio.to_thread(socket.create_connection, server.sockets[0].getsockname(), 5)
        server.close()

    uvloop.run(serve())


def main():
    with open("/proc/self/status") as file:
        kernel = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    umask = os.umask(0o077)
    told = {
        "tried": {name: result_of(attempt) for name, attempt in TRIED.items()},
        "kernel": {name: kernel[name].strip() for name in ("NoNewPrivs", "Seccomp", "CapBnd", "CapEff", "CapAmb")},
        "umask": f"{umask:04o}",
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }
    if "STATE_DIRECTORY" in os.environ:
        works()
        told["works"] = True
    print(json.dumps(told), flush=True)


main()
