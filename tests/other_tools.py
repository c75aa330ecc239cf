"""Every command of another tool that documents, comments and the program itself tell somebody to run, and who runs it.

Said: in a block (`console`, `sh`), as code within a line, after the pipe of a command of ours, in a text of the program, in
the comments of units and examples. Commands of syncd are in documented.py. One that stands in no table fails a test.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

from tests.documented import COMMAND, COMMENT, DOCUMENTS, FENCE, ROOT, SOURCE, SPAN, texts

TOOLS = (
    "amtool|apk|apt|apt-get|base64|brew|chgrp|chmod|chown|chronyc|cp|createdb|createuser|crontab|curl|df|dig|dnf|docker|dpkg|du|"
    "export|getent|git|gpg|grep|head|helm|install|journalctl|jq|kubectl|ln|logrotate|ls|lsof|make|man|mkdir|mkdocs|mv|nginx|"
    "nslookup|openssl|pg_ctl|pg_dump|pg_restore|pip|pipx|podman|pre-commit|prometheus|promtool|psql|pytest|python3?(?= -m)|"
    "restic|rm|ruff|runuser|scp|sed|source|ss|ssh|ssh-keygen|sysctl|systemctl|systemd-[a-z]+|tail|tar|timedatectl|touch|ulimit|"
    r"useradd|userdel|uv|uvx|wget|yum|(?:\.venv|/opt/syncd)/bin/[a-z-]+|\.ci/[a-z.]+|packaging/debian/build|requirements/[a-z]+"
)
"""What begins a command wherever it stands as code."""
SURELY = (
    "(?:sudo )?(?:systemctl|journalctl|chmod|chown|df -|psql -|pg_dump -|pg_restore -|curl -|pip (?:un)?install|pipx|uv tool|"
    "promtool|openssl|podman|docker (?:run|history|build|exec)|apt (?:install|purge|remove)|dpkg -|jq -|timedatectl|getent|"
    r"git rm|install -|head -c|ls -|cp \{|make [a-z]+(?= (?:and|to|again)\b)|useradd|createuser|createdb|"
    r"python3? -m (?!syncd\b|\{)|export [A-Z])"
)
"""What is a command even in the middle of a sentence."""
_CODE = re.compile(rf"^(?:\$ )?(?:sudo (?:-u \w+ )?)?(?:[A-Z_]+=\S+ +)*(?:(?:{TOOLS}) \S|\.ci/|\.venv/bin/[a-z]+ )")
_SENTENCE = re.compile(
    rf"(?<![\w/.{{'-])(?:{SURELY})(?: ?(?:'[^']*'|[^;,\n'`() ])+)+?(?=$|[;,\n`)]| \(|\. |: (?!\[)|\.`)"
)


def said() -> Mapping[str, list[str]]:
    """Each, as it is written, to the files that say it."""
    found: dict[str, list[str]] = defaultdict(list)
    for place, command in _everywhere():
        if place not in found[command]:
            found[command].append(place)
    return found


@cache
def _everywhere() -> tuple[tuple[str, str], ...]:
    found = []
    for path in DOCUMENTS:
        place = path.relative_to(ROOT).as_posix()
        found += [(place, command) for command in of_document(path.read_text("utf-8"))]
    for path in sorted(SOURCE.rglob("*.py")):
        whole = path.read_text("utf-8")
        for text in (
            texts(ast.parse(whole)) if re.search(SURELY, whole) else ()
        ):  # most files name none: reading is dear
            found += [(path.relative_to(ROOT).as_posix(), match[0].strip()) for match in _SENTENCE.finditer(text)]
    for folder in ("systemd", "config", "packaging", "monitoring"):
        for path in sorted((ROOT / folder).rglob("*.*")):
            if path.suffix in {"", ".service", ".yaml", ".yml", ".example", ".conf"} or path.name == "Containerfile":
                for line in path.read_text("utf-8").splitlines():
                    comment = line.strip().removeprefix("#") if line.strip().startswith("#") else ""
                    found += [
                        (path.relative_to(ROOT).as_posix(), match[0].strip()) for match in _SENTENCE.finditer(comment)
                    ]
    return tuple(found)


def of_document(text: str) -> Iterator[str]:
    pieces = []
    for match in FENCE.finditer(text):
        lines = [line.strip() for line in match["body"].replace("\\\n", " ").splitlines()]
        if match["kind"] == "sh":
            pieces += [line for line in lines if not line.startswith("#")]
        elif match["kind"] == "console":
            pieces += [line for line in lines if line.startswith("$ ") or _CODE.match(line)]
    pieces += [span for span in SPAN.findall(FENCE.sub("", text)) if _CODE.match(span) or COMMAND.match(span)]
    for piece in pieces:
        command = re.sub(r" {2,}", " ", COMMENT.sub("", piece).removeprefix("$ ")).strip()
        if COMMAND.match(piece):
            _, pipe, after = command.partition(" | ")
            if pipe:
                yield f"| {after}"
        elif command:
            yield command


# -- who runs each; the key is a pattern that fits the whole of what is said. A value that is empty: it is run as it is said

HERE: dict[str, tuple[str, str]] = {
    r"curl -s localhost:9100/_sim/misbehave .*": ("", '"ok":true'),
    r"curl -s localhost:9100/_sim/mutate .*": ("", '"ids"'),
    r"curl -s localhost:9100/_sim/stats \| jq .*": ("", '"violations"'),
    r"curl -s http://ADDRESS/metrics": ("curl -s http://localhost:9100/_sim/stats", "calls"),
    r"openssl rand -hex 24": ("", "^[0-9a-f]{48}$"),
    r"openssl s_client -connect \{host\}:\{port\}(?: -servername \{host\})?": (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem -days 1 2>/dev/null;"
        " openssl s_server -quiet -accept 127.0.0.1:$TLS_PORT -key key.pem -cert cert.pem & server=$!; sleep 0.3;"
        " openssl s_client -connect 127.0.0.1:$TLS_PORT -servername localhost </dev/null; kill $server",
        "CN ?= ?localhost",
    ),
    r"getent hosts \{host\}": ("getent hosts localhost", "localhost"),
    r"df -h": ("", "/"),
    r"df -h where PostgreSQL keeps its data": ("df -h .", "/"),
    r"chmod 600 (?:FILE|\{path\})": ("touch file; chmod 600 file; ls -l file", "^-rw-------"),
    r"chown \{service\} \{path\}": ('touch file; chown "$(id -un)" file; ls -l file', "file"),
    r"cp \{folder\}/\{first\}\.yaml\.example \{folder\}/\{first\}\.yaml": (
        "cp $ROOT/config/partners/stripe.yaml.example stripe.yaml; head -n 5 stripe.yaml", "Stripe"
    ),
    r"install -m 600 /dev/stdin \{path\}": ("printf secret | install -m 600 /dev/stdin file; ls -l file", "^-rw-------"),
    r"head -c 32 /dev/urandom \| base64": ("", "^[A-Za-z0-9+/]{43}=$"),
    r"ls -ld? (?:\{\w+\}(?: \{\w+\})?|where it is set)": ("ls -ld .", "^drwx"),
    r"git rm --cached \{path\}": ("git init -q .; touch secret; git add secret; git rm --cached secret", "rm 'secret'"),
    r"\.venv/bin/pre-commit install": (
        "git init -q .; cp $ROOT/.pre-commit-config.yaml .; pre-commit install", "pre-commit installed"
    ),
    r"export PATH=\$PWD/\.venv/bin:\$PATH": ("cd $ROOT; export PATH=$PWD/.venv/bin:$PATH; type syncd || type python", "is "),
    r"export STRIPE_KEY=\.\.\. SYNCD_DATABASE_URL=postgresql://localhost/syncd": (
        "export STRIPE_KEY=... SYNCD_DATABASE_URL=postgresql://localhost/syncd; env", "STRIPE_KEY=..."
    ),
    r"psql -h STATE/postgres/run -U syncd syncd": ("psql \"$SYNCD_DATABASE_URL\" -c \"SELECT 1 AS one\"", "one"),
    r"psql -c 'SELECT pg_terminate_backend\(\{pid\}\)'": (
        "psql \"$SYNCD_DATABASE_URL\" -c 'SELECT pg_terminate_backend(0)'", "pg_terminate_backend"
    ),
    r"pg_dump -n syncd": ('pg_dump -n syncd "$SYNCD_DATABASE_URL"', "CREATE TABLE syncd.records"),
    r"pg_dump --format=custom .*": ("", ""),
    r"psql .*'DROP SCHEMA syncd CASCADE'": ("", "DROP SCHEMA"),
    r"pg_restore .*": ('pg_restore --dbname="$SYNCD_DATABASE_URL" syncd-before.dump;'
                       ' psql "$SYNCD_DATABASE_URL" -c "SELECT count(*) FROM syncd.records"', "count"),
    r"python3 -m venv /opt/syncd-new": ("python3 -m venv --without-pip ./syncd-new; ls syncd-new/bin", "activate"),
}  # fmt: skip
"""By tests/test_other_tools.py, with bash, in this order: what is run, and what it says. $ROOT is the checkout."""

BOOTED: tuple[str, ...] = (
    r"systemctl (?:cat|status|restart|start|stop|reload) syncd|systemctl reload",
    r"systemctl daemon-reload(?: && systemctl enable(?: --now)? syncd)?",
    r"systemctl enable --now syncd",
    r"systemctl edit syncd(?:: \[Service\] (?:CPUQuota=200%|LimitNOFILE=8192|MemoryMax=1G|Restart=always|User=syncd))?",
    r"journalctl -u syncd (?:-n 50|--since -1h -p warning|--grep loop_step_slow|\| grep desk_failed)",
    r"systemd-run --wait --pipe .* syncd doctor",
    r"man syncd",
    r"apt install \./dist/syncd_0\.1\.0-1_amd64\.deb postgresql",
    r"apt install \./syncd_0\.[12]\.0-1_amd64\.deb",
    r"apt (?:remove|purge(?: syncd)?)",
    r"sudo -u postgres create(?:user syncd|db --owner syncd syncd)",
    r"useradd --system .* syncd",
    r"install -d -m 0750 -g syncd /etc/syncd /etc/syncd/partners(?: && install -d -m 0700 -o syncd /etc/syncd/secrets)?",
    r"install -d -m 0700 -o syncd /etc/syncd/secrets(?:/stripe)?",
    r"install -m 0640 -g syncd config/syncd\.yaml /etc/syncd/",
    r"install -m 0?644 systemd/syncd\.service /etc/systemd/system/",
    r"install -m 0640 -g syncd /dev/stdin /etc/syncd/environment .*",
    r"install -m 0640 -g syncd /usr/share/doc/syncd/examples/stripe\.yaml\.example /etc/syncd/partners/stripe\.yaml",
    r"install -m 0600 -o syncd /dev/stdin /etc/syncd/secrets/stripe/api_key",
    r"ln -s /opt/syncd/bin/syncd /usr/local/bin/syncd",
)
"""By tests/systemd/test_set_up_by_hand.py, in a booted machine, as they stand."""

IN_CI: tuple[str, ...] = (
    r"make demo",
    r"pipx install .*",
    r"pipx inject syncd \./syncd-driver-acme",
    r"uv tool install .*",
    r"pip install 'syncd\[(?:contract|crm|demo|otel|xml)\]'",
    r"python3 -m venv /opt/syncd && .*",
)
"""By .ci/documented.py, in this order, in an environment that has the wheel."""

ELSEWHERE: dict[str, tuple[str, str]] = {
    r"make test|make T=tests/limits test": (".ci/run", "make test"),
    r"make check": ("Makefile", "check: lint "),
    r"make docs": (".ci/run", "make --silent docs"),
    r"make wheel": (".ci/run", "make --silent wheel"),
    r"make systemd": (".ci/run", "make --silent systemd"),
    r"make deb": ("Makefile", "systemd: deb "),
    r"\| jq .*": ("tests/whole/test_documented_commands.py", '"bash", "-c", pipe'),
    r"promtool check metrics": ("tests/whole/test_troubles.py", '"check", "metrics"'),
    r"python -m syncd\.testing\.partners_page": ("tests/drivers/test_partners_page.py", "partners_page import written"),
    r"(?:python -m )?pip install --quiet --editable .*": ("tests/scaffold/test_three_commands.py", "follow("),
    r"python -m pytest -q \.(?:/acme)?": ("tests/scaffold/test_three_commands.py", "follow("),
    r"python -m syncd check --config \./acme/config": ("tests/scaffold/test_three_commands.py", "follow("),
    r"systemd-analyze security --offline=yes": ("tests/cli/test_unit_file.py", 'run("security", "--offline=yes"'),
    r'curl -X POST "\$URL"': ("tests/browser/test_page.py", "As curl"),
}
"""What another test or CI runs: the file, and how it begins there."""

NOT_RUN: dict[str, str] = {
    r"\.ci/run": "runs all of these tests",
    r"podman (?:build|run|exec) .*|docker (?:history IMAGE|run --memory 1g)": "needs a container engine and a registry with"
    " the base image; tests/packaging/test_container.py reads the file as its builder does",
    r"ssh -L .*": "needs another machine",
    r"curl -i https://HOST/metrics": "asks from the outside, through the proxy of an installation",
    r"timedatectl set-ntp true": "changes the clock of the whole computer, whose kernel a booted machine shares",
    r"make bench(?: .*)?|python -m bench\.\w+": "minutes of measuring on a computer that does nothing else",
    r"make conformance": "fetches a dozen other tools; what it found is kept in conformance/results.json, which tests read",
    r"make soak(?: .*)?": "the long campaigns, by hand before a release",
    r"make screenshots": "takes the pictures anew, which are looked at by a person",
    r"make lock(?: UPGRADE=1)?": "asks the package index what is newest, and changes the lock",
    r"pip uninstall \{package\}": "takes a package out of the environment that runs the tests",
}
"""Why no test runs it."""


if __name__ == "__main__":
    known = [*HERE, *BOOTED, *IN_CI, *ELSEWHERE, *NOT_RUN]
    for each, places in sorted(said().items()):
        if not any(re.fullmatch(pattern, each) for pattern in known):
            print(each, "   <<", ", ".join(places))
